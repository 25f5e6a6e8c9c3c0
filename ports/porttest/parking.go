package porttest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"hexorders/ports"
)

var parkingChecks = lift(func(s storage) ports.Parking { return s.Parking }, []check[ports.Parking]{
	{"a parked message reads back whole", parkedReadsBack,
		"store every field of ports.Message, however large its payload is"},
	{"parking a message again changes nothing but the reason", parkedAgain,
		"an upsert by order and version that sets the reason alone: time and retry stay"},
	{"an order's messages come in version order", parkedInVersionOrder,
		"sort by version as a number"},
	{"an order with nothing parked has no messages, and that is no error", nothingParked,
		"no rows are an empty list"},
	{"parked orders are listed by id, each with its own messages", parkedOrders,
		"group by order id and sort by it"},
	{"an order's first message gives its version, reason and time", firstParked,
		"version, reason and time are those of the row with the smallest version"},
	{"messages parked at the same moment are all kept", parkedAtOnce,
		"one row a message: two calls must not overwrite each other's list"},
	{"Retry is remembered, also when more is parked", retryIsRemembered,
		"the wish for a retry belongs to the order, not to one message"},
	{"Retry of an order with nothing parked is ErrNotFound", retryOfNothing,
		"an update that changes no row is ports.ErrNotFound"},
	{"Refused ends a retry, and the order stays parked with the new reason", refusedEndsRetry,
		"clear the retry and set the reason of the first message; delete nothing"},
	{"Unpark forgets a message, and the order with its last one", unparkForgets,
		"delete one row; an order without rows is not parked"},
	{"unparking a message that is not parked is no error", unparkNothing,
		"a delete that finds nothing has done its work"},
	{"an order parked again waits for another Retry", parkedAnew,
		"with the last message the wish for a retry is gone too"},
	{"a cancelled context ends every call", cancelledParking,
		"pass ctx on to every call, and return ctx.Err() as it is"},
})

func park(t testing.TB, p ports.Parking, m ports.Message, reason string) {
	t.Helper()
	if err := p.Park(bounded(t), m, reason); err != nil {
		t.Fatalf("Park of %s: %v", m.ID, err)
	}
}

func unpark(t testing.TB, p ports.Parking, m ports.Message) {
	t.Helper()
	if err := p.Unpark(bounded(t), m); err != nil {
		t.Fatalf("Unpark of %s: %v", m.ID, err)
	}
}

func retry(t testing.TB, p ports.Parking, orderID string) {
	t.Helper()
	if err := p.Retry(bounded(t), orderID); err != nil {
		t.Fatalf("Retry of %s: %v", orderID, err)
	}
}

func refused(t testing.TB, p ports.Parking, orderID, reason string) {
	t.Helper()
	if err := p.Refused(bounded(t), orderID, reason); err != nil {
		t.Fatalf("Refused of %s: %v", orderID, err)
	}
}

func parkedVersions(t testing.TB, p ports.Parking, orderID string) []int {
	t.Helper()
	messages, err := p.Messages(bounded(t), orderID)
	if err != nil {
		t.Fatalf("Messages of %s: %v", orderID, err)
	}
	var versions []int
	for _, m := range messages {
		if m.OrderID != orderID {
			t.Errorf("among the messages of %s there is %s", orderID, m.ID)
		}
		versions = append(versions, m.Version)
	}
	return versions
}

func wantVersions(t testing.TB, p ports.Parking, orderID string, want ...int) {
	t.Helper()
	if got := parkedVersions(t, p, orderID); !slices.Equal(got, want) {
		t.Errorf("parked versions of %s: got %v, want %v", orderID, got, want)
	}
}

// parkedOrder returns what Parked lists, which must be this one order.
func parkedOrder(t testing.TB, p ports.Parking, orderID string) ports.ParkedOrder {
	t.Helper()
	list := parkedList(t, p)
	if len(list) != 1 || list[0].OrderID != orderID {
		t.Fatalf("parked orders: got %+v, want only %s", list, orderID)
	}
	return list[0]
}

func parkedList(t testing.TB, p ports.Parking) []ports.ParkedOrder {
	t.Helper()
	list, err := p.Parked(bounded(t))
	if err != nil {
		t.Fatalf("Parked: %v", err)
	}
	return list
}

func parkedReadsBack(t testing.TB, p ports.Parking) {
	want := message(orderID(1), 2)
	want.Payload = []byte(`{"productId":"茶 \"grün\" <1kg> & ½","pad":` + string(noise(2<<20)) + `}`) // a likely reason to be parked
	want.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	park(t, p, want, "too large")
	plain := message(orderID(1), 3)
	park(t, p, plain, "behind version 2")
	got, err := p.Messages(bounded(t), orderID(1))
	if err != nil || len(got) != 2 {
		t.Fatalf("Messages: got %d and error %v, want 2 messages", len(got), err)
	}
	wantSameMessage(t, got[0], want)
	wantSameMessage(t, got[1], plain)
}

