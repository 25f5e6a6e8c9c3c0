package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"hexorders/ports"
)

// isKept is true for a generation that may be read and written: live or shadow.
const isKept = `EXISTS (SELECT 1 FROM generations WHERE number = ? AND state IN ('live', 'shadow'))`

func (m *ReadModel) Places(ctx context.Context, g ports.Generation) (places []ports.Place, err error) {
	err = m.readOf(ctx, g, `SELECT shard, next FROM %s WHERE `+isKept+` ORDER BY shard`, "places", nil, func(rows *sql.Rows) error {
		var p ports.Place
		err := rows.Scan(&p.Shard, &p.Next)
		places = append(places, p)
		return err
	})
	return places, err
}

func (m *ReadModel) Gaps(ctx context.Context, g ports.Generation) (gaps []ports.Gap, err error) {
	const query = `SELECT shard, gap, missing FROM %s WHERE ` + isKept + ` AND gap IS NOT NULL ORDER BY shard`
	err = m.readOf(ctx, g, query, "places", nil, func(rows *sql.Rows) error {
		var gap ports.Gap
		err := rows.Scan(&gap.Place.Shard, &gap.Reason, &gap.Detail)
		gaps = append(gaps, gap)
		return err
	})
	return gaps, err
}

func (m *ReadModel) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Progress, error) {
	loaded := map[string]ports.Progress{}
	err := m.readOf(ctx, g, `SELECT order_id, version, newest, buffered, parked, state, coalesce(digest, 0) FROM %s WHERE `+isKept+`
		AND order_id IN (SELECT value FROM json_each(?))`, "progress", []any{jsonOf(orderIDs)}, func(rows *sql.Rows) error {
		var p ports.Progress
		err := rows.Scan(&p.OrderID, &p.Version, &p.Newest, &p.Buffered, &p.Parked, &p.State, &p.Digest)
		loaded[p.OrderID] = p
		return err
	})
	return loaded, err
}

func (m *ReadModel) Buffered(ctx context.Context, g ports.Generation, orderID string) (messages []ports.Message, err error) {
	err = m.readOf(ctx, g, `SELECT id, version, type, payload, occurred_at, traceparent FROM %s WHERE `+isKept+`
		AND order_id = ? ORDER BY version`, "buffered", []any{orderID}, func(rows *sql.Rows) error {
		b := ports.Message{OrderID: orderID}
		var occurredAt string
		if err := rows.Scan(&b.ID, &b.Version, &b.Type, &b.Payload, &occurredAt, &b.TraceParent); err != nil {
			return err
		}
		var err error
		b.OccurredAt, err = parseTimeIfAny(occurredAt)
		messages = append(messages, b)
		return err
	})
	return messages, err
}

// Parked takes the columns beside min(version) from the row that has it (https://www.sqlite.org/lang_select.html,
// "Bare columns in an aggregate query").
func (m *ReadModel) Parked(ctx context.Context, g ports.Generation) (list []ports.ParkedOrder, err error) {
	err = m.readOf(ctx, g, `SELECT order_id, min(version), count(*), reason, since, 0 FROM %s WHERE `+isKept+`
		GROUP BY order_id ORDER BY order_id`, "buffered", nil, func(rows *sql.Rows) error {
		o, err := scanParked(rows)
		list = append(list, o)
		return err
	})
	return list, err
}

// readOf runs a query on a table of a generation. The query takes the table's name, and the generation's number as its
// first argument.
func (m *ReadModel) readOf(ctx context.Context, g ports.Generation, query, name string, args []any, scan func(*sql.Rows) error) error {
	err := m.db.query(ctx, fmt.Sprintf(query, tableOf(g.Number, name)), append([]any{g.Number}, args...), scan)
	if err != nil && !isNoTable(err) {
		return fmt.Errorf("read the %s of generation %d: %w", name, g.Number, err)
	}
	return nil
}

// Commit encodes the change on the caller's goroutine: there is only one writer.
func (m *ReadModel) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	err := m.begin(ctx)
	if err == nil {
		e := encoder{generation: g.Number, tables: m.tables}
		e.encode(c)
		err = m.db.writer.do(ctx, e.size(), func(t *tx) error { return e.write(t) })
	}
	if err != nil {
		return fmt.Errorf("commit to generation %d: %w", g.Number, err)
	}
	return nil
}

// encoder makes the statements of a change.
type encoder struct {
	generation int
	tables     map[string]table
	statements []*statement
}

func (e *encoder) encode(c ports.Change) {
	e.places(c.Places, c.Gaps)
	e.progress(c.Progress)
	e.buffer(c.Buffer, c.Release)
	for view, changes := range c.Rows {
		e.rows(e.tables[view], changes)
	}
}

