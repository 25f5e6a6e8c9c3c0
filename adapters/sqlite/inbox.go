package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// generation selects the id of a generation that may be read and written: live or shadow.
const generation = `(SELECT id FROM generations WHERE view = ? AND number = ? AND state IN ('live', 'shadow'))`

const (
	selectMarks = `SELECT order_id, version, held, parked, buyer_id, status FROM marks
		WHERE generation = ` + generation + ` AND order_id IN (SELECT value FROM json_each(?))`
	selectTheirSummaries = selectSummaries + `WHERE generation = ` + generation + ` AND order_id IN (SELECT value FROM json_each(?))`
	selectReceived       = `SELECT message_id FROM inbox
		WHERE generation = ` + generation + ` AND message_id IN (SELECT value FROM json_each(?)) AND received_at > ?`
	selectHeld = `SELECT message_id, version, type, payload, occurred_at, traceparent FROM held
		WHERE generation = ` + generation + ` AND order_id = ? ORDER BY version, message_id`
	selectParked = `SELECT order_id, min(version), count(*), reason, held_at, 0 FROM held
		WHERE generation = ` + generation + ` GROUP BY order_id ORDER BY order_id`
	dropOldMessages = `DELETE FROM inbox WHERE (generation, message_id) IN
		(SELECT generation, message_id FROM inbox WHERE received_at <= ? ORDER BY received_at LIMIT ?)`
)

func (v *Views) Positions(ctx context.Context, g ports.Generation) (map[int]int64, error) {
	positions := map[int]int64{}
	err := v.db.query(ctx, `SELECT partition, next FROM positions WHERE generation = `+generation, []any{string(g.View), g.Number},
		func(rows *sql.Rows) error {
			var partition int
			var next int64
			err := rows.Scan(&partition, &next)
			positions[partition] = next
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("positions of %s: %w", g, err)
	}
	return positions, nil
}

// Load reads the marks first. Commit then detects a change between the two reads, because the mark differs.
func (v *Views) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Mark, map[string]ports.Summary, error) {
	marks, summaries := map[string]ports.Mark{}, map[string]ports.Summary{}
	args := []any{string(g.View), g.Number, jsonOf(orderIDs)}
	err := v.db.query(ctx, selectMarks, args,
		func(rows *sql.Rows) error {
			var m ports.Mark
			var status string
			err := rows.Scan(&m.OrderID, &m.Version, &m.Held, &m.Parked, &m.Buyer, &status)
			m.Status = order.Status(status)
			marks[m.OrderID] = m
			return err
		})
	if err == nil && g.View == ports.OrderSummary {
		err = v.db.query(ctx, selectTheirSummaries, args,
			func(rows *sql.Rows) error {
				s, err := scanSummary(rows)
				summaries[s.OrderID] = s
				return err
			})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("load %d orders of %s: %w", len(orderIDs), g, err)
	}
	return marks, summaries, nil
}

func (v *Views) Received(ctx context.Context, g ports.Generation, messageIDs []string) (map[string]bool, error) {
	received := map[string]bool{}
	err := v.db.query(ctx, selectReceived, []any{string(g.View), g.Number, jsonOf(messageIDs), oldestInInbox()},
		func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			received[id] = true
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("look for %d messages in the inbox of %s: %w", len(messageIDs), g, err)
	}
	return received, nil
}

func (v *Views) Held(ctx context.Context, g ports.Generation, orderID string) (messages []ports.Message, err error) {
	err = v.db.query(ctx, selectHeld, []any{string(g.View), g.Number, orderID},
		func(rows *sql.Rows) error {
			m := ports.Message{OrderID: orderID}
			var occurredAt string
			if err := rows.Scan(&m.ID, &m.Version, &m.Type, &m.Payload, &occurredAt, &m.TraceParent); err != nil {
				return err
			}
			var err error
			m.OccurredAt, err = parseTimeIfAny(occurredAt)
			messages = append(messages, m)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("held messages of order %.80q in %s: %w", orderID, g, err)
	}
	return messages, nil
}

// Parked takes the columns beside min(version) from the row that has it (https://www.sqlite.org/lang_select.html,
// "Bare columns in an aggregate query").
func (v *Views) Parked(ctx context.Context, g ports.Generation) ([]ports.ParkedOrder, error) {
	list, err := v.db.parkedOrders(ctx, selectParked, string(g.View), g.Number)
	if err != nil {
		return nil, fmt.Errorf("list parked orders of %s: %w", g, err)
	}
	return list, nil
}

// Commit checks what the change was computed from before it writes anything, so that a rejected change does not roll
// back the others of its transaction. The write lock excludes other writers between check and write.
func (v *Views) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	// Encode here, on the caller's goroutine: there is only one writer.
	ready := readyChange{Change: c, generation: g, received: jsonOf(c.Received), summaries: make([][]any, len(c.Summaries))}
	for i, s := range c.Summaries {
		var err error
		if ready.summaries[i], err = summaryColumns(s); err != nil {
			return fmt.Errorf("commit to %s: %w", g, err)
		}
	}
	if err := v.db.writer.do(ctx, ready.size(), ready.commit); err != nil {
		return fmt.Errorf("commit to %s: %w", g, err)
	}
	return nil
}

// readyChange is a change with everything that can be encoded before its transaction.
type readyChange struct {
	ports.Change
	generation ports.Generation
	received   string
	summaries  [][]any
}

