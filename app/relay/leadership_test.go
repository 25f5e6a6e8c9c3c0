package relay_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/ports"
)

func TestRelayStopLeavesNothingOpenAndFreesTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("a", 3)
		stop := w.start(w.options("first"))
		synctest.Wait()
		stop()
		w.wantCheckpointAtEnd()
		stop = w.start(w.options("second"))
		defer stop()
		w.save("b", 1)
		synctest.Wait() // no time passes: the lease must be free already
		w.wantLog("a/1", "a/2", "a/3", "b/1")
	})
}

func TestRelayStoppedInTheMiddleRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.delay = 5 * time.Millisecond
		want := map[string]int{}
		for i := range 20 {
			id := fmt.Sprintf("order-%d", i)
			w.save(id, 50)
			want[id] = 50
		}
		options := w.options("first")
		options.MaxInFlight = 100 // two orders' messages: most of them wait behind one another
		stop := w.start(options)
		time.Sleep(52 * time.Millisecond)
		stop()
		if n := len(w.broker.ids()); n == 0 || n == 1000 {
			t.Fatalf("the stop came when %d of 1000 messages were published, not in the middle", n)
		}
		stop = w.start(w.options("second"))
		defer stop()
		time.Sleep(10 * time.Second)
		w.wantAll(want, 0)
		w.wantCheckpointAtEnd()
	})
}

func TestRelayStopsInTimeWhenTheBrokerDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("a", 1)
		w.broker.hold = func(ports.Message) bool { return true }
		stop := w.start(w.options("first"))
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("stop took %s, want the drain timeout of 3 s and little more", took)
		}
		w.broker.behave(nil)
		stop = w.start(w.options("second"))
		defer stop()
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"a": 1}, 1)
		w.wantCheckpointAtEnd()
	})
}

func TestTwoRelaysWorkOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		crash := w.startCrashable("first")
		synctest.Wait()
		second := &broker{}
		options := w.options("second")
		options.Publisher = second
		stop := w.start(options)
		defer stop()
		w.save("a", 1)
		time.Sleep(time.Minute)
		w.wantLog("a/1")
		if got := second.ids(); len(got) != 0 {
			t.Errorf("the relay without the lease published %v", got)
		}
		crash()
		w.save("b", 1)
		time.Sleep(10 * time.Second)
		if got := second.ids(); !slices.Equal(got, []string{"b/1"}) {
			t.Errorf("10 s after the first died, the second had published %v, want [b/1]", got)
		}
	})
}

func TestARelayThatWasAsleepCanOnlyRepeatInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.hold = func(m ports.Message) bool { return m.Version > 2 } // acknowledgements stop here
		first := w.options("first")
		asleep := &atomic.Bool{}
		first.Lease = sleepyLease{w.lease, asleep}
		stopFirst := w.start(first)
		defer stopFirst()
		w.save("a", 4)
		time.Sleep(time.Second)
		asleep.Store(true) // it does not renew, does not notice, and still holds a/3
		stopSecond := w.start(w.options("second"))
		defer stopSecond()
		time.Sleep(8 * time.Second)
		asleep.Store(false)
		w.broker.behave(nil)
		time.Sleep(10 * time.Second)
		w.wantAll(map[string]int{"a": 4}, 2)
		w.wantCheckpointAtEnd()
	})
}

func TestARelayWhoseLeaseRanOutPublishesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.options("first")
		asleep := &atomic.Bool{}
		first.Lease = sleepyLease{w.lease, asleep}
		stopFirst := w.start(first)
		defer stopFirst()
		w.save("a", 1)
		time.Sleep(time.Second)
		asleep.Store(true) // its renewals hang; its other calls still work
		second := w.options("second")
		successor := &broker{}
		second.Publisher = successor
		stopSecond := w.start(second)
		defer stopSecond()
		time.Sleep(8 * time.Second)
		w.save("b", 1)
		time.Sleep(time.Second)
		w.wantLog("a/1")
		if got := successor.ids(); !slices.Equal(got, []string{"b/1"}) {
			t.Errorf("the relay that holds the lease published %v, want [b/1]", got)
		}
		asleep.Store(false)
	})
}

func TestRelayStopsInTimeWhenTheBrokerWasNeverThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("a", 3)
		options := w.options("first")
		options.Publisher = stuckBroker{}
		stop := w.start(options)
		time.Sleep(time.Minute)
		began := time.Now()
		stop()
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("stop took %s, want the drain timeout of 3 s and little more", took)
		}
		stop = w.start(w.options("second"))
		defer stop()
		time.Sleep(10 * time.Second)
		w.wantLog("a/1", "a/2", "a/3")
	})
}

// sleepyLease answers a sleeping relay late, as a stopped process would hear it.
type sleepyLease struct {
	*memory.Lease
	asleep *atomic.Bool
}

func (l sleepyLease) Acquire(ctx context.Context, owner string, ttl time.Duration) (int64, error) {
	for l.asleep.Load() {
		time.Sleep(100 * time.Millisecond)
	}
	return l.Lease.Acquire(ctx, owner, ttl)
}
