package porttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/ports"
)

// The checks stand in readmodel_rows.go, readmodel_commit.go, readmodel_gaps.go and readmodel_generations.go.
var readModelStoreChecks = []check[ReadModelStorage]{
	{"a row comes back as it was put: its fields, and its body byte for byte", rowReadsBack,
		"a body is bytes or text: a JSON column changes it; numbers stay int64"},
	{"keys and texts of any characters are found as they are", oddTexts,
		"bind values, and compare byte for byte"},
	{"a key without a row has an empty row", rowOfNothing,
		"no row is ports.Row{Key: key} and no error"},
	{"Put replaces the row under its key, also in every list", putReplaces,
		"an upsert of body and indexed fields together; counters begin at 0 again"},
	{"a deleted row is gone, also from every list", deleteForgets,
		"delete the row with its index entries"},
	{"Delete, Insert, Put and Add of one change take effect in this order", changeInOrder,
		"four steps in one transaction, in this order"},
	{"Insert under a key that has a row is ErrConflict, and nothing of the change stays", insertOfKnown,
		"a duplicate key is ports.ErrConflict and rolls the whole change back"},
	{"views are kept apart", viewsAreApart,
		"the name of the view is part of every key"},
	{"a row that its reader or writer changes afterwards is not changed in the store", rowIsACopy,
		"copy what comes in and what goes out"},
	{"counters add up, and of Max the greater number stays", countersAddUp,
		"add in the database, in integers: counter = counter + ?"},

	{"every index serves its lists, in both directions and with its filter", listsByIndex,
		"sort by the field and then by key; the direction counts for both"},
	{"a list by key may be of one prefix", listsByPrefix,
		"a prefix is no pattern: % and _ mean themselves"},
	{"numbers are listed by value", numbersInOrder,
		"sort int64 as numbers, not as text and not as floats"},
	{"texts are listed by code point", textsInOrder,
		"a collation of bytes (C, BINARY), not of a language"},
	{"a list comes in pages, each row once", listPages,
		"the cursor is value and key of the last row: go on after this pair"},
	{"a page of rows has a default size and a maximum", rowPageSizes,
		"Query.Page.Size() clamps the limit: ask it"},
	{"a page ends with the row that makes it large", largePageEnds,
		"ask RowPage.Full after each row"},
	{"pages stay in step while rows come, move and go", rowPagesInStep,
		"go on after a value, never by OFFSET"},
	{"a query that no index serves is an error", unindexedQuery,
		"ask Table.IndexFor which index serves it"},
	{"a cursor that no list gave out is ErrBadCursor", badRowCursors,
		"Query.After reads the cursor and returns the error"},
	{"a cursor is valid for its own query only, whatever the limit", foreignRowCursors,
		"Query.After compares the question that is in the cursor"},

	{"places are where each shard's last change went to, by shard", placesReadBack,
		"one row a shard, sorted by its name; an empty place is stored too"},
	{"progress comes back with all its fields, its state byte for byte", progressReadsBack,
		"store every field of ports.Progress; the state is bytes or text"},
	{"an order of which nothing was received has no progress", progressOfNothing,
		"leave it out of the map"},
	{"buffered messages come in version order, byte for byte", bufferedReadsBack,
		"sort by version as a number; keep the payload as it is"},
	{"buffering a message again changes only the reason", bufferedAgain,
		"an upsert by order and version that sets the reason alone"},
	{"a released message is not buffered any more, and others are", releaseForgets,
		"delete by order and version"},
	{"Parked lists the orders with buffered messages: the first of them, how many, why and since when", parkedInReadModel,
		"group by order; version, reason and time are those of the smallest version"},
	{"a change of a thousand messages is committed", largeChange,
		"a statement has a limit of parameters: split it, inside the transaction"},
	{"the read model says how far it is with an order", freshnessOfOrder,
		"Freshness.Version is the progress record's version"},
	{"the read model is as fresh as its least fresh shard, also when nothing new comes", freshnessOfShards,
		"the smallest AsOf of all shards; a place that stays may get a newer one"},

	{"a gap stays, and then the read model is as of no time", gapStays,
		"a shard with a gap has no AsOf, however many changes come after it"},
	{"the last gap of each shard that had one is told, by shard", gapsByShard,
		"one gap a shard, the newest"},
	{"a new generation has no gap", gapsOfGenerations,
		"gaps belong to a generation"},

	{"a change that does not begin with what there is is ErrConflict, and nothing of it stays", staleChange,
		"compare places, versions and numbers of buffered messages inside the transaction"},
	{"of 20 commits of the same change exactly one is taken", racingCommits,
		"compare inside the transaction, with a lock or at a level that notices"},
	{"commits that touch no order together are all taken, and their additions all count", racingAdditions,
		"a conflict of the database that is none of ours is tried again; counters are added in the database"},
	{"a failed commit is an error, and nothing of the change stays", failedChange,
		"everything is in one transaction, and the error of its commit is returned"},

	{"the first generation is number 1, and has all tables", firstGeneration,
		"a fresh read model has generation 1 with the tables that it was opened with"},
	{"a shadow is new and empty, and asking again gives the same one", shadowIsTheSame,
		"store the shadow's number beside the live one's"},
	{"who asks at the same moment gets the same shadow", racingShadows,
		"begin a shadow in a transaction that two cannot win"},
	{"generations are kept apart, and reads stay with the live one", generationsAreApart,
		"the number of the generation is part of every key"},
	{"Swap makes the shadow the one that is read, and fed", swapIsRead,
		"one pointer is turned, in one transaction"},
	{"no reader sees part of one generation and part of the other", swapAtOnce,
		"read pointer and rows in one snapshot; delete the old rows after the pointer was turned"},
	{"what was live before is gone after Swap", swapDeletes,
		"delete its rows, progress, places and gaps"},
	{"Swap of what is not the shadow is ErrConflict and changes nothing", staleSwap,
		"compare the number inside the transaction"},
	{"of two swaps at the same moment one is ErrConflict", racingSwaps,
		"compare the number inside the transaction"},
	{"a commit at the moment of a swap is taken, or ErrConflict, and the new generation has nothing of it", commitsDuringSwap,
		"Commit checks in its transaction that its generation is live or the shadow"},
	{"Discard deletes the shadow, and nothing else", discardDeletes,
		"delete by the shadow's number"},
	{"to discard no shadow is no error", discardOfNothing,
		"nothing to delete is no error"},
	{"a number is never used again", numbersGrow,
		"count numbers beside the pointer, not by the largest that is there"},
	{"a Commit to a generation that is not there is ErrConflict", commitToNothing,
		"Commit checks in its transaction that its generation is live or the shadow"},

	{"two processes share the read model", sharedReadModel,
		"cache nothing that another process can change, the live generation least of all"},
	{"a view that the live generation lacks is ErrNotBuilt until a shadow that has it is swapped in", newView,
		"a generation stores the names of its tables"},
	{"a view whose table has changed is ErrNotBuilt until a shadow that has the new one is swapped in", changedView,
		"a generation stores the shape of each of its tables (ports.Shapes)"},
	{"a program with fewer views works on what is there", fewerViews,
		"take the tables from the generation, not from the program"},
	{"an unfinished shadow with other tables than the program's is discarded", foreignShadow,
		"compare the names and shapes of its tables, in any order, before you go on with it"},

	{"a cancelled context ends every call", cancelledReadModel,
		"pass ctx on to every call, and return ctx.Err() as it is"},
	{"while the store cannot be reached, every call is ErrUnavailable", brokenReadModel, sayUnavailable},
}

