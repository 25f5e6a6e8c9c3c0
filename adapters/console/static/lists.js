// Lists of orders, as the API gives them; how far things are behind; parked orders with the command that repairs.

import { $, el, get, date, orderLink, table, definitions, command, same } from './dom.js';
import { t, onLanguage } from './i18n.js';

const STATUSES = ['', 'pending', 'submitted', 'paid', 'cancelled'];
const SORTS = ['-createdAt', 'createdAt', '-updatedAt', '-totalAmount'];

let rows = [];
let next = '';
let state = null;
let asked = 0; // how often; an answer that is not of the last time comes too late

export function start() {
  $('filters').addEventListener('submit', (e) => {
    e.preventDefault();
    load();
  });
  $('filters').addEventListener('change', () => load());
  $('more').addEventListener('click', () => load(next));
  onLanguage(words);
  words();
}

export const open = () => load();

function words() {
  const { status, sort } = $('filters').elements;
  const options = (select, list, name) => {
    const { value } = select;
    select.replaceChildren(...list.map((v) => el('option', { value: v }, name(v))));
    select.value = list.includes(value) ? value : list[0];
  };
  options(status, STATUSES, (v) => v || t('all'));
  options(sort, SORTS, (v) => t(`sort.${v}`));
  if (state) update(state);
}

async function load(cursor = '') {
  const mine = ++asked;
  const query = new URLSearchParams({ limit: 25 });
  for (const [name, value] of new FormData($('filters'))) if (value.trim()) query.set(name, value.trim());
  if (cursor) query.set('cursor', cursor);
  try {
    const page = await get(`/orders?${query}`);
    if (mine !== asked) return;
    rows = cursor ? [...rows, ...page.orders] : page.orders;
    next = page.nextCursor ?? '';
    $('orders-note').textContent = rows.length ? '' : t('noOrders');
  } catch (e) {
    if (mine !== asked) return;
    rows = [];
    next = '';
    $('orders-note').textContent = e.status === 404 ? t('noAPI') : e.message;
  }
  $('more').hidden = !next;
  const head = rows.length ? ['order', 'buyer', 'status', 'total', 'version', 'updated'].map((key) => t(key)) : [];
  table($('list'), head, rows.map((o) => [
    orderLink(o.id), o.buyerId, el('span', { class: `chip ${o.status}` }, o.status), String(o.totalAmount),
    String(o.version), date(o.updatedAt),
  ]));
}

export function update(now) {
  state = now;
  const seconds = (then) => Math.max(0, Math.round((Date.parse(now.at) - Date.parse(then)) / 1000));
  const { relay, readModel } = now;
  const waiting = !relay ? t('noRelay') : !relay.leading ? t('relayStandby')
    : `${relay.inFlight + relay.unread}${relay.oldest ? `, ${t('oldest', { s: seconds(relay.oldest) })}` : ''}`;
  definitions($('lag'), [
    [t('relayLag'), waiting],
    [t('age'), readModel.asOf ? t('ago', { s: seconds(readModel.asOf) }) : t('unknown')],
    [t('incomplete'), readModel.incomplete ? `${readModel.incomplete}: hexorders views status` : null],
    [t('views'), `${(readModel.views ?? []).join(', ')} (${t('generation')} ${readModel.generation})`],
    [t('unreadable'), now.problems.length ? now.problems.join('; ') : null],
  ]);
  if (same('parked', now.parked)) return;
  $('parked').replaceChildren(now.parked.length === 0 ? el('p', { class: 'note' }, t('noParked'))
    : el('div', { class: 'scroll', role: 'region', tabindex: 0, 'aria-labelledby': 'parked-title' }, table(el('table'),
      [t('order'), t('where'), t('from'), t('events'), t('since'), t('reason'), t('repair')], now.parked.map((p) => [
        orderLink(p.order), p.where, String(p.first), String(p.events), date(p.since), p.reason, command(p.repair),
      ]))));
}
