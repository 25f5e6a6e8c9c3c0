package porttest_test

import (
	"context"
	"errors"
	"slices"
	"strings"

	"hexorders/ports"
	"hexorders/ports/porttest"
)

var historyFlaws = []flaw[porttest.Storage]{
	storageFlaw("tells the newest first", "an order's messages are those of the outbox, in version order"),
	storageFlaw("sorts versions as text", "an order's messages are those of the outbox, in version order"),
	storageFlaw("tells no payload", "an order's messages are those of the outbox, in version order"),
	storageFlaw("tells of every order whose id begins like that", "an order has only its own messages"),
	storageFlaw("tells of ids in any case", "an order has only its own messages"),
	storageFlaw("begins with the version itself", "Messages returns the next versions, at most limit"),
	storageFlaw("tells all at once", "Messages returns the next versions, at most limit"),
	storageFlaw("calls an empty history not found", "an unknown order has no messages, and that is no error"),
	storageFlaw("has the driver's error while it is away", "while the store cannot be reached, Messages is ErrUnavailable"),
	storageFlaw("is one behind", "a successful Save is in the history"),
	storageFlaw("keeps the messages when the commit fails", "a failed Save is not in the history"),
	storageFlaw("ignores a cancelled context", "a cancelled context ends Messages"),
}

// Messages makes the store a ports.History.
func (s *store) Messages(ctx context.Context, id string, after, limit int) ([]ports.Message, error) {
	if err := s.ended(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return nil, err
	}
	var found []ports.Message
	for _, m := range s.log {
		ofThis := m.OrderID == id ||
			s.has("tells of every order whose id begins like that") && strings.HasPrefix(m.OrderID, id) ||
			s.has("tells of ids in any case") && strings.EqualFold(m.OrderID, id)
		if s.has("tells no payload") {
			m.Payload = nil
		}
		if ofThis && (m.Version > after || s.has("begins with the version itself") && m.Version == after) {
			found = append(found, m)
		}
	}
	switch {
	case s.has("tells the newest first"):
		slices.Reverse(found)
	case s.has("sorts versions as text"):
		slices.SortFunc(found, func(a, b ports.Message) int { return strings.Compare(a.ID, b.ID) })
	case s.has("calls an empty history not found") && len(found) == 0:
		return nil, errors.New("no documents in result")
	case s.has("is one behind") && len(found) > 0 && found[len(found)-1].ID == s.log[len(s.log)-1].ID:
		found = found[:len(found)-1]
	}
	if len(found) > limit && !s.has("tells all at once") {
		found = found[:limit]
	}
	return found, nil
}
