package relay_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app/relay"
	"hexorders/ports"
)

func wantTook(t *testing.T, what string, do func(), least, most time.Duration) {
	t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took < least || took > most {
		t.Errorf("%s took %s, want %s to %s", what, took, least, most)
	}
}

func TestAStopWithNothingInFlightTakesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(m ports.Message) error {
			if m.OrderID == "b" {
				return ports.ErrRefused
			}
			return nil
		}
		w.save("a", 3)
		w.save("b", 1)
		stop := w.start(w.options("a"))
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"a": 3}, 0)
		w.wantParked("b", 1, 1)
		wantTook(t, "a stop", stop, 0, 0)
	})
}

func TestAStopWaitsForABrokerThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(ports.Message) error { return errDown }
		w.save("a", 1)
		options := w.options("a")
		options.MaxBackoff = 100 * time.Millisecond
		stop := w.start(options)
		time.Sleep(time.Second)
		time.AfterFunc(time.Second, func() { w.broker.behave(nil) })
		wantTook(t, "a stop", stop, time.Second, 1200*time.Millisecond)
		w.wantLog("a/1")
		w.wantCheckpointAtEnd()
	})
}

// countedOutbox counts checkpoints, which take a while or, once they hang, for ever.
type countedOutbox struct {
	*memory.Outbox
	saves *atomic.Int64
	takes time.Duration
	hangs *atomic.Bool
}

func (o countedOutbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	o.saves.Add(1)
	time.Sleep(o.takes)
	if o.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return o.Outbox.Checkpoint(ctx, term, p)
}

func TestACheckpointIsSavedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options := w.options("a")
		outbox := countedOutbox{w.outbox, &atomic.Int64{}, 350 * time.Millisecond, &atomic.Bool{}}
		options.Outbox = outbox // each save outlasts three ticks
		w.save("a", 2)
		stop := w.start(options)
		time.Sleep(10 * time.Second)
		stop()
		if n := outbox.saves.Load(); n != 1 {
			t.Errorf("%d checkpoints were saved, want 1", n)
		}
		w.wantCheckpointAtEnd()
	})
}

// A checkpoint under way gets half a second at a stop, and the last one a second.
func TestAStoreThatHangsDelaysAStopByNoMoreThanASecondAndAHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options := w.options("a")
		outbox := countedOutbox{w.outbox, &atomic.Int64{}, 0, &atomic.Bool{}}
		outbox.hangs.Store(true)
		options.Outbox = outbox
		w.save("a", 1)
		stop := w.start(options)
		time.Sleep(time.Second)
		wantTook(t, "a stop", stop, 1500*time.Millisecond, 1500*time.Millisecond)
		if n := outbox.saves.Load(); n != 2 {
			t.Errorf("%d checkpoints were tried, want 2", n)
		}
	})
}

// awayOutbox does not know where the last leadership stopped.
type awayOutbox struct{ *memory.Outbox }

func (awayOutbox) Position(context.Context) (ports.Position, error) {
	return "", errors.New("store down")
}

func TestARelayThatNeverReadItsCheckpointStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options := w.options("a")
		options.Outbox = awayOutbox{w.outbox}
		stop := w.start(options)
		time.Sleep(time.Second)
		wantTook(t, "a stop", stop, 0, 0)
	})
}

// promptBroker answers before Publish returns, as a broker may.
type promptBroker struct{ *broker }

func (b promptBroker) Publish(_ context.Context, m ports.Message, done func(error)) {
	b.mu.Lock()
	b.log = append(b.log, m)
	b.mu.Unlock()
	done(nil)
}

func TestOneMessageInFlightIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("a", 3)
		options := w.options("a")
		options.Publisher, options.MaxInFlight = promptBroker{w.broker}, 1
		stop := w.start(options)
		defer stop()
		time.Sleep(time.Second)
		w.wantLog("a/1", "a/2", "a/3")
	})
}

// borrowedLease answers as the test says.
type borrowedLease struct {
	*memory.Lease
	mu     sync.Mutex
	answer func(term int64, err error) (int64, error)
	hang   bool // the next request never gets an answer
}

