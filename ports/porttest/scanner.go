package porttest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"hexorders/core/order"
	"hexorders/ports"
)

var orderScannerChecks = []check[storage]{
	{"an empty store has empty pages", func(t testing.TB, s storage) {
		wantScan(t, s, "", 10)
		wantMessageScan(t, s, ports.EventRef{}, 10)
	}, "no rows are an empty page and no error"},
	{"every order is in exactly one page, sorted by the bytes of its id", scanEveryOrder,
		"id > after ORDER BY id, compared byte for byte (a collation of words is no order of bytes)"},
	{"an order is scanned as Get returns it", scanAsGet,
		"use the same code as Get for a row"},
	{"every message is in exactly one page, sorted by order and version", scanEveryMessage,
		"sort by order id and then by version as a number; go on after the pair"},
	{"a scanned message is the one of the outbox", scanAsOutbox,
		"return every field of the message"},
	{"a scan goes on after any place", scanFromAnywhere,
		"after is a place between rows: nothing needs to be stored under it"},
	{"a page ends once it has MaxPageBytes", scanInBoundedPages,
		"count bytes while you read, and end the page with the row that reaches ports.MaxPageBytes"},
	{"a failed Save is in no page", scanWithoutFailures,
		"messages and orders are written in the transaction of Save"},
	{"a cancelled context ends the scans", func(t testing.TB, s storage) {
		wantCancelled(t, "ScanOrders", func(ctx context.Context) error {
			_, err := s.Scanner.ScanOrders(ctx, "", 10)
			return err
		})
		wantCancelled(t, "ScanMessages", func(ctx context.Context) error {
			_, err := s.Scanner.ScanMessages(ctx, ports.EventRef{}, 10)
			return err
		})
	}, "pass ctx to the database, and return ctx.Err() as it is"},
}

// scannedIDs sort by their bytes as they stand here.
var scannedIDs = []string{"ORDER-1", "order", "order-1", "order-1/2", "order-10", "order-2", "заказ-1"}

func scanOrders(t testing.TB, s storage, after string, limit int) (orders []ports.ScannedOrder) {
	t.Helper()
	for {
		page, err := s.Scanner.ScanOrders(bounded(t), after, limit)
		if err != nil {
			t.Fatalf("ScanOrders after %q: %v", after, err)
		}
		if len(page) > limit || len(orders) > 10_000 {
			t.Fatalf("ScanOrders after %q: a page of %d orders, want at most %d, and an empty one at the end", after, len(page), limit)
		}
		if len(page) == 0 {
			return orders
		}
		orders = append(orders, page...)
		after = page[len(page)-1].ID
	}
}

func scanMessages(t testing.TB, s storage, after ports.EventRef, limit int) (messages []ports.Message) {
	t.Helper()
	for {
		page, err := s.Scanner.ScanMessages(bounded(t), after, limit)
		if err != nil {
			t.Fatalf("ScanMessages after %v: %v", after, err)
		}
		if len(page) > limit || len(messages) > 10_000 {
			t.Fatalf("ScanMessages after %v: a page of %d messages, want at most %d, and an empty one at the end", after, len(page), limit)
		}
		if len(page) == 0 {
			return messages
		}
		messages = append(messages, page...)
		last := page[len(page)-1]
		after = ports.EventRef{OrderID: last.OrderID, Version: last.Version}
	}
}