// write does not read before it writes. A conflict is found by the first claim that fails. That of a place comes first:
// another consumer of the same messages has moved it, and then this job has written nothing and disturbs no other job of
// its transaction.
func (e *encoder) write(t *tx) error {
	var kept bool
	if err := t.queryRow(`SELECT `+isKept, []any{e.generation}, &kept); err != nil {
		return err
	}
	if !kept {
		return ports.ErrConflict
	}
	for _, s := range e.statements {
		if err := s.write(t); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) size() (bytes int) {
	for _, s := range e.statements {
		bytes += s.size
	}
	return bytes
}

// statement adds a statement that claims or does not.
func (e *encoder) statement(claims bool, before, row, after string) *statement {
	s := &statement{before: before, row: row, after: after, claims: claims}
	e.statements = append(e.statements, s)
	return s
}

// places treats a missing row as one with an empty place.
func (e *encoder) places(changes []ports.PlaceChange, gaps []ports.Gap) {
	name := tableOf(e.generation, "places")
	first := e.statement(true, `INSERT INTO `+name+` (next, as_of, shard) VALUES `, `(?, ?, ?)`,
		` ON CONFLICT (shard) DO UPDATE SET next = excluded.next, as_of = excluded.as_of WHERE next = ''`)
	move := e.statement(true, `UPDATE `+name+` SET next = ?, as_of = ? WHERE shard = ? AND next = ?`, ``, ``)
	for _, p := range changes {
		if p.From == "" {
			first.add(p.To, formatTimeIfAny(p.AsOf), p.Shard)
		} else {
			move.add(p.To, formatTimeIfAny(p.AsOf), p.Shard, p.From)
		}
	}
	miss := e.statement(false, `UPDATE `+name+` SET gap = ?, missing = ? WHERE shard = ?`, ``, ``)
	for _, gap := range gaps {
		miss.add(string(gap.Reason), gap.Detail, gap.Place.Shard)
	}
}

// progress treats a missing row as one of zeros.
func (e *encoder) progress(changes []ports.ProgressChange) {
	name := tableOf(e.generation, "progress")
	first := e.statement(true, `INSERT INTO `+name+` (version, newest, buffered, parked, state, digest, order_id) VALUES `,
		`(?, ?, ?, ?, ?, ?, ?)`,
		` ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, newest = excluded.newest, buffered = excluded.buffered,
			parked = excluded.parked, state = excluded.state, digest = excluded.digest WHERE version = 0 AND buffered = 0`)
	move := e.statement(true, `UPDATE `+name+` SET version = ?, newest = ?, buffered = ?, parked = ?, state = ?, digest = ?
		WHERE order_id = ? AND version = ? AND buffered = ?`, ``, ``)
	for _, p := range changes {
		if p.WasVersion == 0 && p.WasBuffered == 0 {
			first.add(p.Version, p.Newest, p.Buffered, p.Parked, string(p.State), int64(p.Digest), p.OrderID)
		} else {
			move.add(p.Version, p.Newest, p.Buffered, p.Parked, string(p.State), int64(p.Digest), p.OrderID, p.WasVersion, p.WasBuffered)
		}
	}
}

func (e *encoder) buffer(messages []ports.BufferedMessage, release []ports.EventRef) {
	name, now := tableOf(e.generation, "buffered"), formatTime(time.Now())
	insert := e.statement(false, `INSERT INTO `+name+`
			(order_id, version, id, type, payload, occurred_at, traceparent, reason, since) VALUES `, `(?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		` ON CONFLICT (order_id, version) DO UPDATE SET reason = excluded.reason`)
	for _, b := range messages {
		payload := b.Payload
		if payload == nil {
			payload = []byte{} // nil would be NULL
		}
		insert.add(b.OrderID, b.Version, b.ID, b.Type, payload, formatTimeIfAny(b.OccurredAt), b.TraceParent, b.Reason, now)
	}
	forget := e.statement(false, `DELETE FROM `+name+` WHERE order_id = ? AND version = ?`, ``, ``)
	for _, message := range release {
		forget.add(message.OrderID, message.Version)
	}
}

func (e *encoder) rows(t table, c ports.RowChanges) {
	name := rowsOf(e.generation, t.Name)
	forget := e.statement(false, `DELETE FROM `+name+` WHERE key = ?`, ``, ``)
	for _, key := range c.Delete {
		forget.add(key)
	}
	into, row := `INTO `+name+` (key, body`+listed(t.fields)+`) VALUES `, `(?, ?`+strings.Repeat(`, ?`, len(t.fields))+`)`
	insert := e.statement(true, `INSERT `+into, row, ` ON CONFLICT DO NOTHING`)
	for _, row := range c.Insert {
		insert.add(t.values(row)...)
	}
	put := e.statement(false, `REPLACE `+into, row, ``) // it sets the counters back to 0, as the port wants it
	for _, row := range c.Put {
		put.add(t.values(row)...)
	}
	e.additions(name, c.Add)
}

func (t table) values(row ports.Row) []any {
	args := make([]any, 0, 2+len(t.fields))
	args = append(args, row.Key, string(row.Body))
	for _, field := range t.fields {
		args = append(args, row.Field(field))
	}
	return args
}

// additions makes a statement for each set of counters that some change.
func (e *encoder) additions(table string, all []ports.Addition) {
	statements := map[string]*statement{}
	for _, a := range all {
		names, args := namesOf(a.Add)+";"+namesOf(a.Max), []any{a.Key}
		for _, c := range slices.Concat(a.Add, a.Max) {
			args = append(args, c.Value)
		}
		s := statements[names]
		if s == nil {
			s = e.addition(table, a)
			statements[names] = s
		}
		s.add(args...)
	}
}

func namesOf(counts []ports.Count) (names string) {
	for _, c := range counts {
		names += ", " + quoted(c.Name)
	}
	return names
}

func (e *encoder) addition(table string, a ports.Addition) *statement {
	var set []string
	for _, c := range a.Add {
		name := quoted(c.Name)
		set = append(set, name+` = `+name+` + excluded.`+name)
	}
	for _, c := range a.Max {
		name := quoted(c.Name)
		set = append(set, name+` = max(`+name+`, excluded.`+name+`)`)
	}
	return e.statement(false, `INSERT INTO `+table+` (key`+namesOf(a.Add)+namesOf(a.Max)+`) VALUES `,
		`(?`+strings.Repeat(`, ?`, len(set))+`)`, ` ON CONFLICT (key) DO UPDATE SET `+strings.Join(set, `, `))
}
