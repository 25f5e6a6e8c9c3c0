// Package memory keeps everything in this process, until the process ends: the simplest store that keeps every promise
// of the ports. Read it to see what a store has to do before you read one that talks to a database, and use it in
// tests.
package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// Store is a ports.OrderStore and its ports.IdempotencyStore. It keeps states and messages as values: a live order handed in
// or out would let its caller change the store without Save.
//
// It grows with every change, which is fine for tests and lessons only.
type Store struct {
	mu     sync.Mutex
	orders map[string]order.Snapshot
	log    []ports.Message
	cut    int           // how many messages of the log were trimmed
	grown  chan struct{} // closed, and replaced, when the log grows

	results map[string]result // by idempotency key
	keys    []string          // of the results, oldest first

	position ports.Position // the outbox's checkpoint, and the term that made it
	term     int64

	failCommit error // what every commit fails with; for tests of what a failed commit leaves behind
}

func NewStore() *Store {
	return &Store{orders: map[string]order.Snapshot{}, grown: make(chan struct{}), results: map[string]result{}}
}

func (s *Store) Get(ctx context.Context, id string) (*order.Order, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get order %q: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state, ok := s.orders[id]
	if !ok {
		return nil, fmt.Errorf("order %q: %w", id, ports.ErrNotFound)
	}
	return order.Restore(state)
}

func (s *Store) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("save order %q: %w", o.ID(), err)
	}
	changes := len(o.Changes())
	if changes == 0 {
		return nil
	}
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		return err
	}
	if err := s.commit(o.Snapshot(), o.Version()-changes, messages, key); err != nil {
		return fmt.Errorf("save order %q: %w", o.ID(), err)
	}
	o.Committed()
	return nil
}

// commit is the transaction: under one lock the key is free, the order is still as it was loaded, and all is written, or
// nothing. An order that is not there has version 0, which is where a new one starts from.
func (s *Store) commit(state order.Snapshot, loaded int, messages []ports.Message, key ports.IdempotencyKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if _, taken := s.results[key.Value]; taken {
		return ports.ErrDuplicateRequest
	}
	if s.orders[state.ID].Version != loaded {
		return ports.ErrConflict
	}
	if s.failCommit != nil {
		return s.failCommit
	}
	s.orders[state.ID] = state
	s.log = append(s.log, messages...)
	if key.Value != "" {
		s.results[key.Value] = result{key, state, time.Now()}
		s.keys = append(s.keys, key.Value)
	}
	close(s.grown)
	s.grown = make(chan struct{})
	return nil
}
