// Package memory keeps everything in this process and nothing after it: the simplest store that keeps every promise
// of the ports. Read it to see what a store has to do before you read one that talks to a database, and use it in
// tests.
package memory

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// Store is a ports.OrderStore and its ports.IdempotencyStore. It keeps states and messages as values: a live order handed in
// or out would let its caller change the store without Save.
//
// It grows with every change, which is fine for tests and lessons and for nothing else.
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

func (s *Store) ByBuyer(ctx context.Context, buyer string, page ports.Page) ([]*order.Order, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", fmt.Errorf("list orders of %q: %w", buyer, err)
	}
	after, err := parseCursor(page.Cursor)
	if err != nil {
		return nil, "", err
	}
	limit := page.Size()

	found := s.following(buyer, after)
	next := ""
	if len(found) > limit {
		found = found[:limit]
		next = cursorAfter(found[limit-1].ID)
	}
	orders := make([]*order.Order, len(found))
	for i, state := range found {
		if orders[i], err = order.Restore(state); err != nil {
			return nil, "", err
		}
	}
	return orders, next, nil
}

// following are a buyer's orders with ids greater than after, by id. Looking at every order there is would not do in
// a store that means to be fast.
func (s *Store) following(buyer, after string) []order.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []order.Snapshot
	for id, state := range s.orders {
		if state.Buyer == buyer && id > after {
			found = append(found, state)
		}
	}
	slices.SortFunc(found, func(a, b order.Snapshot) int { return strings.Compare(a.ID, b.ID) })
	return found
}

// A cursor is opaque to its readers and says where the page before ended. An order's id, not a count of orders, so
// that pages stay in step while orders are added.
const cursorPrefix = "after:"

func cursorAfter(id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix + id))
}

func parseCursor(cursor string) (after string, err error) {
	if cursor == "" {
		return "", nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(cursor)
	after, _ = strings.CutPrefix(string(text), cursorPrefix)
	// Decoding forgives more than encoding makes, so only what encodes to the same text was given out.
	if cursorAfter(after) != cursor {
		return "", fmt.Errorf("cursor %q: %w", cursor, ports.ErrBadCursor)
	}
	return after, nil
}
