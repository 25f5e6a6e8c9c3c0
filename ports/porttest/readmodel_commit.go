package porttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/ports"
)

func placesReadBack(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	want := func(want ...ports.Place) {
		t.Helper()
		if got := placesOf(t, f.Store, g); !slices.Equal(got, want) {
			t.Errorf("Places: got %q, want %q", got, want)
		}
	}
	moveTo := func(changes ...ports.PlaceChange) {
		t.Helper()
		commit(t, f.Store, g, ports.Change{Places: changes})
	}
	want()
	moveTo(ports.PlaceChange{Shard: "9", To: "7", AsOf: morning}, ports.PlaceChange{Shard: "10", To: `{"offset": 12}`, AsOf: morning})
	want(ports.Place{Shard: "10", Next: `{"offset": 12}`}, ports.Place{Shard: "9", Next: "7"})
	moveTo(ports.PlaceChange{Shard: "9", From: "7", To: "8", AsOf: morning},
		ports.PlaceChange{Shard: "", To: "one's only", AsOf: morning}, // of a broker that has no shards
		ports.PlaceChange{Shard: "a.b/$c", To: "", AsOf: morning})     // nothing is there yet
	moveTo(ports.PlaceChange{Shard: "9", From: "8", To: "8", AsOf: morning.Add(time.Minute)}) // nothing new came
	want(ports.Place{Shard: "", Next: "one's only"}, ports.Place{Shard: "10", Next: `{"offset": 12}`}, ports.Place{Shard: "9", Next: "8"},
		ports.Place{Shard: "a.b/$c"})
	moveTo(ports.PlaceChange{Shard: "a.b/$c", From: "", To: "1", AsOf: morning})
	want(ports.Place{Shard: "", Next: "one's only"}, ports.Place{Shard: "10", Next: `{"offset": 12}`}, ports.Place{Shard: "9", Next: "8"},
		ports.Place{Shard: "a.b/$c", Next: "1"})
}

func progressReadsBack(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	full := ports.Progress{
		OrderID: "$заказ.1/'2\"", Version: 12, Newest: 17, Buffered: 3, Parked: "its type is unknown: \"OrderLost\"",
		State: []byte("{\"b\": 1.0,  \"a\":\"茶 <1kg> & ½\"}\n"), Digest: 0xfedcba98,
	}
	bare := ports.Progress{OrderID: orderID(1), Newest: 2, Buffered: 1} // version 2 has come before version 1
	large := ports.Progress{OrderID: strings.Repeat("0123456789abcdef", 4), Version: 1, Newest: 1, State: noise(100_000)}
	given := full
	given.State = slices.Clone(full.State)
	commit(t, f.Store, g, ports.Change{Progress: []ports.ProgressChange{{Progress: given}, {Progress: bare}, {Progress: large}}})
	given.State[0] = 'x' // in the caller's own copy
	later := full
	later.Digest = 1
	later.Version, later.Newest, later.Buffered, later.Parked, later.State = 15, 17, 0, "", []byte(`{}`)
	for _, want := range []ports.Progress{full, later} {
		loaded, err := f.Store.Load(bounded(t), g, []string{full.OrderID, bare.OrderID, large.OrderID})
		if err != nil || len(loaded) != 3 {
			t.Fatalf("Load of 3 orders: got %d and error %v", len(loaded), err)
		}
		for _, want := range []ports.Progress{want, bare, large} {
			if got, want := showProgress(loaded[want.OrderID]), showProgress(want); got != want {
				t.Errorf("progress\n got %.500s\nwant %.500s", got, want)
			}
		}
		for i := range loaded[full.OrderID].State {
			loaded[full.OrderID].State[i] = 'x' // and here
		}
		got, _ := progressOf(t, f.Store, g, full.OrderID)
		if showProgress(got) != showProgress(want) {
			t.Errorf("progress changed by its reader\n got %.500s\nwant %.500s", showProgress(got), showProgress(want))
		}
		if want.Version == 12 {
			commit(t, f.Store, g, ports.Change{Progress: []ports.ProgressChange{{Progress: later, WasVersion: 12, WasBuffered: 3}}})
		}
	}
}

