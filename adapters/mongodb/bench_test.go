package mongodb_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// BenchmarkCommit commits batches of 1,000 messages to the view of orders, beside a bulk write of the same rows by nothing
// but the driver. The orders are new, in one message each or in three, or they are there already.
func BenchmarkCommit(b *testing.B) {
	type commit func(n, was int, rows []ports.Summary) error
	view := func(db *mongo.Database) commit {
		views, g := mongodb.NewViews(db, mongodb.ViewsOptions{}), ports.Generation{View: ports.OrderSummary, Number: 1}
		return func(n, was int, rows []ports.Summary) error {
			c := ports.Change{Summaries: rows, Positions: []ports.PositionChange{{From: int64(n), To: int64(n + 1), AsOf: at}}}
			for _, s := range rows {
				c.Marks = append(c.Marks, ports.MarkChange{Mark: ports.Mark{OrderID: s.OrderID, Version: s.Version}, Was: was})
				for version := was + 1; version <= s.Version; version++ {
					c.Received = append(c.Received, s.OrderID+"/"+strconv.Itoa(version))
				}
			}
			return views.Commit(b.Context(), g, c)
		}
	}
	raw := func(db *mongo.Database) commit {
		collection := db.Collection("rows")
		return func(_, _ int, rows []ports.Summary) error {
			writes := make([]mongo.WriteModel, len(rows))
			for i, s := range rows {
				writes[i] = mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: s.OrderID}}).SetReplacement(s).SetUpsert(true)
			}
			_, err := collection.BulkWrite(b.Context(), writes, options.BulkWrite().SetOrdered(false))
			return err
		}
	}
	for _, shape := range []struct {
		name              string
		orders, was, each int
	}{{"new", 1000, 0, 1}, {"new in three", 334, 0, 3}, {"known", 1000, 1, 1}} {
		for name, open := range map[string]func(*mongo.Database) commit{"view": view, "raw": raw} {
			b.Run(shape.name+"/"+name, func(b *testing.B) {
				const batches = 20
				b.ReportAllocs()
				for range b.N {
					b.StopTimer()
					put, n := open(testDB(b)), 0
					write := func(was, version int, all [][]ports.Summary) {
						for _, rows := range all {
							for i := range rows {
								rows[i].Version, rows[i].UpdatedAt = version, at.Add(time.Duration(version)*time.Minute)
								if version > 1 {
									rows[i].Status = order.StatusSubmitted
								}
							}
							if err := put(n, was, rows); err != nil {
								b.Fatal(err)
							}
							n++
						}
					}
					write(0, 1, [][]ports.Summary{summaries(1)}) // makes the collections
					var all [][]ports.Summary
					for range batches {
						all = append(all, summaries(shape.orders))
					}
					if shape.was > 0 {
						write(0, shape.was, all)
					}
					b.StartTimer()
					write(shape.was, shape.was+shape.each, all)
				}
				b.ReportMetric(float64(b.N*batches*shape.orders*shape.each)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

func summaries(n int) []ports.Summary {
	list := make([]ports.Summary, n)
	for i := range list {
		list[i] = ports.Summary{
			OrderID: uuid.Must(uuid.NewV7()).String(), Buyer: fmt.Sprintf("buyer-%d", i%97),
			Items:       []order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}},
			TotalAmount: 11, Status: order.StatusPending, CreatedAt: at, UpdatedAt: at,
		}
	}
	return list
}
