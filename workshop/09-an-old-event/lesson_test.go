//go:build exercise

package lesson_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/core/order"
	"hexorders/ports"
)

const testdata = "../../adapters/eventjson/testdata/"

// Step 1: a refund of last year. Only a buyer could ask for one then, and its message does not say so.
func TestAnOldRefundIsStillRead(t *testing.T) {
	payload, err := os.ReadFile(testdata + "OrderRefunded.1.json")
	if err != nil {
		t.Fatalf("OrderRefunded.1.json is gone, and messages like it are stored: %v", err)
	}
	if sum := fmt.Sprintf("%.8x", sha256.Sum256(payload)); !strings.HasPrefix(sum, "00e7b8fc") {
		t.Errorf("OrderRefunded.1.json was changed, and the stored messages are as they were: put it back")
	}
	event, err := eventjson.Event(ports.Message{ID: "order-1/7", Type: "OrderRefunded", Payload: payload})
	if err != nil {
		t.Fatalf("OrderRefunded.1.json: %v", err)
	}
	if got := event.(order.Refunded).By; got != order.ByBuyer {
		t.Errorf("OrderRefunded.1.json: got By %q, want %q", got, order.ByBuyer)
	}
}

// Step 2: a refund of today. Who decided it comes back from the message as it went in.
func TestANewRefundSaysWhoDecidedIt(t *testing.T) {
	for _, by := range []order.CancelledBy{order.ByBuyer, order.BySystem} {
		message := refundMessage(t, by)
		event, err := eventjson.Event(message)
		if err != nil {
			t.Fatalf("%s: %v", message.Payload, err)
		}
		if got := event.(order.Refunded).By; got != by {
			t.Errorf("refunded by the %s, read as by %q: %s", by, got, message.Payload)
		}
		if !strings.Contains(string(message.Payload), `"schema":2`) {
			t.Errorf("a reader of schema 1 takes it for one of its own: %s", message.Payload)
		}
	}
}

// Step 3: the new promise stands beside the old one.
func TestBothSchemasHaveAGoldenFile(t *testing.T) {
	if newest := eventjson.Schemas()["OrderRefunded"]; newest != 2 {
		t.Errorf("the newest schema of OrderRefunded is %d, want 2: each step from one schema to the next is an upcaster", newest)
	}
	payload, err := os.ReadFile(testdata + "OrderRefunded.2.json")
	if err != nil {
		t.Fatalf("OrderRefunded has no golden file of schema 2: %v", err)
	}
	event, err := eventjson.Event(ports.Message{ID: "order-1/7", Type: "OrderRefunded", Payload: payload})
	if err != nil || event.(order.Refunded).By == "" {
		t.Errorf("OrderRefunded.2.json: got %#v and error %v, want an event that says by whom", event, err)
	}
}

// refundMessage is what a store hands to the relay when an order is refunded.
func refundMessage(t *testing.T, by order.CancelledBy) ports.Message {
	t.Helper()
	noon := time.Date(2026, time.March, 14, 12, 0, 0, 0, time.UTC)
	o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, noon)
	if err == nil {
		err = o.Pay(noon)
	}
	if err == nil {
		err = o.Refund(by, noon)
	}
	store := memory.NewStore()
	if err == nil {
		err = store.Save(t.Context(), o, ports.IdempotencyKey{})
	}
	if err != nil {
		t.Fatal(err)
	}
	messages, err := store.Messages(t.Context(), "order-1", 2, 1)
	if err != nil || len(messages) != 1 {
		t.Fatalf("got %d messages and error %v, want the third one", len(messages), err)
	}
	return messages[0]
}