func progressOfNothing(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	feed(t, f.Store, g, 1, 1, 1)
	for _, ids := range [][]string{nil, {}, {orderID(2)}, {"", "order", strings.ToUpper(orderID(1)), orderID(1) + " "}} {
		if loaded, err := f.Store.Load(bounded(t), g, ids); err != nil || len(loaded) != 0 {
			t.Errorf("Load of %q: got %v and error %v, want nothing", ids, loaded, err)
		}
	}
	loaded, err := f.Store.Load(bounded(t), g, []string{orderID(2), orderID(1)})
	if err != nil || len(loaded) != 1 || loaded[orderID(1)].Version != 1 {
		t.Errorf("Load of a known and an unknown order: got %v and error %v, want the known one", loaded, err)
	}
}

func bufferedReadsBack(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	plain, rich, other, last := message(orderID(1), 10), message(orderID(1), 9), message("order-1/2 $'\"", 3), message(orderID(1), 100)
	rich.Type = ""                                                                 // nobody says that what has to wait is well formed
	rich.Payload = append([]byte("{\"a\": \x00\xff\xfe 茶,}\r\n"), noise(1<<20)...) // nor that it is JSON
	rich.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	last.Payload = nil
	for _, m := range []ports.Message{last, plain, other, rich} {
		commit(t, f.Store, g, buffering(ports.BufferedMessage{Message: m, Reason: "version 8 is missing"}))
	}
	wantBuffered(t, f.Store, g, orderID(1), rich, plain, last)
	wantBuffered(t, f.Store, g, other.OrderID, other)
	for _, id := range []string{orderID(2), "order", "order-1", ""} {
		wantBuffered(t, f.Store, g, id)
	}
}

func bufferedAgain(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	m, later := message(orderID(1), 2), message(orderID(1), 3)
	commit(t, f.Store, g, buffering(ports.BufferedMessage{Message: later, Reason: "version 1 is missing"},
		ports.BufferedMessage{Message: m, Reason: "version 1 is missing"}))
	want := parkedOf(t, f.Store, g)
	if len(want) != 1 {
		t.Fatalf("Parked: got %+v, want one order", want)
	}
	<-time.After(2 * time.Millisecond) // so that a new time would be a different one
	again := m
	again.Payload, again.Type, again.TraceParent = []byte("another"), "OrderPaid", "another"
	commit(t, f.Store, g, buffering(ports.BufferedMessage{Message: again, Reason: "its type is unknown"}))
	got := parkedOf(t, f.Store, g)
	if len(got) != 1 || got[0].Reason != "its type is unknown" || got[0].Messages != 2 || !sameTime(got[0].Since, want[0].Since) {
		t.Errorf("buffered again: got %+v, want the new reason and otherwise %+v", got, want)
	}
	wantBuffered(t, f.Store, g, orderID(1), m, later)
}

func releaseForgets(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	for version := 2; version <= 4; version++ {
		for n := 1; n <= 2; n++ {
			commit(t, f.Store, g, buffering(ports.BufferedMessage{Message: message(orderID(n), version), Reason: "version 1 is missing"}))
		}
	}
	release := func(refs ...ports.EventRef) {
		t.Helper()
		commit(t, f.Store, g, ports.Change{Release: refs})
	}
	release(ports.EventRef{OrderID: orderID(1), Version: 2}, ports.EventRef{OrderID: orderID(1), Version: 3},
		ports.EventRef{OrderID: orderID(1), Version: 9}, ports.EventRef{OrderID: "unknown", Version: 2})
	wantBuffered(t, f.Store, g, orderID(1), message(orderID(1), 4))
	wantBuffered(t, f.Store, g, orderID(2), messages(orderID(2), 2, 4)...)
	list := parkedOf(t, f.Store, g)
	if len(list) != 2 || list[0].First != 4 || list[0].Messages != 1 || list[1].First != 2 || list[1].Messages != 3 {
		t.Errorf("Parked: got %+v, want version 4 of the first order and three versions of the second", list)
	}
	release(ports.EventRef{OrderID: orderID(1), Version: 4}, ports.EventRef{OrderID: orderID(2), Version: 4},
		ports.EventRef{OrderID: orderID(2), Version: 3}, ports.EventRef{OrderID: orderID(2), Version: 2})
	wantBuffered(t, f.Store, g, orderID(1))
	wantBuffered(t, f.Store, g, orderID(2))
	if list := parkedOf(t, f.Store, g); len(list) != 0 {
		t.Errorf("Parked once everything is released: got %+v", list)
	}
}

