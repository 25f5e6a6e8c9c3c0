package memory

import (
	"context"
	"fmt"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// result is what a Save with an idempotency key has stored.
type result struct {
	key      ports.IdempotencyKey
	state    order.Snapshot
	storedAt time.Time
}

// StoredResult implements ports.IdempotencyStore.
func (s *Store) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	if err := ctx.Err(); err != nil {
		return ports.StoredResult{}, fmt.Errorf("get stored result: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	r, ok := s.results[key]
	if !ok {
		return ports.StoredResult{}, fmt.Errorf("stored result %q: %w", key, ports.ErrNotFound)
	}
	o, err := order.Restore(r.state)
	return ports.StoredResult{Key: r.key, Order: o}, err
}

// forget deletes the results that are older than ResultsKept.
func (s *Store) forget() {
	for len(s.keys) > 0 && time.Since(s.results[s.keys[0]].storedAt) > ports.ResultsKept {
		delete(s.results, s.keys[0])
		s.keys = s.keys[1:]
	}
}
