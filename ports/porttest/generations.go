package porttest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"hexorders/ports"
)

var generationsChecks = []check[ReadingSide]{
	{"the first generation of a view is live from the beginning", firstGeneration},
	{"a shadow is new and empty, and asking again gives the same one", shadowIsTheSame},
	{"who asks at the same moment gets the same shadow", racingShadows},
	{"reads stay with the live generation while a shadow is filled", readsStayLive},
	{"Swap makes the shadow the one that is read, and fed", swapIsRead},
	{"no reader sees part of one generation and part of the other", swapAtOnce},
	{"what was live before is gone after Swap", swapDeletes},
	{"Swap of what is not the shadow is ErrConflict and changes nothing", staleSwap},
	{"of two swaps at the same moment one is ErrConflict", racingSwaps},
	{"Discard deletes the shadow, and nothing else", discardDeletes},
	{"to discard no shadow is no error", discardOfNothing},
	{"a number is never given twice", numbersGrow},
	{"a cancelled context ends every call", cancelledGenerations},
}

func shadow(t testing.TB, r ReadingSide, view ports.View) ports.Generation {
	t.Helper()
	g, err := r.Generations.Shadow(bounded(t), view)
	if err != nil {
		t.Fatalf("Shadow of %s: %v", view, err)
	}
	if g.View != view {
		t.Fatalf("Shadow of %s: got %s", view, g)
	}
	return g
}

func swap(t testing.TB, r ReadingSide, g ports.Generation) {
	t.Helper()
	if err := r.Generations.Swap(bounded(t), g); err != nil {
		t.Fatalf("Swap of %s: %v", g, err)
	}
}

func discard(t testing.TB, r ReadingSide, view ports.View) {
	t.Helper()
	if err := r.Generations.Discard(bounded(t), view); err != nil {
		t.Fatalf("Discard of %s: %v", view, err)
	}
}

func wantLive(t testing.TB, r ReadingSide, want ports.Generation) {
	t.Helper()
	if got, err := r.Generations.Live(bounded(t), want.View); err != nil || got != want {
		t.Errorf("Live of %s: got %s and error %v, want %s", want.View, got, err, want)
	}
}

// wantVersion fails unless readers of a view see order 1 at this version, 0 for not at all.
func wantVersion(t testing.TB, r ReadingSide, view ports.View, want int) {
	t.Helper()
	got := 0
	switch view {
	case ports.OrderSummary:
		for _, s := range summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1"}) {
			got = s.Version
		}
	case ports.BuyerActivity:
		got = activityOf(t, r, "buyer-1").Pending // oneMore counts one for each version
	case ports.OrderTimeline:
		got = len(timelineOf(t, r, orderID(1)))
	}
	if f := freshnessOf(t, r, view, orderID(1)); got != want || f.Version != want || (want == 0) != f.AsOf.IsZero() {
		t.Errorf("readers of %s see version %d, and as of %s it is said to be %d; want %d", view, got, showTime(f.AsOf), f.Version, want)
	}
}

// feed commits versions of order 1 to a generation.
func feed(t testing.TB, r ReadingSide, g ports.Generation, from, to int) {
	t.Helper()
	for version := from; version <= to; version++ {
		receive(t, r, g, oneMore(g.View, 1, version))
	}
}

// wantEmpty fails unless nothing of a generation can be read.
func wantEmpty(t testing.TB, r ReadingSide, g ports.Generation) {
	t.Helper()
	positions, err := r.Inbox.Positions(bounded(t), g)
	if err != nil || len(positions) != 0 {
		t.Errorf("Positions of %s: got %v and error %v, want none", g, positions, err)
	}
	marks, summaries, err := r.Inbox.Load(bounded(t), g, []string{orderID(1)})
	if err != nil || len(marks) != 0 || len(summaries) != 0 {
		t.Errorf("Load of %s: got %v, %v and error %v, want nothing", g, marks, summaries, err)
	}
	id := message(orderID(1), 1).ID
	if received, err := r.Inbox.Received(bounded(t), g, []string{id}); err != nil || received[id] {
		t.Errorf("Received of %s: got %v and error %v, want nothing", g, received, err)
	}
	wantWaiting(t, r, g)
	if list := parkedIn(t, r, g); len(list) != 0 {
		t.Errorf("Parked of %s: got %v, want none", g, list)
	}
}