var (
	// shopOrders has an index of each kind.
	shopOrders = ports.Table{
		Name: "shop-orders",
		Indexes: []ports.Index{
			{Equal: "buyer", Filter: "status"},
			{Equal: "buyer", Sort: "amount", Filter: "status"},
			{Equal: "buyer", Sort: "name"},
			{Equal: "amount", Sort: "name"},
			{Equal: "status", Filter: "amount"},
			{Sort: "amount", Filter: "status"},
			{Sort: "name"},
			{Filter: "status"},
		},
		Counters: []string{"changes"},
	}
	// shopBuyers has counters only.
	shopBuyers = ports.Table{Name: "shop-buyers", Counters: []string{"orders", "lastAt"}}
	// shopNotes has nothing but keys.
	shopNotes = ports.Table{Name: "shop-notes"}

	readModelTables = []ports.Table{shopOrders, shopBuyers, shopNotes}

	// shopSales is a view that a later version of the program has.
	shopSales = ports.Table{Name: "shop-sales", Indexes: []ports.Index{{Equal: "buyer", Sort: "amount"}}}
)

// shopOrder is order n after some events. Every tenth has the same amount.
func shopOrder(n, version int) ports.Row {
	return ports.Row{
		Key: orderID(n),
		Fields: []ports.Field{
			{Name: "buyer", Value: fmt.Sprintf("buyer-%d", n%3)},
			{Name: "status", Value: []string{"pending", "paid"}[n%2]},
			{Name: "amount", Value: int64(n%10*100 + version)},
			{Name: "name", Value: fmt.Sprintf("name %d", n*7%5)},
		},
		Body: fmt.Appendf(nil, `{"id":%q,"version":%d}`, orderID(n), version),
	}
}