func parkedAgain(t testing.TB, p ports.Parking) {
	m, later := message(orderID(1), 2), message(orderID(1), 3)
	park(t, p, m, "too large")
	park(t, p, later, "behind version 2")
	retry(t, p, orderID(1))
	want := parkedOrder(t, p, orderID(1))
	<-time.After(2 * time.Millisecond) // so that a new time would be a different one
	park(t, p, m, "still too large")
	got := parkedOrder(t, p, orderID(1))
	if got.Reason != "still too large" {
		t.Errorf("reason: got %q, want the new one", got.Reason)
	}
	want.Reason = got.Reason
	if !sameTime(got.Since, want.Since) {
		t.Errorf("parked since: got %v, want %v as before", got.Since, want.Since)
	}
	want.Since = got.Since
	if got != want {
		t.Errorf("parking again: got %+v, want %+v", got, want)
	}
	messages, err := p.Messages(bounded(t), orderID(1))
	if err != nil || len(messages) != 2 {
		t.Fatalf("Messages: got %d and error %v, want 2 messages", len(messages), err)
	}
	wantSameMessage(t, messages[0], m)
	wantSameMessage(t, messages[1], later)
}

func parkedInVersionOrder(t testing.TB, p ports.Parking) {
	for _, version := range []int{11, 9, 100, 2, 10} {
		park(t, p, message(orderID(1), version), "too large")
		park(t, p, message(orderID(2), version+1), "too large")
	}
	wantVersions(t, p, orderID(1), 2, 9, 10, 11, 100)
	wantVersions(t, p, orderID(2), 3, 10, 11, 12, 101)
}

func nothingParked(t testing.TB, p ports.Parking) {
	if list := parkedList(t, p); len(list) != 0 {
		t.Errorf("parked orders: got %+v, want none", list)
	}
	park(t, p, message(orderID(1), 1), "too large")
	wantVersions(t, p, orderID(2))
	wantVersions(t, p, "")
}

func parkedOrders(t testing.TB, p ports.Parking) {
	for _, n := range []int{3, 1, 2} {
		for version := 5; version < 5+n; version++ {
			park(t, p, message(orderID(n), version), "too large")
		}
	}
	retry(t, p, orderID(2))
	list := parkedList(t, p)
	if len(list) != 3 {
		t.Fatalf("parked orders: got %+v, want 3", list)
	}
	for i, got := range list {
		n := i + 1
		got.Since = time.Time{}
		want := ports.ParkedOrder{OrderID: orderID(n), First: 5, Messages: n, Reason: "too large", Retry: n == 2}
		if got != want {
			t.Errorf("parked order:\n got %+v\nwant %+v", got, want)
		}
		wantVersions(t, p, orderID(n), []int{5, 6, 7}[:n]...)
	}
}

func firstParked(t testing.TB, p ports.Parking) {
	before := time.Now()
	park(t, p, message(orderID(1), 2), "too large")
	first := parkedOrder(t, p, orderID(1))
	if off := first.Since.Sub(before).Abs(); off > 2*minute {
		t.Errorf("parked since %v, that is %v from now", first.Since, off)
	}
	<-time.After(2 * time.Millisecond)
	park(t, p, message(orderID(1), 3), "behind version 2")
	got := parkedOrder(t, p, orderID(1))
	if got.First != 2 || got.Messages != 2 || got.Reason != "too large" || !sameTime(got.Since, first.Since) {
		t.Errorf("got %+v, want version, reason and time of the first as in %+v", got, first)
	}
	unpark(t, p, message(orderID(1), 2))
	got = parkedOrder(t, p, orderID(1))
	if got.First != 3 || got.Messages != 1 || got.Reason != "behind version 2" || !got.Since.After(first.Since) {
		t.Errorf("once the first is gone: got %+v, want version, reason and time of the next", got)
	}
}

func parkedAtOnce(t testing.TB, p ports.Parking) {
	const messages = 20
	var all sync.WaitGroup
	ctx := bounded(t)
	for n := range messages {
		all.Go(func() {
			for _, id := range []string{orderID(1), orderID(2)} {
				if err := p.Park(ctx, message(id, n+1), "too large"); err != nil {
					t.Errorf("Park: %v", err)
				}
			}
		})
	}
	all.Wait()
	var want []int
	for n := range messages {
		want = append(want, n+1)
	}
	wantVersions(t, p, orderID(1), want...)
	wantVersions(t, p, orderID(2), want...)
	for _, o := range parkedList(t, p) {
		if o.Messages != messages || o.First != 1 {
			t.Errorf("parked order: got %+v, want %d messages from version 1", o, messages)
		}
	}
}

