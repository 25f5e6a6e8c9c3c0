package ports

import (
	"fmt"
	"slices"
)

// Rows are what a read model keeps for clients. A store knows rows and not views: a view is a table of rows, and adding
// one touches no store.

// Table describes the rows of one view. When its indexes or counters change, a store takes the table that it has for one
// that is not built. It cannot see that only the meaning of the rows changes: then rebuild, or give the table a new name.
type Table struct {
	Name    string // "order-summary"
	Indexes []Index
	// Counters are the numbers that Add changes, such as "paid". In a table with indexes Add is for rows that are
	// there: a row that Add makes has no fields.
	Counters []string
}

// Index serves lists: all rows that have one value in the field Equal, or, when Equal is "", all rows, sorted by the
// field Sort and then by key, or, when Sort is "", by key, in either direction. Such a list can be narrowed to one
// value of the field Filter, which is part of the index; rows with another value are passed over. Every table can be
// listed by key without an index. Texts are in the order of their code points, without regard to language.
type Index struct{ Equal, Sort, Filter string }

// MaxKeyBytes is how long a key, and a field that is a string, can be: the indexes of some stores take no more of four.
const MaxKeyBytes = 512

// Row is one row of a view.
type Row struct {
	Key      string
	Fields   []Field // one for each field that the table's indexes name, in any order
	Body     []byte  // a JSON document, kept byte for byte
	Counters []Count // only in rows that are read: those that Add has changed, and maybe others at 0
}

// Field is a value to list rows by: a string or an int64. A field has the same type in every row of a table. Times are
// Unix milliseconds.
type Field struct {
	Name  string
	Value any
}

// Count is the value of a counter.
type Count struct {
	Name  string
	Value int64
}

// Counter is the value of the counter with this name, 0 when the row has none.
func (r Row) Counter(name string) int64 {
	for _, c := range r.Counters {
		if c.Name == name {
			return c.Value
		}
	}
	return 0
}

// Field is the value of the field with this name, nil when the row has none.
func (r Row) Field(name string) any {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// RowChanges are what a change does to the rows of one view, in this order: Delete, Insert, Put, Add. A key is in at
// most one of the first three.
type RowChanges struct {
	Delete []string   // a key without a row is no error
	Insert []Row      // under keys that have no row
	Put    []Row      // each replaces the row under its key, counters included, or is the first
	Add    []Addition // at most one a key, which may be in one of the first three
}

// Addition changes counters of the row under a key, each named once, and makes the row when there is none: numbers in
// Add are added, and of a number in Max, 0 or more, and the counter the greater one stays. A counter begins at 0.
// Additions of several consumers at once all count.
type Addition struct {
	Key      string
	Add, Max []Count
}

// Query asks for a list of a view's rows.
type Query struct {
	View       string
	Equal      Field  // only rows that have this field; the zero Field for all
	Filter     Field  // of these only rows that have this field; the zero Field for all
	Prefix     string // only keys that begin with it; only in a list by key, without Equal
	Sort       string // the field to sort by, and then by key; "" sorts by key
	Descending bool
	Page       Page // a cursor is valid for the same query only, with any limit
}

// RowPage is part of a list.
type RowPage struct {
	Rows []Row
	Next string // the cursor of the following page, "" after the last
}

// MaxPageBytes ends a page of rows before its limit: with the row that brings its bodies to this many bytes.
const MaxPageBytes = 1 << 20

// Full tells whether the page is complete: it has as many rows as the query asks for, or as many bytes.
func (p RowPage) Full(q Query) bool {
	bytes := 0
	for _, row := range p.Rows {
		bytes += len(row.Body)
	}
	return len(p.Rows) >= q.Page.Size() || bytes >= MaxPageBytes
}

// RowPlace is where a page ended: at a value of the sorted field, nil in a list by key, and at a key.
type RowPlace struct {
	Value any
	Key   string
}

// After is where the query's page begins, nil for the first page. Error: ErrBadCursor.
func (q Query) After() (*RowPlace, error) {
	if q.Page.Cursor == "" {
		return nil, nil
	}
	var place RowPlace
	parts := []any{&place.Key}
	if q.Sort != "" {
		parts = append(parts, &place.Value)
	}
	if err := DecodeCursor(q.Page.Cursor, q.question(), parts...); err != nil {
		return nil, err
	}
	return &place, nil
}

// Next is the cursor of the page after this row.
func (q Query) Next(last Row) string {
	if q.Sort == "" {
		return EncodeCursor(q.question(), last.Key)
	}
	return EncodeCursor(q.question(), last.Key, last.Field(q.Sort))
}

func (q Query) question() string {
	return fmt.Sprintf("%q %q=%q %q=%q %q %q %t", q.View, q.Equal.Name, fmt.Sprint(q.Equal.Value), q.Filter.Name,
		fmt.Sprint(q.Filter.Value), q.Prefix, q.Sort, q.Descending)
}

// IndexFor finds the index that serves a query; found is false when there is none. A list by key needs none: it is
// served by the zero Index.
func (t Table) IndexFor(q Query) (index Index, found bool) {
	byKey := Index{}
	if q.Equal == (Field{}) && q.Filter == (Field{}) && q.Sort == "" {
		return byKey, true
	}
	i := slices.IndexFunc(t.Indexes, func(i Index) bool {
		narrows := q.Filter == (Field{}) || i.Filter == q.Filter.Name
		return q.Prefix == "" && i.Equal == q.Equal.Name && i.Sort == q.Sort && narrows
	})
	if i < 0 {
		return byKey, false
	}
	return t.Indexes[i], true
}