// with is the row with another value in a field.
func with(row ports.Row, name string, value any) ports.Row {
	row.Fields = slices.Clone(row.Fields)
	for i, f := range row.Fields {
		if f.Name == name {
			row.Fields[i].Value = value
		}
	}
	return row
}

func shopNote(n, version int) ports.Row {
	return ports.Row{Key: fmt.Sprintf("%s\x1f%09d", orderID(n), version), Body: fmt.Appendf(nil, `{"text":"note %d"}`, version)}
}

// oneMore is the change that the next version of an order makes: the order's own shard moves on by one, and the buyer
// has one more.
func oneMore(n, version int) ports.Change {
	at := morning.Add(time.Duration(version) * time.Second)
	return ports.Change{
		Places:   []ports.PlaceChange{{Shard: shard(n), From: behind(version - 1), To: behind(version), AsOf: at}},
		Progress: []ports.ProgressChange{{Progress: progress(n, version), WasVersion: version - 1}},
		Rows: map[string]ports.RowChanges{
			shopOrders.Name: {Put: []ports.Row{shopOrder(n, version)}},
			shopBuyers.Name: {Add: []ports.Addition{addition("buyer-1", 1, at.UnixMilli())}},
			shopNotes.Name:  {Insert: []ports.Row{shopNote(n, version)}},
		},
	}
}

func shard(n int) string { return fmt.Sprintf("shard-%d", n) }

func behind(version int) string {
	if version == 0 {
		return ""
	}
	return fmt.Sprintf("behind %d", version)
}

func progress(n, version int) ports.Progress {
	return ports.Progress{
		OrderID: orderID(n), Version: version, Newest: version, State: fmt.Appendf(nil, `{"version":%d}`, version),
	}
}

// addition is one to a row of shopBuyers.
func addition(key string, orders, lastAt int64) ports.Addition {
	return ports.Addition{
		Key: key, Add: []ports.Count{{Name: "orders", Value: orders}}, Max: []ports.Count{{Name: "lastAt", Value: lastAt}},
	}
}

func rowsOf(view ports.Table, c ports.RowChanges) ports.Change {
	return ports.Change{Rows: map[string]ports.RowChanges{view.Name: c}}
}

func buffering(messages ...ports.BufferedMessage) ports.Change { return ports.Change{Buffer: messages} }

func liveOf(t testing.TB, s ports.ReadModelStore) ports.Generation {
	t.Helper()
	g, err := s.Live(bounded(t))
	if err != nil {
		t.Fatalf("Live: %v", err)
	}
	return g
}

func commit(t testing.TB, s ports.ReadModelStore, g ports.Generation, c ports.Change) {
	t.Helper()
	if err := s.Commit(bounded(t), g, c); err != nil {
		t.Fatalf("Commit to generation %d: %v", g.Number, err)
	}
}

// feed commits versions of an order.
func feed(t testing.TB, s ports.ReadModelStore, g ports.Generation, n, from, to int) {
	t.Helper()
	for version := from; version <= to; version++ {
		commit(t, s, g, oneMore(n, version))
	}
}

// put commits rows to the live generation.
func put(t testing.TB, s ports.ReadModelStore, view ports.Table, rows ...ports.Row) {
	t.Helper()
	commit(t, s, liveOf(t, s), rowsOf(view, ports.RowChanges{Put: rows}))
}

