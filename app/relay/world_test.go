package relay_test

import (
	"context"
	"errors"
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

// broker is a Publisher that records the messages it takes and answers as the test says.
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

// behave changes how the broker answers from now on, and answers the messages that it has held.
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

// world is a store with its outbox and everything else that outlives a relay.
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

// wantAll checks the guarantee: each order's first occurrences are 1..n in order and without a gap, with at most
// mostRepeats repeated messages.
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

// startCrashable runs a relay. crash ends it like a killed process: none of its calls works any more.
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

// stuckBroker takes nothing and answers with an error once ctx ends, like a broker that was never there.
type stuckBroker struct{}

func (stuckBroker) Publish(ctx context.Context, _ ports.Message, done func(error)) {
	<-ctx.Done()
	done(ctx.Err())
}

func (stuckBroker) Close() error { return nil }