func parkedInReadModel(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	if list := parkedOf(t, f.Store, g); len(list) != 0 {
		t.Errorf("Parked at first: got %+v", list)
	}
	buffer := func(n, version int) {
		t.Helper()
		commit(t, f.Store, g, buffering(ports.BufferedMessage{
			Message: message(orderID(n), version), Reason: fmt.Sprintf("reason %d", version),
		}))
	}
	before := time.Now()
	for _, n := range []int{3, 1, 2} {
		for version := 12; version > 12-n; version-- {
			buffer(n, version)
		}
		buffer(n, 9) // the first comes last, and has a digit less
	}
	list := parkedOf(t, f.Store, g)
	if len(list) != 3 {
		t.Fatalf("Parked: got %+v, want 3 orders", list)
	}
	for i, got := range list {
		if off := got.Since.Sub(before).Abs(); off > 2*minute {
			t.Errorf("parked since %v, that is %v from now", got.Since, off)
		}
		got.Since = time.Time{}
		if want := (ports.ParkedOrder{OrderID: orderID(i + 1), First: 9, Messages: i + 2, Reason: "reason 9"}); got != want {
			t.Errorf("parked order:\n got %+v\nwant %+v", got, want)
		}
	}
	since := list[0].Since
	<-time.After(2 * time.Millisecond)
	buffer(1, 20)
	if got := parkedOf(t, f.Store, g)[0]; got.Messages != 3 || got.Reason != "reason 9" || !sameTime(got.Since, since) {
		t.Errorf("once one more is buffered: got %+v, want reason and time of the first", got)
	}
}

func largeChange(t testing.TB, f ReadModelStorage) {
	const orders = ports.MaxBatch
	g := liveOf(t, f.Store)
	for round := 1; round <= 2; round++ {
		c := ports.Change{}
		var ids []string
		var puts, inserts []ports.Row
		var additions []ports.Addition
		for n := range orders {
			ids = append(ids, orderID(n))
			p := progress(n, round)
			p.Buffered = round % 2
			c.Progress = append(c.Progress, ports.ProgressChange{Progress: p, WasVersion: round - 1, WasBuffered: (round - 1) % 2})
			puts, inserts = append(puts, shopOrder(n, round)), append(inserts, shopNote(n, round))
			additions = append(additions, addition(orderID(n), 1, int64(round)))
			if round == 1 {
				c.Buffer = append(c.Buffer, ports.BufferedMessage{Message: message(orderID(n), 2), Reason: "its type is unknown"})
			} else {
				c.Release = append(c.Release, ports.EventRef{OrderID: orderID(n), Version: 2})
			}
			if n < 50 {
				c.Places = append(c.Places, ports.PlaceChange{Shard: shard(n), From: behind(round - 1), To: behind(round), AsOf: morning})
			}
		}
		c.Rows = map[string]ports.RowChanges{
			shopOrders.Name: {Put: puts}, shopNotes.Name: {Insert: inserts}, shopBuyers.Name: {Add: additions},
		}
		commit(t, f.Store, g, c)
		loaded, err := f.Store.Load(bounded(t), g, ids)
		if err != nil || len(loaded) != orders {
			t.Fatalf("Load of %d orders: got %d and error %v", orders, len(loaded), err)
		}
		for n := range orders {
			if got := loaded[orderID(n)].Version; got != round {
				t.Fatalf("progress of %s: got version %d, want %d", orderID(n), got, round)
			}
		}
		if got := len(placesOf(t, f.Store, g)); got != 50 {
			t.Errorf("Places: got %d, want 50", got)
		}
		for view, want := range map[string]int{shopOrders.Name: orders, shopBuyers.Name: orders, shopNotes.Name: round * orders} {
			list := listOf(t, f.Store, ports.Query{View: view, Page: ports.Page{Limit: ports.MaxPageLimit}})
			if len(list) != want {
				t.Errorf("List of %s: got %d rows, want %d", view, len(list), want)
			}
		}
		wantRow(t, rowOf(t, f.Store, shopOrders, orderID(orders-1)), shopOrder(orders-1, round))
		if got := rowOf(t, f.Store, shopBuyers, orderID(orders-1)).Counter("orders"); got != int64(round) {
			t.Errorf("counter of %s: got %d, want %d", orderID(orders-1), got, round)
		}
		if got, want := len(parkedOf(t, f.Store, g)), round%2*orders; got != want {
			t.Errorf("Parked: got %d orders, want %d", got, want)
		}
	}
}

