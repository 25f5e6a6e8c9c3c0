package memory

import (
	"context"
	"fmt"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// receipt is what the store keeps of a request that was carried out.
type receipt struct {
	request ports.Request
	state   order.Snapshot
	at      time.Time
}

// Receipt implements ports.Receipts.
func (s *Store) Receipt(ctx context.Context, key string) (ports.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return ports.Receipt{}, fmt.Errorf("get receipt: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	r, ok := s.receipts[key]
	if !ok {
		return ports.Receipt{}, fmt.Errorf("receipt %q: %w", key, ports.ErrNotFound)
	}
	o, err := order.Restore(r.state)
	return ports.Receipt{Request: r.request, Order: o}, err
}

// forget drops the receipts that have been kept long enough. Each is looked at once too often at most.
func (s *Store) forget() {
	for len(s.keys) > 0 && time.Since(s.receipts[s.keys[0]].at) > ports.ReceiptsKept {
		delete(s.receipts, s.keys[0])
		s.keys = s.keys[1:]
	}
}
