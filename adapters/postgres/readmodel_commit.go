package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"hexorders/ports"
)

// isThere is true for a generation that may be read and written: live or shadow.
const isThere = `EXISTS (SELECT FROM generations WHERE number = $1 AND state IN ('live', 'shadow'))`

func (m *ReadModel) Places(ctx context.Context, g ports.Generation) (places []ports.Place, err error) {
	err = m.readOf(ctx, g, `SELECT shard, next FROM %s WHERE `+isThere+` ORDER BY shard`, "places", nil, func(rows pgx.Rows) error {
		var p ports.Place
		err := rows.Scan(&p.Shard, &p.Next)
		places = append(places, p)
		return err
	})
	return places, err
}

func (m *ReadModel) Gaps(ctx context.Context, g ports.Generation) (gaps []ports.Gap, err error) {
	const query = `SELECT shard, gap, missing FROM %s WHERE ` + isThere + ` AND gap IS NOT NULL ORDER BY shard`
	err = m.readOf(ctx, g, query, "places", nil, func(rows pgx.Rows) error {
		var gap ports.Gap
		err := rows.Scan(&gap.Place.Shard, &gap.Reason, &gap.Detail)
		gaps = append(gaps, gap)
		return err
	})
	return gaps, err
}

func (m *ReadModel) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Progress, error) {
	loaded := map[string]ports.Progress{}
	err := m.readOf(ctx, g, `SELECT order_id, version, newest, buffered, parked, state, digest FROM %s WHERE `+isThere+`
		AND order_id = ANY ($2)`, "progress", []any{orderIDs}, func(rows pgx.Rows) error {
		var p ports.Progress
		err := rows.Scan(&p.OrderID, &p.Version, &p.Newest, &p.Buffered, &p.Parked, &p.State, &p.Digest)
		loaded[p.OrderID] = p
		return err
	})
	return loaded, err
}

func (m *ReadModel) Buffered(ctx context.Context, g ports.Generation, orderID string) (messages []ports.Message, err error) {
	err = m.readOf(ctx, g, `SELECT id, version, type, payload, occurred_at, traceparent FROM %s WHERE `+isThere+`
		AND order_id = $2 ORDER BY version`, "buffered", []any{orderID}, func(rows pgx.Rows) error {
		b := ports.Message{OrderID: orderID}
		var occurredAt *time.Time
		err := rows.Scan(&b.ID, &b.Version, &b.Type, &b.Payload, &occurredAt, &b.TraceParent)
		b.OccurredAt = timeOf(occurredAt)
		messages = append(messages, b)
		return err
	})
	return messages, err
}

func (m *ReadModel) Parked(ctx context.Context, g ports.Generation) (list []ports.ParkedOrder, err error) {
	err = m.readOf(ctx, g, `SELECT DISTINCT ON (order_id) order_id, version, count(*) OVER (PARTITION BY order_id), reason, since, false
		FROM %s WHERE `+isThere+` ORDER BY order_id, version`, "buffered", nil, func(rows pgx.Rows) error {
		o, err := scanParked(rows)
		list = append(list, o)
		return err
	})
	return list, err
}

// readOf runs a query on a table of a generation. The query takes the table's name, and the generation's number as its
// first argument. A generation whose tables are gone is empty.
func (m *ReadModel) readOf(ctx context.Context, g ports.Generation, query, name string, args []any, scan func(pgx.Rows) error) error {
	err := m.db.query(ctx, fmt.Sprintf(query, tableOf(g.Number, name)), append([]any{g.Number}, args...), scan)
	if hasCode(err, undefinedTable) {
		return nil
	}
	return fail(ctx, fmt.Sprintf("read the %s of generation %d", name, g.Number), err)
}

// Commit sends all statements at once, reads how many rows each has changed, and commits only if each claim held.
func (m *ReadModel) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	err := m.begin(ctx)
	if err == nil {
		e := encoder{generation: g.Number, tables: m.tables}
		e.encode(c)
		err = m.write(ctx, &e)
	}
	if hasCode(err, undefinedTable) {
		err = ports.ErrConflict // another process has dropped the generation
	}
	return fail(ctx, fmt.Sprintf("commit to generation %d", g.Number), err)
}

