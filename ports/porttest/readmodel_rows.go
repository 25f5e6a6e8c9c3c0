package porttest

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"hexorders/ports"
)

// odd are texts that something between a view and its store may take for more than characters.
var odd = []string{
	"order's", `"quoted"`, `back\slash`, "a/b/c", "$where", "$", "a.b", ".", "%", "_", "*?[a-z]", "' OR 1=1; --",
	`{"a":"b"}`, "null", "true", "0012", "12", "1e3", "9223372036854775808", "заказ-注文-🛒", "é", "e\u0301", "order", "ORDER",
	" space before", "space after ", "tab\tand\nline", "order\x1f000000001", strings.Repeat("0123456789abcdef", 4),
}

func rowReadsBack(t testing.TB, f ReadModelStorage) {
	plain, bare, large := shopOrder(1, 1), shopOrder(2, 1), shopOrder(3, 1)
	plain.Body = []byte("{\"b\": 1.0,  \"a\":\"茶 \\u00e9 <1kg> & ½\",\"b\":[null,1e400]}\n")
	bare = with(with(bare, "status", ""), "amount", int64(0))
	bare.Body = []byte("0")
	slices.Reverse(bare.Fields)
	large = with(large, "name", string(noise(ports.MaxKeyBytes)))
	large.Key, large.Body = string(noise(ports.MaxKeyBytes)), noise(100_000)
	put(t, f.Store, shopOrders, plain, bare, large)
	all := map[string]ports.Row{plain.Key: plain, bare.Key: bare, large.Key: large}
	for key, want := range all {
		wantRow(t, rowOf(t, f.Store, shopOrders, key), want)
	}
	for _, q := range []ports.Query{{}, {Sort: "amount"}, {Sort: "name", Page: ports.Page{Limit: 1}}} {
		q.View = shopOrders.Name
		list := listOf(t, f.Store, q)
		if len(list) != len(all) {
			t.Errorf("List %+v: got %d rows, want %d", q, len(list), len(all))
		}
		for _, row := range list {
			wantRow(t, row, all[row.Key])
		}
	}
	wantKeys(t, "the list of a large text",
		listOf(t, f.Store, ports.Query{View: shopOrders.Name, Prefix: large.Key[:ports.MaxKeyBytes-1]}), large.Key)
}

func oddTexts(t testing.TB, f ReadModelStorage) {
	var rows, notes []ports.Row
	for i, text := range odd {
		row := with(with(shopOrder(i, 1), "buyer", text), "status", odd[len(odd)-1-i])
		row.Key = text
		rows = append(rows, row)
		notes = append(notes, ports.Row{Key: text, Body: fmt.Appendf(nil, `{"text":%q}`, text)})
	}
	put(t, f.Store, shopOrders, rows...)
	put(t, f.Store, shopNotes, notes...)
	for i, text := range odd {
		wantRow(t, rowOf(t, f.Store, shopOrders, text), rows[i])
		wantRow(t, rowOf(t, f.Store, shopNotes, text), notes[i])
		buyer, status := ports.Field{Name: "buyer", Value: text}, ports.Field{Name: "status", Value: odd[len(odd)-1-i]}
		for _, q := range []ports.Query{
			{Equal: buyer}, {Equal: buyer, Sort: "amount"}, {Equal: status}, {Filter: status}, {Equal: buyer, Filter: status},
		} {
			q.View = shopOrders.Name
			wantKeys(t, fmt.Sprintf("List %+v", q), listOf(t, f.Store, q), text)
		}
		wantKeys(t, fmt.Sprintf("buyer %q in a status of another", text), listOf(t, f.Store,
			ports.Query{View: shopOrders.Name, Equal: buyer, Filter: ports.Field{Name: "status", Value: "none"}}))
	}
	commit(t, f.Store, liveOf(t, f.Store), rowsOf(shopNotes, ports.RowChanges{Delete: odd[1:]}))
	wantKeys(t, "all rows but one deleted", listOf(t, f.Store, ports.Query{View: shopNotes.Name}), odd[0])
}