func freshnessOfOrder(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	want := func(id string, want int) {
		t.Helper()
		if got := freshnessOf(t, f.Store, id); got.Version != want {
			t.Errorf("order %q is said to be at version %d, want %d", id, got.Version, want)
		}
	}
	want(orderID(1), 0)
	feed(t, f.Store, g, 1, 1, 3)
	feed(t, f.Store, g, 2, 1, 12)
	waits := ports.Progress{OrderID: orderID(3), Newest: 7, Buffered: 1}
	commit(t, f.Store, g, ports.Change{Progress: []ports.ProgressChange{{Progress: waits}}})
	for id, version := range map[string]int{orderID(1): 3, orderID(2): 12, orderID(3): 0, orderID(4): 0, "order": 0, "": 0} {
		want(id, version)
	}
}

func freshnessOfShards(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	want := func(when string, want time.Time) {
		t.Helper()
		for _, id := range []string{"", orderID(1)} {
			if got := freshnessOf(t, f.Store, id).AsOf; got.IsZero() != want.IsZero() || !sameTime(got, want) {
				t.Errorf("%s the read model is as of %v, want %v", when, got, want)
			}
		}
	}
	at := func(seconds int) time.Time { return morning.Add(time.Duration(seconds) * time.Second) }
	moveTo := func(changes ...ports.PlaceChange) {
		t.Helper()
		commit(t, f.Store, g, ports.Change{Places: changes})
	}
	want("before the first commit", time.Time{})
	moveTo(ports.PlaceChange{Shard: "a", To: "1", AsOf: at(10)}, ports.PlaceChange{Shard: "b", To: "1", AsOf: at(20)})
	want("with two shards", at(10))
	moveTo(ports.PlaceChange{Shard: "a", From: "1", To: "2", AsOf: at(30)})
	want("when the other is the least fresh", at(20))
	moveTo(ports.PlaceChange{Shard: "b", From: "1", To: "1", AsOf: at(40)})
	want("when nothing new came to the least fresh", at(30))
	moveTo(ports.PlaceChange{Shard: "c", AsOf: at(50)})
	want("with an empty shard more", at(30))
	moveTo(ports.PlaceChange{Shard: "d", To: "1"})
	want("with a shard of which nothing can be said", time.Time{})
	moveTo(ports.PlaceChange{Shard: "d", From: "1", To: "2", AsOf: at(5)})
	want("when that is known", at(5))
}

// begun fills the live generation: order 1 is at version 1, order 2 at version 2, and version 2 of order 3 waits. next is
// a change of every kind that goes on from there.
func begun(t testing.TB, s ports.ReadModelStore) (g ports.Generation, next ports.Change) {
	t.Helper()
	g = liveOf(t, s)
	feed(t, s, g, 1, 1, 1)
	feed(t, s, g, 2, 1, 2)
	waits := ports.Progress{OrderID: orderID(3), Newest: 2, Buffered: 1}
	commit(t, s, g, ports.Change{
		Progress: []ports.ProgressChange{{Progress: waits}},
		Buffer:   []ports.BufferedMessage{{Message: message(orderID(3), 2), Reason: "version 1 is missing"}},
	})
	next = oneMore(1, 2)
	for _, c := range []ports.Change{oneMore(4, 1), oneMore(2, 3)} {
		next.Places, next.Progress = append(next.Places, c.Places...), append(next.Progress, c.Progress...)
		for _, view := range []string{shopOrders.Name, shopNotes.Name} {
			rows := next.Rows[view]
			rows.Put, rows.Insert = append(rows.Put, c.Rows[view].Put...), append(rows.Insert, c.Rows[view].Insert...)
			next.Rows[view] = rows
		}
	}
	parked := waits
	parked.Newest, parked.Parked = 3, "its type is unknown"
	next.Progress = append(next.Progress, ports.ProgressChange{Progress: parked, WasBuffered: 1})
	next.Buffer = []ports.BufferedMessage{{Message: message(orderID(3), 3), Reason: "its type is unknown"}}
	next.Release = []ports.EventRef{{OrderID: orderID(3), Version: 2}}
	notes := next.Rows[shopNotes.Name]
	notes.Delete = []string{shopNote(1, 1).Key}
	next.Rows[shopNotes.Name] = notes
	return g, next
}