func retryIsRemembered(t testing.TB, p ports.Parking) {
	park(t, p, message(orderID(1), 1), "too large")
	if parkedOrder(t, p, orderID(1)).Retry {
		t.Error("a retry that no operator asked for")
	}
	retry(t, p, orderID(1))
	retry(t, p, orderID(1)) // asking twice is asking
	park(t, p, message(orderID(1), 2), "behind version 1")
	if !parkedOrder(t, p, orderID(1)).Retry {
		t.Error("the retry was forgotten")
	}
	unpark(t, p, message(orderID(1), 1)) // the relay has got so far
	if !parkedOrder(t, p, orderID(1)).Retry {
		t.Error("the retry was forgotten half-way")
	}
	wantVersions(t, p, orderID(1), 2)
}

func retryOfNothing(t testing.TB, p ports.Parking) {
	park(t, p, message(orderID(1), 1), "too large")
	wantError(t, "Retry of an order never parked", p.Retry(bounded(t), orderID(2)), ports.ErrNotFound)
	unpark(t, p, message(orderID(1), 1))
	wantError(t, "Retry of an order no longer parked", p.Retry(bounded(t), orderID(1)), ports.ErrNotFound)
	if list := parkedList(t, p); len(list) != 0 {
		t.Errorf("parked orders: got %+v, want none", list)
	}
}

func refusedEndsRetry(t testing.TB, p ports.Parking) {
	park(t, p, message(orderID(1), 4), "too large")
	park(t, p, message(orderID(1), 5), "behind version 4")
	retry(t, p, orderID(1))
	refused(t, p, orderID(1), "too large still")
	got := parkedOrder(t, p, orderID(1))
	if got.Retry || got.Reason != "too large still" || got.First != 4 || got.Messages != 2 {
		t.Errorf("after a refused retry: got %+v, want both messages, the new reason and no retry", got)
	}
	wantVersions(t, p, orderID(1), 4, 5)
	retry(t, p, orderID(1))
	if !parkedOrder(t, p, orderID(1)).Retry {
		t.Error("a retry after a refused one was not remembered")
	}
}

func unparkForgets(t testing.TB, p ports.Parking) {
	for version := 1; version <= 3; version++ {
		park(t, p, message(orderID(1), version), "too large")
	}
	park(t, p, message(orderID(2), 1), "too large")
	unpark(t, p, message(orderID(1), 1))
	wantVersions(t, p, orderID(1), 2, 3)
	unpark(t, p, message(orderID(1), 2))
	unpark(t, p, message(orderID(1), 3))
	wantVersions(t, p, orderID(1))
	wantVersions(t, p, orderID(2), 1)
	parkedOrder(t, p, orderID(2))
}

func unparkNothing(t testing.TB, p ports.Parking) {
	unpark(t, p, message(orderID(1), 1))
	park(t, p, message(orderID(1), 2), "too large")
	unpark(t, p, message(orderID(1), 1))
	wantVersions(t, p, orderID(1), 2)
	if list := parkedList(t, p); len(list) != 1 {
		t.Errorf("parked orders: got %+v, want one", list)
	}
}

func parkedAnew(t testing.TB, p ports.Parking) {
	park(t, p, message(orderID(1), 1), "too large")
	retry(t, p, orderID(1))
	unpark(t, p, message(orderID(1), 1))
	park(t, p, message(orderID(1), 2), "too large again")
	got := parkedOrder(t, p, orderID(1))
	if got.Retry || got.First != 2 || got.Reason != "too large again" {
		t.Errorf("got %+v, want version 2 waiting for a retry of its own", got)
	}
}

func cancelledParking(t testing.TB, p ports.Parking) {
	m := message(orderID(1), 1)
	park(t, p, m, "too large")
	calls := map[string]func(context.Context) error{
		"Park":     func(ctx context.Context) error { return p.Park(ctx, message(orderID(1), 2), "too large") },
		"Parked":   func(ctx context.Context) error { _, err := p.Parked(ctx); return err },
		"Messages": func(ctx context.Context) error { _, err := p.Messages(ctx, orderID(1)); return err },
		"Retry":    func(ctx context.Context) error { return p.Retry(ctx, orderID(1)) },
		"Unpark":   func(ctx context.Context) error { return p.Unpark(ctx, m) },
		"Refused":  func(ctx context.Context) error { return p.Refused(ctx, orderID(1), "too late") },
	}
	for name, call := range calls {
		wantCancelled(t, name, call)
	}
	got := parkedOrder(t, p, orderID(1))
	if got.Retry || got.Reason != "too large" || got.Messages != 1 {
		t.Errorf("cancelled calls changed something: got %+v", got)
	}
	if _, err := p.Messages(bounded(t), orderID(1)); errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call left the parking unusable: %v", err)
	}
}
