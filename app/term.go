package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hexorders/ports"
)

// term is a relay's time in office, from taking the lease to losing it. One goroutine, loop, owns the flow and decides
// everything; whatever waits (the outbox, the broker, the store) does so elsewhere and reports back to it.
type term struct {
	*Relay
	number   int64
	flow     *flow
	incoming chan delivery
	results  chan result
	found    chan string // an order that an operator wants sent again
	saved    chan checkpoint
	aside    sync.WaitGroup            // goroutines that the loop started for a single slow call
	renewed  atomic.Pointer[time.Time] // when the last request that won the lease was sent

	underWay int            // what lanes wait for, pauses aside; each will report back once
	last     ports.Position // of the last checkpoint
	saving   bool           // a checkpoint is being made
	looking  bool           // the store is being asked for parked orders to send again, or one is being sent
	outage   bool           // the broker's last answer was that it cannot
}

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

type checkpoint struct {
	position ports.Position
	err      error
}

// serve relays until ctx ends or the lease is lost, which the error says. It returns when everything it started has
// ended; only a stop that runs out of time leaves messages with the publisher.
func (r *Relay) serve(ctx context.Context, number int64, began time.Time) error {
	t := &term{
		Relay:    r,
		number:   number,
		incoming: make(chan delivery, 64),       // lets the reader run ahead while the loop is busy; no more than that
		results:  make(chan result, r.Window+1), // a result a message and one redelivery: reporting never waits
		found:    make(chan string, 1),
		saved:    make(chan checkpoint, 1),
	}
	t.renewed.Store(&began)
	// The end of ctx ends the reading. The office lasts until what was read is settled, up to DrainTimeout: the lease is
	// kept meanwhile.
	office, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(t.DrainTimeout, leave) })()
	work, inOffice := errgroup.WithContext(office)
	work.Go(func() error { return t.keepLease(inOffice) })
	work.Go(func() error {
		defer leave()
		reading, stopReading := context.WithCancel(inOffice)
		defer stopReading()
		defer context.AfterFunc(ctx, stopReading)()
		if err := t.begin(reading); err != nil {
			return nil
		}
		start := t.last
		work.Go(func() error { return t.read(reading, start) })
		work.Go(func() error { return t.trim(reading) })
		return t.loop(inOffice, ctx.Done())
	})
	err := work.Wait()
	t.close(ctx)
	return err
}

// begin finds out where the last term left off.
func (t *term) begin(ctx context.Context) error {
	if err := t.persist(ctx, "read the checkpoint", func(ctx context.Context) (err error) {
		t.last, err = t.Outbox.Position(ctx)
		return err
	}); err != nil {
		return err
	}
	var parked []ports.ParkedOrder
	if err := t.persist(ctx, "read the parked orders", func(ctx context.Context) (err error) {
		parked, err = t.Parking.Parked(ctx)
		return err
	}); err != nil {
		return err
	}
	t.flow = newFlow(t.Window, t.last)
	t.window(t.flow)
	t.parked(parked)
	for _, p := range parked {
		t.flow.lane(p.OrderID).parkedFrom = p.First
	}
	return nil
}

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

var errLeaseRanOut = errors.New("the lease ran out before it was renewed")

// keepLease renews until ctx ends or the lease is lost, which the error says.
func (t *term) keepLease(ctx context.Context) error {
	for {
		if err := pause(ctx, t.LeaseTTL/3); err != nil {
			return nil
		}
		// A renewal that hangs must not outlive the lease.
		attempt, cancel := context.WithTimeout(ctx, t.LeaseTTL/3)
		sent := time.Now()
		number, err := t.Lease.Acquire(attempt, t.Owner, t.LeaseTTL)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ports.ErrLeaseHeld):
			return err
		case err == nil && number != t.number:
			return fmt.Errorf("term %d began meanwhile: %w", number, ports.ErrFenced)
		case err == nil:
			t.renewed.Store(&sent)
		case time.Since(*t.renewed.Load()) > t.LeaseTTL:
			return fmt.Errorf("%w: %w", errLeaseRanOut, err)
		}
	}
}

