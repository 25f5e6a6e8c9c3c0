package relay

import (
	"testing"

	"hexorders/ports"
)

func TestOnlyOrdersInFlightAndParkedOnesAreRemembered(t *testing.T) {
	f := newInflight(4, "")
	q := f.add(ports.Message{OrderID: "a", Version: 1}, "1")
	f.drop(q)
	if len(f.queues) != 1 {
		t.Error("an order with a message in flight is forgotten")
	}
	f.markDone(q)
	q.busy = true
	f.drop(q)
	if len(f.queues) != 1 {
		t.Error("an order with a call under way is forgotten")
	}
	q.busy, q.parkedFrom = false, 2
	f.drop(q)
	if len(f.queues) != 1 {
		t.Error("a parked order is forgotten")
	}
	q.parkedFrom = 0
	f.drop(q)
	if len(f.queues) != 0 {
		t.Error("an order without messages is still remembered")
	}
}
