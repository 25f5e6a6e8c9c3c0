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
	err = c.db.readCheckpoint(ctx, "other_checkpoint", 1, &p)
	return p, err
}

func (c *Checkpoint) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	return c.db.writeCheckpoint(ctx, "other_checkpoint", 1, string(p), term)
}

// readCheckpoint reads a row of a table of checkpoints. Without the row, into stays as it is.
func (db *DB) readCheckpoint(ctx context.Context, table string, id, into any) error {
	err := db.queryRow(ctx, `SELECT position FROM `+table+` WHERE id = ?`, []any{id}, into)
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	return nil
}

// writeCheckpoint writes such a row, unless a later term has written it.
func (db *DB) writeCheckpoint(ctx context.Context, table string, id, position any, term int64) error {
	err := db.writer.do(ctx, 0, func(t *tx) error {
		changed, err := t.exec(`INSERT INTO `+table+` (id, position, term) VALUES (?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET position = excluded.position, term = excluded.term
			WHERE excluded.term >= term`, id, position, term)
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