// cloneOf is a change whose lists can be changed.
func cloneOf(c ports.Change) ports.Change {
	c.Places, c.Progress, c.Rows = slices.Clone(c.Places), slices.Clone(c.Progress), maps.Clone(c.Rows)
	return c
}

// wantTaken fails unless a change is taken and makes a difference: then it would have been seen where it was refused.
func wantTaken(t testing.TB, s ports.ReadModelStore, g ports.Generation, c ports.Change) {
	t.Helper()
	before := contents(t, s, g)
	commit(t, s, g, c)
	if contents(t, s, g) == before {
		t.Errorf("Commit to generation %d was taken and made no difference", g.Number)
	}
	wantBuffered(t, s, g, orderID(3), message(orderID(3), 3))
}

func staleChange(t testing.TB, f ReadModelStorage) {
	g, next := begun(t, f.Store)
	for why, spoil := range map[string]func(ports.Change){ // of order 1 there is version 1, of 4 nothing, of 2 version 2
		"from a place that was left":                func(c ports.Change) { c.Places[2].From = behind(1) },
		"from a place still to come":                func(c ports.Change) { c.Places[2].From = behind(3) },
		"from the beginning again":                  func(c ports.Change) { c.Places[2].From = "" },
		"from a place that never was":               func(c ports.Change) { c.Places[1].From = behind(1) },
		"with the progress of a version before":     func(c ports.Change) { c.Progress[2].WasVersion = 1 },
		"with the progress of a version to come":    func(c ports.Change) { c.Progress[2].WasVersion = 3 },
		"with an order that is known as new":        func(c ports.Change) { c.Progress[2].WasVersion = 0 },
		"with an unknown order as known":            func(c ports.Change) { c.Progress[1].WasVersion = 1 },
		"with fewer messages buffered than are":     func(c ports.Change) { c.Progress[3].WasBuffered = 0 },
		"with more messages buffered than are":      func(c ports.Change) { c.Progress[3].WasBuffered = 2 },
		"with messages buffered where there is one": func(c ports.Change) { c.Progress[2].WasBuffered = 1 },
	} {
		c := cloneOf(next)
		spoil(c)
		wantRefused(t, f.Store, g, why, c)
	}
	wantTaken(t, f.Store, g, next)
	wantRefused(t, f.Store, g, "with what was taken already", next)
}

func racingCommits(t testing.TB, f ReadModelStorage) {
	stores, g := handles(t, f), liveOf(t, f.Store)
	one := map[string]ports.RowChanges{shopBuyers.Name: {Add: []ports.Addition{addition("buyer-1", 1, 1)}}}
	again := map[string]ports.RowChanges{shopBuyers.Name: one[shopBuyers.Name], shopNotes.Name: {Insert: []ports.Row{shopNote(5, 1)}}}
	waits := func(buffered int) ports.Progress {
		return ports.Progress{OrderID: orderID(6), Newest: 9, Buffered: buffered}
	}
	place := ports.PlaceChange{Shard: shard(7), To: behind(1), AsOf: morning}
	races := []ports.Change{ // the next version of an order, and then changes with one thing each that is in the way
		oneMore(1, 1), oneMore(1, 2),
		{Rows: one, Places: []ports.PlaceChange{place}},
		{Rows: one, Places: []ports.PlaceChange{{Shard: shard(7), From: behind(1), To: behind(2), AsOf: morning}}},
		{Rows: one, Progress: []ports.ProgressChange{{Progress: waits(1)}}},
		{Rows: one, Progress: []ports.ProgressChange{{Progress: waits(2), WasBuffered: 1}}},
		{Rows: again},
	}
	for i, c := range races {
		results := make([]error, 20)
		atOnce(t, len(results), func(ctx context.Context, i int) { results[i] = stores[i%2].Commit(ctx, g, c) })
		taken := 0
		for k, err := range results {
			if err == nil {
				taken++
			} else {
				wantError(t, fmt.Sprintf("race %d, committer %d", i, k), err, ports.ErrConflict)
			}
		}
		if taken != 1 {
			t.Fatalf("race %d: %d commits of the same change were taken, want 1", i, taken)
		}
	}
	if got := rowOf(t, f.Store, shopBuyers, "buyer-1").Counter("orders"); got != int64(len(races)) {
		t.Errorf("the commits that were taken have added up to %d, want %d: one each", got, len(races))
	}
}

