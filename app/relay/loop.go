package relay

import (
	"context"
	"errors"
	"time"

	"hexorders/ports"
)

type delivery struct {
	message  ports.Message
	position ports.Position
}

// result is the answer to what a busy lane waits for.
type result struct {
	lane *lane
	of   operation
	err  error
}

type operation int

const (
	publishing operation = iota
	parking
	waiting // the pause after a failed try
	redelivering
)

// read follows the outbox. A broken tail is resumed after the last message that the loop was given.
func (t *term) read(ctx context.Context, after ports.Position) error {
	waits := newBackoff(t.MaxBackoff)
	for {
		err := t.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
			select {
			case t.incoming <- delivery{m, p}:
				after = p
				waits.Reset()
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if ctx.Err() != nil {
			return nil
		}
		wait := waits.NextBackOff()
		t.Logger.Warn("outbox cannot be read; trying again", "wait", wait, "err", err)
		if pause(ctx, wait) != nil {
			return nil
		}
	}
}

// loop relays until the office ends. After stop it takes no new message and ends once the window is empty: a message
// left in it would be a gap, and all that the broker took behind the gap would be sent again at the next start.
func (t *term) loop(ctx context.Context, stop <-chan struct{}) error {
	checkpoints := time.NewTicker(t.CheckpointEvery)
	defer checkpoints.Stop()
	retries := time.NewTicker(t.RetryEvery)
	defer retries.Stop()
	for stop != nil || !t.idle() {
		if time.Since(*t.renewed.Load()) > t.LeaseTTL {
			return errLeaseRanOut // a process that was asleep finds out here before it repeats what it slept through
		}
		incoming := t.incoming
		if stop == nil || t.flow.full() {
			incoming = nil // the reader waits, and with it the store: this is the bound on memory
		}
		select {
		case d := <-incoming:
			l := t.flow.accept(d.message, d.position)
			t.window(t.flow) // now, because next may wait for the broker
			t.next(ctx, l)
		case r := <-t.results:
			t.react(ctx, r)
		case <-checkpoints.C:
			t.save(ctx)
		case s := <-t.saved:
			if err := t.onSaved(s); err != nil {
				return err
			}
		case <-retries.C:
			t.lookForRetry(ctx)
		case orderID := <-t.found:
			t.onRetry(ctx, orderID)
		case <-stop:
			stop = nil
		case <-ctx.Done():
			if open := t.flow.accepted - t.flow.settled; stop == nil && open > 0 {
				t.Logger.Warn("relay stops before the broker has everything; what is open will be sent again at the next start",
					"messages", open)
			}
			return nil
		}
	}
	return nil
}

// idle tells whether everything that was accepted is settled.
func (t *term) idle() bool { return t.flow.accepted == t.flow.settled && t.underWay == 0 }

// next begins whatever a lane needs most, unless it is busy.
func (t *term) next(ctx context.Context, l *lane) {
	switch {
	case l.busy:
	case l.redeliver:
		l.redeliver, l.busy = false, true
		t.startAside(l, redelivering, func() error { return t.redeliver(ctx, l.orderID) })
	case l.head == nil:
		t.flow.forget(l)
	case l.parkedFrom > 0 && l.head.message.Version >= l.parkedFrom:
		t.park(ctx, l, "an earlier message of this order is parked")
	default:
		l.busy = true
		t.underWay++
		t.Publisher.Publish(ctx, l.head.message, func(err error) {
			t.answered(err)
			t.results <- result{l, publishing, err} // never waits: a lane has one result at a time
		})
	}
}

// react takes in how something ended, then lets the lane go on.
func (t *term) react(ctx context.Context, r result) {
	l := r.lane
	l.busy = false
	if r.of != waiting {
		t.underWay--
	}
	switch {
	case r.of == waiting:
	case r.of == redelivering:
		t.looking = false
		if r.err == nil {
			l.parkedFrom = 0
		}
	case r.err == nil:
		t.settled(l, r.of)
	case r.of == publishing && errors.Is(r.err, ports.ErrRefused):
		m := l.head.message
		t.Logger.Error("the broker refuses a message for good; its order is parked until `hexorders outbox retry "+m.OrderID+"`",
			"order", m.OrderID, "version", m.Version, "message", m.ID, "err", r.err)
		l.parkedFrom = m.Version
		t.park(ctx, l, r.err.Error())
		return
	case r.of == publishing && ctx.Err() == nil:
		t.tryAgain(ctx, l, r.err)
		return
	default:
		return // the term is over; what is not settled stays in the outbox
	}
	t.next(ctx, l)
}

func (t *term) settled(l *lane, how operation) {
	l.backoff = nil
	t.flow.settle(l)
	t.window(t.flow)
	if how == publishing && t.outage {
		t.outage = false
		t.Logger.Info("the broker takes messages again")
	}
}

func (t *term) tryAgain(ctx context.Context, l *lane, err error) {
	if !t.outage {
		t.outage = true
		t.Logger.Warn("the broker does not take messages; trying again until it does",
			"order", l.orderID, "message", l.head.message.ID, "err", err)
	}
	if l.backoff == nil {
		l.backoff = newBackoff(t.MaxBackoff)
	}
	l.busy = true
	wait := l.backoff.NextBackOff()
	t.aside.Go(func() {
		if pause(ctx, wait) == nil {
			t.results <- result{l, waiting, nil}
		}
	})
}

func (t *term) startAside(l *lane, of operation, call func() error) {
	t.underWay++
	t.aside.Go(func() { t.results <- result{l, of, call()} })
}
