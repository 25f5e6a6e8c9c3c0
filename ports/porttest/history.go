package porttest

import (
	"context"
	"fmt"
	"testing"

	"hexorders/core/order"
	"hexorders/ports"
)

var historyChecks = []check[storage]{
	{"an order's messages are those of the outbox, in version order", historyIsTheOutbox,
		"sort by version as a number, and return every field of the message"},
	{"an order has only its own messages", historyOfOneOrder,
		"compare the id as a whole and byte for byte: no LIKE, no collation"},
	{"Messages returns the next versions, at most limit", historyInParts,
		"version > after ORDER BY version LIMIT limit"},
	{"an unknown order has no messages, and that is no error", historyOfNothing,
		"no rows are an empty list"},
	{"a successful Save is in the history", historyIsUpToDate,
		"read where Save has written, not in a copy that follows later"},
	{"a failed Save is not in the history", historyWithoutFailures,
		"messages are written in the transaction of Save"},
	{"a cancelled context ends Messages", func(t testing.TB, s storage) {
		wantCancelled(t, "Messages", func(ctx context.Context) error {
			_, err := s.History.Messages(ctx, orderID(1), 0, 10)
			return err
		})
	}, "pass ctx to the database, and return ctx.Err() as it is"},
}

func historyOf(t testing.TB, s storage, id string, after, limit int) []ports.Message {
	t.Helper()
	messages, err := s.History.Messages(bounded(t), id, after, limit)
	if err != nil {
		t.Fatalf("Messages of order %s after %d: %v", id, after, err)
	}
	return messages
}

// wantHistory fails unless the messages are those of an order's versions from first to last.
func wantHistory(t testing.TB, got []ports.Message, id string, first, last int) {
	t.Helper()
	var ids, want []string
	for _, m := range got {
		ids = append(ids, m.ID)
	}
	for version := first; version <= last; version++ {
		want = append(want, fmt.Sprintf("%s/%d", id, version))
	}
	if fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Errorf("history of order %s: got %v, want %v", id, ids, want)
	}
}

func historyIsTheOutbox(t testing.TB, s storage) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	o := newOrder(t, orderID(1), 3)
	if err := s.Orders.Save(ports.WithTraceParent(bounded(t), trace), o, ports.IdempotencyKey{}); err != nil {
		t.Fatalf("Save: %v", err)
	}
	for range 9 { // two digits: versions are numbers and not text
		change(t, o, 1)
		save(t, s, o)
	}
	want := logged(t, s)
	got := historyOf(t, s, orderID(1), 0, 100)
	wantHistory(t, got, orderID(1), 1, 12)
	for i := range min(len(got), len(want)) {
		wantSameMessage(t, got[i], want[i])
	}
}

func historyOfOneOrder(t testing.TB, s storage) {
	ids := []string{"order", "order-1", "order-10", "order-1/2", "ORDER-1", "заказ-1"}
	for n, id := range ids {
		save(t, s, newOrder(t, id, n+1))
	}
	for n, id := range ids {
		wantHistory(t, historyOf(t, s, id, 0, 100), id, 1, n+1)
	}
}

func historyInParts(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 7))
	wantHistory(t, historyOf(t, s, orderID(1), 0, 3), orderID(1), 1, 3)
	wantHistory(t, historyOf(t, s, orderID(1), 3, 3), orderID(1), 4, 6)
	wantHistory(t, historyOf(t, s, orderID(1), 6, 3), orderID(1), 7, 7)
	wantHistory(t, historyOf(t, s, orderID(1), 6, 1), orderID(1), 7, 7)
	wantHistory(t, historyOf(t, s, orderID(1), 7, 3), orderID(1), 8, 7)
	wantHistory(t, historyOf(t, s, orderID(1), 1000, 3), orderID(1), 8, 7)
}

func historyOfNothing(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	for _, id := range []string{orderID(2), "", "order"} {
		wantHistory(t, historyOf(t, s, id, 0, 10), id, 1, 0)
	}
}

func historyIsUpToDate(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 1)
	for version := 1; version <= 20; version++ {
		save(t, s, o)
		wantHistory(t, historyOf(t, s, orderID(1), version-1, 2), orderID(1), version, version)
		change(t, o, 1)
	}
}

func historyWithoutFailures(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	first, second := load(t, s, orderID(1)), load(t, s, orderID(1))
	for _, o := range []*order.Order{first, second} {
		change(t, o, 1)
	}
	heal := s.FailCommits(t)
	wantFailedSave(t, s, first)
	heal()
	wantHistory(t, historyOf(t, s, orderID(1), 0, 10), orderID(1), 1, 1)
	save(t, s, second)
	wantConflict(t, s, first)
	wantHistory(t, historyOf(t, s, orderID(1), 0, 10), orderID(1), 1, 2)
}
