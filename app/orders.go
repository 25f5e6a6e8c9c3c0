// Package app holds the use cases: commands and queries on orders (orders.go, history.go). Package relay sends the events
// to the broker; package readside makes the read model of them. app imports ports, never an adapter.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/core/order"
	"hexorders/ports"
)

// maxAttempts bounds how often a command without a version is tried when other processes keep winning the race.
const maxAttempts = 8

// Orders carries out commands: load the order, let it decide, save it. The rules are the order's own.
type Orders struct {
	store    ports.OrderStore
	results  ports.IdempotencyStore
	history  ports.History
	decode   func(ports.Message) (order.Event, error)
	admitted admission
	inFlight sync.Map // the idempotency keys of the commands in progress
	locks    orderLocks
	now      func() time.Time
	newID    func() string
}

// OrdersOptions are what the core may not fetch for itself, and what a store may leave out.
type OrdersOptions struct {
	NewID func() string    // required; ids must grow with time (UUIDv7), because lists are sorted by them
	Now   func() time.Time // time.Now when nil
	// MaxCommands bounds the commands under way; further ones get ErrOverloaded. 0 means 128.
	MaxCommands int

	// Idempotency is the store's; nil when it has none, and a command with a key gets ErrIdempotencyUnsupported.
	Idempotency ports.IdempotencyStore
	// History is the store's; nil when it has none, and Events returns ErrNoHistory.
	History ports.History
	// Decode makes an event of a message; nil when there is no history.
	Decode func(ports.Message) (order.Event, error)
}

var _ ports.Orders = (*Orders)(nil)

func NewOrders(store ports.OrderStore, options OrdersOptions) *Orders {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Orders{store: store, results: options.Idempotency, history: options.History, decode: options.Decode,
		admitted: make(admission, cmp.Or(options.MaxCommands, defaultMaxCommands)), now: options.Now, newID: options.NewID}
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

// change is every command on an existing order.
func (s *Orders) change(ctx context.Context, at ports.Target, command func(*order.Order) error) (*order.Order, error) {
	return s.once(ctx, at.Key, func() (*order.Order, error) {
		unlock, err := s.locks.lock(ctx, at.ID)
		if err != nil {
			return nil, fmt.Errorf("wait for earlier commands on order %s: %w", at.ID, err)
		}
		defer unlock()
		return s.tryChange(ctx, at, command)
	})
}

// tryChange repeats a command that lost its race against another process: it is checked again on the order as the winner
// left it. There a caller that named a version learns that the order has another one. The pause between two attempts
// grows and is random, so that two processes do not keep meeting.
func (s *Orders) tryChange(ctx context.Context, at ports.Target, command func(*order.Order) error) (*order.Order, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 2 * time.Millisecond
	pause.MaxInterval = 50 * time.Millisecond
	return backoff.Retry(ctx, func() (*order.Order, error) {
		o, err := s.store.Get(ctx, at.ID)
		if err != nil {
			return nil, backoff.Permanent(err)
		}
		if at.Version != 0 && o.Version() != at.Version {
			return nil, backoff.Permanent(fmt.Errorf("order %s is at version %d, not %d: %w",
				at.ID, o.Version(), at.Version, ports.ErrVersionMismatch))
		}
		if err := command(o); err != nil {
			return nil, backoff.Permanent(err)
		}
		err = s.store.Save(ctx, o, at.Key)
		if err != nil && !errors.Is(err, ports.ErrConflict) {
			err = backoff.Permanent(err)
		}
		return o, err
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(maxAttempts), backoff.WithMaxElapsedTime(0))
}

// once runs the command first and reads the stored result only if the command fails. A retry always fails: either the
// order rejects it (already paid, say) or the store rejects the key. First-time commands pay for no extra read, and the
// result is found too when the store's response got lost.
func (s *Orders) once(
	ctx context.Context, key ports.IdempotencyKey, command func() (*order.Order, error),
) (*order.Order, error) {
	leave, err := s.admitted.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
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
