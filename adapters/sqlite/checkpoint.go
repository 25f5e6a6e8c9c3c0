package sqlite

import (
	"context"
	"errors"
	"fmt"

	"hexorders/ports"
)

// Checkpoint keeps the checkpoint of an outbox that is not in this file, beside the lease and the topic that it belongs to.
// Its methods are those of ports.Outbox.
type Checkpoint struct{ db *DB }

func NewCheckpoint(db *DB) *Checkpoint { return &Checkpoint{db} }

func (c *Checkpoint) Position(ctx context.Context) (p ports.Position, err error) {
	err = c.db.queryRow(ctx, `SELECT position FROM other_checkpoint`, nil, &p)
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return "", fmt.Errorf("read the checkpoint: %w", err)
	}
	return p, nil
}

func (c *Checkpoint) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	err := c.db.writer.do(ctx, 0, func(t *tx) error {
		changed, err := t.exec(`INSERT INTO other_checkpoint (id, position, term) VALUES (1, ?, ?)
			ON CONFLICT (id) DO UPDATE SET position = excluded.position, term = excluded.term
			WHERE excluded.term >= term`, string(p), term)
		if err == nil && changed == 0 {
			return ports.ErrFenced
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("checkpoint in term %d: %w", term, err)
	}
	return nil
}
