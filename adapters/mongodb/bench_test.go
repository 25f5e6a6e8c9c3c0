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
	"hexorders/core/order"
	"hexorders/ports"
)

// BenchmarkSave creates orders, as POST /orders does.
func BenchmarkSave(b *testing.B) {
	for _, clients := range []int{1, 16, 64, 128} {
		for _, batch := range []int{1, 256} {
			b.Run(fmt.Sprintf("clients=%d/batch=%d", clients, batch), func(b *testing.B) {
				var transactions atomic.Int64
				store := mongodb.NewStore(testDB(b), mongodb.Options{
					MaxBatch: batch, Committed: func(int) { transactions.Add(1) },
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
	db := testDB(b)
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

// BenchmarkCommit commits batches of 1,000 messages to the view of orders, beside a bulk write of the same rows by nothing
// but the driver.
func BenchmarkCommit(b *testing.B) {
	for _, shape := range []struct{ orders, each int }{{1000, 1}, {334, 3}} {
		var batches [][]ports.Summary
		for n := 0; n < 20; n++ {
			var rows []ports.Summary
			for range shape.orders {
				rows = append(rows, ports.Summary{
					OrderID: uuid.Must(uuid.NewV7()).String(), Version: shape.each, Buyer: fmt.Sprintf("buyer-%d", len(rows)%97),
					Items:       []order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}},
					TotalAmount: 11, Status: order.StatusPending, CreatedAt: at, UpdatedAt: at,
				})
			}
			batches = append(batches, rows)
		}
		run := func(name string, commit func(b *testing.B, db *mongo.Database) func(n int, rows []ports.Summary) error) {
			b.Run(fmt.Sprintf("%s/%dx%d", name, shape.orders, shape.each), func(b *testing.B) {
				b.ReportAllocs()
				events := 0
				for range b.N {
					b.StopTimer()
					one := commit(b, testDB(b))
					if err := one(0, nil); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					for n, rows := range batches {
						if err := one(n+1, rows); err != nil {
							b.Fatal(err)
						}
						events += len(rows) * shape.each
					}
				}
				b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			})
		}
		run("view", func(b *testing.B, db *mongo.Database) func(int, []ports.Summary) error {
			views, g := mongodb.NewViews(db, mongodb.ViewsOptions{}), ports.Generation{View: ports.OrderSummary, Number: 1}
			return func(n int, rows []ports.Summary) error {
				c := ports.Change{Summaries: rows, Positions: []ports.PositionChange{{From: int64(n), To: int64(n + 1), AsOf: at}}}
				for _, s := range rows {
					c.Marks = append(c.Marks, ports.MarkChange{Mark: ports.Mark{OrderID: s.OrderID, Version: s.Version}})
					for version := range s.Version {
						c.Received = append(c.Received, fmt.Sprint(s.OrderID, "/", version+1))
					}
				}
				return views.Commit(b.Context(), g, c)
			}
		})
		run("raw", func(b *testing.B, db *mongo.Database) func(int, []ports.Summary) error {
			rows := db.Collection("rows")
			return func(_ int, summaries []ports.Summary) error {
				var writes []mongo.WriteModel
				for _, s := range summaries {
					writes = append(writes, mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: s.OrderID}}).SetReplacement(s).SetUpsert(true))
				}
				if len(writes) == 0 {
					return nil
				}
				_, err := rows.BulkWrite(b.Context(), writes, options.BulkWrite().SetOrdered(false))
				return err
			}
		})
	}
}
