package readside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/core/order"
	"hexorders/ports"
)

// BenchmarkBatch is one message on its way into all views, in batches of a thousand: the decoding of the message and its digest, alone
// and as part of the whole, the rules, the views and their JSON. A store that keeps nothing leaves its part out. Orders
// are new, or known and remembered.
func BenchmarkBatch(b *testing.B) {
	created, paid := backlog(b, 20_000)
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := eventjson.Event(created[i%len(created)].Message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("digest", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			digestOf(created[i%len(created)].Message)
		}
	})
	for name, before := range map[string][]ports.Delivery{"new orders": nil, "known orders": created} {
		measured := created
		if before != nil {
			measured = paid
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			done := 0
			for done < b.N {
				b.StopTimer()
				c := nullConsumer(len(created))
				feed(b, c, before)
				b.StartTimer()
				n := min(len(measured), b.N-done)
				feed(b, c, measured[:n])
				done += n
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// backlog are the first and the last message of orders that are created with three items and paid.
func backlog(b *testing.B, orders int) (created, paid []ports.Delivery) {
	for i := range orders {
		items := []order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}, {Product: "3333", Amount: 1}}
		o, err := order.New(fmt.Sprintf("01900000-0000-7000-8000-%012d", i), fmt.Sprintf("buyer-%d", i%1000), items, noon)
		if err := errors.Join(err, o.Pay(noon)); err != nil {
			b.Fatal(err)
		}
		messages, err := eventjson.Messages(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		at := ports.Place{Shard: "0", Next: fmt.Sprint(i + 1)}
		created = append(created, ports.Delivery{Message: messages[0], Place: at})
		paid = append(paid, ports.Delivery{Message: messages[1], Place: at})
	}
	return created, paid
}

func nullConsumer(remember int) *consumer {
	model := memory.NewReadModel(Tables(All))
	e := New(Options{
		Store: nullStore{model}, Decode: eventjson.Event, Remember: remember, Logger: slog.New(slog.DiscardHandler),
	})
	live, _ := model.Live(context.Background())
	return newConsumer(e, live, model.Live)
}

func feed(b *testing.B, c *consumer, messages []ports.Delivery) {
	for len(messages) > 0 {
		n := min(len(messages), ports.MaxBatch)
		if err := c.take(b.Context(), ports.Batch{Messages: messages[:n]}); err != nil {
			b.Fatal(err)
		}
		messages = messages[n:]
	}
}

// nullStore takes every change and keeps none.
type nullStore struct{ ports.ReadModelStore }

func (nullStore) Commit(context.Context, ports.Generation, ports.Change) error { return nil }
