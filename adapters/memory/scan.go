package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"hexorders/core/order"
	"hexorders/ports"
)

var _ ports.OrderScanner = (*Store)(nil)

// ScanOrders implements ports.OrderScanner. Like a list, it looks at all there is, and so does ScanMessages.
func (s *Store) ScanOrders(ctx context.Context, after string, limit int) (page []ports.ScannedOrder, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("scan orders: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.orders)) {
		if id > after && len(page) < limit {
			scanned := ports.ScannedOrder{ID: id}
			scanned.Order, scanned.Err = order.Restore(s.orders[id])
			page = append(page, scanned)
		}
	}
	return page, nil
}

// ScanMessages implements ports.OrderScanner.
func (s *Store) ScanMessages(ctx context.Context, after ports.EventRef, limit int) (page []ports.Message, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("scan messages: %w", err)
	}
	log, _, _, err := s.since(0)
	if err != nil {
		return nil, err
	}
	for _, m := range log {
		if cmp.Or(cmp.Compare(m.OrderID, after.OrderID), m.Version-after.Version) > 0 {
			page = append(page, m)
		}
	}
	slices.SortFunc(page, func(a, b ports.Message) int {
		return cmp.Or(cmp.Compare(a.OrderID, b.OrderID), a.Version-b.Version)
	})
	page = page[:min(limit, len(page))]
	bytes := 0
	for i, m := range page {
		if bytes += len(m.Payload); bytes >= ports.MaxPageBytes {
			return page[:i+1], nil
		}
	}
	return page, nil
}
