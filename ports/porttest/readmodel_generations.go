package porttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"hexorders/ports"
)

func namesOf(tables []ports.Table) (names []string) {
	for _, table := range tables {
		names = append(names, table.Name)
	}
	slices.Sort(names)
	return names
}

// shadowOf is the shadow, which has the tables of the suite.
func shadowOf(t testing.TB, s ports.ReadModelStore) ports.Generation {
	t.Helper()
	return shadowWith(t, s, readModelTables)
}

func shadowWith(t testing.TB, s ports.ReadModelStore, tables []ports.Table) ports.Generation {
	t.Helper()
	g, err := s.Shadow(bounded(t))
	if err != nil {
		t.Fatalf("Shadow: %v", err)
	}
	if want := namesOf(tables); !slices.Equal(g.Views, want) {
		t.Errorf("Shadow: got a generation with the views %q, want %q", g.Views, want)
	}
	return g
}

func swap(t testing.TB, s ports.ReadModelStore, g ports.Generation) {
	t.Helper()
	if err := s.Swap(bounded(t), g); err != nil {
		t.Fatalf("Swap of generation %d: %v", g.Number, err)
	}
}

func discard(t testing.TB, s ports.ReadModelStore) {
	t.Helper()
	if err := s.Discard(bounded(t)); err != nil {
		t.Fatalf("Discard: %v", err)
	}
}

func wantLive(t testing.TB, s ports.ReadModelStore, want ports.Generation) {
	t.Helper()
	if got := liveOf(t, s); got.Number != want.Number || !slices.Equal(got.Views, want.Views) {
		t.Errorf("Live: got %+v, want %+v", got, want)
	}
}

// wantVersion fails unless readers see order 1 at this version, 0 for not at all.
func wantVersion(t testing.TB, s ports.ReadModelStore, want int) {
	t.Helper()
	row := ports.Row{Key: orderID(1)}
	if want > 0 {
		row = shopOrder(1, want)
	}
	wantRow(t, rowOf(t, s, shopOrders, orderID(1)), row)
	if got := len(listOf(t, s, ports.Query{View: shopNotes.Name})); got != want {
		t.Errorf("readers see %d notes, want %d", got, want)
	}
	if got := rowOf(t, s, shopBuyers, "buyer-1").Counter("orders"); got != int64(want) {
		t.Errorf("readers see a counter at %d, want %d", got, want)
	}
	if f := freshnessOf(t, s, orderID(1)); f.Version != want || (want == 0) != f.AsOf.IsZero() {
		t.Errorf("readers hear of version %d, as of %v, want %d", f.Version, f.AsOf, want)
	}
}

// wantEmpty fails unless nothing of a generation can be read.
func wantEmpty(t testing.TB, s ports.ReadModelStore, g ports.Generation) {
	t.Helper()
	if places := placesOf(t, s, g); len(places) != 0 {
		t.Errorf("Places of generation %d: got %v, want none", g.Number, places)
	}
	if p, known := progressOf(t, s, g, orderID(1)); known {
		t.Errorf("Load from generation %d: got %s, want nothing", g.Number, showProgress(p))
	}
	wantBuffered(t, s, g, orderID(1))
	if list := parkedOf(t, s, g); len(list) != 0 {
		t.Errorf("Parked of generation %d: got %v, want none", g.Number, list)
	}
}

// fill gives a generation something of every kind.
func fill(t testing.TB, s ports.ReadModelStore, g ports.Generation, versions int) {
	t.Helper()
	feed(t, s, g, 1, 1, versions)
	commit(t, s, g, buffering(ports.BufferedMessage{Message: message(orderID(1), versions+20), Reason: "a version is missing"}))
}

func firstGeneration(t testing.TB, f ReadModelStorage) {
	want := ports.Generation{Number: 1, Views: namesOf(readModelTables)}
	wantLive(t, f.Store, want)
	wantEmpty(t, f.Store, want)
	wantVersion(t, f.Store, 0)
	fill(t, f.Store, want, 2)
	wantVersion(t, f.Store, 2)
	wantLive(t, f.Store, want)
}

