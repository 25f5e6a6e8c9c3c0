package app

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"hexorders/core/order"
	"hexorders/ports"
)

// work is what messages make of what is known of their orders: a change in the making. Here are the rules of the
// reading side, and no I/O, so that it can be done again from the start whenever its Commit fails.
type work struct {
	view     ports.View
	decode   func(ports.Message) (order.Event, error)
	orders   map[string]*standing
	touched  []*standing     // those that have changed
	inInbox  map[string]bool // by message id
	rows     ports.Change    // Received, Release and the rows, as they come about
	buyers   map[string]int  // where a buyer's activity stands in rows
	failures []failure

	applied, repeats, held, foreign int
}

// standing is where an order stands in the course of the work.
type standing struct {
	mark    ports.Mark
	summary ports.Summary
	was     ports.Mark // before the work
	waiting []heldBack // in version order; those that are held already only when they may be needed
	touched bool
}

// heldBack is a message that waits: stored when it is held already, and fresh when there is something to be stored.
type heldBack struct {
	ports.HeldMessage
	stored, fresh bool
}

// failure is a message that could not be applied.
type failure struct {
	message ports.Message
	err     error
}

// workOut reads what is known of the orders and does the work. Messages that cannot be applied are tried a few times,
// all of the batch together, so that many of them cost no more time than one.
func (c *consumer) workOut(ctx context.Context, messages []ports.Message, careful bool) (*work, error) {
	waits := newBackoff(c.MaxBackoff)
	waits.InitialInterval = c.TryAgain
	for try := 1; ; try++ {
		w, err := c.load(ctx, messages, careful)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			w.take(m)
		}
		if len(w.failures) == 0 || try >= c.Tries {
			return w, nil
		}
		if err := pause(ctx, waits.NextBackOff()); err != nil {
			return nil, err
		}
	}
}

// load reads what has to be known of the messages' orders. An order that begins with these messages, as nearly all that
// are not remembered do, is believed to be new without asking, unless careful: if it is not, Commit will not have it.
func (c *consumer) load(ctx context.Context, messages []ports.Message, careful bool) (*work, error) {
	w := newWork(c.View, c.Decode, len(messages))
	var unknown []string
	for _, m := range messages {
		if _, ok := w.orders[m.OrderID]; ok || !wellFormed(m) {
			continue
		}
		k, remembered := c.orders.Get(m.OrderID)
		w.know(m.OrderID, k)
		if !remembered && (careful || m.Version > 1) {
			unknown = append(unknown, m.OrderID)
		}
	}
	if len(unknown) > 0 {
		marks, summaries, err := c.Inbox.Load(ctx, c.generation, unknown)
		if err != nil {
			return nil, err
		}
		for _, id := range unknown {
			w.know(id, known{marks[id], summaries[id]})
		}
	}
	return w, c.loadWaiting(ctx, w, messages)
}

