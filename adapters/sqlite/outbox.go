package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// Outbox implements ports.Outbox and ports.Trimmer with one table. A position is a seq, the table's key. All outboxes
// of one file share the checkpoint.
//
// The order of seq is the order of commits, also when several processes write: BEGIN IMMEDIATE takes the file's only
// write lock, the seqs are drawn under it, and it is held until the commit or the rollback. A reader that sees a seq
// therefore sees every smaller seq that will ever exist, so a reader that continues after the last seq that it saw
// misses nothing.
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
	err := b.db.readCheckpoint(ctx, "relay", "outbox", &seq)
	return position(seq), err
}

func (b *Outbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	seq, err := parsePosition(p)
	if err != nil {
		return fmt.Errorf("checkpoint in term %d: %w", term, err)
	}
	return b.db.writeCheckpoint(ctx, "relay", "outbox", seq, term)
}

// tailPage is how many messages Tail reads at once. No transaction is open while they are emitted, because an open one
// keeps SQLite from emptying the write-ahead log.
const tailPage = 256

func (b *Outbox) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	seq, err := parsePosition(after)
	if err != nil {
		return fmt.Errorf("tail outbox: %w", err)
	}
	b.emitted.Store(seq)
	for {
		page, err := b.db.nextMessages(ctx, &b.db.outbox, selectFromOutbox, seq, tailPage)
		if err != nil {
			return fmt.Errorf("tail outbox: %w", err)
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

// Unread returns how many messages Tail has not emitted yet, and when the first of them occurred.
func (b *Outbox) Unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	var newest int64
	var occurredAt string
	emitted := b.emitted.Load()
	err = b.db.queryRow(ctx, `SELECT seq, (SELECT occurred_at FROM outbox WHERE seq > ? ORDER BY seq LIMIT 1)
		FROM outbox WHERE seq > ? ORDER BY seq DESC LIMIT 1`, []any{emitted, emitted}, &newest, &occurredAt)
	if err == nil {
		oldest, err = parseTime(occurredAt)
	}
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return 0, time.Time{}, nil
	case err != nil:
		return 0, time.Time{}, fmt.Errorf("count unread messages: %w", err)
	}
	return int(newest - emitted), oldest, nil // seqs have no gaps: after a rollback a seq is drawn again
}

const (
	// trimPage is how many messages one transaction deletes. trimPause leaves time for saves between two transactions.
	trimPage  = 1000
	trimPause = 50 * time.Millisecond
)

// Trim reads only the oldest rows, so its cost does not depend on the size of the table. The file keeps its size; new
// rows reuse the space of deleted ones.
func (b *Outbox) Trim(ctx context.Context, before time.Time) (deleted int, err error) {
	for {
		var n int64
		err := b.db.writer.do(ctx, 0, func(t *tx) (err error) {
			n, err = t.exec(`DELETE FROM outbox WHERE occurred_at < ? AND seq IN (SELECT seq FROM outbox
				WHERE seq <= (SELECT position FROM relay WHERE id = 'outbox') ORDER BY seq LIMIT ?)`, formatTime(before), trimPage)
			return err
		})
		if err != nil {
			return deleted, fmt.Errorf("trim outbox: %w", err)
		}
		b.db.outbox.forget()
		deleted += int(n)
		if n == 0 {
			return deleted, nil
		}
		if err := pause(ctx, trimPause); err != nil {
			return deleted, fmt.Errorf("trim outbox: %w", err)
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

const (
	insertIntoOutbox = `INSERT INTO outbox (order_id, version, type, payload, occurred_at, traceparent)
		VALUES (?, ?, ?, ?, ?, ?)`
	selectFromOutbox = `SELECT seq, order_id, version, type, payload, occurred_at, traceparent FROM outbox
		WHERE seq > ? ORDER BY seq LIMIT ?`
)

// messageColumns returns the values of a message for the tables outbox, topic and parked, in the order of their
// columns. The message's id is not stored: it follows from order and version.
func messageColumns(m ports.Message) []any {
	return []any{m.OrderID, m.Version, m.Type, string(m.Payload), formatTime(m.OccurredAt), m.TraceParent}
}

// messagesAfter reads a page from a query of seq and message columns.
func (db *DB) messagesAfter(ctx context.Context, query string, args ...any) (page []logged, err error) {
	err = db.query(ctx, query, args, func(rows *sql.Rows) error {
		var m logged
		var occurredAt string
		if err := rows.Scan(&m.seq, &m.OrderID, &m.Version, &m.Type, &m.Payload, &occurredAt, &m.TraceParent); err != nil {
			return err
		}
		var err error
		m.ID = m.OrderID + "/" + strconv.Itoa(m.Version)
		m.OccurredAt, err = parseTime(occurredAt)
		page = append(page, m)
		return err
	})
	return page, err
}
