package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app/relay"
	"hexorders/core/order"
	"hexorders/ports"
)

// The relay is tested in synctest bubbles: its clock jumps as soon as every goroutine waits, so that an outage of a
// minute takes no time and synctest.Wait means "nothing more will happen by itself".

var errDown = errors.New("broker down")

// broker is a Publisher that remembers what it took and answers as the test says.
type broker struct {
	mu       sync.Mutex
	log      []ports.Message
	open     map[string]int // messages without an answer, by order
	mostOpen int            // of all orders together
	together bool           // two messages of one order were open at the same time
	answer   func(ports.Message) error
	delay    time.Duration // before each answer
	hold     func(ports.Message) bool
	held     []func()
}

func (b *broker) Publish(_ context.Context, m ports.Message, done func(error)) {
	b.mu.Lock()
	if b.open == nil {
		b.open = make(map[string]int)
	}
	b.open[m.OrderID]++
	b.together = b.together || b.open[m.OrderID] > 1
	b.mostOpen = max(b.mostOpen, len(b.open))
	reply := func() {
		time.Sleep(b.delay) // the bubble's clock
		b.mu.Lock()
		var err error
		if b.answer != nil {
			err = b.answer(m)
		}
		if err == nil {
			b.log = append(b.log, m)
		}
		if b.open[m.OrderID]--; b.open[m.OrderID] == 0 {
			delete(b.open, m.OrderID)
		}
		b.mu.Unlock()
		done(err)
	}
	if b.hold != nil && b.hold(m) {
		b.held = append(b.held, reply)
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	go reply()
}

func (b *broker) Close() error { return nil }

// behave changes how the broker answers from now on, and releases what it held back.
func (b *broker) behave(answer func(ports.Message) error) {
	b.mu.Lock()
	b.answer, b.hold = answer, nil
	held := b.held
	b.held = nil
	b.mu.Unlock()
	for _, reply := range held {
		reply()
	}
}

func (b *broker) messages() []ports.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.log)
}

func (b *broker) ids() []string {
	var ids []string
	for _, m := range b.messages() {
		ids = append(ids, m.ID)
	}
	return ids
}

// world is a store with its outbox, and everything else that outlives a relay.
type world struct {
	t       *testing.T
	store   *memory.Store
	outbox  *memory.Outbox
	parking *memory.Parking
	lease   *memory.Lease
	broker  *broker
}

func newWorld(t *testing.T) *world {
	store := memory.NewStore()
	return &world{t, store, memory.NewOutbox(store), memory.NewParking(), memory.NewLease(), &broker{}}
}

func (w *world) options(owner string) relay.Options {
	return relay.Options{
		Outbox: w.outbox, Publisher: w.broker, Parking: w.parking, Lease: w.lease, Owner: owner,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// start runs a relay; the returned stop ends it and waits for it.
func (w *world) start(options relay.Options) (stop func()) {
	w.t.Helper()
	return w.run(relay.New(options))
}

func (w *world) run(r *relay.Relay) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Run = %v, want nil", err)
		}
	})
}

// save commits an order with the given number of messages.
func (w *world) save(id string, messages int) {
	w.t.Helper()
	o, err := order.New(id, "buyer", nil, time.Now())
	for i := 1; err == nil && i < messages; i++ {
		err = o.AddItem("product", 1, time.Now())
	}
	if err == nil {
		err = w.store.Save(w.t.Context(), o, ports.IdempotencyKey{})
	}
	if err != nil {
		w.t.Fatalf("save %s: %v", id, err)
	}
}

// add commits one more message of a saved order.
func (w *world) add(id string) {
	w.t.Helper()
	o, err := w.store.Get(w.t.Context(), id)
	if err == nil {
		err = o.AddItem("product", 1, time.Now())
	}
	if err == nil {
		err = w.store.Save(w.t.Context(), o, ports.IdempotencyKey{})
	}
	if err != nil {
		w.t.Fatalf("add to %s: %v", id, err)
	}
}

func (w *world) wantLog(want ...string) {
	w.t.Helper()
	if got := w.broker.ids(); !slices.Equal(got, want) {
		w.t.Errorf("the broker has\n %v, want\n %v", got, want)
	}
}

// wantAll checks the promise: each order's first occurrences are 1..n without a gap, in order, and repeats are at most
// as many as said.
func (w *world) wantAll(messagesByOrder map[string]int, mostRepeats int) {
	w.t.Helper()
	last, repeats := map[string]int{}, 0
	for _, m := range w.broker.messages() {
		switch {
		case m.Version <= last[m.OrderID]:
			repeats++
		case m.Version == last[m.OrderID]+1:
			last[m.OrderID]++
		default:
			w.t.Errorf("%s came after version %d", m.ID, last[m.OrderID])
		}
	}
	for id, want := range messagesByOrder {
		if last[id] != want {
			w.t.Errorf("order %s: the broker has %d messages, want %d", id, last[id], want)
		}
	}
	if repeats > mostRepeats {
		w.t.Errorf("%d messages were repeated, want at most %d", repeats, mostRepeats)
	}
}

