package readside

import (
	"fmt"
	"slices"
	"strconv"

	"hexorders/core/order"
	"hexorders/ports"
)

// batch computes the changes of one batch of messages: which take effect, which are duplicates, which have to wait. It
// does no I/O and leaves what was loaded as it is, so it can be computed again after ErrConflict.
type batch struct {
	views   []View
	decode  func(ports.Message) (order.Event, error)
	index   map[string]int // where an order stands in orders, by id
	orders  []orderState
	rows    []Rows // by view
	release []ports.EventRef

	failures                                       []failure
	applied, duplicates, buffered, foreign, forked int
}

// knownOrder is an order's progress, as it was loaded or is remembered.
type knownOrder struct {
	progress ports.Progress
	order    Order // the zero Order when State was not decoded yet
}

// orderState is an order in the course of a batch.
type orderState struct {
	knownOrder
	was     ports.Progress   // before the batch
	waiting []waitingMessage // in version order; those that are stored only when they may be needed
	changed bool
}

// waitingMessage is a buffered message: stored when it was buffered before the batch, changed when it has to be stored.
type waitingMessage struct {
	ports.BufferedMessage
	stored, changed bool
}

// failure is a message that could not be applied.
type failure struct {
	message ports.Message
	err     error
}

func newBatch(views []View, decode func(ports.Message) (order.Event, error), l *loaded) *batch {
	b := &batch{
		views: views, decode: decode, index: l.index, orders: make([]orderState, len(l.orders)), rows: make([]Rows, len(views)),
	}
	for i := range b.rows {
		b.rows[i].expected = len(l.orders)
	}
	for i, known := range l.orders {
		b.orders[i] = orderState{knownOrder: known, was: known.progress}
		if stored, ok := l.buffered[known.progress.OrderID]; ok {
			b.orders[i].await(stored)
		}
	}
	return b
}

// await takes in the stored messages that wait.
func (o *orderState) await(stored []ports.Message) {
	o.waiting = make([]waitingMessage, len(stored))
	for i, m := range stored {
		o.waiting[i] = waitingMessage{BufferedMessage: ports.BufferedMessage{Message: m}, stored: true}
	}
	o.progress.Buffered = len(stored)
}

// take applies a message, or buffers it, or skips it.
func (b *batch) take(m ports.Message) {
	if !wellFormed(m) {
		b.foreign++
		return
	}
	o := &b.orders[b.index[m.OrderID]]
	next := o.progress.Version + 1
	switch {
	case b.forks(o, m):
		b.fork(o, m)
	case m.Version < next || o.waitsFor(m):
		b.duplicates++
	case o.progress.Parked != "":
		b.buffer(o, m, "an earlier message of this order is parked")
	case m.Version > next:
		b.buffer(o, m, missing(next))
	default:
		if err := b.apply(o, m); err != nil {
			b.park(o, m, err)
			b.buffer(o, m, err.Error())
			return
		}
		b.releaseNext(o)
	}
}

// releaseNext applies the waiting messages that follow a message that was applied, as far as it goes.
func (b *batch) releaseNext(o *orderState) {
	for len(o.waiting) > 0 && o.waiting[0].Version == o.progress.Version+1 {
		next := &o.waiting[0]
		if err := b.apply(o, next.Message); err != nil {
			b.park(o, next.Message, err)
			next.Reason, next.changed = err.Error(), true
			return
		}
		if next.stored {
			b.release = append(b.release, ports.EventRef{OrderID: next.OrderID, Version: next.Version})
		} else {
			b.buffered--
		}
		o.waiting = o.waiting[1:]
		o.progress.Buffered--
	}
	if len(o.waiting) > 0 { // it may have waited for another reason before
		o.waiting[0].Reason, o.waiting[0].changed = missing(o.progress.Version+1), true
	}
}

func missing(version int) string { return fmt.Sprintf("version %d has not come", version) }

// apply makes an order's next event take effect in all views, or, after an error, in none.
func (b *batch) apply(o *orderState, m ports.Message) error {
	event, err := b.decode(m)
	if err != nil {
		return err
	}
	before, err := o.decoded()
	if err != nil {
		return err
	}
	after, err := before.after(m.OrderID, event)
	if err != nil {
		return err
	}
	for i, v := range b.views {
		v.Apply(before, after, Event{m.Type, event}, &b.rows[i])
	}
	o.order = after
	o.progress.Version, o.progress.State, o.progress.Digest = m.Version, after.document, digestOf(m)
	o.progress.Newest = max(o.progress.Newest, m.Version)
	o.changed = true
	b.applied++
	return nil
}

// decoded is the order of the progress.
func (o *orderState) decoded() (Order, error) {
	if o.order.Version != o.progress.Version {
		decoded, err := decodeOrder(o.progress.State)
		if err != nil {
			return Order{}, fmt.Errorf("read the state of version %d: %w", o.progress.Version, err)
		}
		if decoded.Version != o.progress.Version {
			return Order{}, fmt.Errorf("the state of version %d is that of version %d", o.progress.Version, decoded.Version)
		}
		o.order = decoded
	}
	return o.order, nil
}

func (b *batch) buffer(o *orderState, m ports.Message, reason string) {
	at, _ := o.find(m)
	o.waiting = slices.Insert(o.waiting, at,
		waitingMessage{BufferedMessage: ports.BufferedMessage{Message: m, Reason: reason}, changed: true})
	o.progress.Buffered++
	o.progress.Newest = max(o.progress.Newest, m.Version)
	o.changed = true
	b.buffered++
}

func (b *batch) park(o *orderState, m ports.Message, err error) {
	o.progress.Parked = err.Error()
	o.changed = true
	b.failures = append(b.failures, failure{m, err})
}

// change is the outcome, but for the places.
func (b *batch) change() ports.Change {
	c := ports.Change{Release: b.release, Rows: make(map[string]ports.RowChanges, len(b.views))}
	c.Progress = make([]ports.ProgressChange, 0, len(b.orders))
	for i := range b.orders {
		o := &b.orders[i]
		if !o.changed {
			continue
		}
		c.Progress = append(c.Progress,
			ports.ProgressChange{Progress: o.progress, WasVersion: o.was.Version, WasBuffered: o.was.Buffered})
		for _, m := range o.waiting {
			if m.changed {
				c.Buffer = append(c.Buffer, m.BufferedMessage)
			}
		}
	}
	for i, v := range b.views {
		if rows, any := b.rows[i].collected(); any {
			c.Rows[v.Name] = rows
		}
	}
	return c
}

func (o *orderState) waitsFor(m ports.Message) bool {
	_, found := o.find(m)
	return found
}

func (o *orderState) find(m ports.Message) (int, bool) {
	return slices.BinarySearchFunc(o.waiting, m.Version, func(w waitingMessage, version int) int { return w.Version - version })
}

// wellFormed tells whether a message is one of an order: its id and its version must name the same event.
func wellFormed(m ports.Message) bool {
	n := len(m.OrderID)
	return n > 0 && m.Version > 0 && len(m.ID) > n && m.ID[:n] == m.OrderID && m.ID[n] == '/' && m.ID[n+1:] == strconv.Itoa(m.Version)
}