func firstGeneration(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		wantLive(t, r, first(view))
		wantEmpty(t, r, first(view))
		wantVersion(t, r, view, 0)
		feed(t, r, first(view), 1, 2)
		wantVersion(t, r, view, 2)
		wantLive(t, r, first(view))
	}
}

func shadowIsTheSame(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		feed(t, r, first(view), 1, 1)
		g := shadow(t, r, view)
		if g.Number <= 1 {
			t.Errorf("the shadow of %s has the number %d, want one after 1", view, g.Number)
		}
		wantEmpty(t, r, g)
		feed(t, r, g, 1, 2)
		if again := shadow(t, r, view); again != g {
			t.Errorf("Shadow again: got %s, want %s", again, g)
		}
		marks, _, err := r.Inbox.Load(bounded(t), g, []string{orderID(1)})
		if err != nil || marks[orderID(1)].Version != 2 {
			t.Errorf("what was in the shadow: got %v and error %v, want version 2", marks, err)
		}
		wantLive(t, r, first(view))
	}
}

func racingShadows(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		all := make([]ports.Generation, 8)
		atOnce(t, len(all), func(ctx context.Context, i int) {
			var err error
			if all[i], err = r.Generations.Shadow(ctx, view); err != nil {
				t.Errorf("Shadow: %v", err)
			}
		})
		for _, g := range all {
			if g != all[0] {
				t.Errorf("shadows begun at the same moment: got %v, want the same one", all)
				break
			}
		}
		feed(t, r, all[0], 1, 1)
	}
}

func readsStayLive(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		feed(t, r, first(view), 1, 2)
		g := shadow(t, r, view)
		wantVersion(t, r, view, 2)
		feed(t, r, g, 1, 5)
		receive(t, r, g, oneMore(view, 2, 1))
		wantVersion(t, r, view, 2)
		feed(t, r, first(view), 3, 4) // it goes on
		wantVersion(t, r, view, 4)
	}
}

func swapIsRead(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		feed(t, r, first(view), 1, 2)
	}
	for i, view := range ports.AllViews {
		g := shadow(t, r, view)
		feed(t, r, g, 1, 5)
		swap(t, r, g)
		wantLive(t, r, g)
		wantVersion(t, r, view, 5)
		feed(t, r, g, 6, 6)
		wantVersion(t, r, view, 6)
		for _, later := range ports.AllViews[i+1:] {
			wantLive(t, r, first(later))
			wantVersion(t, r, later, 2)
		}
		next := shadow(t, r, view)
		wantEmpty(t, r, next)
		swap(t, r, next) // an empty one takes its place too
		wantVersion(t, r, view, 0)
	}
}

func swapAtOnce(t testing.TB, r ReadingSide) {
	const orders, swaps = 20, 3
	fill := func(g ports.Generation) {
		t.Helper()
		var c ports.Change
		for n := range orders {
			c.Summaries = append(c.Summaries, summary(n, g.Number))
		}
		receive(t, r, g, c)
	}
	fill(first(ports.OrderSummary))
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				list, _, err := r.Views.Summaries(ctx, ports.SummaryQuery{Buyer: "buyer-1"})
				if ctx.Err() != nil {
					return
				}
				if err != nil || len(list) != orders {
					t.Errorf("in the middle of a Swap there are %d orders, error %v, want %d", len(list), err, orders)
					return
				}
				for _, s := range list {
					if s.Version != list[0].Version {
						t.Errorf("in the middle of a Swap a list has versions %d and %d", list[0].Version, s.Version)
						return
					}
				}
			}
		})
	}
	for range swaps {
		g := shadow(t, r, ports.OrderSummary)
		fill(g)
		swap(t, r, g)
	}
	cancel()
	all.Wait()
}

func swapDeletes(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		old := first(view)
		receive(t, r, old, holding(oneMore(view, 1, 1), message(orderID(1), 3), "version 2 is missing"))
		g := shadow(t, r, view)
		feed(t, r, g, 1, 2)
		swap(t, r, g)
		wantEmpty(t, r, old)
		wantRefused(t, r, old, "to what was live before", oneMore(view, 1, 1))
		wantRefused(t, r, old, "to what was live before", oneMore(view, 1, 2))
		wantEmpty(t, r, old)
		wantVersion(t, r, view, 2)
	}
}

