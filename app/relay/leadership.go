package relay

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
