package relay

import (
	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// inflight holds the messages between the outbox and the broker and answers two questions: which message of an order
// may go next, and up to which position of the outbox every message is done. A message is done when the broker has it
// or when it is parked. inflight does no I/O, and one goroutine owns it.
//
// The ring is in outbox order, because a checkpoint covers everything before it. An orderQueue is in version order,
// because message k of an order may be sent only when k-1 is done: if both were sent at once and the broker refused
// only k-1, then k would stand in the topic without it. Different orders do not wait for each other.
type inflight struct {
	ring     []entry
	added    uint64         // messages added since the start
	done     uint64         // of these, the ones up to doneUpTo; both count on, and index the ring modulo its length
	doneUpTo ports.Position // every message up to here is done
	queues   map[string]*orderQueue
}

type entry struct {
	message  ports.Message
	position ports.Position
	done     bool
	next     *entry // the order's next message
}

// orderQueue holds the messages of one order. Its head stays there until it is done.
type orderQueue struct {
	orderID    string
	head, tail *entry
	busy       bool // a call or a pause is under way for this order; nothing else begins until it reports back
	parkedFrom int  // messages of this version and above are parked; 0: the order is not parked
	redeliver  bool // an operator sends the parked messages again
	backoff    *backoff.ExponentialBackOff
}

func newInflight(size int, start ports.Position) *inflight {
	return &inflight{ring: make([]entry, size), doneUpTo: start, queues: make(map[string]*orderQueue)}
}

func (f *inflight) len() int { return int(f.added - f.done) }

func (f *inflight) full() bool { return f.len() == len(f.ring) }

// oldest is the first message in outbox order that is not done, nil when all are.
func (f *inflight) oldest() *entry {
	if f.len() == 0 {
		return nil
	}
	return &f.ring[f.done%uint64(len(f.ring))]
}

// add appends the next message of the outbox; the caller has checked that there is room.
func (f *inflight) add(m ports.Message, p ports.Position) *orderQueue {
	e := &f.ring[f.added%uint64(len(f.ring))]
	*e = entry{message: m, position: p}
	f.added++
	q := f.queue(m.OrderID)
	if q.head == nil {
		q.head = e
	} else {
		q.tail.next = e
	}
	q.tail = e
	return q
}

// markDone removes the head of a queue, and moves doneUpTo as far as messages are done without a gap.
func (f *inflight) markDone(q *orderQueue) {
	e := q.head
	q.head = e.next
	e.done, e.next = true, nil
	for oldest := f.oldest(); oldest != nil && oldest.done; oldest = f.oldest() {
		f.doneUpTo = oldest.position
		*oldest = entry{} // releases the payload
		f.done++
	}
}

func (f *inflight) queue(orderID string) *orderQueue {
	q, ok := f.queues[orderID]
	if !ok {
		q = &orderQueue{orderID: orderID}
		f.queues[orderID] = q
	}
	return q
}

// drop deletes a queue that is empty and not parked, so that the map holds only orders in flight.
func (f *inflight) drop(q *orderQueue) {
	if q.head == nil && !q.busy && q.parkedFrom == 0 {
		delete(f.queues, q.orderID)
	}
}