func rowOf(t testing.TB, s ports.ReadModelStore, view ports.Table, key string) ports.Row {
	t.Helper()
	row, err := s.Row(bounded(t), view.Name, key)
	if err != nil {
		t.Fatalf("Row %q of %s: %v", key, view.Name, err)
	}
	return row
}

func pageOf(t testing.TB, s ports.ReadModelStore, q ports.Query) ports.RowPage {
	t.Helper()
	page, err := s.List(bounded(t), q)
	if err != nil {
		t.Fatalf("List %+v: %v", q, err)
	}
	return page
}

// listOf is a list from its first page to its last. It fails when a page is not what its limit says.
func listOf(t testing.TB, s ports.ReadModelStore, q ports.Query) (rows []ports.Row) {
	t.Helper()
	for range 1000 {
		page := pageOf(t, s, q)
		if size := q.Page.Size(); len(page.Rows) > size || page.Next != "" && !page.Full(q) {
			t.Errorf("List %+v: got a page of %d rows, the next begins at %q", q, len(page.Rows), page.Next)
		}
		if q.Page.Cursor != "" && len(page.Rows) == 0 {
			t.Errorf("List %+v: got a cursor for a page without rows", q)
		}
		rows = append(rows, page.Rows...)
		if page.Next == "" {
			return rows
		}
		q.Page.Cursor = page.Next
	}
	t.Fatalf("List %+v: there is no last page", q)
	panic("unreachable")
}

func keysOf(rows []ports.Row) (keys []string) {
	for _, row := range rows {
		keys = append(keys, row.Key)
	}
	return keys
}

func wantKeys(t testing.TB, what string, got []ports.Row, want ...string) {
	t.Helper()
	if got := keysOf(got); !slices.Equal(got, want) {
		t.Errorf("%s: got %d rows, want %d\n got %.500q\nwant %.500q", what, len(got), len(want), got, want)
	}
}

func wantRow(t testing.TB, got, want ports.Row) {
	t.Helper()
	if got, want := showRow(got), showRow(want); got != want {
		t.Errorf("row\n got %.500s\nwant %.500s", got, want)
	}
}

// showRow is the same for equal rows: fields and counters are in any order, and a counter that is missing is 0.
func showRow(row ports.Row) string {
	var parts []string
	for _, f := range row.Fields {
		parts = append(parts, fmt.Sprintf("%s=%#v", f.Name, f.Value))
	}
	for _, c := range row.Counters {
		if c.Value != 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", c.Name, c.Value))
		}
	}
	slices.Sort(parts)
	return fmt.Sprintf("%q %s %q", row.Key, strings.Join(parts, ", "), row.Body)
}

// progressOf is what Load says of one order; ok is false when it says nothing.
func progressOf(t testing.TB, s ports.ReadModelStore, g ports.Generation, id string) (p ports.Progress, ok bool) {
	t.Helper()
	loaded, err := s.Load(bounded(t), g, []string{id})
	if err != nil {
		t.Fatalf("Load of %s: %v", id, err)
	}
	p, ok = loaded[id]
	return p, ok
}

func showProgress(p ports.Progress) string {
	return fmt.Sprintf("%q at version %d, newest %d, %d buffered, parked %q, digest %d, %s", p.OrderID, p.Version, p.Newest,
		p.Buffered, p.Parked, p.Digest, p.State)
}

func placesOf(t testing.TB, s ports.ReadModelStore, g ports.Generation) []ports.Place {
	t.Helper()
	places, err := s.Places(bounded(t), g)
	if err != nil {
		t.Fatalf("Places of generation %d: %v", g.Number, err)
	}
	return places
}

func bufferedOf(t testing.TB, s ports.ReadModelStore, g ports.Generation, id string) []ports.Message {
	t.Helper()
	messages, err := s.Buffered(bounded(t), g, id)
	if err != nil {
		t.Fatalf("Buffered of %s: %v", id, err)
	}
	return messages
}