func (m *ReadModel) write(ctx context.Context, e *encoder) error {
	ctx, cancel := context.WithTimeout(ctx, m.db.options.Timeout)
	defer cancel()
	return pgx.BeginTxFunc(ctx, m.db.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var number int
		err := tx.QueryRow(ctx, `SELECT number FROM generations WHERE number = $1 AND state IN ('live', 'shadow') FOR NO KEY UPDATE`,
			e.generation).Scan(&number)
		if errors.Is(err, pgx.ErrNoRows) {
			return ports.ErrConflict
		} else if err != nil {
			return err
		}
		conflict := false
		batch := &pgx.Batch{}
		for _, s := range e.statements {
			if s.rows > 0 {
				batch.Queue(s.text, s.arrays()...).Exec(func(tag pgconn.CommandTag) error {
					conflict = conflict || s.claims && tag.RowsAffected() < int64(s.rows)
					return nil
				})
			}
		}
		if batch.Len() > 0 {
			err = tx.SendBatch(ctx, batch).Close()
		}
		if err == nil && conflict {
			err = ports.ErrConflict
		}
		return err
	})
}

// statement writes rows of one kind: a column is an array. One that claims changes fewer rows when one of them is not what
// the change began with.
type statement struct {
	text    string
	claims  bool
	rows    int
	columns []column
}

// column collects the values of one column.
type column interface {
	add(value any)
	array() any
}

type values[T any] struct{ all []T }

func (v *values[T]) add(value any) {
	t, _ := value.(T) // nil stays the zero value: of a pointer NULL
	v.all = append(v.all, t)
}

func (v *values[T]) array() any { return v.all }

func (s *statement) add(args ...any) {
	s.rows++
	for i, arg := range args {
		s.columns[i].add(arg)
	}
}

func (s *statement) arrays() []any {
	args := make([]any, len(s.columns))
	for i, c := range s.columns {
		args[i] = c.array()
	}
	return args
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
	for _, view := range slices.Sorted(maps.Keys(c.Rows)) {
		e.rows(e.tables[view], c.Rows[view])
	}
}

// Types of columns, for statement.
const (
	isText    = "text"
	isInteger = "integer"
	isBigint  = "bigint"
	isBytes   = "bytea"
	isTime    = "timestamptz"
)

// statement adds one that claims or does not. In its text, FROM new (a, b) stands for the rows that are added.
func (e *encoder) statement(claims bool, text string, types ...string) *statement {
	s := &statement{claims: claims}
	arrays := make([]string, len(types))
	for i, kind := range types {
		arrays[i] = "$" + strconv.Itoa(i+1) + "::" + kind + "[]"
		switch kind {
		case isText:
			s.columns = append(s.columns, &values[*string]{})
		case isInteger, isBigint:
			s.columns = append(s.columns, &values[int64]{})
		case isBytes:
			s.columns = append(s.columns, &values[[]byte]{})
		case isTime:
			s.columns = append(s.columns, &values[*time.Time]{})
		}
	}
	s.text = strings.Replace(text, "FROM new", "FROM unnest("+strings.Join(arrays, ", ")+") AS new", 1)
	e.statements = append(e.statements, s)
	return s
}

// places treats a missing row as one with an empty place.
func (e *encoder) places(changes []ports.PlaceChange, gaps []ports.Gap) {
	name := tableOf(e.generation, "places")
	first := e.statement(true, `INSERT INTO `+name+` AS p (next, as_of, shard) SELECT * FROM new
		ON CONFLICT (shard) DO UPDATE SET next = excluded.next, as_of = excluded.as_of WHERE p.next = ''`, isText, isTime, isText)
	move := e.statement(true, `UPDATE `+name+` AS p SET next = new.next, as_of = new.as_of
		FROM new (next, as_of, shard, was) WHERE p.shard = new.shard AND p.next = was`, isText, isTime, isText, isText)
	for _, p := range changes {
		if p.From == "" {
			first.add(&p.To, timeOrNull(p.AsOf), &p.Shard)
		} else {
			move.add(&p.To, timeOrNull(p.AsOf), &p.Shard, &p.From)
		}
	}
	miss := e.statement(false, `UPDATE `+name+` AS p SET gap = new.gap, missing = new.missing
		FROM new (gap, missing, shard) WHERE p.shard = new.shard`, isText, isText, isText)
	for _, gap := range gaps {
		reason := string(gap.Reason)
		miss.add(&reason, &gap.Detail, &gap.Place.Shard)
	}
}

