// Small helpers to build the page. Everything that comes from outside is set as text, never as HTML.

import { t, language } from './i18n.js';

const SVG = 'http://www.w3.org/2000/svg';

// el makes an element: el('a', { href: '#/' }, 'text', other). A property that begins with "on" is a listener.
export function el(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((c) => c != null));
  return element;
}

export const $ = (id) => document.getElementById(id);

// took writes microseconds.
export function took(us) {
  const number = (value, digits) => value.toLocaleString(language(), { maximumFractionDigits: digits });
  if (us >= 1e6) return `${number(us / 1e6, 1)} ${t('seconds')}`;
  return `${number(us / 1e3, us < 1e4 ? 2 : 0)} ${t('milliseconds')}`;
}

export const time = (date) => new Date(date).toLocaleTimeString(language(), {
  hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false,
});

export const date = (date) => new Date(date).toLocaleString(language(), { dateStyle: 'medium', timeStyle: 'medium' });

export const pretty = (json) => (typeof json === 'string' ? json : JSON.stringify(json, null, 2));

// unfolding is a text behind a title.
export function unfolding(title, text, properties = { class: 'text' }) {
  return el('details', {}, el('summary', {}, title), el('pre', { tabindex: 0, ...properties }, text));
}

// shown is a JSON document, behind the word message.
export const shown = (json) => (json == null ? '' : unfolding(t('message'), pretty(json), {}));

export const short = (id) => (id.length > 20 ? `${id.slice(0, 8)}…${id.slice(-6)}` : id);

export const orderLink = (id) => el('a', { href: `#/order/${encodeURIComponent(id)}`, title: id }, short(id));

// table fills a table with a head and rows; a row is a list of cells.
export function table(element, head, rows) {
  const cells = (name, list, more) => list.map((c) => el(name, more, c));
  element.replaceChildren(
    el('thead', {}, el('tr', {}, cells('th', head, { scope: 'col' }))),
    el('tbody', {}, rows.map((row) => el('tr', {}, cells('td', row)))),
  );
  return element;
}

// definitions fills a dl with pairs of a term and its value; a value that is null is left out.
export function definitions(element, pairs) {
  element.replaceChildren(...pairs.filter(([, value]) => value != null)
    .map(([term, value]) => el('div', {}, el('dt', {}, term), el('dd', {}, value))));
  return element;
}

// same says that an element shows this already: shown again, it would lose the focus and be read out again.
export function same(id, what) {
  const text = JSON.stringify([what, language()]);
  const is = $(id).dataset.shown === text;
  $(id).dataset.shown = text;
  return is;
}

// command is a command to copy.
export function command(text) {
  const button = el('button', { 'aria-label': `${t('copy')}: ${text}`, onclick: copy }, t('copy'));
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = t('copied');
    } catch { // a page that does not come over TLS or from this machine may not write it
      getSelection().selectAllChildren(code);
    }
  }
  const code = el('code', {}, text);
  return el('span', { class: 'command' }, code, ' ', button);
}

// get asks the service. What is no success becomes an error with the service's own words.
export async function get(path) {
  const answer = await fetch(path, { headers: { Accept: 'application/json' } });
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text);
  let detail = text.trim();
  try {
    detail = JSON.parse(text).detail;
  } catch { /* a text is a text */ }
  throw Object.assign(new Error(detail || answer.statusText), { status: answer.status });
}
