package ports

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestValuesOfARow(t *testing.T) {
	row := Row{
		Fields:   []Field{{"buyer", "b"}, {"amount", int64(7)}},
		Counters: []Count{{"paid", 2}, {"lastAt", -1}},
	}
	if row.Field("buyer") != "b" || row.Field("amount") != int64(7) || row.Field("paid") != nil {
		t.Errorf("fields: got %v, %v and %v", row.Field("buyer"), row.Field("amount"), row.Field("paid"))
	}
	if row.Counter("paid") != 2 || row.Counter("lastAt") != -1 || row.Counter("amount") != 0 {
		t.Errorf("counters: got %d, %d and %d", row.Counter("paid"), row.Counter("lastAt"), row.Counter("amount"))
	}
}

func TestThePageAfterARow(t *testing.T) {
	row := Row{Key: "заказ-1\x1f'\"", Fields: []Field{{"amount", int64(math.MaxInt64)}, {"name", "7"}}}
	for sort, value := range map[string]any{"": nil, "amount": int64(math.MaxInt64), "name": "7"} {
		q := Query{View: "orders", Sort: sort}
		if after, err := q.After(); after != nil || err != nil {
			t.Errorf("the first page by %q: begins after %v, error %v", sort, after, err)
		}
		q.Page.Cursor = q.Next(row)
		if after, err := q.After(); err != nil || *after != (RowPlace{Value: value, Key: row.Key}) {
			t.Errorf("the next page by %q: begins after %v, error %v", sort, after, err)
		}
		q.Page.Limit = 7
		if _, err := q.After(); err != nil {
			t.Errorf("the next page by %q, of another limit: got error %v", sort, err)
		}
	}
}

// Each part of a query is in its cursor.
func TestACursorBelongsToItsQuery(t *testing.T) {
	base := Query{View: "orders", Equal: Field{"buyer", "b"}, Filter: Field{"status", "paid"}, Sort: "amount"}
	queries := []Query{base}
	for _, change := range []func(*Query){
		func(q *Query) { q.View = "others" },
		func(q *Query) { q.Equal = Field{} },
		func(q *Query) { q.Equal.Name = "seller" },
		func(q *Query) { q.Equal.Value = `b" "status"="paid` },
		func(q *Query) { q.Filter = Field{} },
		func(q *Query) { q.Filter.Value = "" },
		func(q *Query) { q.Equal, q.Filter = q.Filter, q.Equal },
		func(q *Query) { q.Prefix = "x" },
		func(q *Query) { q.Sort = "name" },
		func(q *Query) { q.Sort = "" },
		func(q *Query) { q.Descending = true },
	} {
		q := base
		change(&q)
		queries = append(queries, q)
	}
	row := Row{Key: "order-1", Fields: []Field{{"amount", int64(7)}, {"name", "n"}}}
	for i, from := range queries {
		for k, to := range queries {
			to.Page.Cursor = from.Next(row)
			if _, err := to.After(); (err == nil) != (i == k) || err != nil && !errors.Is(err, ErrBadCursor) {
				t.Errorf("a cursor of %+v for %+v: got error %v", from, to, err)
			}
		}
	}
}

func TestIndexFor(t *testing.T) {
	buyer, buyerAmount, amount := Index{Equal: "buyer", Filter: "status"}, Index{"buyer", "amount", "status"}, Index{Sort: "amount"}
	status := Index{Filter: "status"}
	table := Table{Indexes: []Index{buyer, buyerAmount, amount, status}}
	field := func(name string) Field { return Field{name, "x"} }
	for _, c := range []struct {
		q     Query
		want  Index
		found bool
	}{
		{Query{}, Index{}, true},
		{Query{Descending: true}, Index{}, true},
		{Query{Prefix: "a"}, Index{}, true},
		{Query{Equal: field("buyer")}, buyer, true},
		{Query{Equal: field("buyer"), Filter: field("status")}, buyer, true},
		{Query{Equal: field("buyer"), Sort: "amount", Descending: true}, buyerAmount, true},
		{Query{Equal: field("buyer"), Sort: "amount", Filter: field("status")}, buyerAmount, true},
		{Query{Sort: "amount"}, amount, true},
		{Query{Filter: field("status")}, status, true},
		{Query{Filter: Field{"status", ""}}, status, true}, // the empty text is a value

		{Query{Equal: field("status")}, Index{}, false},
		{Query{Equal: field("buyer"), Filter: field("amount")}, Index{}, false},
		{Query{Equal: field("buyer"), Sort: "status"}, Index{}, false},
		{Query{Equal: field("buyer"), Prefix: "a"}, Index{}, false},
		{Query{Sort: "amount", Filter: field("status")}, Index{}, false},
		{Query{Sort: "amount", Prefix: "a"}, Index{}, false},
		{Query{Filter: field("status"), Prefix: "a"}, Index{}, false},
		{Query{Sort: "buyer"}, Index{}, false},
		{Query{Filter: field("buyer")}, Index{}, false},
	} {
		if got, found := table.IndexFor(c.q); got != c.want || found != c.found {
			t.Errorf("index for %+v: got %+v, %t, want %+v, %t", c.q, got, found, c.want, c.found)
		}
		if _, found := (Table{}).IndexFor(c.q); found != (c.want == Index{} && c.found) {
			t.Errorf("index of a table without any for %+v: found %t", c.q, found)
		}
	}
}

func TestPageSize(t *testing.T) {
	for limit, want := range map[int]int{
		math.MinInt: DefaultPageLimit, 0: DefaultPageLimit, 1: 1, MaxPageLimit: MaxPageLimit, MaxPageLimit + 1: MaxPageLimit,
	} {
		if got := (Page{Limit: limit}).Size(); got != want {
			t.Errorf("size of a page with limit %d: got %d, want %d", limit, got, want)
		}
	}
}

// A field that Query gains must be part of its question, or a cursor would lead into another list.
func TestTheQuestionNamesEveryPartOfAQuery(t *testing.T) {
	q := Query{View: "$View", Equal: Field{"$Equal", "v"}, Filter: Field{"$Filter", "v"}, Prefix: "$Prefix", Sort: "$Sort",
		Descending: true}
	for _, part := range reflect.VisibleFields(reflect.TypeFor[Query]()) {
		if reflect.ValueOf(q).FieldByIndex(part.Index).IsZero() && part.Name != "Page" {
			t.Errorf("this test does not know the field %s", part.Name)
		}
		if part.Type.Kind() != reflect.Bool && part.Name != "Page" && !strings.Contains(q.question(), "$"+part.Name) {
			t.Errorf("the question %s does not name %s", q.question(), part.Name)
		}
	}
}
