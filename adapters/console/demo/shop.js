// A shop: it knows the API only. A command's answer is true at once; the list comes from the view, which has it a little later.

import { $, el, get, table, definitions, same } from '../dom.js';
import { t, addWords } from '../i18n.js';
import { frame, live, storyLink } from './frame.js';

addWords({
  en: {
    shopLead: 'Fill the basket, place the order, submit it, pay it. The list changes by itself, as soon as the view has the event.',
    products: 'Products', basket: 'Basket', add: 'Put {product} into the basket', empty: 'The basket is empty.', placeOrder: 'Place the order',
    yourOrders: 'Your orders', answered: 'The API answered', listed: 'The list says', submit: 'Submit', pay: 'Pay', notYet: 'not there yet',
    'product.1111': 'Tea', 'product.2222': 'Coffee', 'product.3333': 'Mango', next: 'Next',
  },
  th: {
    shopLead: 'หยิบของใส่ตะกร้า สั่งซื้อ ยืนยัน แล้วจ่ายเงิน list จะเปลี่ยนเองเมื่อ view ได้รับ event',
    products: 'สินค้า', basket: 'ตะกร้า', add: 'หยิบ{product}ใส่ตะกร้า', empty: 'ตะกร้ายังว่าง', placeOrder: 'สั่งซื้อ',
    yourOrders: 'order ของคุณ', answered: 'API ตอบว่า', listed: 'list บอกว่า', submit: 'ยืนยัน', pay: 'จ่ายเงิน', notYet: 'ยังไม่มี',
    'product.1111': 'ชา', 'product.2222': 'กาแฟ', 'product.3333': 'มะม่วง', next: 'ขั้นต่อไป',
  },
});

const PRODUCTS = ['1111', '2222', '3333'];
const LOOK = 500; // milliseconds from one look at the list to the next
const buyer = `shop-${crypto.randomUUID().slice(0, 8)}`;

const basket = new Map(); // product to amount
const orders = new Map(); // id to the order as the API answered last, the newest first in the table
let listed = new Map(); // id to the order as the list has it

// command sends one. Its key makes it safe to send it again: the service may have been killed after it carried it out.
async function command(path, body) {
  const headers = { 'Idempotency-Key': crypto.randomUUID(), ...(body && { 'Content-Type': 'application/json' }) };
  for (let tries = 1; ; tries++) {
    try {
      const answer = await fetch(path, { method: 'POST', headers, body: body && JSON.stringify(body) });
      const order = await answer.json();
      $('note').textContent = answer.ok ? '' : order.detail;
      if (answer.ok) orders.set(order.id, order);
      return show();
    } catch (e) {
      $('note').textContent = e.message;
      if (tries === 3) return undefined;
    }
  }
}

async function placeOrder() {
  const items = [...basket].map(([productId, amount]) => ({ productId, amount }));
  basket.clear();
  showBasket();
  await command('/orders', { buyerId: buyer, items });
}

async function look() {
  try {
    const page = await get(`/orders?${new URLSearchParams({ buyerId: buyer, limit: 100 })}`);
    listed = new Map(page.orders.map((o) => [o.id, o]));
    live('live');
    show();
  } catch {
    live('away');
  }
}

const chip = (order) => (order ? el('span', { class: `chip ${order.status}` }, `${order.status} (${order.version})`) : t('notYet'));

function show() {
  if (same('list', [...orders.values(), ...listed.values()])) return;
  const next = ({ id, status }) => ({ pending: ['submit', 'pay'], submitted: ['pay'] }[status] ?? []).map((name) => el('button', {
    'data-command': name, onclick: () => command(`/orders/${encodeURIComponent(id)}/${name}`),
  }, t(name)));
  table($('list'), orders.size ? [t('order'), t('answered'), t('listed'), t('next')] : [], [...orders.values()].reverse().map((o) => [
    storyLink(o.id), chip(o), chip(listed.get(o.id)), el('span', { class: 'command' }, ...next(o)),
  ]));
}

function words() {
  definitions($('products'), PRODUCTS.map((id) => [t(`product.${id}`), el('button', {
    'data-product': id, 'aria-label': t('add', { product: t(`product.${id}`) }), onclick: () => add(id),
  }, '+')]));
  showBasket();
  show();
}

function add(id) {
  basket.set(id, (basket.get(id) ?? 0) + 1);
  showBasket();
}

function showBasket() {
  $('order').disabled = basket.size === 0;
  definitions($('basket'), basket.size ? [...basket].map(([id, n]) => [t(`product.${id}`), String(n)]) : [[t('empty'), '']]);
}

$('order').addEventListener('click', placeOrder);
frame(words, look, LOOK);
