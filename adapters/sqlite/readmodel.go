package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// ReadModel implements ports.ReadModelStore; see also readmodel_commit.go and readmodel_generations.go. Each generation
// has tables of its own, one for each view. Clients read the live generation through SQL views, which Swap points at
// other tables. So an answer is one statement, and belongs to one generation and one moment.
type ReadModel struct {
	db     *DB
	tables map[string]table // by name
	shapes ports.Shapes     // of the tables
	begun  atomic.Bool      // there is a live generation, with the shapes of its tables
}

var _ ports.ReadModelStore = (*ReadModel)(nil)

// table is the table of a view, with the columns key, its fields, body and its counters.
type table struct {
	ports.Table
	fields  []string // that the indexes name
	columns string   // all, with commas
	fits    string   // a condition on the rows of the live generation: see expose
}

func NewReadModel(db *DB, tables []ports.Table) *ReadModel {
	m := &ReadModel{db: db, tables: map[string]table{}, shapes: ports.ShapesOf(tables)}
	for _, t := range tables {
		m.tables[t.Name] = newTable(t)
	}
	return m
}

func newTable(from ports.Table) table {
	t, seen := table{Table: from}, map[string]bool{"": true}
	for _, index := range from.Indexes {
		for _, field := range []string{index.Equal, index.Sort, index.Filter} {
			if !seen[field] {
				seen[field] = true
				t.fields = append(t.fields, field)
			}
		}
	}
	t.columns = "key, body" + listed(t.fields) + listed(t.Counters)
	t.fits = shapeColumn(from.Shape())
	return t
}

// listed are names of columns, each after a comma.
func listed(names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(", " + quoted(name))
	}
	return b.String()
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (m *ReadModel) table(view string) (table, error) {
	t, known := m.tables[view]
	if !known {
		return t, fmt.Errorf("view %.80q, which this program does not know: %w", view, ports.ErrNotBuilt)
	}
	return t, nil
}

func (m *ReadModel) Row(ctx context.Context, view, key string) (ports.Row, error) {
	row := ports.Row{Key: key}
	t, err := m.table(view)
	if err != nil {
		return ports.Row{}, err
	}
	query := `SELECT ` + t.columns + ` FROM ` + rowsOfLive(view) + ` WHERE ` + t.fits + ` AND key = ?`
	err = m.readLive(ctx, query, []any{key}, func(rows *sql.Rows) (err error) {
		row, err = t.scan(rows)
		return err
	})
	if err != nil {
		return ports.Row{}, fmt.Errorf("row %.80q of %s: %w", key, view, err)
	}
	return row, nil
}

func (m *ReadModel) List(ctx context.Context, q ports.Query) (page ports.RowPage, err error) {
	t, err := m.table(q.View)
	if err != nil {
		return ports.RowPage{}, err
	}
	query, args, err := t.list(q)
	if err == nil {
		err = m.readLive(ctx, query, args, func(rows *sql.Rows) error {
			if page.Full(q) {
				page.Next = q.Next(page.Rows[len(page.Rows)-1])
				return errPageEnds
			}
			row, err := t.scan(rows)
			page.Rows = append(page.Rows, row)
			return err
		})
	}
	if err != nil && !errors.Is(err, errPageEnds) {
		return ports.RowPage{}, fmt.Errorf("list %s: %w", q.View, err)
	}
	return page, nil
}

// errPageEnds ends a statement whose rows are more than a page.
var errPageEnds = errors.New("the page ends")

// list makes the statement of a query. It reads one row more than asked for, which tells whether there is a next page.
func (t table) list(q ports.Query) (query string, args []any, err error) {
	if _, found := t.IndexFor(q); !found {
		return "", nil, fmt.Errorf("no index serves %+v", q)
	}
	after, err := q.After()
	if err != nil {
		return "", nil, err
	}
	conditions := []string{t.fits}
	where := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	if q.Equal.Name != "" {
		where(quoted(q.Equal.Name)+` = ?`, q.Equal.Value)
	}
	if q.Filter.Name != "" { // the + keeps SQLite from another index, from which it would have to sort
		where(`+`+quoted(q.Filter.Name)+` = ?`, q.Filter.Value)
	}
	if q.Prefix != "" {
		where(`key >= ? AND key < ?`, q.Prefix, q.Prefix+"\xff") // no text has a byte 0xff
	}
	comparison, direction := ` > `, ``
	if q.Descending {
		comparison, direction = ` < `, ` DESC`
	}
	order := `key` + direction
	if q.Sort != "" {
		order = quoted(q.Sort) + direction + `, ` + order
	}
	switch {
	case after == nil:
	case q.Sort == "":
		where(`key`+comparison+`?`, after.Key)
	default:
		where(`(`+quoted(q.Sort)+`, key)`+comparison+`(?, ?)`, after.Value, after.Key)
	}
	live := rowsOfLive(q.View)
	page := ` FROM ` + live + ` WHERE ` + strings.Join(conditions, ` AND `) + ` ORDER BY ` + order + ` LIMIT ?`
	args = append(args, q.Page.Size()+1)
	if q.Filter.Name == "" {
		return `SELECT ` + t.columns + page, args, nil
	}
	// The inner statement passes over rows in the index. Without it SQLite would look up each of them in the table first.
	return `SELECT ` + t.columns + ` FROM (SELECT key AS listed` + page + `) CROSS JOIN ` + live + ` ON key = listed`, args, nil
}

// scan reads a row with the table's columns.
func (t table) scan(rows *sql.Rows) (row ports.Row, err error) {
	fields, counters := make([]any, len(t.fields)), make([]ports.Count, len(t.Counters))
	into := []any{&row.Key, &row.Body}
	for i := range fields {
		into = append(into, &fields[i])
	}
	for i, name := range t.Counters {
		counters[i].Name = name
		into = append(into, &counters[i].Value)
	}
	if err := rows.Scan(into...); err != nil {
		return ports.Row{}, err
	}
	for i, value := range fields {
		if value != nil { // a row that only Add made has no fields
			row.Fields = append(row.Fields, ports.Field{Name: t.fields[i], Value: value})
		}
	}
	row.Counters = counters
	return row, nil
}

func (m *ReadModel) Freshness(ctx context.Context, orderID string) (f ports.Freshness, err error) {
	var asOf string
	err = m.readLive(ctx, selectFreshness, []any{orderID}, func(rows *sql.Rows) error {
		return rows.Scan(&f.Version, &asOf, &f.Incomplete)
	})
	if err == nil {
		f.AsOf, err = parseTimeIfAny(asOf)
	}
	if err != nil {
		return ports.Freshness{}, fmt.Errorf("freshness of the read model: %w", err)
	}
	return f, nil
}

const selectFreshness = `SELECT coalesce((SELECT version FROM rm_progress WHERE order_id = ?), 0),
	coalesce((SELECT min(iif(gap IS NULL, as_of, '')) FROM rm_places), ''), coalesce((SELECT max(gap) FROM rm_places), '')`

// readLive runs a query on the SQL views of the live generation. Error also: ErrNotBuilt.
func (m *ReadModel) readLive(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	err := m.begin(ctx)
	if err == nil {
		err = m.db.query(ctx, query, args, scan)
	}
	if isNoTable(err) || isNoColumn(err) {
		return ports.ErrNotBuilt
	}
	return err
}

// The zero time is stored as empty text, which sorts before every other time.

func formatTimeIfAny(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return formatTime(t)
}

func parseTimeIfAny(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return parseTime(text)
}
