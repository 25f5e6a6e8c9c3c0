// One order's whole story. State and events are what the API says; where they are is what the console knows.

import { $, el, get, took, time, date, short, shown, table, definitions, command } from './dom.js';
import { t } from './i18n.js';
import { on } from './feed.js';

let id = null;
let asked = 0;
let waiting = 0;

export function open(order) {
  id = order;
  show();
}

export function close() {
  id = null;
  clearTimeout(waiting);
}

on('steps', (steps) => {
  if (!id || !steps.some((s) => s.order === id && s.port !== 'Views')) return;
  clearTimeout(waiting);
  waiting = setTimeout(show, 300); // the steps of a command come one after the other
});

async function show() {
  const mine = ++asked;
  const order = id;
  $('order-title').textContent = t('story', { id: order });
  const path = `/orders/${encodeURIComponent(order)}`;
  const [state, history, story] = await Promise.allSettled([
    get(path), get(`${path}/events?limit=200`), get(`orders/${encodeURIComponent(order)}`),
  ]);
  if (mine !== asked || order !== id) return; // the user went on
  const parts = [];
  if (story.status === 'rejected' && story.reason.status !== 404) waiting = setTimeout(show, 2000); // a store that is busy
  if (story.status === 'rejected') parts.push(el('p', { class: 'bad' }, story.reason.message));
  else parts.push(...whole(state, history, story.value, order));
  $('story').replaceChildren(...parts);
}

function whole(state, history, story, order) {
  return [
    el('div', { class: 'cards' }, card('state', ofAPI(state, (o) => [
      [t('status'), el('span', { class: `chip ${o.status}` }, o.status)], [t('version'), String(o.version)],
      [t('buyer'), o.buyerId], [t('items'), o.items.map((i) => `${i.amount} × ${i.productId}`).join(', ') || t('none')],
      [t('created'), date(o.createdAt)], [t('updated'), date(o.updatedAt)],
    ])), card('outbox', outbox(story.outbox)), card('readModel', readModel(story.readModel))),
    el('h3', {}, t('events')),
    ...events(history, story),
    el('h3', {}, t('steps')),
    ...steps(story.steps, order),
    el('h3', {}, t('trace')),
    ...traces(story.spans),
  ];
}

const card = (title, list) => el('section', { class: 'card' }, el('h3', {}, t(title)), list);

// ofAPI shows what the API answered, or why not.
function ofAPI(answer, pairs) {
  if (answer.status === 'fulfilled') return definitions(el('dl'), pairs(answer.value));
  return el('p', { class: 'note' }, answer.reason.status === 404 ? t('noAPI') : answer.reason.message);
}

function outbox(o) {
  return definitions(el('dl'), [
    [t('committed'), t('upTo', { v: o.committed })],
    [t('published'), t(o.published < o.committed && !o.parked ? 'knownUpTo' : 'upTo', { v: o.published })],
    [t('parked'), o.parked ? `${t('from')} ${o.parked}` : t('none')],
    [t('reason'), o.reason], [t('repair'), o.repair ? command(o.repair) : null],
  ]);
}

function readModel(r) {
  return definitions(el('dl'), [
    [t('applied'), t('upTo', { v: r.applied })], [t('generation'), String(r.generation)],
    [t('age'), r.asOf ? time(r.asOf) : t('unknown')],
    [t('parked'), r.buffered.length ? t('waits', { list: r.buffered.join(', ') }) : t('none')],
    [t('reason'), r.reason], [t('repair'), r.repair ? command(r.repair) : null],
  ]);
}

function events(history, story) {
  if (history.status === 'rejected') return [ofAPI(history)];
  const { outbox: o, readModel: r } = story;
  const parked = (v) => (o.parked && v >= o.parked) || r.buffered.includes(v);
  const sent = (v) => (v <= o.published ? 'published' : 'committed');
  const place = (v) => (v <= r.applied ? 'applied' : parked(v) ? 'parked' : sent(v));
  const chip = (where) => el('span', { class: `chip ${where}` }, t(where));
  const rows = history.value.events.map((e) => [
    String(e.version), e.type, time(e.occurredAt), chip(place(e.version)), shown(e.data),
  ]);
  return [
    history.value.complete ? '' : el('p', { class: 'note' }, t('incomplete')),
    el('div', { class: 'scroll', role: 'region', tabindex: 0, 'aria-label': t('events') },
      table(el('table'), [t('version'), t('type'), t('created'), t('stands'), t('message')], rows)),
  ];
}

// steps draws the steps of each command: those that led to one version of the order.
function steps(list, order) {
  if (list.length === 0) return [el('p', { class: 'note' }, t('noSteps'))];
  const method = (s) => s.method.replace(order, short(order));
  const bar = (s) => ({ ...s, name: `${s.port} ${method(s)}`, note: s.type, failed: s.error });
  return [...Map.groupBy(list, (s) => s.version)]
    .flatMap(([version, of]) => bars(version ? `${t('version')} ${version}` : t('refused'), of.map(bar)));
}

function traces(spans) {
  if (spans.length === 0) return [el('p', { class: 'note' }, t('noSpans'))];
  // A Date has milliseconds only.
  const us = (at) => (Math.floor(Date.parse(at) / 1000) + Number(at.match(/\.\d+/)?.[0] ?? 0)) * 1e6;
  const bar = (s) => ({ ...s, note: s.service, start: us(s.start), took: us(s.end) - us(s.start) });
  return [...Map.groupBy(spans, (s) => s.trace)].flatMap(([trace, of]) => bars(trace, of.map(bar)));
}

// bars draws what happened on one line of time.
function bars(title, list) {
  const start = Math.min(...list.map((b) => b.start));
  const whole = Math.max(...list.map((b) => b.start + b.took - start), 1);
  return [
    el('h4', {}, `${title} `, el('span', { class: 'note' }, `${time(start / 1000)} · ${took(whole)}`)),
    el('ol', { class: 'bars plain' }, list.toSorted((a, b) => a.start - b.start || b.took - a.took).map((bar) => {
      const stroke = el('span', { class: bar.failed ? 'stroke failed' : 'stroke' });
      stroke.style.marginInlineStart = `${(100 * (bar.start - start)) / whole}%`;
      stroke.style.width = `${Math.max(0.4, (100 * bar.took) / whole)}%`;
      return el('li', {}, el('span', { class: 'label' }, bar.name, ' ', el('span', { class: 'note' }, bar.note ?? '')),
        el('span', { class: 'track', 'aria-hidden': 'true' }, stroke),
        el('span', { class: 'value' }, `+${took(bar.start - start)} · ${took(bar.took)}`));
    })),
  ];
}
