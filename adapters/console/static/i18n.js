// The words of the page, in English and Thai. Names of the code (ports, adapters, events) stay as they are.
// Other pages add their own with addWords.

export const languages = [['en', 'English'], ['th', 'ไทย']];

const words = {
  en: {
    pages: 'Pages', hexagon: 'Hexagon', orders: 'Orders', map: 'Services', break: 'Break it', api: 'API', language: 'Language',
    connecting: 'connecting', live: 'live', away: 'the service does not answer; trying again',
    scope: 'This process has the roles {roles}. Steps of {missing} happen in other processes: open their console.',
    elsewhere: 'not in this process', hexagonTitle: 'The hexagon at work',
    hexagonLead: 'A command on its way, slowed down; its times are real. Choose a box for its file and contract.',
    picture: 'The hexagon: adapters outside, ports on the border, use cases and core inside', runs: 'Newest commands',
    noRuns: 'None yet. Send a command, for example with curl.', box: 'The chosen box',
    noRun: 'No command in the picture yet', refused: 'refused', event: 'event',
    countsText: 'Since the start: {commands} commands, {published} events published, {applied} updates of the views.',
    sampled: 'There is more than can be shown: 1 in {n} orders is.', outside: 'outside', adapter: 'adapter',
    port: 'port', inside: 'use cases', core: 'core', call: 'Call', after: 'After', lasted: 'Took',
    crossed: 'What crossed', batch: 'batch of {n}', message: 'message', contract: 'Contract', milliseconds: 'ms',
    seconds: 's', copy: 'copy', copied: 'copied', ordersTitle: 'Orders', filters: 'Filters', status: 'Status',
    buyer: 'Buyer', sort: 'Sort by', show: 'Show', more: 'More', all: 'all', order: 'Order', items: 'Items',
    version: 'Version', updated: 'Updated', created: 'Created', none: 'none', noOrders: 'No order fits.',
    'sort.-createdAt': 'newest', 'sort.createdAt': 'oldest', 'sort.-updatedAt': 'last changed',
    'sort.-totalAmount': 'most pieces', lagTitle: 'How far behind', relayLag: 'Events that the broker does not have',
    oldest: 'the oldest since {s} s', relayStandby: 'another process holds the lease',
    noRelay: 'no relay in this process', age: 'Views up to date as of', ago: '{s} s ago', unknown: 'unknown', incomplete: 'Events are missing',
    generation: 'Generation', views: 'Views', unreadable: 'Cannot be read', parkedTitle: 'Parked orders',
    noParked: 'No order is parked.', where: 'Waits in', from: 'From version', events: 'Events', since: 'Since',
    reason: 'Reason', repair: 'Repair, once the cause is gone',
    noAPI: 'This process does not serve the API: open the console of the process with the role api.',
    story: 'The story of order {id}', total: 'Pieces', committed: 'committed', published: 'published',
    applied: 'in the views', parked: 'parked', state: 'State', outbox: 'Outbox', readModel: 'Read model',
    upTo: 'up to version {v}', knownUpTo: 'up to version {v}, as far as is known here', waits: 'versions {list} wait',
    type: 'Event', stands: 'Where it is', incomplete: 'Older events were deleted.', steps: 'Steps in this process',
    noSteps: 'The feed has no step of this order any more.', trace: 'Trace',
    noSpans: 'No span of this order: it is older than the newest spans, or nothing is traced.',
    mapTitle: 'Map of the services', mapLead: 'Who calls whom, from the spans of the last traces.',
    noTraces: 'There are no traces: nothing is traced in this process.',
    noArrows: 'No span of one service has a parent in another one yet.', calls: 'Calls', errors: 'errors',
    p95: '95 of 100 took at most', to: 'To', caller: 'From', runbook: 'Runbook',
    'about.client': 'curl, Postman, a shop. It knows the API and nothing behind it.',
    'about.http': 'Driving adapter: a request becomes one call of a port, an error becomes a problem.',
    'about.Orders': 'Driving port: all that a client can do with orders.',
    'about.app': 'Use cases: load the order, let it decide, save it.',
    'about.core': 'The rules of an order. It imports no other room and does no I/O.',
    'about.OrderStore': 'Driven port: keeps an order and its events, in one transaction.',
    'about.store': 'The adapter behind OrderStore, Outbox, Parking and Lease.',
    'about.Outbox': 'Driven port: the log of what was committed, in order.',
    'about.relay': 'Reads the outbox and publishes: at least once, each order in its order.',
    'about.Publisher': 'Driven port: hands messages to the broker and says when it has them.',
    'about.broker': 'The adapter behind Publisher and Subscriber.',
    'about.Parking': 'Driven port: messages that the broker refuses wait here for an operator.',
    'about.Subscriber': 'Driven port: the messages of the topic, in batches.',
    'about.engine': 'Makes the read model of events: each takes effect once, in order.',
    'about.ReadModelStore': 'Driven port: rows, progress and places in one transaction.',
    'about.readmodel': 'The adapter behind ReadModelStore.',
    'about.Views': 'Driving port: what a client can ask the read model. It is lit when somebody asks for this order.',
  },
  th: {
    pages: 'หน้า', hexagon: 'Hexagon', orders: 'Orders', map: 'Services', break: 'ลองทำให้พัง', api: 'API', language: 'ภาษา',
    connecting: 'กำลังเชื่อมต่อ', live: 'เชื่อมต่อแล้ว', away: 'service ไม่ตอบ กำลังลองใหม่',
    scope: 'process นี้มี role {roles} ส่วน step ของ {missing} อยู่ใน process อื่นและมองไม่เห็นจากที่นี่ ให้เปิด console ของ process นั้น',
    elsewhere: 'ไม่ได้อยู่ใน process นี้', hexagonTitle: 'Hexagon ขณะทำงาน',
    hexagonLead: 'command วิ่งผ่านทีละกล่อง เวลาที่เห็นคือเวลาจริง แต่ภาพเล่นช้าลงให้ดูทัน เลือกกล่องเพื่อดู file และ contract',
    picture: 'Hexagon: adapter อยู่ด้านนอก port อยู่ที่ขอบ use case และ core อยู่ด้านใน', runs: 'command ล่าสุด',
    noRuns: 'ยังไม่มี ลองส่ง command ด้วย curl', box: 'กล่องที่เลือก', noRun: 'ยังไม่มี command ในภาพ', refused: 'ถูกปฏิเสธ',
    event: 'event',
    countsText: 'ตั้งแต่เริ่ม: {commands} command, publish แล้ว {published} event, อัปเดต order ใน view {applied} ครั้ง',
    sampled: 'มีมากกว่าที่แสดงได้ จึงแสดง 1 ใน {n} order', outside: 'ภายนอก', adapter: 'adapter', port: 'port',
    inside: 'use case', core: 'core', call: 'เรียก', after: 'หลังเริ่ม', lasted: 'ใช้เวลา', crossed: 'ข้อมูลที่ส่งผ่าน',
    batch: 'batch ละ {n}', message: 'message', contract: 'Contract', milliseconds: 'ms', seconds: 's', copy: 'คัดลอก',
    copied: 'คัดลอกแล้ว', ordersTitle: 'Orders', filters: 'ตัวกรอง', status: 'สถานะ', buyer: 'ผู้ซื้อ', sort: 'เรียงตาม',
    show: 'แสดง', more: 'เพิ่มเติม', all: 'ทั้งหมด', order: 'Order', items: 'รายการสินค้า', version: 'Version',
    updated: 'แก้ไขเมื่อ', created: 'สร้างเมื่อ', none: 'ไม่มี', noOrders: 'ไม่มี order ที่ตรงกับตัวกรอง',
    'sort.-createdAt': 'ใหม่สุดก่อน', 'sort.createdAt': 'เก่าสุดก่อน', 'sort.-updatedAt': 'แก้ไขล่าสุด',
    'sort.-totalAmount': 'จำนวนชิ้นมากสุด', lagTitle: 'ตามหลังอยู่เท่าไร', relayLag: 'event ที่ยังไปไม่ถึง broker',
    oldest: 'ตัวเก่าสุดค้างมา {s} วินาที', relayStandby: 'process อื่นถือ lease อยู่', noRelay: 'process นี้ไม่มี relay',
    age: 'ข้อมูลใน view เป็นปัจจุบัน ณ', ago: '{s} วินาทีที่แล้ว', unknown: 'ไม่ทราบ', incomplete: 'event ขาดหายไป', generation: 'Generation', views: 'Views',
    unreadable: 'อ่านไม่ได้', parkedTitle: 'Order ที่ถูกพัก (parked)', noParked: 'ไม่มี order ที่ถูกพัก', where: 'รออยู่ที่',
    from: 'ตั้งแต่ version', events: 'Event', since: 'ตั้งแต่', reason: 'สาเหตุ', repair: 'วิธีแก้ เมื่อแก้ต้นเหตุแล้ว',
    noAPI: 'process นี้ไม่ได้ให้บริการ API ให้เปิด console ของ process ที่มี role api', story: 'เรื่องราวของ order {id}',
    total: 'จำนวนชิ้น', committed: 'commit แล้ว', published: 'publish แล้ว', applied: 'อยู่ใน view แล้ว', parked: 'ถูกพัก',
    state: 'สถานะปัจจุบัน', outbox: 'Outbox', readModel: 'Read model', upTo: 'ถึง version {v}',
    knownUpTo: 'ถึง version {v} เท่าที่ process นี้รู้', waits: 'version {list} รออยู่', type: 'Event', stands: 'อยู่ที่ไหน',
    incomplete: 'event เก่ากว่านี้ถูกลบไปแล้ว', steps: 'Step ใน process นี้', noSteps: 'feed ไม่มี step ของ order นี้แล้ว',
    trace: 'Trace', noSpans: 'ไม่มี span ของ order นี้ อาจเก่าเกินไป หรือไม่ได้เปิด trace', mapTitle: 'แผนที่ของ service',
    mapLead: 'ใครเรียกใคร จาก span ของ trace ล่าสุด', noTraces: 'ไม่มี trace เพราะ process นี้ไม่ได้เปิด trace',
    noArrows: 'ยังไม่มี span ที่มี parent อยู่ใน service อื่น', calls: 'จำนวนครั้ง', errors: 'error',
    p95: '95 ใน 100 ครั้งใช้เวลาไม่เกิน', to: 'ไปยัง', caller: 'จาก', runbook: 'Runbook',
    'about.client': 'curl, Postman หรือหน้าร้าน รู้จักแค่ API ไม่รู้ว่าข้างหลังมีอะไร',
    'about.http': 'Driving adapter: request หนึ่งกลายเป็นการเรียก port หนึ่งครั้ง error กลายเป็น problem',
    'about.Orders': 'Driving port: ทุกอย่างที่ client ทำกับ order ได้',
    'about.app': 'Use case: โหลด order ให้ order ตัดสินใจ แล้วบันทึก',
    'about.core': 'กฎของ order ไม่ import package อื่นของ project และไม่ทำ I/O',
    'about.OrderStore': 'Driven port: เก็บ order พร้อม event ใน transaction เดียว',
    'about.store': 'Adapter ที่อยู่หลัง OrderStore, Outbox, Parking และ Lease',
    'about.Outbox': 'Driven port: log ของสิ่งที่ commit แล้ว เรียงตามลำดับ',
    'about.relay': 'อ่าน outbox แล้ว publish อย่างน้อยหนึ่งครั้ง และเรียงลำดับภายใน order เดียวกัน',
    'about.Publisher': 'Driven port: ส่ง message ให้ broker และบอกว่า broker ได้รับเมื่อไร',
    'about.broker': 'Adapter ที่อยู่หลัง Publisher และ Subscriber',
    'about.Parking': 'Driven port: message ที่ broker ปฏิเสธ รอ operator อยู่ที่นี่',
    'about.Subscriber': 'Driven port: message จาก topic มาเป็น batch',
    'about.engine': 'สร้าง read model จาก event แต่ละ event มีผลครั้งเดียวและตามลำดับ',
    'about.ReadModelStore': 'Driven port: row, progress และ place อยู่ใน transaction เดียว',
    'about.readmodel': 'Adapter ที่อยู่หลัง ReadModelStore',
    'about.Views': 'Driving port: สิ่งที่ client ถาม read model ได้ กล่องนี้ติดเมื่อมีคนถามถึง order นี้',
  },
};

const known = (id) => languages.some(([l]) => l === id);

const asked = new URLSearchParams(location.search).get('lang') ?? remembered() ?? navigator.language.slice(0, 2);
let chosen = known(asked) ? asked : 'en';
const listeners = new Set();

export const language = () => chosen;

export const onLanguage = (listener) => listeners.add(listener);

// t is a text in the chosen language, with values for its {names}.
export function t(key, values = {}) {
  return (words[chosen][key] ?? words.en[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function addWords(more) {
  for (const [id] of languages) Object.assign(words[id], more[id]);
}

// translate sets the texts and labels that the HTML asks for.
export function translate() {
  document.documentElement.lang = chosen;
  for (const e of document.querySelectorAll('[data-text]')) e.textContent = t(e.dataset.text);
  for (const e of document.querySelectorAll('[data-label]')) e.setAttribute('aria-label', t(e.dataset.label));
  listeners.forEach((listener) => listener());
}

export function chooseLanguage(id) {
  chosen = id;
  try {
    localStorage.setItem('language', id);
  } catch { /* then it holds until the page is left */ }
  translate();
}

function remembered() {
  try {
    return localStorage.getItem('language');
  } catch {
    return null;
  }
}