func (c readyChange) size() int {
	const row = 200 // approximately, with its index entry
	size := len(c.received) + row*(len(c.Positions)+len(c.Received)+len(c.Marks)+2*len(c.Summaries)+len(c.Activity)+len(c.Timeline))
	for _, m := range c.Hold {
		size += row + len(m.Payload)
	}
	return size
}

func (c readyChange) commit(t *tx) error {
	var id int64
	err := t.queryRow(`SELECT id FROM generations WHERE id = `+generation, []any{string(c.generation.View), c.generation.Number}, &id)
	if errors.Is(err, ports.ErrNotFound) {
		return ports.ErrConflict
	}
	if err == nil {
		err = c.check(t, id)
	}
	for _, write := range []func(*tx, int64) error{c.writeInbox, c.writeHeld, c.writeViews} {
		if err == nil {
			err = write(t, id)
		}
	}
	return err
}

func (c readyChange) check(t *tx, id int64) error {
	for _, p := range c.Positions {
		var next int64
		err := t.queryRow(`SELECT next FROM positions WHERE generation = ? AND partition = ?`, []any{id, p.Partition}, &next)
		if err := conflict(err, next != p.From); err != nil {
			return err
		}
	}
	for _, m := range c.Marks {
		var version, held int
		err := t.queryRow(`SELECT version, held FROM marks WHERE generation = ? AND order_id = ?`, []any{id, m.OrderID}, &version, &held)
		if err := conflict(err, version != m.Was || held != m.WasHeld); err != nil {
			return err
		}
	}
	var duplicates int
	err := t.queryRow(`SELECT count(*) FROM inbox WHERE generation = ?
		AND message_id IN (SELECT value FROM json_each(?)) AND received_at > ?`, []any{id, c.received, oldestInInbox()}, &duplicates)
	return conflict(err, duplicates > 0)
}

// conflict turns the result of a check into an error. A missing row (ErrNotFound) counts as a row of zeros.
func conflict(err error, differs bool) error {
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return err
	}
	if differs {
		return ports.ErrConflict
	}
	return nil
}

// writeInbox also deletes two expired messages, of any view, for each new one: the table shrinks after a busy day
// without one slow commit.
func (c readyChange) writeInbox(t *tx, id int64) error {
	for _, p := range c.Positions {
		if _, err := t.exec(`REPLACE INTO positions (generation, partition, next, as_of) VALUES (?, ?, ?, ?)`,
			id, p.Partition, p.To, formatTimeIfAny(p.AsOf)); err != nil {
			return err
		}
	}
	for _, m := range c.Marks {
		if _, err := t.exec(`REPLACE INTO marks (generation, order_id, version, held, parked, buyer_id, status)
			VALUES (?, ?, ?, ?, ?, ?, ?)`,
			id, m.OrderID, m.Version, m.Held, m.Parked, m.Buyer, string(m.Status)); err != nil {
			return err
		}
	}
	if len(c.Received) == 0 {
		return nil
	}
	if _, err := t.exec(dropOldMessages, oldestInInbox(), 2*len(c.Received)); err != nil {
		return err
	}
	_, err := t.exec(`REPLACE INTO inbox (generation, message_id, received_at) SELECT ?, value, ? FROM json_each(?)`,
		id, formatTime(time.Now()), c.received)
	return err
}

func (c readyChange) writeHeld(t *tx, id int64) error {
	for _, m := range c.Hold {
		payload := m.Payload
		if payload == nil {
			payload = []byte{} // nil would be NULL
		}
		if _, err := t.exec(`INSERT INTO held
				(generation, message_id, order_id, version, type, payload, occurred_at, traceparent, reason, held_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (generation, message_id) DO UPDATE SET reason = excluded.reason`,
			id, m.ID, m.OrderID, m.Version, m.Type, payload, formatTimeIfAny(m.OccurredAt), m.TraceParent, m.Reason,
			formatTime(time.Now())); err != nil {
			return err
		}
	}
	for _, messageID := range c.Release {
		if _, err := t.exec(`DELETE FROM held WHERE generation = ? AND message_id = ?`, id, messageID); err != nil {
			return err
		}
	}
	return nil
}

func (c readyChange) writeViews(t *tx, id int64) error {
	for _, columns := range c.summaries {
		if _, err := t.exec(replaceSummary, append(columns[:len(columns):len(columns)], id)...); err != nil {
			return err
		}
	}
	for _, a := range c.Activity {
		if _, err := t.exec(`INSERT INTO activity (generation, buyer_id, pending, submitted, paid, cancelled, last_at)
			VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (generation, buyer_id) DO UPDATE SET pending = pending + excluded.pending,
				submitted = submitted + excluded.submitted, paid = paid + excluded.paid,
				cancelled = cancelled + excluded.cancelled, last_at = max(last_at, excluded.last_at)`,
			id, a.Buyer, a.Pending, a.Submitted, a.Paid, a.Cancelled, formatTimeIfAny(a.LastAt)); err != nil {
			return err
		}
	}
	for _, e := range c.Timeline {
		if _, err := t.exec(`REPLACE INTO timeline (generation, order_id, version, type, at, text) VALUES (?, ?, ?, ?, ?, ?)`,
			id, e.OrderID, e.Version, e.Type, formatTimeIfAny(e.At), e.Text); err != nil {
			return err
		}
	}
	return nil
}

// oldestInInbox is the time before which a received message has expired.
func oldestInInbox() string { return formatTime(time.Now().Add(-ports.InboxKept)) }

// jsonOf encodes a list for json_each.
func jsonOf(list []string) string {
	text, _ := json.Marshal(list) // strings can always be encoded
	return string(text)
}