// trim deletes messages that are older than the retention, aside from the loop and as long as it takes. Whether they are
// published the outbox knows from the checkpoint, so a term that is over can do no harm.
func (t *term) trim(ctx context.Context) error {
	if t.Trimmer == nil || t.Retention <= 0 {
		return nil
	}
	for pause(ctx, t.TrimEvery) == nil {
		deleted, err := t.Trimmer.Trim(ctx, time.Now().Add(-t.Retention))
		if deleted > 0 {
			t.Logger.Debug("old messages were deleted from the outbox", "messages", deleted, "olderThan", t.Retention)
		}
		if err != nil && ctx.Err() == nil {
			t.Logger.Warn("old messages could not be deleted from the outbox; trying again", "err", err)
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

// park moves the head of a lane out of the way, and does not give up: until it is parked it holds the checkpoint back.
func (t *term) park(ctx context.Context, l *lane, reason string) {
	l.busy = true
	m := l.head.message
	t.startAside(l, parking, func() error {
		return t.persist(ctx, "park message "+m.ID, func(ctx context.Context) error {
			return t.Parking.Park(ctx, m, reason)
		})
	})
}

func (t *term) startAside(l *lane, of operation, call func() error) {
	t.underWay++
	t.aside.Go(func() { t.results <- result{l, of, call()} })
}

// lookForRetry asks the store whether an operator has sent a parked order on its way; one order at a time.
func (t *term) lookForRetry(ctx context.Context) {
	if t.looking {
		return
	}
	t.looking = true
	t.aside.Go(func() {
		parked, err := t.Parking.Parked(ctx)
		if err != nil && ctx.Err() == nil {
			t.Logger.Warn("relay could not look for parked orders to send again", "err", err)
		}
		if err == nil {
			t.parked(parked)
		}
		for _, p := range parked {
			if p.Retry {
				t.found <- p.OrderID
				return
			}
		}
		t.found <- ""
	})
}

func (t *term) onRetry(ctx context.Context, orderID string) {
	if orderID == "" {
		t.looking = false
		return
	}
	l := t.flow.lane(orderID)
	if l.parkedFrom == 0 {
		l.parkedFrom = 1 // parked by another relay: keep later messages behind the parked ones
	}
	l.redeliver = true
	t.next(ctx, l)
}

// redeliver publishes an order's parked messages one after the other. Its lane is busy meanwhile, so that newer
// messages of the order wait behind them. nil means that none is parked any more.
func (t *term) redeliver(ctx context.Context, orderID string) error {
	var messages []ports.Message
	if err := t.persist(ctx, "read parked messages", func(ctx context.Context) (err error) {
		messages, err = t.Parking.Messages(ctx, orderID)
		return err
	}); err != nil {
		return err
	}
	for _, m := range messages {
		err := t.persistUnlessRefused(ctx, m)
		if errors.Is(err, ports.ErrRefused) {
			t.Logger.Error("the broker refuses a parked message again", "order", orderID, "version", m.Version, "message", m.ID, "err", err)
			if failed := t.Parking.Refused(ctx, orderID, err.Error()); failed != nil {
				return fmt.Errorf("keep order %s parked: %w", orderID, failed)
			}
		}
		if err != nil {
			return err
		}
		t.redelivered.Add(1)
		if err := t.persist(ctx, "forget parked message "+m.ID, func(ctx context.Context) error {
			return t.Parking.Unpark(ctx, m)
		}); err != nil {
			return err
		}
	}
	t.Logger.Info("a parked order has been sent again", "order", orderID, "messages", len(messages))
	return nil
}

// persistUnlessRefused publishes a message and waits for the broker, as often as it takes.
func (t *term) persistUnlessRefused(ctx context.Context, m ports.Message) (refused error) {
	err := t.persist(ctx, "publish parked message "+m.ID, func(ctx context.Context) error {
		answer := make(chan error, 1)
		t.Publisher.Publish(ctx, m, func(err error) {
			t.answered(err)
			answer <- err
		})
		select {
		case err := <-answer:
			if errors.Is(err, ports.ErrRefused) {
				refused = err
				return nil
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return err
	}
	return refused
}

// save makes a checkpoint aside, one at a time, of everything settled so far. The end of the term does not break it off,
// for half a second: what is broken off may still reach the store, after the term's last checkpoint, and take that back.
func (t *term) save(ctx context.Context) {
	position := t.flow.position
	if t.saving || position == t.last {
		return
	}
	t.saving = true
	t.aside.Go(func() {
		steady, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(lastCheckpointTimeout/2, cancel) })()
		t.saved <- checkpoint{position, t.Outbox.Checkpoint(steady, t.number, position)}
	})
}

// lastCheckpointTimeout is for the checkpoint at the end of the term; half of it for one that is under way then.
const lastCheckpointTimeout = time.Second

func (t *term) onSaved(s checkpoint) error {
	t.saving = false
	switch {
	case s.err == nil:
		t.last = s.position
	case errors.Is(s.err, ports.ErrFenced):
		return s.err
	case !errors.Is(s.err, context.Canceled):
		t.Logger.Warn("relay could not save its checkpoint; trying again", "err", s.err)
	}
	return nil
}

// close waits for the broker's answers to what it was given before the lease was lost, because a new term in this
// process must not run beside this one's messages; then it makes a last checkpoint. The end of ctx ends the wait: a stop
// has had its time in loop.
func (t *term) close(ctx context.Context) {
	for t.underWay > 0 && ctx.Err() == nil {
		select {
		case r := <-t.results:
			if r.of == waiting {
				continue
			}
			t.underWay--
			if r.err == nil && r.of != redelivering {
				t.settled(r.lane, r.of)
			}
		case <-ctx.Done():
		}
	}
	t.aside.Wait()
	if t.flow == nil || t.flow.position == t.last {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCheckpointTimeout)
	defer cancel()
	if err := t.Outbox.Checkpoint(last, t.number, t.flow.position); err != nil && !errors.Is(err, ports.ErrFenced) {
		t.Logger.Warn("relay could not save its last checkpoint; a few messages will be sent again", "err", err)
	}
}
