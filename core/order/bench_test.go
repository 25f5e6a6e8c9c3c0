package order_test

import (
	"fmt"
	"testing"

	"hexorders/core/order"
)

// BenchmarkLife is an order from its creation to its payment: six commands, six events.
func BenchmarkLife(b *testing.B) {
	items := []order.Item{{Product: "1111", Amount: 3}}
	b.ReportAllocs()
	for b.Loop() {
		o, err := order.New("order-1", "9999", items, morning)
		if err != nil {
			b.Fatal(err)
		}
		for _, command := range []error{
			o.AddItem("2222", 8, morning), o.ChangeAmount("2222", 1, morning), o.RemoveItem("1111", morning),
			o.Submit(morning), o.Pay(morning),
		} {
			if command != nil {
				b.Fatal(command)
			}
		}
		if len(o.Changes()) != 6 {
			b.Fatalf("%d events, want 6", len(o.Changes()))
		}
	}
}

// BenchmarkLoad makes an order of what a store kept: of its state, and of its events.
func BenchmarkLoad(b *testing.B) {
	for _, lines := range []int{1, 10, 100} {
		o := mustNew(b)
		for i := range lines {
			if err := o.AddItem(fmt.Sprintf("product-%d", i), 1, morning); err != nil {
				b.Fatal(err)
			}
		}
		snapshot, events := o.Snapshot(), o.Changes()
		b.Run(fmt.Sprintf("Restore/lines=%d", lines), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := order.Restore(snapshot); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Replay/events=%d", len(events)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := order.Replay(events); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
