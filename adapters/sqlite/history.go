package sqlite

import (
	"context"
	"fmt"

	"hexorders/ports"
)

// Messages implements ports.History.
func (s *Store) Messages(ctx context.Context, orderID string, after, limit int) ([]ports.Message, error) {
	rows, err := s.db.messagesAfter(ctx, selectHistory, orderID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("history of order %.80q: %w", orderID, err)
	}
	messages := make([]ports.Message, len(rows))
	for i, row := range rows {
		messages[i] = row.Message
	}
	return messages, nil
}

const selectHistory = `SELECT seq, order_id, version, type, payload, occurred_at, traceparent FROM outbox
	WHERE order_id = ? AND version > ? ORDER BY version LIMIT ?`
