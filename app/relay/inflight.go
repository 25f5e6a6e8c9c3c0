package relay

import (
	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// flow remembers the messages that are between the outbox and the broker, and answers the relay's two questions: which
// message of an order may go next, and up to where in the outbox is everything settled. It is bookkeeping only: one
// goroutine owns it, and it does no I/O.
//
// The window is a ring in outbox order, because a checkpoint promises everything before it. A lane is a queue in
// version order, because message k of an order may be sent only when k-1 is settled: were both sent at once and the
// broker refused only k-1, then k would stand in the topic without it. Different orders do not wait for each other.
type flow struct {
	window   []entry
	settled  uint64 // how many messages the settled prefix holds since the start
	accepted uint64 // how many messages were accepted since the start
	position ports.Position
	lanes    map[string]*lane
}

type entry struct {
	message  ports.Message
	position ports.Position
	done     bool
	behind   *entry // the order's next message
}

// lane is one order's queue. The message at its head stays there until it is settled.
type lane struct {
	orderID    string
	head, tail *entry
	busy       bool // something is under way for this order; nothing else is begun until it reports back
	parkedFrom int  // messages of this version and above are parked; 0: the order is not parked
	redeliver  bool // an operator wants the parked messages sent again
	backoff    *backoff.ExponentialBackOff
}

func newFlow(window int, start ports.Position) *flow {
	return &flow{window: make([]entry, window), position: start, lanes: make(map[string]*lane)}
}

// first is the oldest message that is not settled, nil when all are.
func (f *flow) first() *entry {
	if f.accepted == f.settled {
		return nil
	}
	return &f.window[f.settled%uint64(len(f.window))]
}

func (f *flow) full() bool { return f.accepted-f.settled == uint64(len(f.window)) }

// accept takes the next message of the outbox; the caller has made sure that the window is not full.
func (f *flow) accept(m ports.Message, p ports.Position) *lane {
	e := &f.window[f.accepted%uint64(len(f.window))]
	*e = entry{message: m, position: p}
	f.accepted++
	l := f.lane(m.OrderID)
	if l.head == nil {
		l.head = e
	} else {
		l.tail.behind = e
	}
	l.tail = e
	return l
}

// settle takes the message at the head of a lane off the books: the broker has it, or it is parked.
func (f *flow) settle(l *lane) {
	e := l.head
	l.head = e.behind
	e.done, e.behind = true, nil
	for first := f.first(); first != nil && first.done; first = f.first() {
		f.position = first.position
		*first = entry{} // lets go of the payload
		f.settled++
	}
}

func (f *flow) lane(orderID string) *lane {
	l, ok := f.lanes[orderID]
	if !ok {
		l = &lane{orderID: orderID}
		f.lanes[orderID] = l
	}
	return l
}

// forget drops a lane that holds nothing worth remembering.
func (f *flow) forget(l *lane) {
	if l.head == nil && !l.busy && l.parkedFrom == 0 {
		delete(f.lanes, l.orderID)
	}
}
