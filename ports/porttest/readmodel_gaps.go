package porttest

import (
	"slices"
	"testing"
	"time"

	"hexorders/ports"
)

func gapAt(shard string, reason ports.GapReason, detail string) ports.Gap {
	return ports.Gap{Place: ports.Place{Shard: shard, Next: "2"}, Reason: reason, Detail: detail}
}

// missing moves the shards of gaps on and commits the gaps with that.
func missing(t testing.TB, s ports.ReadModelStore, g ports.Generation, from string, gaps ...ports.Gap) {
	t.Helper()
	c := ports.Change{Gaps: gaps}
	for _, gap := range gaps {
		c.Places = append(c.Places, ports.PlaceChange{Shard: gap.Place.Shard, From: from, To: gap.Place.Next, AsOf: morning})
	}
	commit(t, s, g, c)
}

func wantGapsOf(t testing.TB, s ports.ReadModelStore, g ports.Generation, want ...ports.Gap) {
	t.Helper()
	got, err := s.Gaps(bounded(t), g)
	if err != nil {
		t.Fatalf("Gaps of generation %d: %v", g.Number, err)
	}
	for i := range want {
		want[i].Place.Next = ""
	}
	if !slices.Equal(got, want) {
		t.Errorf("Gaps of generation %d:\n got %+v\nwant %+v", g.Number, got, want)
	}
}

// wantIncomplete fails unless readers hear that messages are missing for one of these reasons, and of no time; with none,
// unless they hear of a time.
func wantIncomplete(t testing.TB, s ports.ReadModelStore, reasons ...ports.GapReason) {
	t.Helper()
	for _, id := range []string{"", orderID(1)} {
		switch f := freshnessOf(t, s, id); {
		case len(reasons) == 0 && (f.Incomplete != "" || f.AsOf.IsZero()):
			t.Errorf("readers hear that %q is why messages are missing, as of %v; want no reason, and a time", f.Incomplete, f.AsOf)
		case len(reasons) > 0 && (!slices.Contains(reasons, f.Incomplete) || !f.AsOf.IsZero()):
			t.Errorf("readers hear that %q is why messages are missing, as of %v; want one of %q, and no time", f.Incomplete, f.AsOf, reasons)
		}
	}
}

func gapStays(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	feed(t, f.Store, g, 1, 1, 2)
	wantIncomplete(t, f.Store)
	wantGapsOf(t, f.Store, g)
	gap := gapAt("a", ports.GapDeleted, `the messages 0 to 21 of "заказ"`)
	missing(t, f.Store, g, "", gap)
	feed(t, f.Store, g, 1, 3, 4)
	commit(t, f.Store, g, ports.Change{Places: []ports.PlaceChange{{Shard: "a", From: "2", To: "3", AsOf: morning}}})
	for _, s := range handles(t, f) {
		wantGapsOf(t, s, g, gap)
		wantIncomplete(t, s, ports.GapDeleted)
	}
	if got := freshnessOf(t, f.Store, orderID(1)).Version; got != 4 {
		t.Errorf("order %s is at version %d, want 4", orderID(1), got)
	}
}

func gapsByShard(t testing.TB, f ReadModelStorage) {
	g := liveOf(t, f.Store)
	first, other := gapAt("b", ports.GapDeleted, "some"), gapAt("a", ports.GapLost, "others")
	missing(t, f.Store, g, "", first, other)
	wantGapsOf(t, f.Store, g, other, first)
	second := gapAt("b", ports.GapOtherLog, "all")
	missing(t, f.Store, g, "2", second)
	wantGapsOf(t, f.Store, g, other, second)
	wantIncomplete(t, f.Store, ports.GapLost, ports.GapOtherLog)
	stale := ports.Change{
		Places: []ports.PlaceChange{{Shard: "a", From: "1", To: "9", AsOf: time.Now()}},
		Gaps:   []ports.Gap{gapAt("a", ports.GapDeleted, "more")},
	}
	wantError(t, "Commit of a stale gap", f.Store.Commit(bounded(t), g, stale), ports.ErrConflict)
	wantGapsOf(t, f.Store, g, other, second)
}

func gapsOfGenerations(t testing.TB, f ReadModelStorage) {
	live := liveOf(t, f.Store)
	feed(t, f.Store, live, 1, 1, 2)
	shadow, gap := shadowOf(t, f.Store), gapAt("a", ports.GapOtherLog, "some")
	feed(t, f.Store, shadow, 1, 1, 2)
	missing(t, f.Store, shadow, "", gap)
	wantGapsOf(t, f.Store, shadow, gap)
	wantGapsOf(t, f.Store, live)
	wantIncomplete(t, f.Store)
	swap(t, f.Store, shadow)
	wantIncomplete(t, f.Store, ports.GapOtherLog)
	wantGapsOf(t, f.Store, live)
	wantGapsOf(t, f.Store, shadow, gap)
	whole := shadowOf(t, f.Store)
	feed(t, f.Store, whole, 1, 1, 2)
	wantGapsOf(t, f.Store, whole)
	swap(t, f.Store, whole)
	wantIncomplete(t, f.Store)
	wantGapsOf(t, f.Store, shadow)
}
