package mongodb_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"hexorders/adapters/mongodb"
	"hexorders/core/order"
	"hexorders/ports"
)

// BenchmarkSave creates orders, as POST /orders does.
func BenchmarkSave(b *testing.B) {
	for _, clients := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			store := mongodb.NewStore(testDB(b), mongodb.Options{})
			b.ReportAllocs()
			fill(b, store, clients, b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "saves/s")
		})
	}
}

// BenchmarkTail reads messages that are there already: by the scan, and by the stream.
func BenchmarkTail(b *testing.B) {
	db := testDB(b)
	store, outbox := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	fill(b, store, 1, 1)
	start := tail(b, outbox, "", 1)[0].position
	const messages = 20_000
	fill(b, store, 64, messages)
	for name, after := range map[string]ports.Position{"scan": "", "stream": start} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				n := 0
				err := outbox.Tail(b.Context(), after, func(ports.Message, ports.Position) error {
					if n++; n == messages {
						return errEnough
					}
					return nil
				})
				if !errors.Is(err, errEnough) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*messages/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// fill saves n new orders, so many at a time.
func fill(b *testing.B, store ports.OrderStore, clients, n int) {
	b.Helper()
	work := make(chan struct{}, clients)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range work {
				id := uuid.Must(uuid.NewV7()).String()
				o, err := order.New(id, "9999", []order.Item{{Product: "1111", Amount: 3}}, at)
				if err == nil {
					err = store.Save(context.Background(), o)
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range n {
		work <- struct{}{}
	}
	close(work)
	all.Wait()
}
