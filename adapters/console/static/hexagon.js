// The hexagon: which box stands where, and one command on its way through them.

import { $, el, svg, took, time, short, shown, unfolding, orderLink, table, pretty, same } from './dom.js';
import { t, onLanguage } from './i18n.js';
import { on } from './feed.js';

// Each box: what kind it is, its place in the wide picture and in the narrow one, the roles whose process works there,
// its file where that is the same for every adapter, and its name in the picture.
const BOXES = {
  client: { kind: 'outside', wide: [70, 80], narrow: [0, 0], roles: ['api'], name: 'client' },
  http: {
    kind: 'adapter', wide: [70, 330], narrow: [0, 1.2], roles: ['api'], name: 'HTTP',
    adapter: 'httpapi', file: 'adapters/httpapi/orders.go',
  },
  Orders: { kind: 'port', wide: [220, 195], narrow: [0, 2.4], roles: ['api'] },
  app: { kind: 'inside', wide: [400, 190], narrow: [0, 3.6], roles: ['api'], name: 'app', adapter: 'app/orders' },
  core: { kind: 'core', wide: [400, 330], narrow: [0, 4.8], roles: ['api'], name: 'core', adapter: 'core/order' },
  OrderStore: { kind: 'port', wide: [370, 600], narrow: [0, 6], roles: ['api'] },
  store: {
    kind: 'adapter', wide: [440, 680], narrow: [0, 7.2], roles: ['api', 'relay', 'views'], name: 'store',
    contract: 'OrderStore', stands: ['store'], size: 264,
  },
  Outbox: { kind: 'port', wide: [510, 600], narrow: [1, 8], roles: ['relay'], stands: ['outbox'] },
  relay: { kind: 'inside', wide: [610, 200], narrow: [1, 7], roles: ['relay'], name: 'relay', adapter: 'app/relay' },
  Publisher: { kind: 'port', wide: [780, 195], narrow: [1, 6], roles: ['relay'] },
  broker: {
    kind: 'adapter', wide: [930, 330], narrow: [1, 5], roles: ['relay', 'views'], name: 'broker',
    contract: 'Publisher', stands: ['publisher', 'subscriber'],
  },
  Parking: { kind: 'port', wide: [600, 60], narrow: [0, 8.3], roles: ['relay'], stands: ['parking'] },
  Subscriber: { kind: 'port', wide: [780, 465], narrow: [1, 4], roles: ['views'] },
  engine: {
    kind: 'inside', wide: [630, 420], narrow: [1, 3], roles: ['views'], name: 'views', adapter: 'app/readside',
  },
  ReadModelStore: { kind: 'port', wide: [650, 600], narrow: [1, 2], roles: ['views'] },
  readmodel: {
    kind: 'adapter', wide: [650, 680], narrow: [1, 1], roles: ['api', 'views'], name: 'read model',
    contract: 'ReadModelStore', stands: ['readmodel'],
  },
  Views: { kind: 'port', wide: [220, 465], narrow: [1, 0], roles: ['api'] },
};

const LINES = [
  ['client', 'http'], ['http', 'Orders'], ['Orders', 'app'], ['app', 'core'], ['core', 'OrderStore'],
  ['OrderStore', 'store'], ['store', 'Outbox'], ['Outbox', 'relay'], ['relay', 'Publisher'], ['relay', 'Parking'],
  ['Publisher', 'broker'], ['broker', 'Subscriber'], ['Subscriber', 'engine'], ['engine', 'ReadModelStore'],
  ['ReadModelStore', 'readmodel'], ['ReadModelStore', 'Views'], ['Views', 'http'],
];

// What a step lights: the port, and what works behind or before it in the same call.
const LIT = {
  HTTP: ['client', 'http'], Orders: ['Orders', 'app', 'core'], OrderStore: ['OrderStore', 'store'],
  Outbox: ['Outbox', 'relay'],
  Publisher: ['Publisher', 'broker'], Parking: ['Parking'], Subscriber: ['Subscriber', 'engine'],
  ReadModelStore: ['ReadModelStore', 'readmodel'], Views: ['Views'],
};
const PORTS = Object.keys(LIT);
const SHOWN = Object.fromEntries(PORTS.flatMap((port) => LIT[port].map((box) => [box, port])));

const narrow = matchMedia('(max-width: 700px)');
const still = matchMedia('(prefers-reduced-motion: reduce)');
const PACE = 170; // milliseconds a box, when a command is shown: its real times are too short to see
const SETTLE = 400; // so long a command waits for the steps that come out of order
const KEPT = 60;

let state = { boxes: {}, roles: [] };
let counts = { ports: {}, oneIn: 1 };
let contracts = {};
let runs = []; // the newest first
let current = null; // the run in the picture
let pinned = false; // the user chose it
let selected = 'core'; // the box in the panel
let boxes = {};
let dot;
let timer = 0;

export async function start() {
  narrow.addEventListener('change', draw);
  onLanguage(draw);
  on('counts', (now) => {
    counts = now;
    showCounts();
  });
  on('steps', (steps) => {
    steps.forEach(take);
    runs.sort((a, b) => b.start - a.start);
    runs.splice(KEPT);
    showRuns();
    if (!timer) timer = setInterval(play, PACE);
  });
  draw();
  contracts = await (await fetch('contracts.json')).json();
  showBox();
}