func rowOfNothing(t testing.TB, f ReadModelStorage) {
	feed(t, f.Store, liveOf(t, f.Store), 1, 1, 1)
	for _, view := range readModelTables {
		for _, key := range []string{orderID(2), "order", strings.ToUpper(orderID(1)), "", "BUYER-1", "buyer-10"} {
			wantRow(t, rowOf(t, f.Store, view, key), ports.Row{Key: key})
		}
	}
}

func putReplaces(t testing.TB, f ReadModelStorage) {
	put(t, f.Store, shopOrders, shopOrder(1, 1), shopOrder(2, 1))
	changed := with(with(shopOrder(1, 2), "buyer", "buyer-2"), "amount", int64(50))
	changed.Body = []byte(`{}`)
	put(t, f.Store, shopOrders, changed)
	wantRow(t, rowOf(t, f.Store, shopOrders, orderID(1)), changed)
	buyer := func(name string) ports.Query {
		return ports.Query{View: shopOrders.Name, Equal: ports.Field{Name: "buyer", Value: name}, Sort: "amount"}
	}
	wantKeys(t, "the buyer that it had", listOf(t, f.Store, buyer("buyer-1")))
	wantKeys(t, "the buyer that it has", listOf(t, f.Store, buyer("buyer-2")), orderID(1), orderID(2))
	wantKeys(t, "all by key", listOf(t, f.Store, ports.Query{View: shopOrders.Name}), orderID(1), orderID(2))
	wantKeys(t, "all by amount", listOf(t, f.Store, ports.Query{View: shopOrders.Name, Sort: "amount"}), orderID(1), orderID(2))
}

func deleteForgets(t testing.TB, f ReadModelStorage) {
	put(t, f.Store, shopOrders, shopOrder(1, 1), shopOrder(2, 1), shopOrder(4, 1))
	commit(t, f.Store, liveOf(t, f.Store), rowsOf(shopOrders, ports.RowChanges{Delete: []string{orderID(1), orderID(3), ""}}))
	wantRow(t, rowOf(t, f.Store, shopOrders, orderID(1)), ports.Row{Key: orderID(1)})
	buyer := ports.Field{Name: "buyer", Value: "buyer-1"} // of 1 and 4
	wantKeys(t, "all by key", listOf(t, f.Store, ports.Query{View: shopOrders.Name}), orderID(2), orderID(4))
	wantKeys(t, "all by amount", listOf(t, f.Store, ports.Query{View: shopOrders.Name, Sort: "amount"}), orderID(2), orderID(4))
	wantKeys(t, "its buyer's", listOf(t, f.Store, ports.Query{View: shopOrders.Name, Equal: buyer}), orderID(4))
	wantKeys(t, "its prefix", listOf(t, f.Store, ports.Query{View: shopOrders.Name, Prefix: orderID(1)}))
	commit(t, f.Store, liveOf(t, f.Store), rowsOf(shopOrders, ports.RowChanges{Insert: []ports.Row{shopOrder(1, 7)}}))
	wantRow(t, rowOf(t, f.Store, shopOrders, orderID(1)), shopOrder(1, 7))
}

func changeInOrder(t testing.TB, f ReadModelStorage) {
	row := func(key, body string, orders int64) ports.Row {
		return ports.Row{Key: key, Body: []byte(body), Counters: []ports.Count{{Name: "orders", Value: orders}}}
	}
	g := liveOf(t, f.Store)
	commit(t, f.Store, g, rowsOf(shopBuyers, ports.RowChanges{
		Put: []ports.Row{row("deleted", `"old"`, 0), row("put", `"old"`, 0), row("kept", `"old"`, 0)},
		Add: []ports.Addition{addition("deleted", 5, 0), addition("put", 5, 0), addition("kept", 5, 0)},
	}))
	commit(t, f.Store, g, rowsOf(shopBuyers, ports.RowChanges{
		Delete: []string{"deleted"},
		Insert: []ports.Row{row("inserted", `"new"`, 77)}, // no counter is set but by Add
		Put:    []ports.Row{row("put", `"new"`, 77), row("first", `"new"`, 77)},
		Add: []ports.Addition{
			addition("deleted", 1, 0), addition("inserted", 2, 0), addition("put", 3, 0), addition("kept", 4, 0), addition("made", 6, 0),
		},
	}))
	for _, want := range []ports.Row{
		row("deleted", "", 1), row("inserted", `"new"`, 2), row("put", `"new"`, 3), row("first", `"new"`, 0), row("kept", `"old"`, 9),
		row("made", "", 6),
	} {
		wantRow(t, rowOf(t, f.Store, shopBuyers, want.Key), want)
	}

	// The same in a table with indexes, whose rows keep their fields.
	changes := ports.Addition{Key: orderID(1), Add: []ports.Count{{Name: "changes", Value: 1}}}
	commit(t, f.Store, g, rowsOf(shopOrders, ports.RowChanges{Put: []ports.Row{shopOrder(1, 1)}, Add: []ports.Addition{changes}}))
	commit(t, f.Store, g, rowsOf(shopOrders, ports.RowChanges{Add: []ports.Addition{changes}}))
	want := shopOrder(1, 1)
	want.Counters = []ports.Count{{Name: "changes", Value: 2}}
	wantRow(t, rowOf(t, f.Store, shopOrders, orderID(1)), want)
	for _, listed := range listOf(t, f.Store, ports.Query{View: shopOrders.Name, Sort: "amount"}) {
		wantRow(t, listed, want)
	}
	put(t, f.Store, shopOrders, shopOrder(1, 2))
	wantRow(t, rowOf(t, f.Store, shopOrders, orderID(1)), shopOrder(1, 2))
}