// loadWaiting reads what is kept back of the orders that have such messages: the messages themselves when they may take
// effect now, and otherwise, of an order that is parked and may have very many, only which of the new ones are among them.
func (c *consumer) loadWaiting(ctx context.Context, w *work, messages []ports.Message) error {
	var ids []string
	for _, m := range messages {
		o := w.orders[m.OrderID]
		switch {
		case o == nil || o.mark.Held == 0:
		case o.mark.Parked != "":
			ids = append(ids, m.ID)
		case o.waiting == nil:
			held, err := c.Inbox.Held(ctx, c.generation, m.OrderID)
			if err != nil {
				return err
			}
			o.await(held)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var err error
	w.inInbox, err = c.Inbox.Received(ctx, c.generation, ids)
	return err
}

func newWork(view ports.View, decode func(ports.Message) (order.Event, error), messages int) *work {
	return &work{view: view, decode: decode, orders: make(map[string]*standing, messages), buyers: make(map[string]int)}
}

func (w *work) know(orderID string, k known) {
	k.mark.OrderID = orderID
	w.orders[orderID] = &standing{mark: k.mark, was: k.mark, summary: k.summary}
}

// await takes in the messages of an order that are held.
func (o *standing) await(held []ports.Message) {
	o.waiting = make([]heldBack, len(held))
	for i, m := range held {
		o.waiting[i] = heldBack{HeldMessage: ports.HeldMessage{Message: m}, stored: true}
	}
	o.mark.Held = len(held)
}

// take lets a message take effect, or holds it, or leaves it out.
func (w *work) take(m ports.Message) {
	o := w.orders[m.OrderID]
	switch {
	case !wellFormed(m):
		w.foreign++
	case m.Version <= o.mark.Version || w.inInbox[m.ID] || o.awaits(m):
		w.repeats++
	case o.mark.Parked != "" && m.Version == o.mark.Version+1: // the one that failed, after the inbox has forgotten it
		w.hold(o, m, o.mark.Parked)
	case o.mark.Parked != "":
		w.hold(o, m, "an earlier message of this order is parked")
	case m.Version > o.mark.Version+1:
		w.hold(o, m, fmt.Sprintf("version %d has not come", o.mark.Version+1))
	default:
		if err := w.apply(o, m); err != nil {
			w.park(o, m, err)
			w.hold(o, m, err.Error())
			return
		}
		w.rows.Received = append(w.rows.Received, m.ID)
		w.release(o)
	}
}

// release lets what waits for a message that has taken effect take effect too, as far as it goes.
func (w *work) release(o *standing) {
	for len(o.waiting) > 0 && o.mark.Parked == "" {
		next := o.waiting[0]
		if next.Version != o.mark.Version+1 {
			return
		}
		if err := w.apply(o, next.Message); err != nil {
			w.park(o, next.Message, err)
			o.waiting[0].Reason, o.waiting[0].fresh = err.Error(), true
			return
		}
		o.waiting = o.waiting[1:]
		o.mark.Held--
		if !next.stored {
			w.held--
		} else {
			w.rows.Release = append(w.rows.Release, next.ID)
		}
	}
}

// apply lets an order's next event take effect, all of it or, after an error, nothing.
func (w *work) apply(o *standing, m ports.Message) error {
	event, err := w.decode(m)
	if err != nil {
		return err
	}
	if _, created := event.(order.Created); created != (m.Version == 1) {
		return fmt.Errorf("event %d of an order cannot be %T", m.Version, event)
	}
	switch w.view {
	case ports.OrderSummary:
		summary, err := summarize(o.summary, m, event)
		if err != nil {
			return err
		}
		o.summary = summary
	case ports.BuyerActivity:
		mark, change, err := countOrder(o.mark, event)
		if err != nil {
			return err
		}
		o.mark = mark
		w.addActivity(change)
	case ports.OrderTimeline:
		entry, err := tell(m, event)
		if err != nil {
			return err
		}
		w.rows.Timeline = append(w.rows.Timeline, entry)
	default:
		return fmt.Errorf("there is no view %q", w.view)
	}
	o.mark.Version = m.Version
	w.touch(o)
	w.applied++
	return nil
}

func (w *work) addActivity(change ports.ActivityChange) {
	i, ok := w.buyers[change.Buyer]
	if !ok {
		w.buyers[change.Buyer] = len(w.rows.Activity)
		w.rows.Activity = append(w.rows.Activity, change)
		return
	}
	sum := &w.rows.Activity[i]
	sum.Pending += change.Pending
	sum.Submitted += change.Submitted
	sum.Paid += change.Paid
	sum.Cancelled += change.Cancelled
	sum.LastAt = later(change.LastAt, sum.LastAt)
}

func (w *work) hold(o *standing, m ports.Message, reason string) {
	at, _ := o.find(m)
	o.waiting = slices.Insert(o.waiting, at, heldBack{HeldMessage: ports.HeldMessage{Message: m, Reason: reason}, fresh: true})
	o.mark.Held++
	w.held++
	w.rows.Received = append(w.rows.Received, m.ID)
	w.touch(o)
}

func (w *work) park(o *standing, m ports.Message, err error) {
	o.mark.Parked = err.Error()
	w.failures = append(w.failures, failure{m, err})
	w.touch(o)
}

func (w *work) touch(o *standing) {
	if !o.touched {
		o.touched = true
		w.touched = append(w.touched, o)
	}
}

// change is what the work comes to, but for the positions.
func (w *work) change() ports.Change {
	c := w.rows
	c.Marks = make([]ports.MarkChange, 0, len(w.touched))
	if w.view == ports.OrderSummary {
		c.Summaries = make([]ports.Summary, 0, len(w.touched))
	}
	for _, o := range w.touched {
		c.Marks = append(c.Marks, ports.MarkChange{Mark: o.mark, Was: o.was.Version, WasHeld: o.was.Held})
		for _, m := range o.waiting {
			if m.fresh {
				c.Hold = append(c.Hold, m.HeldMessage)
			}
		}
		if w.view == ports.OrderSummary && o.mark.Version > o.was.Version {
			c.Summaries = append(c.Summaries, o.summary)
		}
	}
	return c
}

func (o *standing) awaits(m ports.Message) bool {
	_, found := o.find(m)
	return found
}

func (o *standing) find(m ports.Message) (int, bool) {
	return slices.BinarySearchFunc(o.waiting, m.Version, func(w heldBack, version int) int { return w.Version - version })
}

// wellFormed tells whether a message is one of an order's: by its id the inbox knows it, by its version the mark does,
// and both must mean the same.
func wellFormed(m ports.Message) bool {
	n := len(m.OrderID)
	return n > 0 && m.Version > 0 && len(m.ID) > n && m.ID[:n] == m.OrderID && m.ID[n] == '/' && m.ID[n+1:] == strconv.Itoa(m.Version)
}