func wantBuffered(t testing.TB, s ports.ReadModelStore, g ports.Generation, id string, want ...ports.Message) {
	t.Helper()
	got := bufferedOf(t, s, g, id)
	if !slices.Equal(idsOf(got), idsOf(want)) {
		t.Errorf("buffered messages of %s in generation %d: got %q, want %q", id, g.Number, idsOf(got), idsOf(want))
		return
	}
	for i, m := range got {
		wantSameMessage(t, m, want[i])
	}
}

func parkedOf(t testing.TB, s ports.ReadModelStore, g ports.Generation) []ports.ParkedOrder {
	t.Helper()
	list, err := s.Parked(bounded(t), g)
	if err != nil {
		t.Fatalf("Parked of generation %d: %v", g.Number, err)
	}
	return list
}

func freshnessOf(t testing.TB, s ports.ReadModelStore, id string) ports.Freshness {
	t.Helper()
	f, err := s.Freshness(bounded(t), id)
	if err != nil {
		t.Fatalf("Freshness of order %q: %v", id, err)
	}
	return f
}

// contents are everything that can be read of a generation, a line each: about the orders 1 to 9, and the rows of the
// three tables as readers see them.
func contents(t testing.TB, s ports.ReadModelStore, g ports.Generation) string {
	t.Helper()
	var lines, ids []string
	for n := 1; n <= 9; n++ {
		ids = append(ids, orderID(n))
	}
	for _, p := range placesOf(t, s, g) {
		lines = append(lines, fmt.Sprintf("place in %q: %q", p.Shard, p.Next))
	}
	loaded, err := s.Load(bounded(t), g, ids)
	if err != nil {
		t.Fatalf("Load of generation %d: %v", g.Number, err)
	}
	for _, id := range slices.Sorted(maps.Keys(loaded)) {
		lines = append(lines, showProgress(loaded[id]))
	}
	for _, id := range ids {
		for _, m := range bufferedOf(t, s, g, id) {
			lines = append(lines, "buffered "+show(m))
		}
	}
	for _, o := range parkedOf(t, s, g) {
		lines = append(lines, fmt.Sprintf("parked %s from %d, %d since %d: %s", o.OrderID, o.First, o.Messages,
			o.Since.UnixMilli(), o.Reason))
	}
	return strings.Join(append(lines, seen(t, s, ids...)...), "\n")
}

// seen is what readers see.
func seen(t testing.TB, s ports.ReadModelStore, ids ...string) (lines []string) {
	t.Helper()
	for _, view := range readModelTables {
		for _, row := range listOf(t, s, ports.Query{View: view.Name}) {
			lines = append(lines, view.Name+" "+showRow(row))
		}
	}
	for _, id := range ids {
		f := freshnessOf(t, s, id)
		lines = append(lines, fmt.Sprintf("%s is at version %d, as of %d", id, f.Version, f.AsOf.UnixMilli()))
	}
	return lines
}

func wantContents(t testing.TB, when, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Errorf("%s\n got %.500s\nwant %.500s", when, gotLines[i], wantLines[i])
			return
		}
	}
	t.Errorf("%s there are %d things, want %d:\n%.1000s", when, len(gotLines), len(wantLines), got)
}

// wantRefused fails unless a change is ErrConflict and leaves everything as it was.
func wantRefused(t testing.TB, s ports.ReadModelStore, g ports.Generation, why string, c ports.Change) {
	t.Helper()
	before := contents(t, s, g)
	wantError(t, fmt.Sprintf("Commit to generation %d, %s", g.Number, why), s.Commit(bounded(t), g, c), ports.ErrConflict)
	wantContents(t, "after a refused Commit, "+why, contents(t, s, g), before)
}

// atOnce calls do for 0 to n-1, all at the same moment, and waits for all.
func atOnce(t testing.TB, n int, do func(ctx context.Context, i int)) {
	t.Helper()
	var all sync.WaitGroup
	start, ctx := make(chan struct{}), bounded(t)
	for i := range n {
		all.Go(func() {
			<-start
			do(ctx, i)
		})
	}
	close(start)
	all.Wait()
}

// handles are two of the same read model: what two processes have.
func handles(t testing.TB, f ReadModelStorage) [2]ports.ReadModelStore {
	return [2]ports.ReadModelStore{f.Store, f.Again(t, readModelTables)}
}
