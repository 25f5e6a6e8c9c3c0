// The map of the services: who calls whom, folded from spans.

import { $, el, get, svg, table, took } from './dom.js';
import { t } from './i18n.js';

let timer = 0;

export function open() {
  show();
  timer = setInterval(() => document.hidden || show(), 2000);
}

export const close = () => clearInterval(timer);

async function show() {
  let map;
  try {
    map = await get('map');
  } catch {
    return; // the stream says that the service is away
  }
  const note = !map.traced ? t('noTraces') : map.arrows.length === 0 ? t('noArrows') : '';
  $('services').replaceChildren(...(note ? [el('p', { class: 'note' }, note)] : [picture(map), words(map)]));
}

// picture puts the services on an ellipse, in the order of their names.
function picture({ services, arrows }) {
  const names = Object.keys(services).sort();
  const at = Object.fromEntries(names.map((name, i) => {
    const angle = (2 * Math.PI * i) / names.length - Math.PI / 2;
    return [name, [400 + 270 * Math.cos(angle), 220 + 150 * Math.sin(angle)]];
  }));
  const drawn = arrows.map((a) => {
    const [[x1, y1], [x2, y2]] = [at[a.from], at[a.to]];
    const [dx, dy] = [x2 - x1, y2 - y1];
    const length = Math.hypot(dx, dy) || 1;
    const [bx, by] = [(x1 + x2) / 2 - (dy / length) * 40, (y1 + y2) / 2 + (dx / length) * 40]; // there and back are two
    const last = Math.hypot(x2 - bx, y2 - by) || 1;
    const end = [x2 - ((x2 - bx) / last) * 78, y2 - ((y2 - by) / last) * 40];
    const label = [a.calls, a.errors && `${a.errors} ${t('errors')}`, took(a.p95 * 1000)].filter(Boolean).join(' · ');
    return svg('g', { class: a.errors ? 'failed' : '' },
      svg('path', { d: `M${x1} ${y1} Q${bx} ${by} ${end[0]} ${end[1]}`, 'marker-end': 'url(#tip)' }),
      svg('text', { x: (x1 + 2 * bx + x2) / 4, y: (y1 + 2 * by + y2) / 4, class: 'what' }, label));
  });
  return svg('svg', { viewBox: '0 0 800 440', class: 'map', role: 'img', 'aria-label': t('mapTitle') },
    svg('marker', { id: 'tip', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' },
      svg('path', { d: 'M0 0 8 4 0 8z' })),
    drawn,
    names.map((name) => svg('g', { class: 'box inside' },
      svg('rect', { x: at[name][0] - 78, y: at[name][1] - 20, width: 156, height: 40, rx: 6 }),
      svg('text', { x: at[name][0], y: at[name][1] + 5, class: 'name' }, name))));
}

const words = ({ arrows }) => el('div', { class: 'scroll' },
  table(el('table'), [t('caller'), t('to'), t('calls'), t('errors'), t('p95')],
    arrows.map((a) => [a.from, a.to, String(a.calls), String(a.errors), took(a.p95 * 1000)])));