// wantScan fails unless the orders after an id are these.
func wantScan(t testing.TB, s storage, after string, limit int, want ...string) {
	t.Helper()
	var got []string
	for _, o := range scanOrders(t, s, after, limit) {
		got = append(got, o.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("orders after %q in pages of %d: got %q, want %q", after, limit, got, want)
	}
}

// wantMessageScan fails unless the messages after one of them are these.
func wantMessageScan(t testing.TB, s storage, after ports.EventRef, limit int, want ...string) {
	t.Helper()
	if got := idsOf(scanMessages(t, s, after, limit)); !slices.Equal(got, want) {
		t.Errorf("messages after %v in pages of %d: got %q, want %q", after, limit, got, want)
	}
}

// saveScanned saves orders with these ids, the last id first: the n-th of them has n versions.
func saveScanned(t testing.TB, s storage) (messages []string) {
	t.Helper()
	for n, id := range slices.Backward(scannedIDs) {
		save(t, s, newOrder(t, id, n+1))
	}
	for n, id := range scannedIDs {
		for version := 1; version <= n+1; version++ {
			messages = append(messages, fmt.Sprintf("%s/%d", id, version))
		}
	}
	return messages
}

func scanEveryOrder(t testing.TB, s storage) {
	saveScanned(t, s)
	for _, limit := range []int{1, 2, 3, 100} {
		wantScan(t, s, "", limit, scannedIDs...)
	}
}

func scanAsGet(t testing.TB, s storage) {
	for n := range 5 {
		o := newOrder(t, orderID(n), 1+60*n) // a store may treat long orders in another way
		save(t, s, o)
		change(t, o, 1)
		if n == 3 {
			if err := o.Submit(morning); err != nil {
				t.Fatal(err)
			}
		}
		save(t, s, o)
	}
	scanned := scanOrders(t, s, "", 2)
	if len(scanned) != 5 {
		t.Errorf("%d orders are scanned, want 5", len(scanned))
	}
	for _, o := range scanned {
		if o.Err != nil || o.Order == nil {
			t.Errorf("order %s: got %v and error %v", o.ID, o.Order, o.Err)
			continue
		}
		wantSame(t, o.Order.Snapshot(), load(t, s, o.ID).Snapshot())
	}
}

func scanEveryMessage(t testing.TB, s storage) {
	want := saveScanned(t, s)
	o := load(t, s, scannedIDs[0])
	change(t, o, 10) // two digits: versions are numbers and not text
	save(t, s, o)
	var more []string
	for version := 2; version <= 11; version++ {
		more = append(more, fmt.Sprintf("%s/%d", scannedIDs[0], version))
	}
	want = slices.Insert(want, 1, more...)
	for _, limit := range []int{1, 2, 5, 100} {
		wantMessageScan(t, s, ports.EventRef{}, limit, want...)
	}
}

func scanAsOutbox(t testing.TB, s storage) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if err := s.Orders.Save(ports.WithTraceParent(bounded(t), trace), newOrder(t, orderID(1), 3), ports.IdempotencyKey{}); err != nil {
		t.Fatalf("Save: %v", err)
	}
	got := scanMessages(t, s, ports.EventRef{}, 10)
	want := logged(t, s)
	if len(got) != len(want) {
		t.Errorf("%d messages are scanned, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		wantSameMessage(t, got[i], want[i])
	}
}

func scanFromAnywhere(t testing.TB, s storage) {
	save(t, s, newOrder(t, "order-2", 3))
	save(t, s, newOrder(t, "order-4", 2))
	wantScan(t, s, "order-2", 10, "order-4")
	wantScan(t, s, "order-3", 10, "order-4")
	wantScan(t, s, "order-4", 10)
	wantScan(t, s, "p", 10)
	wantMessageScan(t, s, ports.EventRef{OrderID: "order-2", Version: 2}, 10, "order-2/3", "order-4/1", "order-4/2")
	wantMessageScan(t, s, ports.EventRef{OrderID: "order-2", Version: 3}, 10, "order-4/1", "order-4/2")
	wantMessageScan(t, s, ports.EventRef{OrderID: "order-3", Version: 7}, 10, "order-4/1", "order-4/2")
	wantMessageScan(t, s, ports.EventRef{OrderID: "order-4", Version: 2}, 10)
}

// largeOrder has as many items as an order may have.
func largeOrder(t testing.TB, id string) *order.Order {
	t.Helper()
	var items []order.Item
	for n := range order.MaxItems {
		items = append(items, order.Item{Product: fmt.Sprintf("product-%056d", n), Amount: 1})
	}
	o, err := order.New(id, "buyer-1", items, morning)
	if err != nil {
		t.Fatalf("the suite cannot make order %s: %v", id, err)
	}
	return o
}

func scanInBoundedPages(t testing.TB, s storage) {
	const large = 60
	size := 0
	for n := range large {
		save(t, s, largeOrder(t, orderID(n)))
	}
	page, err := s.Scanner.ScanMessages(bounded(t), ports.EventRef{}, 2*large)
	for _, m := range page {
		size += len(m.Payload)
	}
	if err != nil || len(page) == 0 || size-len(page[0].Payload) >= ports.MaxPageBytes {
		t.Errorf("a page of %d messages with %d bytes, error %v; want it to end with the message that brings it to %d",
			len(page), size, err, ports.MaxPageBytes)
	}
	if orders, err := s.Scanner.ScanOrders(bounded(t), "", 2*large); err != nil || len(orders) == 0 {
		t.Errorf("a page of %d orders, error %v", len(orders), err)
	}
	if messages, orders := scanMessages(t, s, ports.EventRef{}, 2*large), scanOrders(t, s, "", 2*large); len(messages) != large ||
		len(orders) != large {
		t.Errorf("%d messages and %d orders in all pages, want %d of each", len(messages), len(orders), large)
	}
}

func scanWithoutFailures(t testing.TB, s storage) {
	heal := s.FailCommits(t)
	wantFailedSave(t, s, newOrder(t, orderID(1), 2))
	heal()
	save(t, s, newOrder(t, orderID(2), 1))
	wantScan(t, s, "", 10, orderID(2))
	wantMessageScan(t, s, ports.EventRef{}, 10, orderID(2)+"/1")
}