func shadowIsTheSame(t testing.TB, f ReadModelStorage) {
	fill(t, f.Store, liveOf(t, f.Store), 2)
	g := shadowOf(t, f.Store)
	if live := liveOf(t, f.Store); g.Number == live.Number {
		t.Errorf("the shadow has the number of the live generation, %d", g.Number)
	}
	wantEmpty(t, f.Store, g)
	fill(t, f.Store, g, 1)
	for range 2 {
		if again := shadowOf(t, f.Store); again.Number != g.Number {
			t.Errorf("Shadow once more: got %d, want %d", again.Number, g.Number)
		}
		if p, _ := progressOf(t, f.Store, g, orderID(1)); p.Version != 1 {
			t.Errorf("the shadow is at version %d after Shadow, want 1 as before", p.Version)
		}
	}
}

func racingShadows(t testing.TB, f ReadModelStorage) {
	stores := handles(t, f)
	for range 3 {
		numbers, errs := make([]int, 10), make([]error, 10)
		atOnce(t, len(numbers), func(ctx context.Context, i int) {
			g, err := stores[i%2].Shadow(ctx)
			numbers[i], errs[i] = g.Number, err
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("Shadow by many at the same moment: %v", err)
		}
		if unique := slices.Compact(slices.Clone(numbers)); len(unique) != 1 {
			t.Errorf("Shadow by many at the same moment: got %v, want one number", numbers)
		}
		fill(t, f.Store, shadowOf(t, f.Store), 1)
		discard(t, f.Store)
	}
}

func generationsAreApart(t testing.TB, f ReadModelStorage) {
	live, shadow := liveOf(t, f.Store), shadowOf(t, f.Store)
	fill(t, f.Store, shadow, 3)
	wantVersion(t, f.Store, 0)
	wantEmpty(t, f.Store, live)
	fill(t, f.Store, live, 1)
	commit(t, f.Store, shadow, ports.Change{Release: []ports.EventRef{{OrderID: orderID(1), Version: 21}}}) // the live one's
	for g, version := range map[*ports.Generation]int{&live: 1, &shadow: 3} {
		if p, _ := progressOf(t, f.Store, *g, orderID(1)); p.Version != version {
			t.Errorf("generation %d is at version %d, want %d", g.Number, p.Version, version)
		}
		want := []ports.Place{{Shard: shard(1), Next: behind(version)}}
		if places := placesOf(t, f.Store, *g); !slices.Equal(places, want) {
			t.Errorf("Places of generation %d: got %q, want %q", g.Number, places, want)
		}
		wantBuffered(t, f.Store, *g, orderID(1), message(orderID(1), version+20))
		if list := parkedOf(t, f.Store, *g); len(list) != 1 || list[0].First != version+20 {
			t.Errorf("Parked of generation %d: got %+v, want version %d", g.Number, list, version+20)
		}
	}
	wantVersion(t, f.Store, 1)
	wantLive(t, f.Store, live)
}

func swapIsRead(t testing.TB, f ReadModelStorage) {
	fill(t, f.Store, liveOf(t, f.Store), 1)
	for round := 2; round <= 3; round++ {
		shadow := shadowOf(t, f.Store)
		fill(t, f.Store, shadow, round)
		swap(t, f.Store, shadow)
		wantLive(t, f.Store, shadow)
		wantVersion(t, f.Store, round)
		feed(t, f.Store, shadow, 1, round+1, round+1)
		wantVersion(t, f.Store, round+1)
		wantBuffered(t, f.Store, shadow, orderID(1), message(orderID(1), round+20))
	}
}

func swapAtOnce(t testing.TB, f ReadModelStorage) {
	const swaps, rows = 5, 30
	stores := handles(t, f)
	build := func(g ports.Generation) {
		var c ports.RowChanges
		for n := range rows {
			c.Insert = append(c.Insert, ports.Row{Key: orderID(n), Body: fmt.Appendf(nil, `"generation %d"`, g.Number)})
		}
		commit(t, f.Store, g, rowsOf(shopNotes, c))
	}
	build(liveOf(t, f.Store))
	done := make(chan struct{})
	atOnce(t, 3, func(ctx context.Context, i int) {
		if i == 2 {
			defer close(done)
			for range swaps {
				g := shadowOf(t, f.Store)
				build(g)
				swap(t, f.Store, g)
			}
			return
		}
		for more := true; more; {
			select {
			case <-done:
				more = false
			default:
			}
			page, err := stores[i].List(ctx, ports.Query{View: shopNotes.Name, Page: ports.Page{Limit: ports.MaxPageLimit}})
			if err != nil || len(page.Rows) != rows {
				t.Errorf("List during a swap: got %d rows and error %v, want %d", len(page.Rows), err, rows)
				continue
			}
			if first, last := page.Rows[0], page.Rows[rows-1]; string(first.Body) != string(last.Body) {
				t.Errorf("List during a swap: got rows of %s and of %s", first.Body, last.Body)
			}
			row, err := stores[i].Row(ctx, shopNotes.Name, orderID(rows-1))
			if err != nil || len(row.Body) == 0 {
				t.Errorf("Row during a swap: got %q and error %v, want a row", row.Body, err)
			}
		}
	})
}

func swapDeletes(t testing.TB, f ReadModelStorage) {
	old := liveOf(t, f.Store)
	fill(t, f.Store, old, 2)
	swap(t, f.Store, shadowOf(t, f.Store))
	wantEmpty(t, f.Store, old)
	wantRefused(t, f.Store, old, "which was live", oneMore(1, 3))
	wantRefused(t, f.Store, old, "which was live", oneMore(1, 1))
	wantVersion(t, f.Store, 0)
	wantEmpty(t, f.Store, liveOf(t, f.Store))
}

func staleSwap(t testing.TB, f ReadModelStorage) {
	live := liveOf(t, f.Store)
	fill(t, f.Store, live, 1)
	wantStale := func(why string, g ports.Generation) {
		t.Helper()
		before, number := contents(t, f.Store, liveOf(t, f.Store)), liveOf(t, f.Store).Number
		wantError(t, fmt.Sprintf("Swap of generation %d, %s", g.Number, why), f.Store.Swap(bounded(t), g), ports.ErrConflict)
		if got := liveOf(t, f.Store).Number; got != number {
			t.Errorf("after a refused Swap generation %d is live, want %d as before", got, number)
		}
		wantContents(t, "after a refused Swap", contents(t, f.Store, liveOf(t, f.Store)), before)
	}
	wantStale("when there is no shadow", ports.Generation{Number: 2})
	wantStale("the live one", live)
	wantStale("of none", ports.Generation{})
	discarded := shadowOf(t, f.Store)
	discard(t, f.Store)
	wantStale("which was discarded", discarded)
	shadow := shadowOf(t, f.Store)
	fill(t, f.Store, shadow, 2)
	wantStale("which was discarded before this shadow", discarded)
	wantStale("which nobody has begun", ports.Generation{Number: shadow.Number + 1})
	wantStale("the live one beside a shadow", live)
	swap(t, f.Store, shadow)
	wantStale("which is live already", shadow)
	wantVersion(t, f.Store, 2)
}

func racingSwaps(t testing.TB, f ReadModelStorage) {
	stores := handles(t, f)
	for round := 1; round <= 3; round++ {
		shadow := shadowOf(t, f.Store)
		fill(t, f.Store, shadow, round)
		errs := make([]error, 4)
		atOnce(t, len(errs), func(ctx context.Context, i int) { errs[i] = stores[i%2].Swap(ctx, shadow) })
		swapped := 0
		for _, err := range errs {
			if err == nil {
				swapped++
			} else {
				wantError(t, "Swap by many at the same moment", err, ports.ErrConflict)
			}
		}
		if swapped != 1 {
			t.Errorf("Swap by many at the same moment: %d were told that it was done, want 1", swapped)
		}
		wantLive(t, f.Store, shadow)
		wantVersion(t, f.Store, round)
	}
}

func commitsDuringSwap(t testing.TB, f ReadModelStorage) {
	stores := handles(t, f)
	for range 3 {
		old, shadow := liveOf(t, f.Store), shadowOf(t, f.Store)
		fill(t, f.Store, shadow, 1)
		atOnce(t, 4, func(ctx context.Context, i int) {
			if i == 3 {
				swap(t, f.Store, shadow)
				return
			}
			for version := 1; version <= 200; version++ {
				err := stores[i%2].Commit(ctx, old, oneMore(i+2, version))
				if errors.Is(err, ports.ErrConflict) {
					return
				}
				if err != nil {
					t.Errorf("Commit at the moment of a swap: got error %v, want none or %v", err, ports.ErrConflict)
					return
				}
			}
		})
		wantLive(t, f.Store, shadow)
		wantEmpty(t, f.Store, old)
		wantVersion(t, f.Store, 1)
		for n := 2; n <= 4; n++ {
			if p, known := progressOf(t, f.Store, shadow, orderID(n)); known {
				t.Errorf("the new generation has %s, which was committed to the old one", showProgress(p))
			}
			wantRefused(t, f.Store, old, "which was live", oneMore(n, 1))
		}
	}
}

func discardDeletes(t testing.TB, f ReadModelStorage) {
	live := liveOf(t, f.Store)
	fill(t, f.Store, live, 1)
	shadow := shadowOf(t, f.Store)
	fill(t, f.Store, shadow, 2)
	before := contents(t, f.Store, live)
	discard(t, f.Store)
	wantLive(t, f.Store, live)
	wantContents(t, "after Discard", contents(t, f.Store, live), before)
	wantEmpty(t, f.Store, shadow)
	wantRefused(t, f.Store, shadow, "which was discarded", oneMore(1, 3))
	wantEmpty(t, f.Store, shadowOf(t, f.Store))
}

func discardOfNothing(t testing.TB, f ReadModelStorage) {
	live := liveOf(t, f.Store)
	fill(t, f.Store, live, 1)
	discard(t, f.Store)
	wantLive(t, f.Store, live)
	swap(t, f.Store, shadowOf(t, f.Store))
	discard(t, f.Store)
	discard(t, f.Store)
	wantVersion(t, f.Store, 0)
}

func numbersGrow(t testing.TB, f ReadModelStorage) {
	used := liveOf(t, f.Store).Number
	for round := range 6 {
		g := shadowOf(t, f.Again(t, readModelTables))
		if g.Number <= used {
			t.Errorf("Shadow: got number %d, want one above %d, which was used", g.Number, used)
		}
		used = g.Number
		if round%3 == 1 {
			swap(t, f.Store, g)
		} else {
			discard(t, f.Store)
		}
	}
}

func commitToNothing(t testing.TB, f ReadModelStorage) {
	views := namesOf(readModelTables)
	wantRefused(t, f.Store, ports.Generation{Number: 2, Views: views}, "a shadow that nobody began", oneMore(1, 1))
	wantRefused(t, f.Store, ports.Generation{Views: views}, "none", oneMore(1, 1))
	feed(t, f.Store, liveOf(t, f.Store), 1, 1, 1)
	wantVersion(t, f.Store, 1)
	wantEmpty(t, f.Store, shadowOf(t, f.Store))
}

func sharedReadModel(t testing.TB, f ReadModelStorage) {
	stores := handles(t, f)
	live := liveOf(t, stores[1])
	fill(t, stores[0], live, 1)
	wantVersion(t, stores[1], 1)
	wantRefused(t, stores[1], live, "with what the other has committed", oneMore(1, 1))
	feed(t, stores[1], live, 1, 2, 2)
	wantVersion(t, stores[0], 2)
	wantContents(t, "what the other sees", contents(t, stores[1], live), contents(t, stores[0], live))

	shadow := shadowOf(t, stores[0])
	fill(t, stores[1], shadow, 3)
	if other := shadowOf(t, stores[1]); other.Number != shadow.Number {
		t.Errorf("Shadow: got %d and, of the other, %d, want the same", shadow.Number, other.Number)
	}
	swap(t, stores[1], shadow)
	for _, s := range stores {
		wantLive(t, s, shadow)
		wantVersion(t, s, 3)
		wantRefused(t, s, live, "which was live", oneMore(1, 3))
	}
	discarded := shadowOf(t, stores[0])
	discard(t, stores[1])
	wantRefused(t, stores[0], discarded, "which the other has discarded", oneMore(1, 1))
}

// wantNotBuilt fails unless every question about shopSales is ErrNotBuilt.
func wantNotBuilt(t testing.TB, s ports.ReadModelStore) {
	t.Helper()
	_, err := s.Row(bounded(t), shopSales.Name, "x")
	wantError(t, "Row of a view that is not built", err, ports.ErrNotBuilt)
	for _, q := range []ports.Query{
		{View: shopSales.Name}, {View: shopSales.Name, Prefix: "x"},
		{View: shopSales.Name, Equal: ports.Field{Name: "buyer", Value: "buyer-1"}, Sort: "amount"},
	} {
		_, err := s.List(bounded(t), q)
		wantError(t, "List of a view that is not built", err, ports.ErrNotBuilt)
	}
}

func newView(t testing.TB, f ReadModelStorage) {
	live := liveOf(t, f.Store)
	_, err := f.Store.Row(bounded(t), "unknown", "x")
	wantError(t, "Row of a view that nobody knows", err, ports.ErrNotBuilt)
	_, err = f.Store.List(bounded(t), ports.Query{View: "unknown"})
	wantError(t, "List of a view that nobody knows", err, ports.ErrNotBuilt)
	fill(t, f.Store, live, 1)
	later := f.Again(t, append([]ports.Table{shopSales}, readModelTables...))
	wantLive(t, later, live)
	wantNotBuilt(t, later)
	wantVersion(t, later, 1)
	feed(t, later, live, 1, 2, 2)
	wantVersion(t, f.Store, 2)

	shadow := shadowWith(t, later, append([]ports.Table{shopSales}, readModelTables...))
	fill(t, later, shadow, 3)
	row := func(n int) ports.Row {
		return ports.Row{Key: orderID(n), Body: []byte(`{}`), Fields: []ports.Field{
			{Name: "buyer", Value: "buyer-1"}, {Name: "amount", Value: int64(10 - n)},
		}}
	}
	commit(t, later, shadow, rowsOf(shopSales, ports.RowChanges{Put: []ports.Row{row(1), row(2)}}))
	wantNotBuilt(t, later)
	wantVersion(t, later, 2)
	swap(t, later, shadow)

	sales := ports.Query{View: shopSales.Name, Equal: ports.Field{Name: "buyer", Value: "buyer-1"}, Sort: "amount"}
	wantKeys(t, "the new view", listOf(t, later, sales), orderID(2), orderID(1))
	wantRow(t, rowOf(t, later, shopSales, orderID(1)), row(1))
	for _, s := range []ports.ReadModelStore{f.Store, later} { // the program before still runs
		wantLive(t, s, shadow)
		wantVersion(t, s, 3)
	}
	feed(t, f.Store, shadow, 1, 4, 4)
	wantVersion(t, later, 4)
}

// changed are tables of which one is another than in readModelTables.
func changed(table ports.Table) []ports.Table {
	tables := slices.Clone(readModelTables)
	tables[slices.IndexFunc(tables, func(t ports.Table) bool { return t.Name == table.Name })] = table
	return tables
}

func changedView(t testing.TB, f ReadModelStorage) {
	live := liveOf(t, f.Store)
	fill(t, f.Store, live, 1)

	turned := ports.Table{Name: shopOrders.Name, Indexes: slices.Clone(shopOrders.Indexes), Counters: shopOrders.Counters}
	slices.Reverse(turned.Indexes)
	same := f.Again(t, changed(turned))
	wantLive(t, same, live)
	wantVersion(t, same, 1)

	for what, table := range map[string]ports.Table{
		"a counter more": {Name: shopBuyers.Name, Counters: []string{"orders", "lastAt", "refunded"}},
		"a counter less": {Name: shopBuyers.Name, Counters: []string{"orders"}},
		"an index more":  {Name: shopNotes.Name, Indexes: []ports.Index{{Equal: "text"}}},
		"an index less":  {Name: shopOrders.Name, Indexes: shopOrders.Indexes[1:], Counters: shopOrders.Counters},
	} {
		wantOtherShape(t, f.Again(t, changed(table)), what, table, live)
	}

	more := ports.Table{Name: shopNotes.Name, Counters: []string{"read"}}
	later := f.Again(t, changed(more))
	wantOtherShape(t, later, "a counter that is new", more, live)
	c := oneMore(1, 2)
	delete(c.Rows, more.Name)
	commit(t, later, live, c) // the other views go on
	wantRow(t, rowOf(t, later, shopOrders, orderID(1)), shopOrder(1, 2))

	old := shadowOf(t, f.Store)
	shadow := shadowWith(t, later, changed(more))
	if shadow.Number <= old.Number {
		t.Errorf("Shadow of a program whose table has changed: got %d, want a new one after %d", shadow.Number, old.Number)
	}
	fill(t, later, shadow, 3)
	read := ports.Addition{Key: orderID(1), Add: []ports.Count{{Name: "read", Value: 2}}}
	commit(t, later, shadow, rowsOf(more, ports.RowChanges{Add: []ports.Addition{read}}))
	wantOtherShape(t, later, "a counter that is new", more, live)
	swap(t, later, shadow)
	wantLive(t, later, shadow)
	if got := rowOf(t, later, more, orderID(1)).Counter("read"); got != 2 {
		t.Errorf("the counter of the view that has changed is at %d, want 2", got)
	}
	wantOtherShape(t, f.Store, "no counter any more", shopNotes, shadow) // the program before still runs
	wantRow(t, rowOf(t, f.Store, shopOrders, orderID(1)), shopOrder(1, 3))
}

// wantOtherShape fails unless a program whose table has another shape than that of the live generation sees the
// generation without it.
func wantOtherShape(t testing.TB, s ports.ReadModelStore, what string, table ports.Table, live ports.Generation) {
	t.Helper()
	views := slices.DeleteFunc(namesOf(readModelTables), func(name string) bool { return name == table.Name })
	wantLive(t, s, ports.Generation{Number: live.Number, Views: views})
	for _, key := range []string{orderID(1), "buyer-1", "none"} {
		_, err := s.Row(bounded(t), table.Name, key)
		wantError(t, fmt.Sprintf("Row %q of a view that has %s", key, what), err, ports.ErrNotBuilt)
	}
	queries := []ports.Query{{View: table.Name}, {View: table.Name, Prefix: "none"}}
	for _, i := range table.Indexes {
		q := ports.Query{View: table.Name, Sort: i.Sort}
		if i.Equal != "" {
			q.Equal = ports.Field{Name: i.Equal, Value: "none"}
		}
		queries = append(queries, q)
	}
	for _, q := range queries {
		_, err := s.List(bounded(t), q)
		wantError(t, fmt.Sprintf("List %+v of a view that has %s", q, what), err, ports.ErrNotBuilt)
	}
}

func fewerViews(t testing.TB, f ReadModelStorage) {
	live := liveOf(t, f.Store)
	fill(t, f.Store, live, 1)
	before := f.Again(t, []ports.Table{shopOrders})
	wantLive(t, before, live)
	wantRow(t, rowOf(t, before, shopOrders, orderID(1)), shopOrder(1, 1))
	c := oneMore(1, 2)
	c.Rows = map[string]ports.RowChanges{shopOrders.Name: c.Rows[shopOrders.Name]}
	commit(t, before, live, c)
	for _, s := range []ports.ReadModelStore{f.Store, before} {
		list := listOf(t, s, ports.Query{View: shopOrders.Name, Sort: "amount"})
		wantKeys(t, "the view that both have", list, orderID(1))
		wantRow(t, list[0], shopOrder(1, 2))
	}
	shadow := shadowWith(t, before, []ports.Table{shopOrders})
	commit(t, before, shadow, rowsOf(shopOrders, ports.RowChanges{Put: []ports.Row{shopOrder(1, 5)}}))
	swap(t, before, shadow)
	wantLive(t, f.Store, shadow)
	wantRow(t, rowOf(t, f.Store, shopOrders, orderID(1)), shopOrder(1, 5))
	for _, view := range []ports.Table{shopNotes, shopBuyers} {
		_, err := f.Store.List(bounded(t), ports.Query{View: view.Name})
		wantError(t, "List of a view that the live generation lacks", err, ports.ErrNotBuilt)
		_, err = f.Store.Row(bounded(t), view.Name, orderID(1))
		wantError(t, "Row of a view that the live generation lacks", err, ports.ErrNotBuilt)
	}
}

func foreignShadow(t testing.TB, f ReadModelStorage) {
	live := liveOf(t, f.Store)
	fill(t, f.Store, live, 1)
	more := append(slices.Clone(readModelTables), shopSales)
	turned := slices.Clone(readModelTables)
	slices.Reverse(turned)
	unfinished := shadowOf(t, f.Store)
	fill(t, f.Store, unfinished, 2)
	if again := shadowWith(t, f.Again(t, turned), turned); again.Number != unfinished.Number {
		t.Errorf("Shadow with the tables in another order: got %d, want %d", again.Number, unfinished.Number)
	}
	for _, tables := range [][]ports.Table{more, readModelTables, readModelTables[:2]} {
		s := f.Again(t, tables)
		g := shadowWith(t, s, tables)
		if g.Number <= unfinished.Number {
			t.Errorf("Shadow with the tables %q: got %d, want a new one after %d", namesOf(tables), g.Number, unfinished.Number)
		}
		wantEmpty(t, s, g)
		wantEmpty(t, s, unfinished)
		wantRefused(t, f.Store, unfinished, "which has other tables", oneMore(1, 3))
		wantError(t, "Swap of a shadow that was discarded for its tables", s.Swap(bounded(t), unfinished), ports.ErrConflict)
		wantVersion(t, f.Store, 1)
		wantLive(t, f.Store, live)
		commit(t, s, g, ports.Change{Progress: oneMore(1, 1).Progress})
		unfinished = g
	}
}
