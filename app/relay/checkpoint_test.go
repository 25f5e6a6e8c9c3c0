package relay_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app/relay"
	"hexorders/ports"
)

func TestACheckpointCoversOnlyWhatTheBrokerHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("a", 1)
		w.save("b", 1)
		w.save("c", 1)
		w.broker.hold = func(m ports.Message) bool { return m.OrderID == "b" }
		crash := w.startCrashable("first")
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"a": 1, "b": 0, "c": 1}, 0)
		crash()
		w.broker.mu.Lock()
		w.broker.hold = nil // and what was held is never answered
		w.broker.mu.Unlock()
		stop := w.start(w.options("second"))
		defer stop()
		time.Sleep(10 * time.Second) // the lease of the first runs out
		// The checkpoint stood behind a: b was still open, and so c is repeated.
		w.wantAll(map[string]int{"a": 1, "b": 1, "c": 1}, 1)
		if again := w.broker.ids()[2:]; slices.Contains(again, "a/1") || len(again) != 2 {
			t.Errorf("after the crash came %v, want b/1 and c/1", again)
		}
		w.wantCheckpointAtEnd()
	})
}

func TestRelayRepeatsAfterACrashOnlyWhatTheCheckpointDidNotCover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("a", 5)
		crash := w.startCrashable("first")
		time.Sleep(time.Second) // a is published and covered by a checkpoint
		w.save("b", 5)
		synctest.Wait() // b is published, no checkpoint yet: the clock stands still
		crash()
		stop := w.start(w.options("second"))
		defer stop()
		time.Sleep(10 * time.Second)
		w.wantAll(map[string]int{"a": 5, "b": 5}, 5)
		if got := w.broker.ids()[10:]; !slices.Equal(got, []string{"b/1", "b/2", "b/3", "b/4", "b/5"}) {
			t.Errorf("after the crash came %v, want b again and nothing else", got)
		}
		w.wantCheckpointAtEnd()
	})
}

// slowOutbox saves a checkpoint after a delay, also when the caller has gone: a request on its way to a server may
// arrive after one that was sent later.
type slowOutbox struct {
	*memory.Outbox
	delay *atomic.Int64
}

func (o slowOutbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	delay, written := time.Duration(o.delay.Load()), make(chan error, 1)
	go func() {
		time.Sleep(delay)
		written <- o.Outbox.Checkpoint(context.WithoutCancel(ctx), term, p)
	}()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestTheLastCheckpointOfARelayIsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var delay atomic.Int64
		delay.Store(int64(300 * time.Millisecond))
		options := w.options("first")
		options.Outbox = slowOutbox{w.outbox, &delay}
		w.save("a", 1)
		stop := w.start(options)
		time.Sleep(150 * time.Millisecond) // a checkpoint behind a/1 is on its way
		w.save("b", 2)
		synctest.Wait()
		delay.Store(0)
		stop()
		w.wantLog("a/1", "b/1", "b/2")
		time.Sleep(time.Second)
		w.wantCheckpointAtEnd()
	})
}

// A later term has saved a checkpoint although the lease still seems to be this relay's. The fencing token decides, not
// the time that the lease has left.
func TestARelayWhoseCheckpointIsFencedPublishesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options := w.options("a")
		options.LeaseTTL = time.Hour
		asleep := &atomic.Bool{}
		options.Lease = sleepyLease{w.lease, asleep}
		r := relay.New(options)
		stop := w.run(r)
		defer stop()
		w.save("a", 1)
		time.Sleep(time.Second)
		reached, err := w.outbox.Position(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.outbox.Checkpoint(t.Context(), 1000, reached); err != nil {
			t.Fatal(err)
		}
		asleep.Store(true) // a relay that has stepped down cannot lead again, because the lease does not answer
		defer asleep.Store(false)
		w.save("b", 1)
		time.Sleep(time.Second) // b is published, and the checkpoint behind it is fenced
		if r.Status().Leading {
			t.Error("the relay still leads after ErrFenced")
		}
		w.save("c", 1)
		time.Sleep(time.Second)
		w.wantLog("a/1", "b/1")
	})
}
