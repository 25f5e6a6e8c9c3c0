package eventjson

import (
	"testing"

	"hexorders/core/order"
)

// BenchmarkMessages is what every save does: the changes of an order, here one, become messages.
func BenchmarkMessages(b *testing.B) {
	o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		messages, err := Messages(b.Context(), o)
		if err != nil || len(messages) != 1 {
			b.Fatal(len(messages), err)
		}
	}
}

// BenchmarkEvent is what consumers do with a message.
func BenchmarkEvent(b *testing.B) {
	o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
	if err != nil {
		b.Fatal(err)
	}
	messages, err := Messages(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Event(messages[0]); err != nil {
			b.Fatal(err)
		}
	}
}
