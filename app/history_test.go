package app_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// holed is a history in which some versions are missing.
type holed struct {
	ports.History
	missing map[int]bool
}

func (h holed) Messages(ctx context.Context, id string, after, limit int) (kept []ports.Message, err error) {
	messages, err := h.History.Messages(ctx, id, after, 1000)
	for _, m := range messages {
		if !h.missing[m.Version] {
			kept = append(kept, m)
		}
	}
	return kept[:min(limit, len(kept))], err
}

// after is the cursor of the page that follows a version of order o.
func after(version int64) string { return ports.EncodeCursor("events of order o", version) }

func TestAPageOfEventsSaysWhetherItIsWhole(t *testing.T) {
	store := memory.NewStore()
	o, err := order.New("o", "b", nil, noon)
	for range 4 {
		err = errors.Join(err, o.AddItem("p", 1, noon))
	}
	if err = errors.Join(err, store.Save(t.Context(), o, ports.IdempotencyKey{})); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		missing  []int
		page     ports.Page
		first    int // version on the page, 0: none
		next     string
		complete bool
	}{
		{nil, ports.Page{}, 1, "", true},
		{nil, ports.Page{Limit: 2}, 1, after(2), true},
		{nil, ports.Page{Limit: 4}, 1, after(4), true},
		{nil, ports.Page{Limit: 5}, 1, "", true},
		{nil, ports.Page{Limit: 2, Cursor: after(4)}, 5, "", true},
		{nil, ports.Page{Limit: 2, Cursor: after(5)}, 0, "", true},
		{[]int{1}, ports.Page{}, 2, "", false},
		{[]int{1}, ports.Page{Cursor: after(1)}, 2, "", true},
		{[]int{1, 2, 3, 4, 5}, ports.Page{}, 0, "", false},
		{[]int{3}, ports.Page{Limit: 2}, 1, after(2), true},
		{[]int{3}, ports.Page{Limit: 3}, 1, after(4), false},
		{[]int{3}, ports.Page{Cursor: after(2)}, 4, "", false},
		{[]int{5}, ports.Page{Cursor: after(2)}, 3, "", false},
	} {
		history := holed{store, map[int]bool{}}
		for _, version := range x.missing {
			history.missing[version] = true
		}
		orders := app.NewOrders(store, app.OrdersOptions{History: history})
		page, err := orders.Events(t.Context(), "o", x.page)
		if err != nil {
			t.Fatal(err)
		}
		first := 0
		if len(page.Messages) > 0 {
			first = page.Messages[0].Version
		}
		if first != x.first || page.Next != x.next || page.Complete != x.complete || page.Version != 5 {
			t.Errorf("without %v, %+v: begins with %d, next %q, complete %v, version %d; want %+v, version 5",
				x.missing, x.page, first, page.Next, page.Complete, page.Version, x)
		}
	}
}

func FuzzEventCursor(f *testing.F) {
	for _, seed := range []string{
		"", "1", after(1), after(5), after(6), after(0), after(-1), ports.EncodeCursor("events of order p", int64(1)), "\xff",
	} {
		f.Add(seed)
	}
	store := memory.NewStore()
	o, err := order.New("o", "b", nil, noon)
	for range 4 {
		err = errors.Join(err, o.AddItem("p", 1, noon))
	}
	if err = errors.Join(err, store.Save(context.Background(), o, ports.IdempotencyKey{})); err != nil {
		f.Fatal(err)
	}
	orders := app.NewOrders(store, app.OrdersOptions{History: store})
	f.Fuzz(func(t *testing.T, cursor string) {
		page, err := orders.Events(t.Context(), "o", ports.Page{Cursor: cursor})
		given := map[string]int{"": 5, after(1): 4, after(2): 3, after(3): 2, after(4): 1, after(5): 0}
		want, ok := given[cursor]
		if ok && (err != nil || len(page.Messages) != want || !page.Complete) || !ok && !errors.Is(err, ports.ErrBadCursor) {
			t.Errorf("cursor %q: %d events and error %v", cursor, len(page.Messages), err)
		}
	})
}

func amountOf(o *order.Order) (amount int) {
	for _, item := range o.Items() {
		amount += item.Amount
	}
	return amount
}

// However long the history is, an order is shown as it was at each of its versions, and at no other.
func TestAnOrderIsShownAsItWas(t *testing.T) {
	store := memory.NewStore()
	o, err := order.New("o", "b", nil, noon)
	for range 2499 {
		err = errors.Join(err, o.AddItem("p", 1, noon))
	}
	if err = errors.Join(err, store.Save(t.Context(), o, ports.IdempotencyKey{})); err != nil {
		t.Fatal(err)
	}
	orders := app.NewOrders(store, app.OrdersOptions{History: store, Decode: eventjson.Event})
	for _, version := range []int{1, 2, 999, 1000, 1001, 2001, 2499, 2500} {
		then, err := orders.At(t.Context(), "o", version)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if then.Version() != version || amountOf(then) != version-1 {
			t.Errorf("version %d is shown at version %d with %v, want an amount of %d", version, then.Version(), then.Items(), version-1)
		}
	}
	for _, version := range []int{-1, 0, 2501} {
		if then, err := orders.At(t.Context(), "o", version); !errors.Is(err, ports.ErrNoSuchVersion) {
			t.Errorf("version %d: got %v and error %v, want %v", version, then, err, ports.ErrNoSuchVersion)
		}
	}
	if _, err := orders.At(t.Context(), "other", 1); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("an unknown order: got error %v, want %v", err, ports.ErrNotFound)
	}
	for _, missing := range []int{1, 700, 1500} {
		holed := app.NewOrders(store, app.OrdersOptions{History: holed{store, map[int]bool{missing: true}}, Decode: eventjson.Event})
		if then, err := holed.At(t.Context(), "o", 1500); !errors.Is(err, ports.ErrHistoryDeleted) {
			t.Errorf("without event %d: got %v and error %v, want %v", missing, then, err, ports.ErrHistoryDeleted)
		}
	}
	mute := app.NewOrders(store, app.OrdersOptions{})
	for _, orders := range []*app.Orders{
		mute,
		app.NewOrders(store, app.OrdersOptions{Decode: eventjson.Event}),
		app.NewOrders(store, app.OrdersOptions{History: store}),
	} {
		if _, err := orders.At(t.Context(), "o", 7); !errors.Is(err, ports.ErrNoHistory) {
			t.Errorf("without a history or its meaning: got error %v, want %v", err, ports.ErrNoHistory)
		}
	}
	if now, err := mute.At(t.Context(), "o", 2500); err != nil || now.Version() != 2500 {
		t.Errorf("without a history, the newest: got %v and error %v", now, err)
	}
}
