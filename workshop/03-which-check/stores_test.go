//go:build exercise

package lesson

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hexorders/adapters/memory"
	"hexorders/core/order"
	"hexorders/ports"
)

// Six stores over adapters/memory. Five of them break a promise, one does not. New opens a handle: what two handles of one
// store have in common is in the memory.Store.

// handle is what a suite gets of each of them.
type handle interface {
	ports.OrderStore
	ports.Outbox
}

// sound has all methods, and no mistake.
type sound struct {
	*memory.Store
	*memory.Outbox
}

func newSound(s *memory.Store) sound { return sound{s, memory.NewOutbox(s)} }

// A does not build an order that it has built before.
type A struct {
	sound
	mu    sync.Mutex
	known map[string]*order.Order
}

func NewA(s *memory.Store) handle { return &A{sound: newSound(s), known: map[string]*order.Order{}} }

func (a *A) Get(ctx context.Context, id string) (*order.Order, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stored, err := a.sound.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if o := a.known[id]; o != nil && o.Version() == stored.Version() {
		return o, nil
	}
	a.known[id] = stored
	return stored, nil
}

// B compares the versions before it writes.
type B struct{ sound }

func NewB(s *memory.Store) handle { return &B{newSound(s)} }

func (b *B) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	loaded, current := o.Version()-len(o.Changes()), 0
	if stored, err := b.Get(ctx, o.ID()); err == nil {
		current = stored.Version()
	}
	if loaded != current && len(o.Changes()) > 0 {
		return ports.ErrConflict
	}
	time.Sleep(time.Millisecond) // the way to the database, and back
	err := b.sound.Save(ctx, o, key)
	if errors.Is(err, ports.ErrConflict) { // cannot be: the versions were equal
		o.Committed()
		return nil
	}
	return err
}

// C remembers the newest term.
type C struct {
	sound
	newest int64
}

func NewC(s *memory.Store) handle { return &C{sound: newSound(s)} }

func (c *C) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	c.newest = max(c.newest, term)
	return c.sound.Checkpoint(ctx, c.newest, p)
}

// D needs no polling: Save wakes Tail.
type D struct {
	sound
	old   int // messages that were there when it was opened
	mu    sync.Mutex
	ours  map[string]bool // ids of messages
	saved chan struct{}   // closed, and replaced, by each Save
}

func NewD(s *memory.Store) handle {
	old, _ := s.ScanMessages(context.Background(), ports.EventRef{}, 1_000_000)
	return &D{sound: newSound(s), old: len(old), ours: map[string]bool{}, saved: make(chan struct{})}
}

func (d *D) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := range o.Changes() {
		d.ours[o.ID()+"/"+strconv.Itoa(o.Version()-n)] = true
	}
	err := d.sound.Save(ctx, o, key)
	close(d.saved)
	d.saved = make(chan struct{})
	return err
}

func (d *D) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	return d.sound.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		d.mu.Lock()
		n, _ := strconv.Atoi(string(p)) // memory's positions are numbers
		known, saved := n <= d.old || d.ours[m.ID], d.saved
		d.mu.Unlock()
		if !known {
			select {
			case <-saved:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return emit(m, p)
	})
}

// E keeps JSON as JSON.
type E struct{ sound }

func NewE(s *memory.Store) handle { return &E{newSound(s)} }

func (e *E) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	return e.sound.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		var document map[string]any
		if err := json.Unmarshal(m.Payload, &document); err != nil {
			return err
		}
		payload, err := json.Marshal(document)
		if err != nil {
			return err
		}
		m.Payload = payload
		return emit(m, p)
	})
}

// F has positions that look like a page of a book.
type F struct{ sound }

func NewF(s *memory.Store) handle { return &F{newSound(s)} }

func (f *F) Position(ctx context.Context) (ports.Position, error) {
	p, err := f.sound.Position(ctx)
	return toPage(p), err
}

func (f *F) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	return f.sound.Checkpoint(ctx, term, fromPage(p))
}

func (f *F) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	return f.sound.Tail(ctx, fromPage(after), func(m ports.Message, p ports.Position) error { return emit(m, toPage(p)) })
}

func toPage(p ports.Position) ports.Position {
	if p == "" {
		return ""
	}
	n, _ := strconv.Atoi(string(p))
	return ports.Position("page " + strconv.Itoa(n/10) + ", line " + strconv.Itoa(n%10))
}

func fromPage(p ports.Position) ports.Position {
	digits := strings.NewReplacer("page ", "", ", line ", "").Replace(string(p))
	return ports.Position(digits)
}

// ordersOf and outboxOf show the suites one port each, and no optional one.
type (
	ordersOf struct {
		ports.OrderStore
		full *atomic.Bool // the disk
	}
	outboxOf struct{ ports.Outbox }
)

func (s ordersOf) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if s.full.Load() {
		return errors.New("the disk is full")
	}
	return s.OrderStore.Save(ctx, o, key)
}
