package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

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

// table is the table of a view, with the columns key, body, its fields and its counters.
type table struct {
	ports.Table
	fields  []string // that the indexes name
	columns string   // all, with commas
	fits    string   // a condition on the rows of the live generation: see expose
}

func NewReadModel(db *DB, tables []ports.Table) *ReadModel {
	m := &ReadModel{db: db, tables: map[string]table{}, shapes: ports.ShapesOf(tables)}
	for _, from := range tables {
		t := table{Table: from}
		for _, index := range from.Indexes {
			for _, field := range []string{index.Equal, index.Sort, index.Filter} {
				if field != "" && !slices.Contains(t.fields, field) {
					t.fields = append(t.fields, field)
				}
			}
		}
		t.columns = "key, body" + listed(t.fields) + listed(t.Counters)
		t.fits = shapeColumn(from.Shape())
		m.tables[t.Name] = t
	}
	return m
}

// listed are names of columns, each after a comma.
func listed(names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(", " + quoted(name))
	}
	return b.String()
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

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
	if err == nil {
		query := `SELECT ` + t.columns + ` FROM ` + rowsOfLive(view) + ` WHERE ` + t.fits + ` AND key = $1`
		err = m.readLive(ctx, query, []any{key}, func(rows pgx.Rows) (err error) {
			row, err = t.scan(rows)
			return err
		})
	}
	if err != nil {
		return ports.Row{}, fail(ctx, fmt.Sprintf("row %.80q of %s", key, view), err)
	}
	return row, nil
}

func (m *ReadModel) List(ctx context.Context, q ports.Query) (page ports.RowPage, err error) {
	t, err := m.table(q.View)
	if err != nil {
		return ports.RowPage{}, fmt.Errorf("list %s: %w", q.View, err)
	}
	query, args, err := t.list(q)
	if err != nil {
		return ports.RowPage{}, fmt.Errorf("list %s: %w", q.View, err)
	}
	err = m.readLive(ctx, query, args, func(rows pgx.Rows) error {
		if page.Full(q) {
			page.Next = q.Next(page.Rows[len(page.Rows)-1])
			return errPageFull
		}
		row, err := t.scan(rows)
		page.Rows = append(page.Rows, row)
		return err
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return ports.RowPage{}, fail(ctx, "list "+q.View, err)
	}
	return page, nil
}

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
	value := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	for _, field := range []ports.Field{q.Equal, q.Filter} {
		if field.Name != "" {
			conditions = append(conditions, quoted(field.Name)+` = `+value(encodeField(field.Value)))
		}
	}
	if q.Prefix != "" {
		conditions = append(conditions, `key >= `+value(q.Prefix))
		if end := afterPrefix(q.Prefix); end != "" {
			conditions = append(conditions, `key < `+value(end))
		}
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
		conditions = append(conditions, `key`+comparison+value(after.Key))
	default:
		place := value(encodeField(after.Value)) + `, ` + value(after.Key)
		conditions = append(conditions, `(`+quoted(q.Sort)+`, key)`+comparison+`(`+place+`)`)
	}
	query = `SELECT ` + t.columns + ` FROM ` + rowsOfLive(q.View) + ` WHERE ` + strings.Join(conditions, ` AND `)
	return query + ` ORDER BY ` + order + ` LIMIT ` + value(q.Page.Size()+1), args, nil
}

// afterPrefix is the first text behind all that begin with this one, "" when there is none.
func afterPrefix(prefix string) string {
	runes := []rune(prefix)
	for i := len(runes) - 1; i >= 0; i-- {
		switch next := runes[i] + 1; {
		case next == 0xD800:
			return string(append(runes[:i], 0xE000)) // the surrogates are no characters
		case next <= '\U0010FFFF':
			return string(append(runes[:i], next))
		}
	}
	return ""
}

// A field is stored as a text that sorts as its values do: an int64 as 19 digits, behind a minus when it is negative, and a
// string behind an equals sign. So one kind of column serves both, whichever a view's rows bring.

func encodeField(value any) any {
	switch v := value.(type) {
	case string:
		return "=" + v
	case int64:
		if v < 0 {
			return fmt.Sprintf("-%019d", uint64(v)-1<<63)
		}
		return fmt.Sprintf("%019d", v)
	}
	return nil
}

func decodeField(text string) any {
	if s, found := strings.CutPrefix(text, "="); found {
		return s
	}
	digits, negative := strings.CutPrefix(text, "-")
	n, _ := strconv.ParseUint(digits, 10, 64) // encodeField has written it
	if negative {
		n += 1 << 63
	}
	return int64(n)
}

// scan reads a row with the table's columns.
func (t table) scan(rows pgx.Rows) (row ports.Row, err error) {
	fields, counters := make([]*string, len(t.fields)), make([]ports.Count, len(t.Counters))
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
			row.Fields = append(row.Fields, ports.Field{Name: t.fields[i], Value: decodeField(*value)})
		}
	}
	row.Counters = counters
	return row, nil
}

func (m *ReadModel) Freshness(ctx context.Context, orderID string) (f ports.Freshness, err error) {
	var asOf *time.Time
	err = m.readLive(ctx, selectFreshness, []any{orderID}, func(rows pgx.Rows) error {
		return rows.Scan(&f.Version, &asOf, &f.Incomplete)
	})
	if err != nil {
		return ports.Freshness{}, fail(ctx, "freshness of the read model", err)
	}
	f.AsOf = timeOf(asOf)
	return f, nil
}

// selectFreshness: the oldest time of all places, unless one of them has none or a gap.
const selectFreshness = `SELECT coalesce((SELECT version FROM rm_progress WHERE order_id = $1), 0),
	(SELECT CASE WHEN bool_and(gap IS NULL AND as_of IS NOT NULL) THEN min(as_of) END FROM rm_places),
	coalesce((SELECT max(gap) FROM rm_places), '')`

// readLive runs a query on the SQL views of the live generation. Error also: ports.ErrNotBuilt.
func (m *ReadModel) readLive(ctx context.Context, query string, args []any, scan func(pgx.Rows) error) error {
	err := m.begin(ctx)
	if err == nil {
		err = m.db.query(ctx, query, args, scan)
	}
	if hasCode(err, undefinedTable, undefinedColumn) {
		return ports.ErrNotBuilt
	}
	return err
}

// The zero time is stored as NULL.

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Millisecond)
	return &t
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
