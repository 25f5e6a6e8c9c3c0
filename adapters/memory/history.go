package memory

import (
	"context"
	"fmt"

	"hexorders/ports"
)

// Messages implements ports.History. Like a list, it looks at all there is.
func (s *Store) Messages(ctx context.Context, orderID string, after, limit int) ([]ports.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("history of order %q: %w", orderID, err)
	}
	log, _, _, err := s.since(0)
	if err != nil {
		return nil, err
	}
	var found []ports.Message
	for _, m := range log {
		if m.OrderID == orderID && m.Version > after && len(found) < limit {
			found = append(found, m)
		}
	}
	return found, nil
}
