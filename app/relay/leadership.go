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

// leadership is one period in which this relay holds the lease. A single goroutine, loop, owns all state; blocking
// calls to the outbox, the broker and the store run in other goroutines and report to it over channels.
type leadership struct {
	options Options
	status  *status
	term    int64                     // the lease's; every checkpoint carries it as its fencing token
	renewed atomic.Pointer[time.Time] // when the last request that got the lease was sent

	// The other goroutines report to loop here.
	incoming       chan delivery
	results        chan result
	saved          chan saveResult
	retryRequested chan string    // an order that an operator sends again, "" when there is none
	calls          sync.WaitGroup // goroutines that loop started, each for one slow call

	// Owned by loop, then by close.
	inflight   *inflight
	pending    int            // results still to come from the broker and the store
	checkpoint ports.Position // the last one that was saved
	saving     bool           // a checkpoint is being saved
	retrying   bool           // a retry request is being looked for, or served
	brokerDown bool           // the broker's last answer was an error that may pass
}

func newLeadership(r *Relay, term int64, acquired time.Time) *leadership {
	l := &leadership{
		options:        r.options,
		status:         &r.status,
		term:           term,
		incoming:       make(chan delivery, 64),                    // lets the reader run ahead while loop is busy
		results:        make(chan result, r.options.MaxInFlight+1), // one a message and one redelivery: a send never waits
		saved:          make(chan saveResult, 1),
		retryRequested: make(chan string, 1),
	}
	l.renewed.Store(&acquired)
	return l
}

// run relays until ctx ends or the lease is lost, which the error says. It returns when everything it started has
// ended; only a stop that runs out of time leaves messages with the publisher.
//
// Three contexts end at three moments:
//
//   - ctx ends when the process is asked to stop.
//   - reading ends with ctx or with leading: from then on no message is taken from the outbox.
//   - leading ends when the lease is lost, when loop is done, or DrainTimeout after ctx. Until then messages already
//     read are published and the lease is renewed.
func (l *leadership) run(ctx context.Context) error {
	draining, finish := outlive(ctx, l.options.DrainTimeout)
	defer finish()
	group, leading := errgroup.WithContext(draining) // the first error, a lost lease, ends it as well
	reading, stopReading := context.WithCancel(leading)
	defer stopReading()
	defer context.AfterFunc(ctx, stopReading)()

	group.Go(func() error { return l.keepLease(leading) })
	group.Go(func() error {
		defer finish()
		if err := l.restore(reading); err != nil {
			return nil // reading has ended
		}
		start := l.checkpoint
		group.Go(func() error { return l.read(reading, start) })
		group.Go(func() error { return l.trim(reading) })
		return l.loop(leading, ctx.Done())
	})
	err := group.Wait()
	l.close(ctx)
	return err
}

// restore loads where the last leadership stopped: its checkpoint and the parked orders.
func (l *leadership) restore(ctx context.Context) error {
	if err := l.options.retry(ctx, "read the checkpoint", func() (err error) {
		l.checkpoint, err = l.options.Outbox.Position(ctx)
		return err
	}); err != nil {
		return err
	}
	var parked []ports.ParkedOrder
	if err := l.options.retry(ctx, "read the parked orders", func() (err error) {
		parked, err = l.options.Parking.Parked(ctx)
		return err
	}); err != nil {
		return err
	}
	l.inflight = newInflight(l.options.MaxInFlight, l.checkpoint)
	l.status.reportInFlight(l.inflight)
	l.status.reportParked(parked)
	for _, p := range parked {
		l.inflight.queue(p.OrderID).parkedFrom = p.First
	}
	return nil
}

var errLeaseRanOut = errors.New("the lease ran out before it was renewed")

// keepLease renews the lease until ctx ends or the lease is lost, which the error says.
func (l *leadership) keepLease(ctx context.Context) error {
	ttl := l.options.LeaseTTL
	for {
		if err := pause(ctx, ttl/3); err != nil {
			return nil
		}
		// A renewal that hangs must not outlive the lease.
		attempt, cancel := context.WithTimeout(ctx, ttl/3)
		sent := time.Now()
		term, err := l.options.Lease.Acquire(attempt, l.options.Owner, ttl)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ports.ErrLeaseHeld):
			return err
		case err == nil && term != l.term:
			return fmt.Errorf("term %d began meanwhile: %w", term, ports.ErrFenced)
		case err == nil:
			l.renewed.Store(&sent)
		case l.leaseRanOut():
			return fmt.Errorf("%w: %w", errLeaseRanOut, err)
		}
	}
}

func (l *leadership) leaseRanOut() bool { return time.Since(*l.renewed.Load()) > l.options.LeaseTTL }

// close waits for the broker's answers to messages that were published before the lease was lost: the next leadership
// of this process must not publish beside them. Then it saves a last checkpoint. The end of ctx ends the wait, because
// a stop has had its time in loop.
func (l *leadership) close(ctx context.Context) {
	for l.pending > 0 && ctx.Err() == nil {
		select {
		case r := <-l.results:
			if r.of == waiting {
				continue
			}
			l.pending--
			if r.err == nil && r.of != redelivering {
				l.markDone(r.queue, r.of)
			}
		case <-ctx.Done():
		}
	}
	l.calls.Wait()
	l.saveLast(ctx)
}
