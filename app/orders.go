// Package app holds the use cases: what the service does with orders (Orders), how what happened reaches the broker
// (Relay), and how it comes back and is read (Projection, Replay, Views). It knows ports, never an adapter.
package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// maxAttempts bounds how often a command without a version is tried when others keep winning the race.
const maxAttempts = 3

// Orders carries out commands: load the order, ask it, save it. The rules are the order's own.
type Orders struct {
	store    ports.OrderStore
	results  ports.IdempotencyStore
	history  ports.History
	decode   func(ports.Message) (order.Event, error)
	inFlight sync.Map // the idempotency keys of the commands in progress
	locks    orderLocks
	now      func() time.Time
	newID    func() string
}

// OrdersOptions are the parts of the world that the core may not reach for itself.
type OrdersOptions struct {
	NewID func() string    // required; ids must grow with time (UUIDv7), because lists are in their order
	Now   func() time.Time // time.Now when nil

	// Idempotency is the store's; nil when it has none, and a command with a key gets ErrIdempotencyUnsupported.
	Idempotency ports.IdempotencyStore
	// History is the store's; nil when it has none, and Events answers ErrNoHistory.
	History ports.History
	// Decode reads a message of the history; nil when there is no history.
	Decode func(ports.Message) (order.Event, error)
}

var _ ports.Orders = (*Orders)(nil)

func NewOrders(store ports.OrderStore, options OrdersOptions) *Orders {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Orders{store: store, results: options.Idempotency, history: options.History, decode: options.Decode, now: options.Now, newID: options.NewID}
}

func (s *Orders) Create(ctx context.Context, buyer string, items []order.Item, key ports.IdempotencyKey) (*order.Order, error) {
	return s.once(ctx, key, func() (*order.Order, error) {
		o, err := order.New(s.newID(), buyer, items, s.at())
		if err != nil {
			return nil, err
		}
		if err := s.store.Save(ctx, o, key); err != nil {
			return nil, fmt.Errorf("create order: %w", err)
		}
		return o, nil
	})
}

func (s *Orders) AddItem(ctx context.Context, at ports.Target, product string, amount int) (*order.Order, error) {
	return s.change(ctx, at, func(o *order.Order) error { return o.AddItem(product, amount, s.at()) })
}

func (s *Orders) ChangeAmount(ctx context.Context, at ports.Target, product string, amount int) (*order.Order, error) {
	return s.change(ctx, at, func(o *order.Order) error { return o.ChangeAmount(product, amount, s.at()) })
}

func (s *Orders) RemoveItem(ctx context.Context, at ports.Target, product string) (*order.Order, error) {
	return s.change(ctx, at, func(o *order.Order) error { return o.RemoveItem(product, s.at()) })
}

func (s *Orders) Submit(ctx context.Context, at ports.Target) (*order.Order, error) {
	return s.change(ctx, at, func(o *order.Order) error { return o.Submit(s.at()) })
}

func (s *Orders) Pay(ctx context.Context, at ports.Target) (*order.Order, error) {
	return s.change(ctx, at, func(o *order.Order) error { return o.Pay(s.at()) })
}

func (s *Orders) Cancel(ctx context.Context, at ports.Target, by order.CancelledBy, reason string) (*order.Order, error) {
	return s.change(ctx, at, func(o *order.Order) error { return o.Cancel(by, reason, s.at()) })
}

func (s *Orders) Get(ctx context.Context, id string) (*order.Order, error) {
	return s.store.Get(ctx, id)
}

func (s *Orders) ByBuyer(ctx context.Context, buyer string, page ports.Page) ([]*order.Order, string, error) {
	return s.store.ByBuyer(ctx, buyer, page)
}

// change is every command on an existing order.
func (s *Orders) change(ctx context.Context, at ports.Target, command func(*order.Order) error) (*order.Order, error) {
	return s.once(ctx, at.Key, func() (*order.Order, error) { return s.inTurn(ctx, at, command) })
}

// inTurn waits until no other command of this process works on the order. Then it tries the command on the order as the
// one before has left it, which saves a read. Only a Save proves that no other process has changed the order since: a
// refusal, a lost race or a command that changes nothing is decided again on the stored order.
func (s *Orders) inTurn(ctx context.Context, at ports.Target, command func(*order.Order) error) (*order.Order, error) {
	turn, err := s.locks.lock(ctx, at.ID)
	if err != nil {
		return nil, fmt.Errorf("wait for earlier commands on order %s: %w", at.ID, err)
	}
	var committed *order.Order
	defer func() { turn.end(committed) }()
	if turn.left != nil {
		o, err := order.Restore(*turn.left)
		if err != nil {
			return nil, err
		}
		if try(o, at, command) == nil && len(o.Changes()) > 0 {
			err = s.store.Save(ctx, o, at.Key)
			if err == nil {
				committed = o
				return o, nil
			}
			if !errors.Is(err, ports.ErrConflict) {
				return nil, err
			}
		}
	}
	o, changed, err := s.tryChange(ctx, at, command)
	if changed {
		committed = o
	}
	return o, err
}

// tryChange does not return a lost race at once: the command is checked again on the order as the winner left it. There a
// caller that named a version learns that the order has another one.
func (s *Orders) tryChange(ctx context.Context, at ports.Target, command func(*order.Order) error) (o *order.Order, changed bool, err error) {
	for attempt := 1; ; attempt++ {
		if o, err = s.store.Get(ctx, at.ID); err != nil {
			return nil, false, err
		}
		if err = try(o, at, command); err != nil {
			return nil, false, err
		}
		changed = len(o.Changes()) > 0
		err = s.store.Save(ctx, o, at.Key)
		switch {
		case err == nil:
			return o, changed, nil
		case !errors.Is(err, ports.ErrConflict):
			return nil, false, err
		case attempt == maxAttempts:
			return nil, false, fmt.Errorf("order %s, %d attempts: %w", at.ID, maxAttempts, err)
		}
	}
}

// try carries out a command on an order, if the order is at the version that the caller named.
func try(o *order.Order, at ports.Target, command func(*order.Order) error) error {
	if at.Version != 0 && o.Version() != at.Version {
		return fmt.Errorf("order %s is at version %d, not %d: %w", at.ID, o.Version(), at.Version, ports.ErrVersionMismatch)
	}
	return command(o)
}

// once runs the command first and reads the stored result only if the command fails. A retry always fails: either the
// order rejects it (already paid, say) or the store rejects the key. First-time commands pay for no extra read, and the
// result is found too when the store's response got lost.
func (s *Orders) once(
	ctx context.Context, key ports.IdempotencyKey, command func() (*order.Order, error),
) (*order.Order, error) {
	if key.Value == "" {
		return command()
	}
	if s.results == nil {
		return nil, ports.ErrIdempotencyUnsupported
	}
	failure := ports.ErrDuplicateRequest // while the first one is in progress
	if _, inProgress := s.inFlight.LoadOrStore(key.Value, nil); !inProgress {
		defer s.inFlight.Delete(key.Value)
		var o *order.Order
		if o, failure = command(); failure == nil {
			return o, nil
		}
	}
	stored, err := s.results.StoredResult(ctx, key.Value)
	switch {
	case err != nil:
		return nil, failure
	case stored.Key.Fingerprint != key.Fingerprint:
		return nil, ports.ErrKeyReused
	}
	return stored.Order, nil
}

// at is the time of a command in the precision that every store and the published language keep, so that an order
// reads the same before and after it was stored.
func (s *Orders) at() time.Time { return s.now().UTC().Truncate(time.Millisecond) }