func wantNoSwap(t testing.TB, r ReadingSide, what string, g ports.Generation) {
	t.Helper()
	wantError(t, fmt.Sprintf("Swap of %s, %s", what, g), r.Generations.Swap(bounded(t), g), ports.ErrConflict)
}

func staleSwap(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		feed(t, r, first(view), 1, 1)
		wantNoSwap(t, r, "the live one", first(view))
		wantNoSwap(t, r, "one that nobody began", ports.Generation{View: view, Number: 2})
		wantNoSwap(t, r, "none", ports.Generation{View: view})

		discarded := shadow(t, r, view)
		discard(t, r, view)
		wantNoSwap(t, r, "a discarded one", discarded)
		g := shadow(t, r, view)
		feed(t, r, g, 1, 3)
		wantNoSwap(t, r, "one discarded before", discarded)
		wantNoSwap(t, r, "the live one", first(view))
		wantLive(t, r, first(view))
		wantVersion(t, r, view, 1)

		swap(t, r, g)
		wantNoSwap(t, r, "one that was swapped in already", g)
		wantNoSwap(t, r, "the one before", first(view))
		wantLive(t, r, g)
		wantVersion(t, r, view, 3)
	}
}

func racingSwaps(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		g := shadow(t, r, view)
		feed(t, r, g, 1, 2)
		results := make([]error, 8)
		atOnce(t, len(results), func(ctx context.Context, i int) { results[i] = r.Generations.Swap(ctx, g) })
		swapped := 0
		for i, err := range results {
			if err == nil {
				swapped++
			} else {
				wantError(t, fmt.Sprintf("swap %d", i), err, ports.ErrConflict)
			}
		}
		if swapped != 1 {
			t.Errorf("%d swaps of %s succeeded, want 1", swapped, g)
		}
		wantLive(t, r, g)
		wantVersion(t, r, view, 2)
	}
}

func discardDeletes(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		feed(t, r, first(view), 1, 1)
		g := shadow(t, r, view)
		receive(t, r, g, holding(oneMore(view, 1, 1), message(orderID(1), 3), "version 2 is missing"))
		discard(t, r, view)
		wantEmpty(t, r, g)
		wantRefused(t, r, g, "to a discarded shadow", oneMore(view, 1, 1))
		next := shadow(t, r, view)
		wantEmpty(t, r, next)
		wantRefused(t, r, g, "to a discarded shadow", oneMore(view, 1, 1))
		wantEmpty(t, r, next)
		wantLive(t, r, first(view))
		wantVersion(t, r, view, 1)
		feed(t, r, first(view), 2, 2)
	}
}

func discardOfNothing(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		discard(t, r, view)
		feed(t, r, first(view), 1, 1)
		discard(t, r, view)
		wantLive(t, r, first(view))
		wantVersion(t, r, view, 1)
	}
}

func numbersGrow(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		last := 1
		for round := range 6 {
			g := shadow(t, r, view)
			if g.Number <= last {
				t.Errorf("shadow %d of %s has the number %d, and there was one with %d", round, view, g.Number, last)
			}
			last = g.Number
			if round%2 == 0 {
				discard(t, r, view)
			} else {
				swap(t, r, g)
			}
		}
	}
}

func cancelledGenerations(t testing.TB, r ReadingSide) {
	view := ports.OrderSummary
	wantCancelled(t, "Shadow", func(ctx context.Context) error { _, err := r.Generations.Shadow(ctx, view); return err })
	g := shadow(t, r, view)
	feed(t, r, g, 1, 1)
	for name, call := range map[string]func(context.Context) error{
		"Live":    func(ctx context.Context) error { _, err := r.Generations.Live(ctx, view); return err },
		"Swap":    func(ctx context.Context) error { return r.Generations.Swap(ctx, g) },
		"Discard": func(ctx context.Context) error { return r.Generations.Discard(ctx, view) },
	} {
		wantCancelled(t, name, call)
	}
	wantLive(t, r, first(view))
	if again := shadow(t, r, view); again != g {
		t.Errorf("after cancelled calls the shadow is %s, want %s", again, g)
	}
	marks, _, err := r.Inbox.Load(bounded(t), g, []string{orderID(1)})
	if err != nil || marks[orderID(1)].Version != 1 {
		t.Errorf("what was in the shadow: got %v and error %v, want version 1", marks, err)
	}
}
