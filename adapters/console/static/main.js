// The page: which part is shown, in which language, and what concerns all parts.

import { $, el, get, same } from './dom.js';
import { t, translate, chooseLanguage, languages, language, onLanguage } from './i18n.js';
import { connect, on } from './feed.js';
import * as hexagon from './hexagon.js';
import * as lists from './lists.js';
import * as order from './order.js';
import * as map from './map.js';

const LOOK = 3000; // milliseconds from one look at the state to the next

let state = null;
let live = 'connecting';

// Each part: its section, and what to do when it is opened with the rest of the address.
const parts = {
  '': ['hexagon', () => {}],
  orders: ['orders', lists.open],
  order: ['order', order.open],
  map: ['map', map.open],
  runbook: ['runbook', openRunbook],
};

function route() {
  const hash = location.hash || '#/';
  if (!hash.startsWith('#/')) return; // a place within the page
  const [name, ...rest] = hash.slice(2).split('/');
  const [section, open] = parts[name] ?? parts[''];
  for (const [id] of Object.values(parts)) $(id).hidden = id !== section;
  for (const link of $('pages').querySelectorAll('a')) {
    if (link.getAttribute('href') === `#/${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  order.close();
  map.close();
  open(decodeURIComponent(rest.join('/')), state);
}

async function openRunbook(anchor) {
  const text = await (await fetch('runbook.md')).text();
  const parts = text.split(/\n(?=#+ )/);
  const named = (part) => part.split('\n')[0].toLowerCase().replace(/[^a-z0-9 -]/g, '').trim().replaceAll(' ', '-');
  $('runbook-text').textContent = parts.find((part) => named(part) === anchor) ?? text;
}

async function look() {
  try {
    state = await get('state');
    hexagon.update(state);
    lists.update(state);
    showAlerts();
    showScope();
  } catch { /* the stream says that the service is away */ }
}

function showScope() {
  const missing = ['api', 'relay', 'views'].filter((role) => !state.roles.includes(role));
  $('scope').hidden = missing.length === 0;
  $('scope').textContent = t('scope', { roles: state.roles.join(', '), missing: missing.join(', ') });
  for (const e of document.querySelectorAll('[data-demo]')) e.hidden = !state.demo;
  for (const e of document.querySelectorAll('[data-role]')) e.hidden = !state.roles.includes(e.dataset.role);
}

function showAlerts() {
  if (same('alerts', state.alerts)) return;
  const lines = state.alerts.map((alert) => {
    const anchor = alert.runbook.match(/^docs\/operate\.md#([a-z0-9-]+)$/)?.[1];
    const href = anchor ? `#/runbook/${anchor}` : /^https?:/.test(alert.runbook) ? alert.runbook : null;
    return el('p', { class: alert.severity }, el('strong', {}, alert.name), ` ${alert.summary} `,
      href ? el('a', { href }, t('runbook')) : el('code', {}, alert.runbook));
  });
  $('alerts').replaceChildren(...lines);
}

function showLive() {
  $('live').textContent = t(live);
  $('live').className = live;
}

$('language').replaceChildren(...languages.map(([id, name]) => el('option', { value: id, lang: id }, name)));
$('language').addEventListener('change', () => chooseLanguage($('language').value));
onLanguage(() => {
  $('language').value = language();
  showLive();
  if (state) showScope();
  route();
});
on('live', (now) => {
  if (now === 'live' && live === 'away') look();
  live = now;
  showLive();
});
addEventListener('hashchange', route);
document.addEventListener('visibilitychange', () => document.hidden || look());
setInterval(() => document.hidden || look(), LOOK);

translate();
hexagon.start();
lists.start();
await look();
route();
connect();
