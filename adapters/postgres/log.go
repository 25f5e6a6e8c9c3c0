package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"hexorders/ports"
)

// A log is a table of messages, the outbox or the topic, in the order of seq. A sequence hands its numbers out before the
// commit, so a reader that has seen 12 may be shown 11 later, and misses it. Here that cannot be: who adds to a log takes
// the log's lock before the first number is drawn and keeps it until the commit is visible. So numbers become visible in
// their order, and a reader that goes on after the last number it has seen misses nothing. A rolled-back transaction leaves
// a gap in the numbers, and a crash of the server one of up to 32: no message was there.
//
// DESIGN.md says why it is this lock and not another way.

// lock queues the lock of a log, which is given back at the end of the transaction.
func (db *DB) lock(in *pgx.Batch, log *changes) {
	in.Queue(log.take, log.lock)
}

// logged is a message and its seq.
type logged struct {
	seq int64
	ports.Message
}

// messageColumns are those of a message in the tables outbox, topic and parked. The message's id is not stored: it follows
// from order and version.
const messageColumns = `order_id, version, type, payload, occurred_at, traceparent`

// columnsOf returns the columns of messages as arrays.
func columnsOf(messages []ports.Message) []any {
	n := len(messages)
	orders, types, payloads, traces := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	versions, times := make([]int, n), make([]time.Time, n)
	for i, m := range messages {
		orders[i], versions[i], types[i], payloads[i] = m.OrderID, m.Version, m.Type, string(m.Payload)
		times[i], traces[i] = m.OccurredAt, m.TraceParent
	}
	return []any{orders, versions, types, payloads, times, traces}
}

// messages reads the rows of a query for seq and messageColumns.
func (db *DB) messages(ctx context.Context, query string, args ...any) (page []logged, err error) {
	err = db.query(ctx, query, args, func(rows pgx.Rows) error {
		m, err := scanMessage(rows)
		page = append(page, m)
		return err
	})
	return page, err
}

func scanMessage(rows pgx.Rows) (m logged, err error) {
	err = rows.Scan(&m.seq, &m.OrderID, &m.Version, &m.Type, &m.Payload, &m.OccurredAt, &m.TraceParent)
	m.ID = m.OrderID + "/" + strconv.Itoa(m.Version)
	m.OccurredAt = m.OccurredAt.UTC()
	return m, err
}

func withoutSeqs(rows []logged) []ports.Message {
	messages := make([]ports.Message, len(rows))
	for i, m := range rows {
		messages[i] = m.Message
	}
	return messages
}

// nextMessages waits until there are messages after a seq, and returns at most limit of them.
func (db *DB) nextMessages(ctx context.Context, log *changes, seq int64, limit int) ([]logged, error) {
	for {
		changed := log.next()
		page, err := db.messages(ctx, fmt.Sprintf(`SELECT seq, %s FROM %s WHERE seq > $1 ORDER BY seq LIMIT $2`, messageColumns, log.table),
			seq, limit)
		if err != nil || len(page) > 0 {
			return page, err
		}
		if err := wait(ctx, changed); err != nil {
			return nil, err
		}
	}
}