export function update(now) {
  const same = JSON.stringify([now.boxes, now.roles]) === JSON.stringify([state.boxes, state.roles]);
  state = now;
  if (!same) draw(); // a picture that is drawn again loses the focus
}

const here = (box) => BOXES[box].roles.some((role) => state.roles.includes(role));

// standing is the adapter in a box and its file.
function standing(id) {
  const box = BOXES[id];
  const at = box.stands?.map((key) => state.boxes[key]).find(Boolean);
  const written = contracts[id]?.file;
  const file = box.kind === 'port' ? written : box.file ?? at?.file ?? written;
  return { adapter: box.adapter ?? at?.adapter, file };
}

function center(id) {
  const [x, y] = BOXES[id][narrow.matches ? 'narrow' : 'wide'];
  return narrow.matches ? [96 + x * 188, 34 + y * 76] : [x, y];
}

function draw() {
  const picture = $('picture');
  picture.setAttribute('viewBox', narrow.matches ? '0 0 380 705' : '0 0 1000 730');
  const half = (id) => (narrow.matches ? 164 : BOXES[id].size ?? 128) / 2;
  boxes = {};
  const lines = LINES.map(([from, to]) => {
    const [x1, y1] = center(from);
    const [x2, y2] = center(to);
    return svg('line', { x1, y1, x2, y2 });
  });
  for (const id of Object.keys(BOXES)) {
    const [x, y] = center(id);
    const { kind, name = id } = BOXES[id];
    const { adapter } = standing(id);
    const label = [t(kind), name, adapter, here(id) ? '' : t('elsewhere')].filter(Boolean).join(', ');
    boxes[id] = svg('g', {
      class: `box ${kind}${here(id) ? '' : ' elsewhere'}`, 'data-box': id,
      role: 'button', tabindex: 0, 'aria-label': label,
      onclick: () => select(id),
      onkeydown: (e) => ['Enter', ' '].includes(e.key) && (e.preventDefault(), select(id)),
    },
    svg('rect', { x: x - half(id), y: y - 24, width: half(id) * 2, height: 48, rx: kind === 'port' ? 24 : 6 }),
    svg('text', { x, y: adapter && kind !== 'port' ? y - 3 : y + 5, class: 'name' }, name),
    adapter && kind !== 'port' ? svg('text', { x, y: y + 14, class: 'what' }, adapter) : null,
    svg('text', { x, y: y + 38, class: 'time' }));
  }
  dot = svg('circle', { r: 7, id: 'dot' });
  const outline = svg('polygon', { points: narrow.matches ? '' : '300,60 700,60 860,330 700,600 300,600 140,330' });
  picture.replaceChildren(outline, ...lines, ...Object.values(boxes), dot);
  repaint();
  showCounts();
  showRuns();
  showBox();
}

// take puts a step into the run that it belongs to: a command on an order, known by the version that it made. A refused
// command made none; its steps overlap in time.
function take(step) {
  if (step.method === 'Get' || !step.order) return;
  const end = step.start + step.took;
  if (step.port === 'ReadModelStore') { // one commit may bring several versions
    runs.filter((r) => r.order === step.order && r.version > 0 && r.version < step.version && !r.steps.ReadModelStore)
      .forEach((r) => add(r, step));
  }
  let run = runs.find((r) => r.order === step.order && r.version === step.version
    && (step.version > 0 || (r.start <= end && step.start <= r.end)));
  if (!run) {
    if (step.port === 'Views') return; // nobody asks for a command that is not known here
    const { order, version, start } = step;
    run = { order, version, steps: {}, start, end, seen: Date.now(), lit: new Set() };
    runs.unshift(run);
  }
  add(run, step);
}

function add(run, step) {
  const before = run.steps[step.port];
  if (before && !before.error) return; // a duplicate changes nothing
  run.steps[step.port] = step;
  run.start = Math.min(run.start, step.start);
  run.end = Math.max(run.end, step.start + step.took);
  run.changed = Date.now();
}

const path = (run) => PORTS.filter((port) => run.steps[port]).flatMap((port) => LIT[port]);
const done = (run) => run.steps.ReadModelStore || Object.values(run.steps).some((s) => s.error);
const title = (run) => run.steps.Orders?.method ?? run.steps.HTTP?.method ?? t('event');

// play lights the next box of the command in the picture, and goes on to the newest command when that one is through.
function play() {
  const now = Date.now();
  const next = current && path(current).find((box) => !current.lit.has(box));
  if (next) {
    current.lit.add(next);
    return repaint(next);
  }
  const newest = runs[0];
  const over = !current || done(current) || now - current.changed > 1500;
  if (!pinned && newest && newest !== current && over && now - newest.seen > SETTLE) return follow(newest);
  if (over && (pinned || newest === current)) {
    clearInterval(timer);
    timer = 0;
    repaint();
  }
}