func (l *borrowedLease) answers(answer func(term int64, err error) (int64, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = answer
}

func (l *borrowedLease) Acquire(ctx context.Context, owner string, ttl time.Duration) (int64, error) {
	l.mu.Lock()
	answer, hang := l.answer, l.hang
	l.hang = false
	l.mu.Unlock()
	if hang {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	term, err := l.Lease.Acquire(ctx, owner, ttl)
	if answer != nil {
		return answer(term, err)
	}
	return term, err
}

func TestARenewalThatFailsOrHangsCostsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lease := &borrowedLease{Lease: w.lease}
		options, kept := w.logged("a")
		options.Lease, options.LeaseTTL = lease, 6*time.Second
		stop := w.start(options)
		time.Sleep(time.Second)
		lease.answers(func(int64, error) (int64, error) { return 0, errors.New("store down") })
		time.Sleep(2 * time.Second) // one renewal fails
		lease.answers(nil)
		time.Sleep(10 * time.Second)
		kept.want(t, map[string]int{lostTheLease: 0})
		lease.mu.Lock()
		lease.hang = true
		lease.mu.Unlock()
		time.Sleep(20 * time.Second)
		kept.want(t, map[string]int{lostTheLease: 0})
		stop()
	})
}

func TestALeaseIsHeldToItsEndAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lease := &borrowedLease{Lease: w.lease}
		options := w.options("a")
		options.Lease, options.LeaseTTL = lease, 6*time.Second
		r := relay.New(options)
		stop := w.run(r)
		time.Sleep(3 * time.Second) // it was renewed after 2 s, and is not again
		lease.answers(func(int64, error) (int64, error) { return 0, errors.New("store down") })
		time.Sleep(5050 * time.Millisecond)
		if !r.Status().Leading {
			t.Error("6 s after the renewal the lease is given up, want it held")
		}
		time.Sleep(100 * time.Millisecond)
		if r.Status().Leading {
			t.Error("6.1 s after the renewal the relay still leads")
		}
		stop()
	})
}

func TestALeaseOfAnotherTermIsALostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lease := &borrowedLease{Lease: w.lease}
		options, kept := w.logged("a")
		options.Lease = lease
		stop := w.start(options)
		time.Sleep(time.Second)
		lease.answers(func(term int64, err error) (int64, error) { return term + 1, err })
		time.Sleep(10 * time.Second)
		kept.want(t, map[string]int{lostTheLease: 1, "term=2": 1})
		stop()
	})
}

// The next leadership of a process must not publish beside messages that the broker has not answered yet.
func TestALeadershipEndsWithTheBrokersLastAnswer(t *testing.T) {
	for _, answer := range []error{nil, errDown} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.save("a", 1)
			w.save("b", 1)
			w.broker.hold = func(m ports.Message) bool { return m.OrderID == "a" }
			w.broker.answer = func(ports.Message) error { return errDown } // b waits for its next try
			lease := &borrowedLease{Lease: w.lease}
			options, kept := w.logged("a")
			options.Lease, options.MaxBackoff = lease, time.Minute
			stop := w.start(options)
			time.Sleep(20 * time.Second)
			lease.answers(func(int64, error) (int64, error) { return 0, ports.ErrLeaseHeld })
			time.Sleep(20 * time.Second) // the lease ran out, and a/1 has no answer
			lease.answers(nil)
			kept.want(t, map[string]int{"relay holds the lease": 1})
			w.broker.mu.Lock()
			held := w.broker.held
			w.broker.hold, w.broker.held, w.broker.answer = nil, nil, func(ports.Message) error { return answer }
			w.broker.mu.Unlock()
			for _, reply := range held {
				reply()
			}
			w.broker.behave(nil)
			time.Sleep(time.Minute)
			stop()
			kept.want(t, map[string]int{"relay holds the lease": 2})
			w.wantAll(map[string]int{"a": 1, "b": 1}, 0)
			if answer == nil {
				w.wantLog("a/1", "b/1")
			}
			w.wantCheckpointAtEnd()
		})
	}
}

// The relay was killed after it had parked a message and before its checkpoint.
func TestAParkedMessageThatIsReadAgainStaysParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(m ports.Message) error {
			if m.Version == 2 {
				return ports.ErrRefused
			}
			return nil
		}
		w.save("bad", 3)
		crash := w.startCrashable("first")
		synctest.Wait() // no time passes: no checkpoint
		w.wantParked("bad", 2, 2)
		crash()
		w.broker.behave(nil)
		stop := w.start(w.options("second"))
		defer stop()
		time.Sleep(10 * time.Second)
		w.wantLog("bad/1", "bad/1")
		w.wantParked("bad", 2, 2)
	})
}
