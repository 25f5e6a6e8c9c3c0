package mongodb_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

// BenchmarkSave creates orders, as POST /orders does.
func BenchmarkSave(b *testing.B) {
	for _, clients := range []int{1, 16, 64, 128} {
		for _, batch := range []int{1, 256} {
			b.Run(fmt.Sprintf("clients=%d/batch=%d", clients, batch), func(b *testing.B) {
				var transactions atomic.Int64
				store := mongodb.NewStore(mongotest.DB(b), mongodb.Options{
					MaxBatch: batch, Around: counted(func(int) { transactions.Add(1) }),
				})
				b.ReportAllocs()
				fill(b, store, clients, b.N)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "saves/s")
				b.ReportMetric(float64(b.N)/float64(transactions.Load()), "saves/commit")
			})
		}
	}
}

// BenchmarkTail drains an outbox, by the scan and by the stream, beside loops over nothing but the driver: those read the
// same documents and look at one field of each.
func BenchmarkTail(b *testing.B) {
	const messages = 20_000
	db := mongotest.DB(b)
	store, outbox := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	fill(b, store, 1, 1)
	scanned := tail(b, outbox, "", 1)[0].position
	fill(b, store, 1, 1)
	start := tail(b, outbox, scanned, 1)[0].position // of the stream, with a token
	fill(b, store, 64, messages)
	drain := func(after ports.Position) func(*testing.B) {
		return func(b *testing.B) {
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
	}
	_, token, _ := cutLast(string(start), "|")
	for _, c := range []struct {
		name string
		run  func(*testing.B)
	}{
		{"scan", drain("")},
		{"raw find", func(b *testing.B) {
			byVersion := options.Find().SetSort(bson.D{{Key: "aggregateid", Value: 1}, {Key: "version", Value: 1}}).SetBatchSize(10_000)
			cursor, err := db.Collection("outbox").Find(b.Context(), bson.D{}, byVersion)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = cursor.Close(b.Context()) }()
			for range messages {
				if !cursor.Next(b.Context()) || cursor.Current.Lookup("payload").IsZero() {
					b.Fatal(cursor.Err())
				}
			}
		}},
		{"stream", drain(start)},
		{"raw stream", func(b *testing.B) {
			after := options.ChangeStream().SetBatchSize(1000).SetResumeAfter(bson.D{{Key: "_data", Value: token}})
			stream, err := db.Collection("outbox").Watch(b.Context(), mongo.Pipeline{}, after)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = stream.Close(b.Context()) }()
			for range messages {
				if !stream.Next(b.Context()) || stream.Current.Lookup("fullDocument").IsZero() {
					b.Fatal(stream.Err())
				}
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				c.run(b)
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
					err = store.Save(context.Background(), o, ports.IdempotencyKey{})
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