func insertOfKnown(t testing.TB, f ReadModelStorage) {
	g, next := begun(t, f.Store)
	for why, spoil := range map[string]func(ports.Change){
		"with an Insert of a row that was inserted": func(c ports.Change) {
			c.Rows[shopNotes.Name] = ports.RowChanges{Insert: []ports.Row{shopNote(1, 1), shopNote(2, 2)}}
		},
		"with an Insert of a row that was put": func(c ports.Change) {
			c.Rows[shopOrders.Name] = ports.RowChanges{Insert: []ports.Row{shopOrder(1, 1), shopOrder(2, 1)}}
		},
		"with an Insert of a row that was added": func(c ports.Change) {
			c.Rows[shopBuyers.Name] = ports.RowChanges{Insert: []ports.Row{{Key: "buyer-1", Body: []byte(`{}`)}}}
		},
	} {
		c := cloneOf(next)
		spoil(c)
		wantRefused(t, f.Store, g, why, c)
	}
	wantTaken(t, f.Store, g, next)
}

func viewsAreApart(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	same := shopOrder(1, 1)
	note := ports.Row{Key: same.Key, Body: []byte(`"a note"`)}
	buyer := ports.Row{Key: same.Key, Counters: []ports.Count{{Name: "orders", Value: 3}}}
	commit(t, f.Store, g, ports.Change{Rows: map[string]ports.RowChanges{
		shopOrders.Name: {Insert: []ports.Row{same}},
		shopNotes.Name:  {Insert: []ports.Row{note}},
		shopBuyers.Name: {Add: []ports.Addition{addition(same.Key, 3, 0)}},
	}})
	for view, want := range map[*ports.Table]ports.Row{&shopOrders: same, &shopNotes: note, &shopBuyers: buyer} {
		wantRow(t, rowOf(t, f.Store, *view, same.Key), want)
		list := listOf(t, f.Store, ports.Query{View: view.Name})
		wantKeys(t, "all of "+view.Name, list, same.Key)
		wantRow(t, list[0], want)
	}
	commit(t, f.Store, g, rowsOf(shopNotes, ports.RowChanges{Delete: []string{same.Key}}))
	wantRow(t, rowOf(t, f.Store, shopOrders, same.Key), same)
	wantRow(t, rowOf(t, f.Store, shopBuyers, same.Key), buyer)
	wantKeys(t, "all of "+shopNotes.Name, listOf(t, f.Store, ports.Query{View: shopNotes.Name}))
}

