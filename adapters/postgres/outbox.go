package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// Outbox implements ports.Outbox and ports.Trimmer. A position is a seq of the table. All outboxes of one schema share the
// checkpoint.
type Outbox struct {
	db      *DB
	emitted atomic.Int64 // the last seq that Tail has emitted
}

var (
	_ ports.Outbox  = (*Outbox)(nil)
	_ ports.Trimmer = (*Outbox)(nil)
)

func NewOutbox(db *DB) *Outbox { return &Outbox{db: db} }

func (b *Outbox) Position(ctx context.Context) (ports.Position, error) {
	var seq int64
	err := b.db.queryRow(ctx, `SELECT position FROM relay WHERE id = 'outbox'`, nil, &seq)
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return "", fail(ctx, "read the checkpoint", err)
	}
	return position(seq), nil
}

func (b *Outbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	seq, err := parsePosition(p)
	if err != nil {
		return fmt.Errorf("checkpoint in term %d: %w", term, err)
	}
	changed, err := b.db.exec(ctx, `INSERT INTO relay (id, position, term) VALUES ('outbox', $1, $2)
		ON CONFLICT (id) DO UPDATE SET position = excluded.position, term = excluded.term WHERE excluded.term >= relay.term`, seq, term)
	if err == nil && changed == 0 {
		err = ports.ErrFenced
	}
	return fail(ctx, fmt.Sprintf("checkpoint in term %d", term), err)
}

// tailPage is how many messages Tail reads at once.
const tailPage = 512

func (b *Outbox) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	seq, err := parsePosition(after)
	if err != nil {
		return fmt.Errorf("tail outbox: %w", err)
	}
	b.emitted.Store(seq)
	for {
		page, err := b.db.nextMessages(ctx, b.db.outbox, seq, tailPage)
		if err != nil {
			return fail(ctx, "tail outbox", err)
		}
		for _, m := range page {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("tail outbox: %w", err)
			}
			if err := emit(m.Message, position(m.seq)); err != nil {
				return err
			}
			seq = m.seq
			b.emitted.Store(seq)
		}
	}
}

// countAtMost is how many unread messages are counted. Of more, the difference of seqs is told, which gaps make a little
// too large.
const countAtMost = 1000

// Unread returns how many messages Tail has not emitted yet, and when the first of them occurred.
func (b *Outbox) Unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	var newest int64
	var occurredAt *time.Time
	emitted := b.emitted.Load()
	err = b.db.queryRow(ctx, `SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE seq > $1 LIMIT $2) AS unread),
			coalesce((SELECT max(seq) FROM outbox), 0), (SELECT occurred_at FROM outbox WHERE seq > $1 ORDER BY seq LIMIT 1)`,
		[]any{emitted, countAtMost}, &messages, &newest, &occurredAt)
	if err != nil {
		return 0, time.Time{}, fail(ctx, "count unread messages", err)
	}
	if messages == countAtMost {
		messages = int(newest - emitted)
	}
	if occurredAt != nil {
		oldest = occurredAt.UTC()
	}
	return messages, oldest, nil
}

const (
	// trimPage is how many messages one transaction deletes. trimPause leaves time for others between two transactions.
	trimPage  = 1000
	trimPause = 50 * time.Millisecond
)

// Trim reads only the oldest rows, so its cost does not depend on the size of the table. Autovacuum makes the space of
// deleted rows free for new ones.
func (b *Outbox) Trim(ctx context.Context, before time.Time) (deleted int, err error) {
	for {
		n, err := b.db.exec(ctx, `DELETE FROM outbox WHERE occurred_at < $1 AND seq IN (SELECT seq FROM outbox
			WHERE seq <= (SELECT position FROM relay WHERE id = 'outbox') ORDER BY seq LIMIT $2)`, before, trimPage)
		if err != nil {
			return deleted, fail(ctx, "trim outbox", err)
		}
		deleted += int(n)
		if n == 0 {
			return deleted, nil
		}
		select {
		case <-time.After(trimPause):
		case <-ctx.Done():
			return deleted, fmt.Errorf("trim outbox: %w", ctx.Err())
		}
	}
}

func position(seq int64) ports.Position {
	if seq == 0 {
		return ""
	}
	return ports.Position(strconv.FormatInt(seq, 10))
}

func parsePosition(p ports.Position) (seq int64, err error) {
	if p == "" {
		return 0, nil
	}
	seq, err = strconv.ParseInt(string(p), 10, 64)
	if err != nil || seq < 1 {
		return 0, fmt.Errorf("position %.80q is not one of this outbox", p)
	}
	return seq, nil
}