// progress treats a missing row as one of zeros.
func (e *encoder) progress(changes []ports.ProgressChange) {
	name := tableOf(e.generation, "progress")
	first := e.statement(true, `INSERT INTO `+name+` AS p (version, newest, buffered, parked, state, digest, order_id) SELECT * FROM new
		ON CONFLICT (order_id) DO UPDATE SET version = excluded.version, newest = excluded.newest, buffered = excluded.buffered,
			parked = excluded.parked, state = excluded.state, digest = excluded.digest WHERE p.version = 0 AND p.buffered = 0`,
		isInteger, isInteger, isInteger, isText, isText, isBigint, isText)
	move := e.statement(true, `UPDATE `+name+` AS p SET version = new.version, newest = new.newest, buffered = new.buffered,
			parked = new.parked, state = new.state, digest = new.digest
		FROM new (version, newest, buffered, parked, state, digest, order_id, was_version, was_buffered)
		WHERE p.order_id = new.order_id AND p.version = was_version AND p.buffered = was_buffered`,
		isInteger, isInteger, isInteger, isText, isText, isBigint, isText, isInteger, isInteger)
	for _, p := range changes {
		parked, state := text(p.Parked), string(p.State)
		row := []any{int64(p.Version), int64(p.Newest), int64(p.Buffered), &parked, &state, int64(p.Digest), &p.OrderID}
		if p.WasVersion == 0 && p.WasBuffered == 0 {
			first.add(row...)
		} else {
			move.add(append(row, int64(p.WasVersion), int64(p.WasBuffered))...)
		}
	}
}

func (e *encoder) buffer(messages []ports.BufferedMessage, release []ports.EventRef) {
	name := tableOf(e.generation, "buffered")
	insert := e.statement(false, `INSERT INTO `+name+` (order_id, version, id, type, payload, occurred_at, traceparent, reason)
		SELECT * FROM new ON CONFLICT (order_id, version) DO UPDATE SET reason = excluded.reason`,
		isText, isInteger, isText, isText, isBytes, isTime, isText, isText)
	for _, b := range messages {
		payload := b.Payload
		if payload == nil {
			payload = []byte{} // nil would be NULL
		}
		id, kind, trace, reason := text(b.ID), text(b.Type), text(b.TraceParent), text(b.Reason)
		insert.add(&b.OrderID, int64(b.Version), &id, &kind, payload, timeOrNull(b.OccurredAt), &trace, &reason)
	}
	forget := e.statement(false, `DELETE FROM `+name+` AS b USING (SELECT * FROM new (order_id, version)) AS gone
		WHERE b.order_id = gone.order_id AND b.version = gone.version`, isText, isInteger)
	for _, message := range release {
		forget.add(&message.OrderID, int64(message.Version))
	}
}

func (e *encoder) rows(t table, c ports.RowChanges) {
	name := rowsOf(e.generation, t.Name)
	forget := e.statement(false, `DELETE FROM `+name+` WHERE key IN (SELECT * FROM new)`, isText)
	for _, key := range c.Delete {
		forget.add(&key)
	}
	into := `INSERT INTO ` + name + ` (key, body` + listed(t.fields) + `) SELECT * FROM new ON CONFLICT `
	types := slices.Repeat([]string{isText}, 2+len(t.fields))
	insert := e.statement(true, into+`DO NOTHING`, types...)
	for _, row := range c.Insert {
		insert.add(t.values(row)...)
	}
	set := `body = excluded.body`
	for _, field := range t.fields {
		set += `, ` + quoted(field) + ` = excluded.` + quoted(field)
	}
	for _, counter := range t.Counters {
		set += `, ` + quoted(counter) + ` = 0`
	}
	put := e.statement(false, into+`(key) DO UPDATE SET `+set, types...)
	for _, row := range c.Put {
		put.add(t.values(row)...)
	}
	e.additions(name, c.Add)
}

func (t table) values(row ports.Row) []any {
	body := string(row.Body)
	args := []any{&row.Key, &body}
	for _, field := range t.fields {
		var stored *string
		if value, there := encodeField(row.Field(field)).(string); there {
			stored = &value
		}
		args = append(args, stored)
	}
	return args
}

// additions makes a statement for each set of counters that some change.
func (e *encoder) additions(table string, all []ports.Addition) {
	statements := map[string]*statement{}
	for _, a := range all {
		names, args := namesOf(a.Add)+";"+namesOf(a.Max), []any{&a.Key}
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
		set = append(set, name+` = r.`+name+` + excluded.`+name)
	}
	for _, c := range a.Max {
		name := quoted(c.Name)
		set = append(set, name+` = greatest(r.`+name+`, excluded.`+name+`)`)
	}
	types := append([]string{isText}, slices.Repeat([]string{isBigint}, len(set))...)
	return e.statement(false, `INSERT INTO `+table+` AS r (key`+namesOf(a.Add)+namesOf(a.Max)+`) SELECT * FROM new
		ON CONFLICT (key) DO UPDATE SET `+strings.Join(set, `, `), types...)
}
