package prometheus

import (
	"context"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// What counting adds to a save and to a request: compare bare with counted. Neither may allocate.

func BenchmarkSaveBare(b *testing.B)    { benchmarkSave(b, nothing{}) }
func BenchmarkSaveCounted(b *testing.B) { benchmarkSave(b, New(nil).Orders(nothing{})) }

func benchmarkSave(b *testing.B, store ports.OrderStore) {
	b.ReportAllocs()
	for b.Loop() {
		if err := store.Save(b.Context(), nil, ports.IdempotencyKey{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRequestCounted(b *testing.B) {
	observe := New(nil).Requests("GET", "/orders/:id")
	b.ReportAllocs()
	for b.Loop() {
		observe(200, time.Millisecond)
	}
}

// nothing is a store that has nothing to do.
type nothing struct{ ports.OrderStore }

func (nothing) Save(context.Context, *order.Order, ports.IdempotencyKey) error { return nil }

func TestCountingDoesNotAllocate(t *testing.T) {
	m := New(nil)
	store, observe := m.Orders(nothing{}), m.Requests("GET", "/orders/:id")
	allocations := testing.AllocsPerRun(1000, func() {
		_ = store.Save(t.Context(), nil, ports.IdempotencyKey{})
		observe(404, time.Millisecond)
		m.Committed(7)
	})
	if allocations != 0 {
		t.Errorf("a save and a request cost %v allocations, want none", allocations)
	}
}
