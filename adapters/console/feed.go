package console

import (
	"encoding/json"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Step is one call of a port, or one request, as the pages show it.
type Step struct {
	Port    string          `json:"port"`           // HTTP, or the name of the port: "OrderStore"
	Method  string          `json:"method"`         // "Save"; of a request its method and path
	Type    string          `json:"type,omitempty"` // of the event that the message is
	Order   string          `json:"order"`
	Version int             `json:"version"`           // of the order once this has happened; 0: unknown, or refused
	Start   int64           `json:"start"`             // Unix microseconds
	Took    int64           `json:"took"`              // microseconds
	Batch   int             `json:"batch,omitempty"`   // how many messages or orders shared the call, when it was a batch
	Message json.RawMessage `json:"message,omitempty"` // what crossed the port
	Error   string          `json:"error,omitempty"`
}

// The feed is bounded in every direction: it drops the oldest step, and above a rate it leaves out whole orders.
const (
	ringSize = 2048
	// budget is how many steps a window takes. An order has about eight, so up to a hundred orders a second are all
	// shown; that is more than an eye can follow. One step costs some microseconds.
	budget   = 200
	windowIs = 250 * time.Millisecond
)

// Feed is what happened in this process lately. The decorators write into it and never wait for a reader; pages read it.
// Above the budget it shows one in 2, 4, 8, ... orders, but of these every step, in every process the same ones.
type Feed struct {
	window atomic.Pointer[window]
	counts [len(Ports)]count

	mu   sync.Mutex
	ring [ringSize]kept
	last int64 // the number of the newest step; 0: none yet

	closed chan struct{}
	close  func()
}

type kept struct {
	order string
	text  []byte // the step as JSON
}

type count struct{ calls, failed atomic.Int64 }

// window is a short time in which the same orders are shown.
type window struct {
	until int64  // Unix nanoseconds
	mask  uint32 // an order is shown when its hash has none of these bits
	seen  atomic.Int64
	added atomic.Int64
}

// Ports are where steps happen, in the order in which a command gets there.
var Ports = [...]string{
	"HTTP", "Orders", "OrderStore", "Outbox", "Publisher", "Parking", "Subscriber", "ReadModelStore", "Views",
}

const (
	atHTTP = iota
	atOrders
	atOrderStore
	atOutbox
	atPublisher
	atParking
	atSubscriber
	atReadModel
	atViews
)

// NewFeed makes an empty feed.
func NewFeed() *Feed {
	f := &Feed{closed: make(chan struct{})}
	f.close = sync.OnceFunc(func() { close(f.closed) })
	f.window.Store(&window{})
	return f
}

// Close ends all streams of the feed at once.
func (f *Feed) Close() { f.close() }

// shows counts a call and says whether its step is wanted. It costs less than 0.1 µs and never waits.
func (f *Feed) shows(port int, order string, now time.Time) bool {
	f.counts[port].calls.Add(1)
	w := f.window.Load()
	if now.UnixNano() > w.until {
		w = f.nextWindow(w, now)
	}
	w.seen.Add(1)
	return hash(order)&w.mask == 0 && w.added.Load() < 4*budget
}

// nextWindow shows so many orders as would have fitted into the budget of the last window.
func (f *Feed) nextWindow(last *window, now time.Time) *window {
	next := &window{until: now.Add(windowIs).UnixNano()}
	if now.UnixNano() < last.until+int64(windowIs) { // else nothing happened for a while
		next.mask = 1<<bits.Len64(uint64(last.seen.Load()/(budget+1))) - 1
	}
	if !f.window.CompareAndSwap(last, next) {
		return f.window.Load()
	}
	return next
}

// oneIn is the share of orders that is shown now: 1 for all.
func (f *Feed) oneIn() int {
	w := f.window.Load()
	if time.Now().UnixNano() > w.until+int64(windowIs) {
		return 1
	}
	return int(w.mask) + 1
}

// hash spreads order ids; processes apart agree on it (FNV-1a).
func hash(order string) uint32 {
	h := uint32(2166136261)
	for i := range len(order) {
		h = (h ^ uint32(order[i])) * 16777619
	}
	return h ^ h>>16
}

// step reports a call that has ended.
func (f *Feed) step(port int, s Step, start time.Time, err error) {
	s.Port, s.Start, s.Took = Ports[port], start.UnixMicro(), time.Since(start).Microseconds()
	if err != nil {
		s.Error = err.Error()
		f.counts[port].failed.Add(1)
	}
	f.window.Load().added.Add(1)
	text, err := json.Marshal(s)
	if err != nil {
		return // its Message is no JSON; wire has made one, so this does not happen
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.ring[f.last%ringSize] = kept{s.Order, text}
}

// since returns the steps after a number, at most the newest ones, and the number of the last. An order that is not ""
// leaves out all others.
func (f *Feed) since(number int64, most int, order string) (steps [][]byte, last int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := max(number+1, f.last-int64(min(most, ringSize))+1, 1); n <= f.last; n++ {
		if k := f.ring[n%ringSize]; order == "" || k.order == order {
			steps = append(steps, k.text)
		}
	}
	return steps, f.last
}

// longestMessage bounds the memory of the ring.
const longestMessage = 4 << 10

// wire is a message as the pages show it. One that is no JSON, or too long, is a text.
func wire(payload []byte) json.RawMessage {
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) <= longestMessage && json.Valid(payload):
		return payload
	}
	rest := ""
	if len(payload) > longestMessage {
		payload, rest = payload[:longestMessage], "…"
	}
	text, _ := json.Marshal(string(payload) + rest) // a string always encodes
	return text
}
