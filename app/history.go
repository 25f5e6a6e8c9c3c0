package app

import (
	"context"
	"fmt"

	"hexorders/core/order"
	"hexorders/ports"
)

// Events returns a page of an order's history. Old messages may have been deleted: then the page is not Complete. The
// order is read first, because its version says how many messages there must be.
func (s *Orders) Events(ctx context.Context, id string, page ports.Page) (ports.EventPage, error) {
	if s.history == nil {
		return ports.EventPage{}, ports.ErrNoHistory
	}
	o, err := s.store.Get(ctx, id)
	if err != nil {
		return ports.EventPage{}, err
	}
	list := "events of order " + id
	after, err := lastVersion(list, page.Cursor, o)
	if err != nil {
		return ports.EventPage{}, err
	}
	limit := page.Size()
	messages, err := s.history.Messages(ctx, id, after, limit+1) // one more tells whether there is a next page
	if err != nil {
		return ports.EventPage{}, err
	}
	result := ports.EventPage{Messages: messages, Version: o.Version(), Complete: true}
	if len(messages) > limit {
		result.Messages = messages[:limit]
		result.Next = ports.EncodeCursor(list, int64(messages[limit-1].Version))
	}
	last := after
	for _, m := range result.Messages {
		result.Complete = result.Complete && m.Version == last+1
		last = m.Version
	}
	if result.Next == "" && last < o.Version() {
		result.Complete = false
	}
	result.Version = max(last, result.Version) // it may have changed between the two reads
	return result, nil
}

// historyBatch is how many messages are read at a time to fold them.
const historyBatch = 1000

// At folds an order's events up to a version. The current version needs no history.
func (s *Orders) At(ctx context.Context, id string, version int) (*order.Order, error) {
	doing := fmt.Sprintf("order %s at version %d", id, version)
	o, err := s.store.Get(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case version < 1 || version > o.Version():
		return nil, fmt.Errorf("%s of %d: %w", doing, o.Version(), ports.ErrNoSuchVersion)
	case version == o.Version():
		return o, nil
	case s.history == nil || s.decode == nil:
		return nil, ports.ErrNoHistory
	}
	var events []order.Event
	for len(events) < version {
		messages, err := s.history.Messages(ctx, id, len(events), min(version-len(events), historyBatch))
		if err != nil {
			return nil, err
		}
		if len(messages) == 0 {
			return nil, fmt.Errorf("%s: %w", doing, ports.ErrHistoryDeleted)
		}
		for _, m := range messages {
			if m.Version != len(events)+1 {
				return nil, fmt.Errorf("%s: %w", doing, ports.ErrHistoryDeleted)
			}
			event, err := s.decode(m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", doing, err)
			}
			events = append(events, event)
		}
	}
	o, err = order.Replay(events)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return o, nil
}

// lastVersion is where the page before ended; 0 for the first page.
func lastVersion(list, cursor string, o *order.Order) (int, error) {
	if cursor == "" {
		return 0, nil
	}
	var version int64
	if err := ports.DecodeCursor(cursor, list, &version); err != nil {
		return 0, err
	}
	if version < 1 || version > int64(o.Version()) {
		return 0, fmt.Errorf("%s after version %d of %d: %w", list, version, o.Version(), ports.ErrBadCursor)
	}
	return int(version), nil
}