func (w *world) wantCheckpointAtEnd() {
	w.t.Helper()
	position, err := w.outbox.Position(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	left := 0
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	go func() {
		synctest.Wait()
		cancel()
	}()
	_ = w.outbox.Tail(ctx, position, func(ports.Message, ports.Position) error { left++; return nil })
	if left != 0 {
		w.t.Errorf("%d messages lie behind the checkpoint, want 0", left)
	}
}

func TestRelayPublishesWhatWasCommittedBeforeAndAfterItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("before", 3)
		stop := w.start(w.options("a"))
		defer stop()
		synctest.Wait()
		w.wantLog("before/1", "before/2", "before/3")
		w.save("after", 2)
		synctest.Wait()
		w.wantLog("before/1", "before/2", "before/3", "after/1", "after/2")
		time.Sleep(time.Second) // the bubble's clock: lets the checkpoint ticker tick
		w.wantCheckpointAtEnd()
	})
}

func TestRelaySendsOrdersSideBySideButOneMessageAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		want := map[string]int{}
		for i := range 20 {
			id := fmt.Sprintf("order-%d", i)
			w.save(id, 50)
			want[id] = 50
		}
		stop := w.start(w.options("a"))
		defer stop()
		synctest.Wait()
		w.wantAll(want, 0)
		if w.broker.together {
			t.Error("two messages of one order were under way at once")
		}
		if w.broker.mostOpen < 2 {
			t.Errorf("at most %d orders were under way at once, want several", w.broker.mostOpen)
		}
	})
}

func TestRelayHoldsNoMoreThanMaxInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 500 {
			w.save(fmt.Sprintf("order-%d", i), 1)
		}
		var read atomic.Int64
		options := w.options("a")
		options.MaxInFlight = 10
		options.Outbox = countingOutbox{w.outbox, &read}
		w.broker.hold = func(ports.Message) bool { return true }
		stop := w.start(options)
		defer stop()
		synctest.Wait()
		if w.broker.mostOpen != 10 {
			t.Errorf("%d messages under way, want MaxInFlight, 10", w.broker.mostOpen)
		}
		if n := read.Load(); n > 10+65 {
			t.Errorf("%d messages were read ahead of a broker that takes none", n)
		}
		w.broker.behave(nil)
		synctest.Wait()
		if n := len(w.broker.ids()); n != 500 {
			t.Errorf("%d messages arrived, want 500", n)
		}
	})
}

type countingOutbox struct {
	*memory.Outbox
	read *atomic.Int64
}

func (o countingOutbox) Tail(
	ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error,
) error {
	return o.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		o.read.Add(1)
		return emit(m, p)
	})
}

func TestRelayTriesAFailedMessageAgainWhileOtherOrdersFlowOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(m ports.Message) error {
			if m.OrderID == "unlucky" {
				return errDown
			}
			return nil
		}
		w.save("unlucky", 2)
		w.save("lucky", 2)
		stop := w.start(w.options("a"))
		defer stop()
		synctest.Wait()
		w.wantLog("lucky/1", "lucky/2")
		time.Sleep(time.Minute)
		if position, _ := w.outbox.Position(t.Context()); position != "" {
			t.Errorf("checkpoint %q stands behind a message that the broker does not have", position)
		}
		w.broker.behave(nil)
		time.Sleep(10 * time.Second)
		w.wantLog("lucky/1", "lucky/2", "unlucky/1", "unlucky/2")
		w.wantCheckpointAtEnd()
	})
}

func TestRelaySurvivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(ports.Message) error { return errDown }
		options := w.options("a")
		options.MaxInFlight = 8
		stop := w.start(options)
		defer stop()
		want := map[string]int{}
		for i := range 60 {
			id := fmt.Sprintf("order-%d", i)
			w.save(id, 3)
			want[id] = 3
			time.Sleep(time.Second)
		}
		w.wantLog()
		w.broker.behave(nil)
		time.Sleep(10 * time.Second)
		w.wantAll(want, 0)
		w.wantCheckpointAtEnd()
	})
}

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

// startCrashable runs a relay that can be made to end like a killed process: it reaches nothing any more.
func (w *world) startCrashable(owner string) (crash func()) {
	dead := &atomic.Bool{}
	options := w.options(owner)
	options.Outbox = mortalOutbox{w.outbox, dead}
	options.Lease = mortalLease{w.lease, dead}
	options.DrainTimeout = time.Nanosecond
	stop := w.start(options)
	return func() { dead.Store(true); stop() }
}

type mortalOutbox struct {
	*memory.Outbox
	dead *atomic.Bool
}

func (o mortalOutbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	if o.dead.Load() {
		return errors.New("process is dead")
	}
	return o.Outbox.Checkpoint(ctx, term, p)
}

type mortalLease struct {
	*memory.Lease
	dead *atomic.Bool
}

func (l mortalLease) Acquire(ctx context.Context, owner string, ttl time.Duration) (int64, error) {
	if l.dead.Load() {
		return 0, errors.New("process is dead")
	}
	return l.Lease.Acquire(ctx, owner, ttl)
}

