package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app/relay"
	"hexorders/ports"
)

// Operators act on these lines, so each is there when it is true, and only then.
const (
	brokerIsDown   = "the broker does not take messages; trying again until it does"
	brokerIsBack   = "the broker takes messages again"
	stopsBefore    = "relay stops before the broker has everything"
	lastCheckpoint = "relay could not save its last checkpoint"
	lostTheLease   = "relay lost the lease"
	notReleased    = "relay could not give the lease back"
	notLooked      = "relay could not look for parked orders"
	deleted        = "old messages were deleted from the outbox"
	notDeleted     = "old messages could not be deleted from the outbox"
)

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) want(t *testing.T, counts map[string]int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line, want := range counts {
		if got := strings.Count(l.text.String(), line); got != want {
			t.Errorf("%d lines %q, want %d:\n%s", got, line, want, l.text.String())
		}
	}
}

// logged are options whose lines are kept.
func (w *world) logged(owner string) (relay.Options, *lines) {
	kept := &lines{}
	options := w.options(owner)
	options.Logger = slog.New(slog.NewTextHandler(kept, nil))
	return options, kept
}

func TestAnOutageIsTwoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options, kept := w.logged("a")
		stop := w.start(options)
		w.save("a", 2)
		time.Sleep(time.Second)
		kept.want(t, map[string]int{brokerIsDown: 0, brokerIsBack: 0})
		w.broker.behave(func(ports.Message) error { return errDown })
		w.save("b", 2)
		w.save("c", 1)
		time.Sleep(10 * time.Second)
		kept.want(t, map[string]int{brokerIsDown: 1, brokerIsBack: 0})
		// A parked message says nothing of the broker.
		w.broker.behave(func(m ports.Message) error {
			if m.OrderID == "c" {
				return fmt.Errorf("too large: %w", ports.ErrRefused)
			}
			return errDown
		})
		time.Sleep(10 * time.Second)
		kept.want(t, map[string]int{brokerIsDown: 1, brokerIsBack: 0})
		w.broker.behave(nil)
		time.Sleep(10 * time.Second)
		stop()
		kept.want(t, map[string]int{brokerIsDown: 1, brokerIsBack: 1, stopsBefore: 0, lastCheckpoint: 0, lostTheLease: 0})
	})
}

func TestAStopSaysHowManyMessagesTheBrokerLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("a", 2)
		w.broker.hold = func(ports.Message) bool { return true }
		options, kept := w.logged("a")
		stop := w.start(options)
		synctest.Wait()
		stop()
		kept.want(t, map[string]int{stopsBefore: 1, "messages=2": 1, lastCheckpoint: 0})
	})
}

func TestAStopDuringARetryLacksNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(ports.Message) error { return fmt.Errorf("too large: %w", ports.ErrRefused) }
		w.save("bad", 1)
		options, kept := w.logged("a")
		stop := w.start(options)
		time.Sleep(time.Second)
		w.broker.mu.Lock()
		w.broker.hold = func(ports.Message) bool { return true }
		w.broker.mu.Unlock()
		w.retry("bad")
		stop()
		kept.want(t, map[string]int{stopsBefore: 0})
		w.broker.behave(nil)
	})
}

func TestALostLeaseIsNoStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("a", 1)
		w.broker.hold = func(ports.Message) bool { return true }
		lease := &borrowedLease{Lease: w.lease}
		options, kept := w.logged("a")
		options.Lease = lease
		stop := w.start(options)
		synctest.Wait()
		lease.answers(func(int64, error) (int64, error) { return 0, ports.ErrLeaseHeld })
		time.Sleep(10 * time.Second)
		w.broker.behave(nil) // it waited for the answer
		synctest.Wait()
		kept.want(t, map[string]int{lostTheLease: 1, stopsBefore: 0})
		stop()
	})
}

// heldLease cannot be given back.
type heldLease struct{ *memory.Lease }

func (heldLease) Release(context.Context, string) error { return errors.New("store down") }

func TestALeaseThatCannotBeGivenBackIsALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options, kept := w.logged("a")
		stop := w.start(options)
		synctest.Wait()
		stop()
		kept.want(t, map[string]int{notReleased: 0})
		options.Lease = heldLease{w.lease}
		stop = w.start(options)
		synctest.Wait()
		stop()
		kept.want(t, map[string]int{notReleased: 1})
	})
}

// awayParking answers to no question about parked orders once it is away, and remembers no refusal.
type awayParking struct {
	*memory.Parking
	away *atomic.Bool
}

func (p awayParking) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	if p.away.Load() {
		<-time.After(time.Millisecond)
		return nil, errors.Join(errors.New("store down"), ctx.Err())
	}
	return p.Parking.Parked(ctx)
}

func TestAParkingThatIsAwayIsALineForEachQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options, kept := w.logged("a")
		away := &atomic.Bool{}
		options.Parking, options.RetryEvery = awayParking{w.parking, away}, time.Second
		stop := w.start(options)
		time.Sleep(10500 * time.Millisecond)
		kept.want(t, map[string]int{notLooked: 0})
		away.Store(true)
		time.Sleep(3 * time.Second)
		kept.want(t, map[string]int{notLooked: 3})
		time.Sleep(500 * time.Millisecond) // the next question is asked, and answered after the stop
		stop()
		kept.want(t, map[string]int{notLooked: 3})
	})
}

// failingOutbox fails at first.
type failingOutbox struct {
	*memory.Outbox
	failures atomic.Int64
}

func (o *failingOutbox) Position(ctx context.Context) (ports.Position, error) {
	if o.failures.Add(-1) >= 0 {
		return "", errors.New("store down")
	}
	return o.Outbox.Position(ctx)
}

func TestTriesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options, kept := w.logged("a")
		outbox := &failingOutbox{Outbox: w.outbox}
		outbox.failures.Store(2)
		options.Outbox = outbox
		stop := w.start(options)
		defer stop()
		time.Sleep(time.Minute)
		kept.want(t, map[string]int{"read the checkpoint; trying again": 2, "attempt=1 ": 1, "attempt=2 ": 1})
	})
}

// brokenOutbox saves no checkpoint.
type brokenOutbox struct {
	ports.Outbox
	err error
}

func (o brokenOutbox) Checkpoint(context.Context, int64, ports.Position) error { return o.err }

func TestALastCheckpointThatFailsIsALine(t *testing.T) {
	for err, want := range map[error]int{errors.New("store down"): 1, ports.ErrFenced: 0} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.save("a", 1)
			options, kept := w.logged("a")
			options.Outbox = brokenOutbox{w.outbox, err}
			stop := w.start(options)
			synctest.Wait() // no time passes: the first checkpoint is the last
			stop()
			kept.want(t, map[string]int{lastCheckpoint: want})
		})
	}
}