func racingAdditions(t testing.TB, f ReadModelStorage) {
	const committers, times = 6, 5
	stores, g := handles(t, f), liveOf(t, f.Store)
	atOnce(t, committers, func(ctx context.Context, i int) {
		for version := 1; version <= times; version++ {
			if err := stores[i%2].Commit(ctx, g, oneMore(i+1, version)); err != nil {
				t.Errorf("Commit of order %d, version %d: %v", i+1, version, err)
			}
		}
	})
	row := rowOf(t, f.Store, shopBuyers, "buyer-1")
	if got := row.Counter("orders"); got != committers*times {
		t.Errorf("what %d committers have added is %d, want %d", committers, got, committers*times)
	}
	if got, want := row.Counter("lastAt"), morning.Add(times*time.Second).UnixMilli(); got != want {
		t.Errorf("the greatest of what %d committers have said is %d, want %d", committers, got, want)
	}
	for n := 1; n <= committers; n++ {
		if p, _ := progressOf(t, f.Store, g, orderID(n)); p.Version != times {
			t.Errorf("order %d is at version %d, want %d", n, p.Version, times)
		}
	}
}

func failedChange(t testing.TB, f ReadModelStorage) {
	g, next := begun(t, f.Store)
	before := contents(t, f.Store, g)
	heal := f.FailCommits(t)
	for range 2 {
		if err := f.Store.Commit(bounded(t), g, next); err == nil || errors.Is(err, ports.ErrConflict) {
			t.Errorf("a Commit that failed: got error %v, want one that is not %v", err, ports.ErrConflict)
		}
		wantContents(t, "after a failed Commit", contents(t, f.Store, g), before)
	}
	heal()
	wantContents(t, "after a failed Commit", contents(t, f.Store, g), before)
	wantTaken(t, f.Store, g, next)
}

func cancelledReadModel(t testing.TB, f ReadModelStorage) {
	s, g := f.Store, liveOf(t, f.Store)
	feed(t, s, g, 1, 1, 1)
	shadow := shadowOf(t, s)
	before := contents(t, s, g)
	for name, call := range map[string]func(context.Context) error{
		"Row":       func(ctx context.Context) error { _, err := s.Row(ctx, shopNotes.Name, "x"); return err },
		"List":      func(ctx context.Context) error { _, err := s.List(ctx, ports.Query{View: shopNotes.Name}); return err },
		"Freshness": func(ctx context.Context) error { _, err := s.Freshness(ctx, ""); return err },
		"Live":      func(ctx context.Context) error { _, err := s.Live(ctx); return err },
		"Shadow":    func(ctx context.Context) error { _, err := s.Shadow(ctx); return err },
		"Swap":      func(ctx context.Context) error { return s.Swap(ctx, shadow) },
		"Discard":   func(ctx context.Context) error { return s.Discard(ctx) },
		"Places":    func(ctx context.Context) error { _, err := s.Places(ctx, g); return err },
		"Gaps":      func(ctx context.Context) error { _, err := s.Gaps(ctx, g); return err },
		"Load":      func(ctx context.Context) error { _, err := s.Load(ctx, g, []string{orderID(1)}); return err },
		"Buffered":  func(ctx context.Context) error { _, err := s.Buffered(ctx, g, orderID(1)); return err },
		"Parked":    func(ctx context.Context) error { _, err := s.Parked(ctx, g); return err },
		"Commit":    func(ctx context.Context) error { return s.Commit(ctx, g, oneMore(1, 2)) },
	} {
		wantCancelled(t, name, call)
	}
	wantLive(t, s, g)
	wantContents(t, "after cancelled calls", contents(t, s, g), before)
	if again := shadowOf(t, s); again.Number != shadow.Number {
		t.Errorf("Shadow after cancelled calls: got %d, want %d as before", again.Number, shadow.Number)
	}
}
