// Break it: buttons that break the service, and two counts of the same events: those that the relay published from the
// outbox, and those of a dual write.

import { $, el, get, definitions, command, same } from '../dom.js';
import { t, language, addWords } from '../i18n.js';
import { frame, live, storyLink } from './frame.js';

addWords({
  en: {
    breakLead: 'Place orders and break something. Every order takes both ways: through the outbox, and by a dual write.',
    place: 'Place 20 orders', placed: '{n} orders are placed.', placing: 'Orders are on their way …', failed: '{n} got no answer.',
    relay: 'Pause the relay', relayBack: 'Let the relay go on', relayWhy: 'Events wait in the outbox. The dual write needs no relay.',
    broker: 'Stop the broker', brokerBack: 'Start the broker', brokerWhy: 'Nobody can publish or read. Orders are accepted all the same.',
    views: 'Stop the views', viewsBack: 'Start the views', viewsWhy: 'Events wait in the topic, and lists grow old.',
    kill: 'Kill the process at the next command', killWhy: 'After the commit, before anything is published. It comes back by itself.',
    killBack: 'The next command kills it', poison: 'Poison the next event', poisonBack: 'The next event is poisoned',
    poisonWhy: 'The broker refuses it for ever. The relay parks this order and goes on with all others.',
    delete: 'Delete the records of the topic', deleteWhy: 'As retention does. Stop the views first, and they never read what is deleted now.',
    repair: 'Repair', repairWhy: 'Takes the poison out, and sends parked events again: hexorders outbox retry ORDER.',
    withOutbox: 'With the outbox', withDual: 'By a dual write', read: 'Read:',
    eventsCommitted: 'Events committed', inTopic: 'In the topic', waiting: 'Waiting', parkedEvents: 'Parked', lost: 'Lost',
    duplicates: 'Sent again', lostOrders: 'Orders that lost events',
    afterRetention: 'After retention', deleted: 'Deleted from the topic', unread: 'Missing in the views',
    whyDeleted: 'A topic that deletes is not the truth: what the views had not read is missing in every list. The answers say so (View-Incomplete). The store still has it: rebuild the views from the store.',
    whyOutbox: 'Order and events are committed in one transaction. The relay sends what is committed, until the broker has it. It may send an event again, and readers know it by its version.',
    whyDual: 'The order is saved, then its events are published: two writes, and nothing makes them one. What goes wrong in between loses events. The order is saved, so the client is told that all is well.',
  },
  th: {
    breakLead: 'ลองสั่งซื้อแล้วทำให้บางอย่างพัง ทุก order ไปทั้งสองทาง คือผ่าน outbox และแบบ dual write',
    place: 'สั่ง 20 order', placed: 'สั่งแล้ว {n} order', placing: 'กำลังสั่ง …', failed: '{n} order ไม่ได้รับคำตอบ',
    relay: 'หยุด relay ชั่วคราว', relayBack: 'ให้ relay ทำงานต่อ', relayWhy: 'event รออยู่ใน outbox ส่วน dual write ไม่ต้องใช้ relay',
    broker: 'หยุด broker', brokerBack: 'เปิด broker', brokerWhy: 'ไม่มีใคร publish หรืออ่านได้ แต่ยังรับ order ได้ตามปกติ',
    views: 'หยุด views', viewsBack: 'เปิด views', viewsWhy: 'event รออยู่ใน topic และ list จะไม่อัปเดต',
    kill: 'kill process ที่ command ถัดไป', killWhy: 'หลัง commit แต่ก่อน publish แล้ว process จะกลับมาเอง',
    killBack: 'command ถัดไปจะ kill process', poison: 'ทำให้ event ถัดไปเป็นพิษ', poisonBack: 'event ถัดไปจะเป็นพิษ',
    poisonWhy: 'broker จะปฏิเสธ event นี้ตลอดไป relay จึงพัก (park) order นี้ แล้วทำ order อื่นต่อ',
    delete: 'ลบ record ใน topic', deleteWhy: 'เหมือนที่ retention ทำ ถ้าหยุด views ก่อน views จะไม่ได้อ่านสิ่งที่ถูกลบตอนนี้',
    repair: 'ซ่อม', repairWhy: 'เอาพิษออก แล้วส่ง event ที่พักไว้อีกครั้ง: hexorders outbox retry ORDER',
    withOutbox: 'ผ่าน outbox', withDual: 'แบบ dual write', read: 'อ่าน:',
    eventsCommitted: 'event ที่ commit แล้ว', inTopic: 'อยู่ใน topic', waiting: 'กำลังรอ', parkedEvents: 'ถูกพัก', lost: 'หาย',
    duplicates: 'ส่งซ้ำ', lostOrders: 'order ที่ event หาย',
    afterRetention: 'หลัง retention', deleted: 'ลบจาก topic แล้ว', unread: 'ขาดไปจาก views',
    whyDeleted: 'topic ที่ลบข้อมูลไม่ใช่แหล่งความจริง สิ่งที่ views ยังไม่ได้อ่านจะขาดไปจากทุก list คำตอบจะบอกไว้ (View-Incomplete) แต่ store ยังมีครบ จึง rebuild views จาก store ได้',
    whyOutbox: 'order กับ event ถูก commit ใน transaction เดียว relay ส่งสิ่งที่ commit แล้วจน broker ได้รับ อาจส่ง event ซ้ำ แต่ผู้อ่านรู้ได้จาก version',
    whyDual: 'บันทึก order ก่อน แล้วค่อย publish event เป็นการเขียนสองครั้งที่ไม่มีอะไรผูกกัน ถ้าพังตรงกลาง event จะหาย แต่ order บันทึกแล้ว client จึงได้คำตอบว่าสำเร็จ',
  },
});

