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

// Outbox is a ports.Outbox and its ports.Trimmer: a table in the order of its seq, which is a position. All outboxes of one file share the
// checkpoint.
//
// The order of seq is the order of commits, also when several processes write: BEGIN IMMEDIATE takes the only write
// lock a file has, the seqs are drawn under it, and it is held until they are committed or given back. So whoever sees
// a seq sees all that will ever stand before it, and a reader that goes on after the last seq it saw misses nothing.
type Outbox struct {
	db     *DB
	handed atomic.Int64 // the last seq that Tail has handed out
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
		return "", fmt.Errorf("read the checkpoint: %w", err)
	}
	return position(seq), nil
}

func (b *Outbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	seq, err := parsePosition(p)
	if err == nil {
		err = b.db.writer.do(ctx, 0, func(t *tx) error {
			changed, err := t.exec(`INSERT INTO relay (id, position, term) VALUES ('outbox', ?, ?)
				ON CONFLICT (id) DO UPDATE SET position = excluded.position, term = excluded.term
				WHERE excluded.term >= term`, seq, term)
			if err == nil && changed == 0 {
				return ports.ErrFenced
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("checkpoint in term %d: %w", term, err)
	}
	return nil
}

// tailPage is how many messages Tail reads at once. No transaction stays open while they are emitted, however long
// that takes: the write-ahead log could not be emptied meanwhile.
const tailPage = 256

func (b *Outbox) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	seq, err := parsePosition(after)
	if err != nil {
		return fmt.Errorf("tail outbox: %w", err)
	}
	b.handed.Store(seq)
	for {
		rung := b.db.commits.next()
		page, err := b.db.messagesAfter(ctx, selectFromOutbox, seq, tailPage)
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
			b.handed.Store(seq)
		}
		if len(page) > 0 {
			continue
		}
		if err := b.db.awaitCommit(ctx, rung); err != nil {
			return fmt.Errorf("tail outbox: %w", err)
		}
	}
}

// Unread counts the messages that Tail has not handed out yet, and says when the first of them occurred.
func (b *Outbox) Unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	var newest int64
	var occurredAt string
	handed := b.handed.Load()
	err = b.db.queryRow(ctx, `SELECT seq, (SELECT occurred_at FROM outbox WHERE seq > ? ORDER BY seq LIMIT 1)
		FROM outbox WHERE seq > ? ORDER BY seq DESC LIMIT 1`, []any{handed, handed}, &newest, &occurredAt)
	if err == nil {
		oldest, err = parseTime(occurredAt)
	}
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return 0, time.Time{}, nil
	case err != nil:
		return 0, time.Time{}, fmt.Errorf("count unread messages: %w", err)
	}
	return int(newest - handed), oldest, nil // seqs have no gaps: one that was given back is drawn again
}

const (
	// trimPage is how many messages one transaction deletes, and trimPause the time that savers have between two of them.
	trimPage  = 1000
	trimPause = 50 * time.Millisecond
)

// Trim looks at the head of the table only, where the oldest stand: it costs the same however long the table is. The
// file keeps its size, and what comes next goes where the deleted ones were.
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

// messageColumns are a message as outbox, topic and parked keep it, in the order in which they name the columns. Its
// id follows from order and version.
func messageColumns(m ports.Message) []any {
	return []any{m.OrderID, m.Version, m.Type, string(m.Payload), formatTime(m.OccurredAt), m.TraceParent}
}

// logged is a message and its place in a table.
type logged struct {
	seq int64
	ports.Message
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
