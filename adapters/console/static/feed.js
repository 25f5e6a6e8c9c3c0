// The stream of steps. It tells everybody who listens, and comes back by itself, also after a stop of the service.

const listeners = { steps: new Set(), counts: new Set(), live: new Set() };

export const on = (event, listener) => listeners[event].add(listener);

const tell = (event, data) => listeners[event].forEach((listener) => listener(data));

let last = '';
let pause = 500;
let source = null;
let waiting = 0;

// connect opens the stream, and closes it while nobody sees the page: a browser has six connections to a service, and
// the service twenty streams.
export function connect() {
  document.addEventListener('visibilitychange', () => (document.hidden ? disconnect() : source ?? open()));
  if (!document.hidden) open();
}

function disconnect() {
  clearTimeout(waiting);
  source?.close();
  source = null;
}

function open() {
  disconnect();
  // A stream that the browser opens again by itself says where it was; one that we open cannot, so its address does.
  source = new EventSource(last ? `feed?after=${encodeURIComponent(last)}` : 'feed');
  source.onopen = () => {
    pause = 500;
    tell('live', 'live');
  };
  source.addEventListener('steps', (e) => {
    last = e.lastEventId;
    tell('steps', JSON.parse(e.data));
  });
  source.addEventListener('counts', (e) => tell('counts', JSON.parse(e.data)));
  source.addEventListener('end', again);
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) again(); // it was refused; otherwise the browser tries again
    else tell('live', 'away');
  };
}

function again() {
  disconnect();
  tell('live', 'away');
  waiting = setTimeout(open, pause);
  pause = Math.min(pause * 2, 5000);
}