func (l mortalLease) Release(ctx context.Context, owner string) error {
	if l.dead.Load() {
		return errors.New("process is dead")
	}
	return l.Lease.Release(ctx, owner)
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
		asleep.Store(true) // its renewals hang; whatever else it does still works
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

// stuckBroker takes nothing, and says so when the caller's patience ends, as a broker does that was never there.
type stuckBroker struct{}

func (stuckBroker) Publish(ctx context.Context, _ ports.Message, done func(error)) {
	<-ctx.Done()
	done(ctx.Err())
}

func (stuckBroker) Close() error { return nil }

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

func TestRelayParksAnOrderThatTheBrokerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		refuse := func(m ports.Message) error {
			if m.ID == "bad/2" {
				return fmt.Errorf("too large: %w", ports.ErrRefused)
			}
			return nil
		}
		w.broker.answer = refuse
		w.save("bad", 3)
		w.save("good", 2)
		stop := w.start(w.options("a"))
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"bad": 1, "good": 2}, 0)
		w.wantParked("bad", 2, 2)
		w.wantCheckpointAtEnd()

		// A relay that starts later knows it too.
		stop()
		stop = w.start(w.options("b"))
		defer stop()
		w.add("bad")
		w.add("good")
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"bad": 1, "good": 3}, 0)
		w.wantParked("bad", 2, 3)

		// Sent again in vain, it stays parked and says so.
		w.retry("bad")
		w.wantParked("bad", 2, 3)
		if parked, _ := w.parking.Parked(t.Context()); len(parked) == 1 && parked[0].Retry {
			t.Error("the order still waits for a retry that has failed")
		}

		// Once the cause is gone, everything goes, older messages first.
		w.broker.behave(nil)
		w.retry("bad")
		w.wantAll(map[string]int{"bad": 4, "good": 3}, 0)
		if parked, _ := w.parking.Parked(t.Context()); len(parked) != 0 {
			t.Errorf("still parked: %+v", parked)
		}
		w.add("bad")
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"bad": 5, "good": 3}, 0)
		w.wantCheckpointAtEnd()
	})
}

func TestNewerMessagesWaitBehindParkedOnesThatAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(ports.Message) error { return ports.ErrRefused }
		w.save("a", 3)
		stop := w.start(w.options("a"))
		defer stop()
		time.Sleep(time.Second)
		w.wantParked("a", 1, 3)
		w.broker.mu.Lock()
		w.broker.answer, w.broker.hold = nil, func(m ports.Message) bool { return m.Version == 2 }
		w.broker.mu.Unlock()
		w.retry("a")
		w.add("a") // committed in the middle of the redelivery
		time.Sleep(time.Second)
		w.wantLog("a/1")
		w.broker.behave(nil)
		time.Sleep(time.Second)
		w.wantLog("a/1", "a/2", "a/3", "a/4")
		w.wantCheckpointAtEnd()
	})
}

func (w *world) retry(orderID string) {
	w.t.Helper()
	if err := w.parking.Retry(w.t.Context(), orderID); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
}

func (w *world) wantParked(orderID string, first, messages int) {
	w.t.Helper()
	parked, err := w.parking.Parked(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if len(parked) == 1 {
		p := parked[0]
		if p.OrderID == orderID && p.First == first && p.Messages == messages && p.Reason != "" {
			return
		}
	}
	w.t.Errorf("parked: %+v, want only order %s from version %d on, %d messages, with a reason",
		parked, orderID, first, messages)
}

// shaky wraps the ports so that every other call fails, as if the store came and went.
type shaky struct {
	*memory.Outbox
	*memory.Parking
	calls *atomic.Int64
}

func (s shaky) fails() error {
	if s.calls.Add(1)%2 == 1 {
		return ports.ErrUnavailable
	}
	return nil
}

func (s shaky) Position(ctx context.Context) (ports.Position, error) {
	if err := s.fails(); err != nil {
		return "", err
	}
	return s.Outbox.Position(ctx)
}

func (s shaky) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	if err := s.fails(); err != nil {
		return err
	}
	return s.Outbox.Checkpoint(ctx, term, p)
}

// Tail breaks after each message.
func (s shaky) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	broken := errors.New("stream broken")
	return s.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		if err := emit(m, p); err != nil {
			return err
		}
		return broken
	})
}

func (s shaky) Park(ctx context.Context, m ports.Message, reason string) error {
	if err := s.fails(); err != nil {
		return err
	}
	return s.Parking.Park(ctx, m, reason)
}

func (s shaky) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.Parking.Parked(ctx)
}

func TestRelaySurvivesAStoreThatComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(m ports.Message) error {
			if m.OrderID == "bad" {
				return ports.ErrRefused
			}
			return nil
		}
		s := shaky{w.outbox, w.parking, &atomic.Int64{}}
		options := w.options("a")
		options.Outbox, options.Parking = s, s
		w.save("good", 20)
		w.save("bad", 2)
		stop := w.start(options)
		defer stop()
		time.Sleep(time.Minute)
		w.wantAll(map[string]int{"good": 20, "bad": 0}, 0)
		w.wantParked("bad", 1, 2)
		w.wantCheckpointAtEnd()
	})
}