const BUTTONS = ['relay', 'broker', 'views', 'kill', 'poison', 'delete', 'repair'];
const LOOK = 1000; // milliseconds from one look to the next
const ORDERS = 20;

let token = '';
let state = null;

const buttons = Object.fromEntries(BUTTONS.map((id) => [id, el('button', { id, onclick: () => press(id) })]));

async function press(id) {
  try {
    const answer = await fetch(`press/${id}`, { method: 'POST', headers: { 'X-Demo-Token': token } });
    if (!answer.ok) $('placed').textContent = await answer.text();
  } catch { /* the next look says that the service is away */ }
  await look();
}

// place sends orders at once, a few at a time. One that the killed process took with it gets no answer.
async function place() {
  $('place').disabled = true;
  $('placed').textContent = t('placing');
  const sent = await Promise.allSettled(Array.from({ length: ORDERS }, async (_, n) => {
    const answer = await fetch('/orders', {
      method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ buyerId: 'ada', items: [{ productId: '1111', amount: 1 + (n % 5) }] }),
    });
    if (!answer.ok) throw new Error(answer.statusText);
  }));
  const failed = sent.filter((s) => s.status === 'rejected').length;
  $('placed').textContent = t('placed', { n: ORDERS - failed }) + (failed ? ` ${t('failed', { n: failed })}` : '');
  $('place').disabled = false;
}

async function look() {
  try {
    ({ token, state } = await get('state'));
    live('live');
    show();
  } catch {
    live('away');
  }
}

function show() {
  if (!state) return;
  for (const id of BUTTONS) {
    const stopped = state.stopped[id] ?? false;
    buttons[id].textContent = t(stopped ? `${id}Back` : id);
    buttons[id].disabled = stopped && (id === 'kill' || id === 'poison');
    if (id in state.stopped) buttons[id].setAttribute('aria-pressed', stopped);
  }
  const { committed, outbox, dual, deleted } = state;
  const number = (n, bad) => el('strong', { class: bad && n > 0 ? 'bad' : '' }, n.toLocaleString(language()));
  definitions($('outbox'), [
    [t('eventsCommitted'), number(committed)], [t('inTopic'), number(outbox.published)], [t('lost'), number(outbox.lost, true)],
    [t('waiting'), number(outbox.waiting)], [t('parkedEvents'), number(outbox.parked)], [t('duplicates'), number(outbox.duplicates)],
  ]);
  definitions($('dual'), [
    [t('eventsCommitted'), number(committed)], [t('inTopic'), number(dual.published)], [t('lost'), number(dual.lost, true)],
    [t('lostOrders'), dual.orders.length ? dual.orders.flatMap((id) => [storyLink(id), ' ']) : null],
  ]);
  $('after-retention').hidden = deleted.events === 0;
  definitions($('deleted'), [
    [t('deleted'), number(deleted.events)], [t('unread'), number(deleted.unread, true)],
  ]);
  if (!same('rebuild', deleted.rebuild)) $('rebuild').replaceChildren(command(deleted.rebuild));
}

function words() {
  definitions($('buttons'), BUTTONS.map((id) => [buttons[id], t(`${id}Why`)]));
  show();
}

$('place').addEventListener('click', place);
frame(words, look, LOOK);