func rowIsACopy(t testing.TB, f ReadModelStorage) {
	spoil := func(row ports.Row) {
		for i := range row.Body {
			row.Body[i] = 'x'
		}
		for i := range row.Fields {
			row.Fields[i].Value = "spoilt"
		}
		for i := range row.Counters {
			row.Counters[i].Value = -1
		}
	}
	want := shopOrder(1, 1)
	want.Counters = []ports.Count{{Name: "changes", Value: 1}}
	given := shopOrder(1, 1)
	commit(t, f.Store, liveOf(t, f.Store), rowsOf(shopOrders, ports.RowChanges{
		Put: []ports.Row{given}, Add: []ports.Addition{{Key: given.Key, Add: []ports.Count{{Name: "changes", Value: 1}}}},
	}))
	spoil(given)
	for range 2 {
		row := rowOf(t, f.Store, shopOrders, want.Key)
		wantRow(t, row, want)
		spoil(row)
		for _, row := range listOf(t, f.Store, ports.Query{View: shopOrders.Name}) {
			wantRow(t, row, want)
			spoil(row)
		}
	}
}

func countersAddUp(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	for _, a := range []ports.Addition{
		addition("buyer-1", 2, 1_000),
		{Key: "buyer-1", Add: []ports.Count{{Name: "orders", Value: 1<<53 + 1}}},
		{Key: "buyer-1", Max: []ports.Count{{Name: "lastAt", Value: 1 << 54}}},
		addition("buyer-1", -5, 2_000), // late
		{Key: "buyer-2", Max: []ports.Count{{Name: "lastAt", Value: 1<<54 + 1}, {Name: "orders", Value: 0}}},
	} {
		commit(t, f.Store, g, rowsOf(shopBuyers, ports.RowChanges{Add: []ports.Addition{a}}))
	}
	for key, want := range map[string][2]int64{"buyer-1": {1<<53 - 2, 1 << 54}, "buyer-2": {0, 1<<54 + 1}, "buyer-3": {0, 0}} {
		row := rowOf(t, f.Store, shopBuyers, key)
		if got := [2]int64{row.Counter("orders"), row.Counter("lastAt")}; got != want {
			t.Errorf("counters of %s: got %v, want %v", key, got, want)
		}
	}
}

// shopOf fills the live generation with so many orders, not in the order of their keys.
func shopOf(t testing.TB, s ports.ReadModelStore, count int) []ports.Row {
	t.Helper()
	var rows []ports.Row
	for n := range count {
		rows = append(rows, shopOrder((n*7+3)%count, 1)) // count is no multiple of 7
	}
	put(t, s, shopOrders, rows[:count/2]...)
	put(t, s, shopOrders, rows[count/2:]...)
	return rows
}

// expected are the keys of the rows that a query asks for, in its order.
func expected(rows []ports.Row, q ports.Query) []string {
	has := func(row ports.Row, f ports.Field) bool { return f.Name == "" || row.Field(f.Name) == f.Value }
	var found []ports.Row
	for _, row := range rows {
		if has(row, q.Equal) && has(row, q.Filter) && strings.HasPrefix(row.Key, q.Prefix) {
			found = append(found, row)
		}
	}
	slices.SortFunc(found, func(a, b ports.Row) int {
		byField := 0
		switch value := a.Field(q.Sort).(type) {
		case string:
			byField = strings.Compare(value, b.Field(q.Sort).(string))
		case int64:
			byField = cmp.Compare(value, b.Field(q.Sort).(int64))
		}
		return cmp.Or(byField, strings.Compare(a.Key, b.Key))
	})
	if q.Descending {
		slices.Reverse(found)
	}
	return keysOf(found)
}

// fieldsOf are the values that rows have in a field, one that none of them has, and the zero Field when the name may be
// left out of a query.
func fieldsOf(rows []ports.Row, name string, optional bool) (fields []ports.Field) {
	if name == "" || optional {
		fields = append(fields, ports.Field{})
	}
	if name == "" {
		return fields
	}
	for _, row := range rows {
		if f := (ports.Field{Name: name, Value: row.Field(name)}); !slices.Contains(fields, f) {
			fields = append(fields, f)
		}
	}
	if _, isNumber := rows[0].Field(name).(int64); isNumber {
		return append(fields, ports.Field{Name: name, Value: int64(-1)})
	}
	return append(fields, ports.Field{Name: name, Value: "none"})
}

// shopQueries are those that the indexes of shopOrders serve, in both directions.
func shopQueries(rows []ports.Row) (queries []ports.Query) {
	for _, index := range shopOrders.Indexes {
		for _, equal := range fieldsOf(rows, index.Equal, false) {
			for _, filter := range fieldsOf(rows, index.Filter, true) {
				for _, descending := range []bool{false, true} {
					queries = append(queries, ports.Query{
						View: shopOrders.Name, Equal: equal, Sort: index.Sort, Filter: filter, Descending: descending,
					})
				}
			}
		}
	}
	return queries
}

