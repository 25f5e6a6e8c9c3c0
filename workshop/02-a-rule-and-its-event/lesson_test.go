//go:build exercise

package lesson_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/core/order"
	"hexorders/ports"
)

var noon = time.Date(2026, time.March, 14, 12, 0, 0, 0, time.UTC)

// Step 1: the rule. A paid order can be refunded, once; no other order can.
func TestAPaidOrderIsRefunded(t *testing.T) {
	o := refunded(t)
	if o.Version() != 3 || !o.UpdatedAt().Equal(noon.Add(time.Hour)) {
		t.Errorf("order-1 refunded: got version %d of %v, want version 3 of %v", o.Version(), o.UpdatedAt(), noon.Add(time.Hour))
	}
	for what, change := range map[string]func() error{
		"refunded again": func() error { return o.Refund(noon) },
		"paid again":     func() error { return o.Pay(noon) },
		"cancelled":      func() error { return o.Cancel(order.ByBuyer, "", noon) },
		"given an item":  func() error { return o.AddItem("2222", 1, noon) },
	} {
		if err := change(); err == nil || o.Status() != "refunded" {
			t.Errorf("order-1 refunded, %s: got status %s and error %v, want a refusal", what, o.Status(), err)
		}
	}
	for what, prepare := range map[string]func(*order.Order) error{
		"pending":   func(*order.Order) error { return nil },
		"submitted": func(o *order.Order) error { return o.Submit(noon) },
		"cancelled": func(o *order.Order) error { return o.Cancel(order.ByBuyer, "", noon) },
	} {
		o := newOrder(t)
		err := prepare(o)
		if err := errors.Join(err, o.Refund(noon)); !errors.Is(err, order.ErrNotPaid) {
			t.Errorf("order-1 %s, refunded: got error %v, want %v", what, err, order.ErrNotPaid)
		}
	}
	replayed, err := order.Replay(o.Changes())
	if err != nil || replayed.Status() != o.Status() {
		t.Errorf("order-1 replayed from its events: got %+v and error %v, want status %s", replayed, err, o.Status())
	}
}

// Step 2: the event leaves the process. A store encodes it for the outbox, and a consumer decodes it.
func TestTheRefundIsPublished(t *testing.T) {
	o := refunded(t)
	store := memory.NewStore()
	if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
		t.Fatalf("order-1 cannot be saved: %v", err)
	}
	messages, err := store.Messages(t.Context(), "order-1", 0, 10)
	if err != nil || len(messages) != 3 {
		t.Fatalf("got %d messages and error %v, want 3", len(messages), err)
	}
	last := messages[2]
	if last.Type != "OrderRefunded" {
		t.Errorf("message %s has type %s, want OrderRefunded", last.ID, last.Type)
	}
	if event, err := eventjson.Event(last); err != nil || !event.OccurredAt().Equal(noon.Add(time.Hour)) {
		t.Errorf("message %s cannot be read: got %#v and error %v", last.ID, event, err)
	}
}

// Step 3: the promise. A file holds what every future version of this program has to read.
func TestTheRefundHasAGoldenFile(t *testing.T) {
	payload, err := os.ReadFile("../../adapters/eventjson/testdata/OrderRefunded.1.json")
	if err != nil {
		t.Fatalf("OrderRefunded has no golden file yet: %v", err)
	}
	event, err := eventjson.Event(ports.Message{ID: "order-1/7", Type: "OrderRefunded", Payload: payload})
	if err != nil {
		t.Fatalf("the golden file cannot be read: %v", err)
	}
	if event.OccurredAt().IsZero() {
		t.Errorf("the golden file holds %#v, want an event with its time", event)
	}
}

// refunded is order-1: created, paid, refunded an hour later.
func refunded(t *testing.T) *order.Order {
	t.Helper()
	o := newOrder(t)
	if err := o.Pay(noon); err != nil {
		t.Fatal(err)
	}
	if err := o.Refund(noon.Add(time.Hour)); err != nil || o.Status() != "refunded" {
		t.Fatalf("order-1 paid, refunded: got status %s and error %v, want refunded", o.Status(), err)
	}
	return o
}

func newOrder(t *testing.T) *order.Order {
	t.Helper()
	o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