function follow(run) {
  current = run;
  current.lit = new Set(still.matches ? path(run) : []);
  repaint();
  showRuns();
  if (!timer) timer = setInterval(play, PACE);
}

// repaint shows the run in the picture: its times, and where it is now.
function repaint(now) {
  for (const [id, box] of Object.entries(boxes)) {
    const step = current?.lit.has(id) && current.steps[SHOWN[id]];
    box.classList.toggle('lit', Boolean(step));
    box.classList.toggle('failed', Boolean(step?.error));
    box.classList.toggle('now', id === now);
    box.querySelector('.time').textContent = step && id !== 'client' ? since(step) : '';
  }
  if (now) {
    const [x, y] = center(now);
    dot.style.transform = `translate(${x}px, ${y - 24}px)`;
  }
  dot.classList.toggle('seen', Boolean(now));
  showRun();
  if (now === selected || !now) showBox();
}

const since = (step) => `+${took(Math.max(0, step.start - current.start))}`;

function select(id) {
  selected = id;
  showBox();
}

function showCounts() {
  const sum = (port) => counts.ports[port]?.[0] ?? 0;
  const all = { commands: sum('Orders'), published: sum('Publisher'), applied: sum('ReadModelStore') };
  $('counts').textContent = `${t('countsText', all)} ${counts.oneIn > 1 ? t('sampled', { n: counts.oneIn }) : ''}`;
}

function showRuns() {
  const focused = document.activeElement?.dataset?.run;
  const list = runs.slice(0, 8);
  if (pinned && !list.includes(current)) list.push(current);
  $('runs').replaceChildren(...list.map((run) => el('li', {}, el('button', {
    'data-run': `${run.order}/${run.version}`, class: run === current ? 'current' : '',
    'aria-pressed': String(pinned && run === current), onclick: () => pin(run),
  }, el('strong', {}, title(run)), ` ${short(run.order)} `, run.version ? `v${run.version}` : t('refused'), ' ',
  el('span', { class: 'note' }, took(run.end - run.start))))));
  if (list.length === 0) $('runs').append(el('li', { class: 'note' }, t('noRuns')));
  if (focused) [...$('runs').querySelectorAll('button')].find((b) => b.dataset.run === focused)?.focus();
}

// pin keeps a run in the picture; the second time it lets go.
function pin(run) {
  pinned = !(pinned && run === current);
  follow(run);
}

// behind is the adapter that did a step.
function behind(port) {
  const own = { HTTP: 'httpapi', Orders: 'app/orders', Views: 'app/readside' }[port];
  const box = { OrderStore: 'store', ReadModelStore: 'readmodel' }[port] ?? port.toLowerCase();
  return own ?? state.boxes[box]?.adapter ?? '';
}

// showRun is the picture in words: a row a step.
function showRun() {
  if (same('run', [current?.order, current?.version, current?.steps, state.boxes])) return;
  $('run-title').replaceChildren(...(current
    ? [title(current), ' · ', orderLink(current.order), ' · ', time(current.start / 1000)] : [t('noRun')]));
  const steps = Object.values(current?.steps ?? {}).sort((a, b) => a.start - b.start);
  const open = new Set([...$('run').querySelectorAll('details[open]')].map((d) => d.dataset.port));
  const head = steps.length ? ['port', 'adapter', 'call', 'after', 'lasted', 'crossed'].map((key) => t(key)) : [];
  table($('run'), head, steps.map((s) => [
    s.port, behind(s.port), (s.type ?? s.method) + (s.batch > 1 ? ` (${t('batch', { n: s.batch })})` : ''),
    since(s), took(s.took),
    el('div', {}, s.error ? el('p', { class: 'bad' }, s.error) : null, s.message ? shown(s.message) : null),
  ]));
  $('run').querySelectorAll('details').forEach((d) => {
    d.dataset.port = d.closest('tr').cells[0].textContent;
    d.open = open.has(d.dataset.port);
  });
}

// showBox is the panel of a box: what stands there, what it promises, what it does with the command in the picture.
function showBox() {
  const { kind, name = selected, contract = selected } = BOXES[selected];
  const { adapter, file } = standing(selected);
  const step = current?.lit.has(selected) && current.steps[SHOWN[selected]];
  for (const [id, box] of Object.entries(boxes)) box.setAttribute('aria-pressed', String(id === selected));
  if (same('box', [selected, adapter, file, step, here(selected), contracts[contract]])) return;
  $('box').replaceChildren(...[
    el('h3', {}, `${name} `, el('span', { class: 'note' }, t(kind))),
    el('p', {}, t(`about.${selected}`)),
    el('p', {}, adapter && adapter !== name ? el('strong', {}, adapter) : '', ' ', file ? el('code', {}, file) : ''),
    here(selected) ? null : el('p', { class: 'note' }, t('elsewhere')),
    step ? el('p', {}, `${step.method}: ${took(step.took)}${step.error ? ` · ${step.error}` : ''}`) : null,
    step?.message ? el('pre', { class: 'message', tabindex: 0 }, pretty(step.message)) : null,
    contracts[contract] ? unfolding(t('contract'), contracts[contract].text) : null,
  ].filter(Boolean));
}