func listsByIndex(t testing.TB, f ReadModelStorage) {
	rows := shopOf(t, f.Store, 40)
	for _, q := range shopQueries(rows) {
		q.Page.Limit = ports.MaxPageLimit
		wantKeys(t, fmt.Sprintf("List %+v", q), listOf(t, f.Store, q), expected(rows, q)...)
	}
}

func listsByPrefix(t testing.TB, f ReadModelStorage) {
	var rows []ports.Row
	for _, key := range []string{
		"a", "a\x1f1", "a\x1f2", "a ", "a b", "ab", "b", "A", "á", "%", "%a", "_", "_a", "*", "*a", `\`, `\a`, "[a]b", "'",
		"'a", "a\u007fb", "a\u0080", "a\ud7ff", "a\ud7ffb", "a\ue000", "a\U0010FFFF", "a\U0010FFFFb",
		"a\U0010FFFF\U0010FFFF", "\U0010FFFFb",
	} {
		rows = append(rows, ports.Row{Key: key, Body: []byte(`{}`)})
	}
	put(t, f.Store, shopNotes, rows...)
	for _, prefix := range []string{
		"", "a", "a\x1f", "a ", "b", "%", "_", "*", `\`, "[a]", "'", "a\u007f", "a\ud7ff", "a\U0010FFFF", "\U0010FFFF",
		"a\U0010FFFF\U0010FFFF", "z", "a b c",
	} {
		for _, limit := range []int{2, ports.MaxPageLimit} {
			for _, descending := range []bool{false, true} {
				q := ports.Query{View: shopNotes.Name, Prefix: prefix, Descending: descending, Page: ports.Page{Limit: limit}}
				wantKeys(t, fmt.Sprintf("List %+v", q), listOf(t, f.Store, q), expected(rows, q)...)
			}
		}
	}
}

func numbersInOrder(t testing.TB, f ReadModelStorage) {
	numbers := []int64{
		math.MinInt64, math.MinInt64 + 1, -1<<53 - 2, -1<<53 - 1, -1 << 53, -11, -2, -1, 0, 1, 2, 11, 1 << 53, 1<<53 + 1,
		1<<53 + 2, math.MaxInt64 - 1, math.MaxInt64,
	}
	wantInOrder(t, f.Store, "amount", numbers)
}

func textsInOrder(t testing.TB, f ReadModelStorage) {
	wantInOrder(t, f.Store, "name", []string{
		"", "\x1f", " ", "!", "-1", "0", "0012", "1", "10", "12", "1e3", "9", "A", "Z", "_", "a", "a ", "aa", "a\u0301", "b", "z",
		"Ä", "ß", "á", "я", "日", "\ud7ff", "\uffee", "🛒", "\U0010FFFF",
	})
}

// wantInOrder fails unless rows with these values are listed in this order, in pages of 1 and of all, and found by their
// value.
func wantInOrder[V string | int64](t testing.TB, s ports.ReadModelStore, field string, values []V) {
	t.Helper()
	var rows []ports.Row
	var keys []string
	for i, value := range values {
		row := with(with(shopOrder(0, 1), "buyer", "buyer-1"), field, value)
		row.Key = fmt.Sprintf("key %d", i*7%len(values)) // the order of the keys is another
		rows, keys = append(rows, row), append(keys, row.Key)
	}
	put(t, s, shopOrders, rows...)
	for _, limit := range []int{1, ports.MaxPageLimit} {
		for _, equal := range []ports.Field{{}, {Name: "buyer", Value: "buyer-1"}} {
			q := ports.Query{View: shopOrders.Name, Equal: equal, Sort: field, Page: ports.Page{Limit: limit}}
			list := listOf(t, s, q)
			wantKeys(t, fmt.Sprintf("List %+v", q), list, keys...)
			for i, row := range list {
				wantRow(t, row, rows[i])
			}
			q.Descending = true
			slices.Reverse(keys)
			wantKeys(t, fmt.Sprintf("List %+v", q), listOf(t, s, q), keys...)
			slices.Reverse(keys)
		}
	}
	if field == "amount" {
		for i, value := range values {
			q := ports.Query{View: shopOrders.Name, Equal: ports.Field{Name: field, Value: value}, Sort: "name"}
			wantKeys(t, fmt.Sprintf("List %+v", q), listOf(t, s, q), keys[i])
		}
	}
}

func listPages(t testing.TB, f ReadModelStorage) {
	rows := shopOf(t, f.Store, 20)
	all := ports.Query{View: shopOrders.Name}
	last := ports.Query{View: shopOrders.Name, Descending: true}
	for _, q := range append(shopQueries(rows), all, last) {
		want := expected(rows, q)
		for _, limit := range []int{1, 3, len(want)} {
			q.Page.Limit = limit
			wantKeys(t, fmt.Sprintf("List %+v", q), listOf(t, f.Store, q), want...)
		}
	}
}

func rowPageSizes(t testing.TB, f ReadModelStorage) {
	shopOf(t, f.Store, ports.MaxPageLimit+1)
	for limit, want := range map[int]int{
		0: ports.DefaultPageLimit, -1: ports.DefaultPageLimit, 1: 1, ports.MaxPageLimit: ports.MaxPageLimit,
		1_000_000: ports.MaxPageLimit,
	} {
		for _, sort := range []string{"", "amount"} {
			page := pageOf(t, f.Store, ports.Query{View: shopOrders.Name, Sort: sort, Page: ports.Page{Limit: limit}})
			if len(page.Rows) != want || page.Next == "" {
				t.Errorf("List with limit %d, sorted by %q: got %d rows, next page %q, want %d and another page", limit, sort,
					len(page.Rows), page.Next, want)
			}
		}
	}
}

// largePageEnds has rows of a third of the largest page.
func largePageEnds(t testing.TB, f ReadModelStorage) {
	body := []byte(`"` + strings.Repeat("x", ports.MaxPageBytes/3) + `"`)
	var rows []ports.Row
	for i := range 8 {
		rows = append(rows, ports.Row{Key: orderID(i), Body: body})
	}
	put(t, f.Store, shopNotes, rows...)
	q := ports.Query{View: shopNotes.Name, Page: ports.Page{Limit: ports.MaxPageLimit}}
	for _, want := range []int{3, 3, 2} {
		page := pageOf(t, f.Store, q)
		if len(page.Rows) != want || (page.Next != "") != (want == 3) {
			t.Errorf("List of rows of %d bytes: got %d, next page %q, want %d", len(body), len(page.Rows), page.Next, want)
		}
		q.Page.Cursor = page.Next
	}
	q.Page.Cursor = ""
	wantKeys(t, "List of large rows", listOf(t, f.Store, q), keysOf(rows)...)
}

func rowPagesInStep(t testing.TB, f ReadModelStorage) {
	buyer, status := ports.Field{Name: "buyer", Value: "buyer-1"}, ports.Field{Name: "status", Value: "pending"}
	for _, q := range []ports.Query{
		{}, {Descending: true}, {Equal: buyer}, {Sort: "amount"}, {Sort: "amount", Descending: true},
		{Equal: buyer, Sort: "amount", Filter: status}, {Equal: buyer, Sort: "amount", Descending: true},
	} {
		q.View = shopOrders.Name
		wantPagesInStep(t, f.Store, q)
		var left []string
		for _, row := range listOf(t, f.Store, ports.Query{View: q.View}) {
			left = append(left, row.Key)
		}
		commit(t, f.Store, liveOf(t, f.Store), rowsOf(shopOrders, ports.RowChanges{Delete: left}))
	}
}

// wantPagesInStep reads a list by pages, and between any two of them deletes the row that the last one ended with, moves
// one that was read and one that was not to the other side, and puts new ones around the place where it is, or at the
// side that was read.
func wantPagesInStep(t testing.TB, s ports.ReadModelStore, q ports.Query) {
	t.Helper()
	at := func(place int64) ports.Row { // by key and by amount it is in the same place
		row := with(with(with(shopOrder(0, 1), "buyer", "buyer-1"), "status", "pending"), "amount", place)
		row.Key = fmt.Sprintf("key %06d", place)
		return row
	}
	const first, last = 1_000, 1_400
	still, read := map[string]bool{}, map[string]int{}
	var rows []ports.Row
	for place := int64(first); place <= last; place += 10 {
		rows = append(rows, at(place))
		still[at(place).Key] = true
	}
	put(t, s, shopOrders, rows...)
	move := func(key string, to int64) ports.Row {
		delete(still, key)
		row := at(to)
		row.Key = key
		return row
	}
	q.Page.Limit = 5
	for more, pages := true, 0; more && pages < 100; pages++ {
		page := pageOf(t, s, q)
		for _, row := range page.Rows {
			read[row.Key]++
		}
		if q.Page.Cursor, more = page.Next, page.Next != ""; !more {
			break
		}
		end := page.Rows[len(page.Rows)-1]
		place := end.Field("amount").(int64)
		delete(still, end.Key)
		c := ports.RowChanges{Delete: []string{end.Key}}
		ahead, behind := int64(last+100+pages), int64(first-100-pages)
		if q.Descending {
			ahead, behind = behind, ahead
		}
		switch {
		case pages%2 == 0:
			c.Insert = []ports.Row{at(behind), at(behind + 50), at(behind - 50)}
		case place%10 == 0 && place > first && place < last: // in between two that were there
			c.Insert = []ports.Row{at(place - 5), at(place + 5)}
		}
		if seen := page.Rows[0]; q.Sort != "" && seen.Key != end.Key {
			c.Put = []ports.Row{move(seen.Key, ahead)}
			if unread := at(place/10*10 + 30); still[unread.Key] && read[unread.Key] == 0 && !q.Descending {
				c.Put = append(c.Put, move(unread.Key, behind))
			}
		}
		commit(t, s, liveOf(t, s), rowsOf(shopOrders, c))
	}
	for key := range still {
		if read[key] != 1 {
			t.Errorf("List %+v in pages: %s, which stayed in its place, was in %d of them, want 1", q, key, read[key])
		}
	}
	if len(still) < 10 {
		t.Errorf("the suite has left only %d rows in their places", len(still))
	}
}

func unindexedQuery(t testing.TB, f ReadModelStorage) {
	feed(t, f.Store, liveOf(t, f.Store), 1, 1, 1)
	buyer, status := ports.Field{Name: "buyer", Value: "buyer-1"}, ports.Field{Name: "status", Value: "paid"}
	for _, q := range []ports.Query{
		{View: shopOrders.Name, Sort: "status"},
		{View: shopOrders.Name, Sort: "unknown"},
		{View: shopOrders.Name, Equal: ports.Field{Name: "unknown", Value: "x"}},
		{View: shopOrders.Name, Equal: status, Sort: "amount"},
		{View: shopOrders.Name, Equal: buyer, Sort: "name", Filter: status},
		{View: shopOrders.Name, Equal: buyer, Prefix: "order"},
		{View: shopOrders.Name, Filter: buyer},
		{View: shopOrders.Name, Filter: status, Prefix: "order"},
		{View: shopOrders.Name, Sort: "amount", Prefix: "order"},
		{View: shopNotes.Name, Equal: buyer},
		{View: shopNotes.Name, Sort: "amount"},
		{View: shopBuyers.Name, Sort: "orders"},
	} {
		for _, q.Descending = range []bool{false, true} {
			page, err := f.Store.List(bounded(t), q)
			if err == nil {
				t.Errorf("List %+v: got %d rows, want an error: no index serves it", q, len(page.Rows))
			}
			for _, not := range []error{ports.ErrBadCursor, ports.ErrNotBuilt, ports.ErrUnavailable} {
				if errors.Is(err, not) {
					t.Errorf("List %+v: got error %v, want one that says that no index serves it", q, err)
				}
			}
		}
	}
}

func badRowCursors(t testing.TB, f ReadModelStorage) {
	rows := shopOf(t, f.Store, 3)
	queries := []ports.Query{{View: shopOrders.Name}, {View: shopOrders.Name, Sort: "amount"}, {View: shopOrders.Name, Sort: "name"}}
	bad := []string{
		"x", "!", "1", "é", "\xff", "bnVsbA", "W10", "e30", orderID(1), base64.RawURLEncoding.EncodeToString([]byte(orderID(1))),
		base64.RawURLEncoding.EncodeToString([]byte(`["` + shopOrders.Name + `","order-000001"]`)),
	}
	for _, q := range queries {
		q.Page.Limit = 1
		good := pageOf(t, f.Store, q).Next
		if good == "" {
			t.Fatalf("List %+v: there is no cursor for the next page", q)
		}
		text, _ := base64.RawURLEncoding.DecodeString(good)
		bad = append(bad, good+"A", good+"=", good+"\n", good[:len(good)-1], good[1:], strings.ToLower(good),
			base64.RawURLEncoding.EncodeToString(append(text, ' ')),
			base64.RawURLEncoding.EncodeToString(bytes.Replace(text, []byte("]"), []byte(",null]"), 1)))
	}
	for _, q := range queries {
		for _, q.Page.Cursor = range bad {
			_, err := f.Store.List(bounded(t), q)
			wantError(t, fmt.Sprintf("List sorted by %q from cursor %q", q.Sort, q.Page.Cursor), err, ports.ErrBadCursor)
		}
		if q.Sort == "" {
			continue
		}
		q.Page.Cursor = "" // and one that is well made, with a value of the other type
		for _, value := range []any{"text", int64(7)} {
			forged := q
			forged.Page.Cursor = q.Next(with(rows[0], q.Sort, value))
			if _, err := f.Store.List(bounded(t), forged); err != nil && !errors.Is(err, ports.ErrBadCursor) {
				t.Errorf("List by %q after a row with %v: got error %v, want none or %v", q.Sort, value, err, ports.ErrBadCursor)
			}
		}
	}
}

func foreignRowCursors(t testing.TB, f ReadModelStorage) {
	rows := shopOf(t, f.Store, 60)
	buyer := func(name string) ports.Field { return ports.Field{Name: "buyer", Value: name} }
	status := func(name string) ports.Field { return ports.Field{Name: "status", Value: name} }
	feed(t, f.Store, liveOf(t, f.Store), 1, 1, 2)
	commit(t, f.Store, liveOf(t, f.Store), rowsOf(shopBuyers, ports.RowChanges{Add: []ports.Addition{addition("buyer-2", 1, 1)}}))
	rows = append(slices.DeleteFunc(rows, func(row ports.Row) bool { return row.Key == orderID(1) }), shopOrder(1, 2))
	queries := []ports.Query{
		{View: shopOrders.Name}, {View: shopNotes.Name}, {View: shopBuyers.Name}, {View: shopNotes.Name, Prefix: "o"},
		{View: shopNotes.Name, Prefix: "or"}, {View: shopOrders.Name, Filter: status("pending")},
		{View: shopOrders.Name, Filter: status("paid")}, {View: shopOrders.Name, Equal: status("paid")},
		{View: shopOrders.Name, Equal: buyer("buyer-1")}, {View: shopOrders.Name, Equal: buyer("buyer-2")},
		{View: shopOrders.Name, Equal: buyer("buyer-1"), Filter: status("paid")},
		{View: shopOrders.Name, Equal: buyer("buyer-1"), Sort: "amount"}, {View: shopOrders.Name, Equal: buyer("buyer-1"), Sort: "name"},
		{View: shopOrders.Name, Sort: "amount"}, {View: shopOrders.Name, Sort: "name"},
	}
	for _, q := range queries {
		q.Descending = true
		queries = append(queries, q)
	}
	for i, from := range queries {
		from.Page.Limit = 1
		cursor := pageOf(t, f.Store, from).Next
		if cursor == "" {
			t.Fatalf("List %+v: there is no cursor for the next page", from)
		}
		for k, to := range queries {
			if to.Page.Cursor = cursor; k != i {
				_, err := f.Store.List(bounded(t), to)
				wantError(t, fmt.Sprintf("List %+v with a cursor of %+v", to, from), err, ports.ErrBadCursor)
			}
		}
		if from.View == shopOrders.Name {
			from.Page = ports.Page{Cursor: cursor, Limit: ports.MaxPageLimit}
			wantKeys(t, fmt.Sprintf("List %+v, after a page of 1", from), listOf(t, f.Store, from), expected(rows, from)[1:]...)
		}
	}
}
