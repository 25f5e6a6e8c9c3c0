//go:build exercise

package lesson_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app/relay"
	"hexorders/core/order"
	"hexorders/ports"
)

// The relay here is the service's own. The tests run in a bubble of testing/synctest: its clock jumps ahead as soon as
// everybody waits, so a lease of five seconds runs out in no time.

// Ten orders, and the broker gives no answer for the third one. Then the process dies.
func TestARestartLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.silentFor = "order-3/1"
		first := w.start("first")
		w.place(1, 10)
		time.Sleep(time.Second)
		checkpoint := w.checkpoint()
		first.crash()

		w.broker.silentFor = ""
		second := w.start("second")
		time.Sleep(time.Minute)
		second.crash()
		for _, id := range w.events(1, 10) {
			if !slices.Contains(w.broker.log, id) {
				t.Errorf("checkpoint %q stood behind %s, which the broker did not have: after the crash it never came", checkpoint, id)
			}
		}
		if checkpoint != "2" && !t.Failed() {
			t.Errorf("checkpoint %q when all but the third event were done, want \"2\"", checkpoint)
		}
		if len(w.broker.log) == 10 {
			t.Error("no event came twice: that is too good to be true after a crash")
		}
	})
}

// The first relay hangs in the middle of a checkpoint: a long pause of its process, say. Its lease runs out, a second one
// takes over and is done with all ten orders, and then the first one wakes up.
func TestALateRelayDoesNotMoveTheCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.start("first")
		time.Sleep(time.Second)
		wake := first.suspend()
		w.place(1, 3)
		time.Sleep(10 * time.Second)
		second := w.start("second")
		w.place(4, 7)
		time.Sleep(time.Second)
		w.place(8, 10)
		time.Sleep(10 * time.Second)
		before := w.checkpoint()
		for _, id := range w.events(8, 10) {
			if n := w.broker.times(id); n != 1 {
				t.Errorf("%s came %d times while one relay had the lease: was its second checkpoint refused?", id, n)
			}
		}
		wake()
		synctest.Wait()
		after := w.checkpoint()
		first.crash()
		second.crash()

		w.broker.log = nil
		third := w.start("third")
		time.Sleep(time.Minute)
		third.crash()
		if before != after || len(w.broker.log) > 0 {
			t.Errorf("checkpoint %q after %q: a relay without the lease moved it, and the next relay repeats %d events",
				after, before, len(w.broker.log))
		}
	})
}

// world outlives every process: the store with its outbox, and the broker.
type world struct {
	t      *testing.T
	store  *memory.Store
	outbox *memory.Outbox
	lease  *memory.Lease
	broker *broker
}

func newWorld(t *testing.T) *world {
	store := memory.NewStore()
	return &world{t, store, memory.NewOutbox(store), memory.NewLease(), &broker{}}
}

// place saves orders from..to; each has one event.
func (w *world) place(from, to int) {
	w.t.Helper()
	for i := from; i <= to; i++ {
		o, err := order.New(fmt.Sprintf("order-%d", i), "buyer", nil, time.Now())
		if err == nil {
			err = w.store.Save(w.t.Context(), o, ports.IdempotencyKey{})
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) events(from, to int) (ids []string) {
	for i := from; i <= to; i++ {
		ids = append(ids, fmt.Sprintf("order-%d/1", i))
	}
	return ids
}

func (w *world) checkpoint() ports.Position {
	w.t.Helper()
	p, err := w.outbox.Position(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// broker has what it has acknowledged.
type broker struct {
	silentFor string // the id of a message that gets no answer

	mu  sync.Mutex
	log []string
}

func (b *broker) Publish(_ context.Context, m ports.Message, done func(error)) {
	if m.ID == b.silentFor {
		return
	}
	b.mu.Lock()
	b.log = append(b.log, m.ID)
	b.mu.Unlock()
	done(nil)
}

// times says how often the broker has got a message.
func (b *broker) times(id string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, got := range b.log {
		if got == id {
			n++
		}
	}
	return n
}

func (b *broker) Close() error { return nil }

// process is a relay and its way to the store, which can hang, or end at any moment.
type process struct {
	ports.Outbox
	ports.Lease
	dead  context.Context
	crash func()

	mu    sync.Mutex
	awake chan struct{} // closed while the process runs
}

// start runs a relay in a process of its own.
func (w *world) start(owner string) *process {
	ctx, cancel := context.WithCancel(w.t.Context())
	p := &process{Outbox: w.outbox, Lease: w.lease, dead: ctx, awake: make(chan struct{})}
	close(p.awake)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = relay.New(relay.Options{
			Outbox: p, Lease: p, Publisher: w.broker, Parking: memory.NewParking(), Owner: owner,
			DrainTimeout: time.Millisecond, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}).Run(ctx)
	}()
	p.crash = func() { cancel(); <-ended }
	return p
}

// suspend lets every call hang that the process makes from now on, until it is woken up.
func (p *process) suspend() (wake func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	awake := make(chan struct{})
	p.awake = awake
	return func() { close(awake) }
}

// turn waits while the process hangs. A dead process does nothing more.
func (p *process) turn() error {
	p.mu.Lock()
	awake := p.awake
	p.mu.Unlock()
	<-awake
	return p.dead.Err()
}

func (p *process) Checkpoint(_ context.Context, term int64, position ports.Position) error {
	if err := p.turn(); err != nil {
		return err
	}
	return p.Outbox.Checkpoint(context.Background(), term, position)
}

func (p *process) Acquire(_ context.Context, owner string, ttl time.Duration) (int64, error) {
	if err := p.turn(); err != nil {
		return 0, err
	}
	return p.Lease.Acquire(context.Background(), owner, ttl)
}

func (p *process) Release(context.Context, string) error { return p.dead.Err() }
