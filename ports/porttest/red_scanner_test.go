package porttest_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

var scannerFlaws = []flaw[porttest.Storage]{
	storageFlaw("scans for ever",
		"every order is in exactly one page, sorted by the bytes of its id",
		"every message is in exactly one page, sorted by order and version"),
	storageFlaw("scans what is not there", "an empty store has empty pages"),
	storageFlaw("scans in the order of arrival",
		"every order is in exactly one page, sorted by the bytes of its id",
		"every message is in exactly one page, sorted by order and version"),
	storageFlaw("scans without regard to case",
		"every order is in exactly one page, sorted by the bytes of its id",
		"every message is in exactly one page, sorted by order and version"),
	storageFlaw("scans versions as text", "every message is in exactly one page, sorted by order and version"),
	storageFlaw("scans the last one again",
		"every order is in exactly one page, sorted by the bytes of its id",
		"every message is in exactly one page, sorted by order and version",
		"a scan goes on after any place"),
	storageFlaw("scans whole orders", "every message is in exactly one page, sorted by order and version"),
	storageFlaw("scans from stored places only", "a scan goes on after any place"),
	storageFlaw("forgets the status", "an order is scanned as Get returns it"),
	storageFlaw("scans first versions", "an order is scanned as Get returns it"),
	storageFlaw("tells no payload", "a scanned message is the one of the outbox"),
	storageFlaw("scans pages of any size", "a page ends once it has MaxPageBytes"),
	storageFlaw("stops at MaxPageBytes", "a page ends once it has MaxPageBytes"),
	storageFlaw("has the driver's error while it is away", "while the store cannot be reached, both scans are ErrUnavailable"),
	storageFlaw("keeps the order when the commit fails", "a failed Save is in no page"),
	storageFlaw("keeps the messages when the commit fails", "a failed Save is in no page"),
	storageFlaw("ignores a cancelled context", "a cancelled context ends the scans"),
}

// ScanOrders makes the store a ports.OrderScanner.
func (s *store) ScanOrders(ctx context.Context, after string, limit int) (page []ports.ScannedOrder, err error) {
	if err := s.ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return nil, err
	}
	ids := slices.Sorted(maps.Keys(s.orders))
	disorder(s, ids, func(id string) string { return id })
	for _, id := range ids {
		if s.follows(cmp.Compare(id, after)) && len(page) < limit {
			state := s.orders[id]
			if s.has("scans first versions") {
				state.Version = 1
			}
			if s.has("forgets the status") {
				state.Status = order.StatusPaid
			}
			o, err := order.Restore(state)
			page = append(page, ports.ScannedOrder{ID: id, Order: o, Err: err})
		}
	}
	if _, stored := s.orders[after]; after != "" && !stored && s.has("scans from stored places only") {
		return nil, nil
	}
	if len(s.orders) == 0 && after == "" && s.has("scans what is not there") {
		page = append(page, ports.ScannedOrder{ID: "marker"})
	}
	return page, nil
}

func (s *store) ScanMessages(ctx context.Context, after ports.EventRef, limit int) (page []ports.Message, err error) {
	if err := s.ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return nil, err
	}
	log := slices.Clone(s.log)
	slices.SortStableFunc(log, func(a, b ports.Message) int {
		if s.has("scans versions as text") {
			return strings.Compare(a.ID, b.ID)
		}
		return cmp.Or(strings.Compare(a.OrderID, b.OrderID), a.Version-b.Version)
	})
	disorder(s, log, func(m ports.Message) string { return m.OrderID })
	bytes, bounded, whole := 0, !s.has("scans pages of any size"), s.has("scans whole orders")
	for _, m := range log {
		if !s.follows(cmp.Or(strings.Compare(m.OrderID, after.OrderID), m.Version-after.Version)) {
			continue
		}
		full := len(page) >= limit && (!whole || m.OrderID != page[len(page)-1].OrderID)
		second := after != (ports.EventRef{}) && len(m.Payload) > 1000
		if full || bounded && bytes >= ports.MaxPageBytes || second && s.has("stops at MaxPageBytes") {
			break
		}
		bytes += len(m.Payload)
		if s.has("tells no payload") {
			m.Payload = nil
		}
		page = append(page, m)
	}
	if s.has("scans what is not there") && len(log) == 0 && after == (ports.EventRef{}) {
		page = append(page, ports.Message{ID: "marker/1", OrderID: "marker", Version: 1})
	}
	return page, nil
}

// follows tells whether a scan goes on with what compares to its place like that.
func (s *store) follows(compared int) bool {
	return compared > 0 || compared == 0 && s.has("scans the last one again") || s.has("scans for ever")
}

// disorder brings what is sorted by id into another order.
func disorder[T any](s *store, all []T, id func(T) string) {
	switch {
	case s.has("scans in the order of arrival"):
		arrived := func(x T) int {
			return slices.IndexFunc(s.log, func(m ports.Message) bool { return m.OrderID == id(x) })
		}
		slices.SortStableFunc(all, func(a, b T) int { return arrived(a) - arrived(b) })
	case s.has("scans without regard to case"):
		slices.SortStableFunc(all, func(a, b T) int {
			return strings.Compare(strings.ToLower(id(a)), strings.ToLower(id(b)))
		})
	}
}
