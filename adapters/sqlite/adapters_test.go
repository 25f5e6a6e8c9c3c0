package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// What the contract suites cannot see: the clock, and what a person finds in the tables.

func TestADatabaseCanBeReadByAPerson(t *testing.T) {
	db := openNew(t)
	at := time.Date(2026, time.March, 14, 6, 30, 15, 123_456_789, time.FixedZone("CET", 3600))
	o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}}, at)
	if err != nil {
		t.Fatal(err)
	}
	if err := NewStore(db).Save(ports.WithTraceParent(t.Context(), "00-trace-01"), o, ports.IdempotencyKey{}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"SELECT concat_ws('|', id, buyer_id, status, version, items, created_at, updated_at) FROM orders": `order-1|9999|pending|1|[{"productId":"1111","amount":3},{"productId":"2222","amount":8}]|` +
			"2026-03-14T05:30:15.123Z|2026-03-14T05:30:15.123Z",
		"SELECT concat_ws('|', seq, order_id, version, type, occurred_at, traceparent) FROM outbox": "1|order-1|1|OrderCreated|2026-03-14T05:30:15.123Z|00-trace-01",
		"SELECT payload ->> '$.items[0].productId' FROM outbox":                                     "1111",
	} {
		var got string
		if err := db.queryRow(t.Context(), query, nil, &got); err != nil || got != want {
			t.Errorf("%s:\n got %s, error %v\nwant %s", query, got, err, want)
		}
	}
}

func TestARowThatIsNoOrderIsSaidSo(t *testing.T) {
	db := openNew(t)
	for column, value := range map[string]string{"items": "'{'", "status": "'lost'", "version": "0",
		"created_at": "'today'", "updated_at": "''"} {
		id := "order-" + column
		save(t, db, newOrder(t, id))
		execute(t, raw(t, db.path), fmt.Sprintf("UPDATE orders SET %s = %s WHERE id = '%s'", column, value, id))
		_, err := NewStore(db).Get(t.Context(), id)
		if !errors.Is(err, order.ErrInvalidHistory) || !strings.Contains(err.Error(), id) {
			t.Errorf("get an order whose %s is %s: got error %v, want %v", column, value, err, order.ErrInvalidHistory)
		}
	}
}

func TestPositionsOfAnotherOutboxAreRefused(t *testing.T) {
	outbox := NewOutbox(openNew(t))
	for _, p := range []ports.Position{"8264f0", "-1", "0", "1.5", " 1", "99999999999999999999"} {
		err := outbox.Tail(t.Context(), p, func(ports.Message, ports.Position) error { return nil })
		if err == nil || !strings.Contains(err.Error(), string(p)) {
			t.Errorf("tail after %q: got error %v, want one that names the position", p, err)
		}
		if err := outbox.Checkpoint(t.Context(), 1, p); err == nil {
			t.Errorf("checkpoint at %q: got no error", p)
		}
	}
	if p, err := outbox.Position(t.Context()); p != "" || err != nil {
		t.Errorf("position: got %q and error %v, want none", p, err)
	}
}

func TestACheckpointCanBeMadeBeforeTheFirstMessage(t *testing.T) {
	outbox := NewOutbox(openNew(t))
	for _, p := range []ports.Position{"", "7", ""} {
		if err := outbox.Checkpoint(t.Context(), 1, p); err != nil {
			t.Fatal(err)
		}
		if got, err := outbox.Position(t.Context()); got != p || err != nil {
			t.Errorf("position: got %q and error %v, want %q", got, err, p)
		}
	}
}

func TestTailEmitsNothingOnceItsContextHasEnded(t *testing.T) {
	db := openNew(t)
	for n := range 5 {
		save(t, db, newOrder(t, fmt.Sprintf("order-%d", n)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	emitted := 0
	err := NewOutbox(db).Tail(ctx, "", func(ports.Message, ports.Position) error {
		emitted++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || emitted != 1 {
		t.Errorf("got %d messages and error %v, want 1 and %v", emitted, err, context.Canceled)
	}
}

func TestASeqIsNeverGivenTwice(t *testing.T) {
	db := openNew(t)
	save(t, db, newOrder(t, "one"))
	save(t, db, newOrder(t, "two"))
	execute(t, raw(t, db.path), "DELETE FROM outbox")
	save(t, db, newOrder(t, "three"))
	page, err := db.messagesAfter(t.Context(), selectFromOutbox, 0, 10)
	if err != nil || len(page) != 1 || page[0].seq != 3 {
		t.Errorf("after the newest rows were deleted: got %+v and error %v, want seq 3", page, err)
	}
}

func TestLeasesOfDifferentNamesAreDifferent(t *testing.T) {
	db := openNew(t)
	for _, name := range []string{"relay", "projections", ""} {
		term, err := NewLease(db, name).Acquire(t.Context(), "owner of "+name, time.Hour)
		if term != 1 || err != nil {
			t.Errorf("lease %q: got term %d and error %v, want 1", name, term, err)
		}
	}
}

func TestAClockThatIsSetBackKeepsNobodyWaiting(t *testing.T) {
	now := time.Date(2026, time.March, 14, 6, 30, 0, 0, time.UTC)
	l := NewLease(openNew(t), "relay")
	l.now = func() time.Time { return now }
	first, err := l.Acquire(t.Context(), "one", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, back := range []time.Duration{time.Second, 4 * time.Second} { // a correction; the holder may well live
		now = now.Add(-back)
		if _, err := l.Acquire(t.Context(), "two", 5*time.Second); !errors.Is(err, ports.ErrLeaseHeld) {
			t.Errorf("the clock went back a little: got error %v, want %v", err, ports.ErrLeaseHeld)
		}
	}
	now = now.Add(-time.Hour)
	if owner, err := l.Holder(t.Context()); owner != "" || err != nil {
		t.Errorf("the clock went back an hour: got holder %q and error %v, want none", owner, err)
	}
	second, err := l.Acquire(t.Context(), "two", 5*time.Second)
	if owner, err := l.Holder(t.Context()); owner != "two" || err != nil {
		t.Errorf("holder: got %q and error %v, want two", owner, err)
	}
	if err != nil || second <= first {
		t.Errorf("the clock went back an hour: got term %d and error %v, want more than %d", second, err, first)
	}
}
