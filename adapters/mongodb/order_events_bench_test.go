package mongodb_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

// The benchmarks of docs/event-sourcing.md: the store of states against the store of events. What is compared takes turns
// in one run, so that other load of the machine affects all of it, and each prints the table of the page:
//
//	go test ./adapters/mongodb -run '^$' -v -bench 'LoadByEvents|OfEachStore' -benchtime 30x

// BenchmarkLoadByEvents loads orders of ever more events, with snapshots and without.
func BenchmarkLoadByEvents(b *testing.B) {
	db := mongotest.DB(b)
	states, events := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewEventStore(db, mongodb.Options{})
	var loads []contestant
	load := func(name, id string, store ports.OrderStore) {
		loads = append(loads, contestant{name, func() error {
			_, err := store.Get(b.Context(), id)
			return err
		}})
	}
	load("10 events", "10", events) // the measure of all
	load("state after 1 event", "1", states)
	load("state after 10000 events", "10000", states)
	for _, n := range []int{1, 10, 100, 1_000, 1_099, 10_000} {
		id := fmt.Sprint(n)
		saveInSteps(b, events, id, n, 100)
		saveInSteps(b, states, id, n, 100)
		if n != 10 {
			load(id+" events", id, events)
		}
		if n >= 1000 {
			saveInSteps(b, events, "bare-"+id, n, 100)
			load(id+" events, no snapshot", "bare-"+id, events)
		}
	}
	closeStore(b, events) // takes no more snapshots, so that there stay none where there are none
	bare := bson.D{{Key: "_id", Value: bson.Regex{Pattern: "^bare-"}}}
	if _, err := db.Collection("order_snapshots").DeleteMany(b.Context(), bare); err != nil {
		b.Fatal(err)
	}
	compete(b, loads)
}

// BenchmarkSaveOfEachStore creates an order, and loads and changes it, one saver at a time.
func BenchmarkSaveOfEachStore(b *testing.B) {
	db := mongotest.DB(b)
	var saves []contestant
	for _, s := range bothStores(b, db) {
		var last string
		saves = append(saves, contestant{s.name + ": create", func() error {
			o, err := basketOrder()
			if err == nil {
				last, err = o.ID(), s.Save(b.Context(), o, ports.IdempotencyKey{})
			}
			return err
		}}, contestant{s.name + ": load, change, save", func() error {
			o, err := s.Get(b.Context(), last)
			if err == nil {
				err = o.AddItem("2222", 8, at)
			}
			if err == nil {
				err = s.Save(b.Context(), o, ports.IdempotencyKey{})
			}
			return err
		}})
	}
	compete(b, saves)
}

// BenchmarkCrowdOfEachStore has 64 savers, each of which creates an order, and loads, changes and saves it twice.
func BenchmarkCrowdOfEachStore(b *testing.B) {
	const savers, each = 64, 2
	db := mongotest.DB(b)
	var crowds []contestant
	for _, s := range bothStores(b, db) {
		crowds = append(crowds, contestant{s.name, func() error {
			var all sync.WaitGroup
			var failed atomic.Pointer[error]
			for range savers {
				all.Go(func() {
					for range each {
						if err := liveThrough(b, s, 3); err != nil {
							failed.Store(&err)
						}
					}
				})
			}
			all.Wait()
			if err := failed.Load(); err != nil {
				return *err
			}
			return nil
		}})
	}
	compete(b, crowds)
}

// BenchmarkBytesOfEachStore tells what an order takes, by the number of its events.
func BenchmarkBytesOfEachStore(b *testing.B) {
	const orders = 500
	var table strings.Builder
	table.WriteString("\n| events an order | collection | bytes of BSON | on disk | indexes on disk |\n|---:|---|---:|---:|---:|\n")
	for _, events := range []int{1, 3, 10, 100} {
		db := mongotest.DB(b)
		for _, s := range bothStores(b, db) {
			for range orders {
				o, err := basketOrder()
				for err == nil && o.Version() < events {
					err = o.AddItem("2222", 1, at)
				}
				if err == nil {
					err = s.Save(b.Context(), o, ports.IdempotencyKey{})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			if err := s.close(); err != nil {
				b.Fatal(err)
			}
		}
		// What is on disk is what the last checkpoint of the server wrote there.
		if err := db.Client().Database("admin").RunCommand(b.Context(), bson.D{{Key: "fsync", Value: 1}}).Err(); err != nil {
			b.Fatal(err)
		}
		for _, collection := range []string{"orders", "outbox", "order_events", "order_snapshots"} {
			var size struct {
				Size    float64 `bson:"size"`
				Storage float64 `bson:"storageSize"`
				Indexes float64 `bson:"totalIndexSize"`
			}
			if err := db.RunCommand(b.Context(), bson.D{{Key: "collStats", Value: collection}}).Decode(&size); err != nil {
				b.Fatal(err)
			}
			fmt.Fprintf(&table, "| %d | `%s` | %.0f | %.0f | %.0f |\n", events, collection, size.Size/orders,
				size.Storage/orders, size.Indexes/orders)
		}
	}
	for b.Loop() { // which calls this function once
		b.ReportMetric(orders, "orders")
	}
	b.Log(table.String())
}

// contestant is one of several that take turns.
type contestant struct {
	name string
	run  func() error
}

// compete prints how long each took, the median and the middle half of all rounds, as a ratio to the first one's median.
func compete(b *testing.B, contestants []contestant) {
	b.Helper()
	took := make([][]time.Duration, len(contestants))
	for b.Loop() {
		for i, c := range contestants {
			var last time.Duration
			for range 2 { // the first is out of step: it pays for what the one before left in memory and caches
				runtime.GC()
				begun := time.Now()
				if err := c.run(); err != nil {
					b.Fatalf("%s: %v", c.name, err)
				}
				last = time.Since(begun)
			}
			took[i] = append(took[i], last)
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d rounds\n| what | median time, the first's = 1 | middle half |\n|---|---:|---:|\n", len(took[0]))
	slices.Sort(took[0])
	unit := took[0][(len(took[0])-1)/2].Seconds()
	for i, c := range contestants {
		slices.Sort(took[i])
		at := func(quarter int) float64 { return took[i][(len(took[i])-1)*quarter/4].Seconds() / unit }
		fmt.Fprintf(&table, "| %s | %.2f | %.2f to %.2f |\n", c.name, at(2), at(1), at(3))
	}
	b.Log(table.String())
}

type namedStore struct {
	ports.OrderStore
	name  string
	close func() error
}

func bothStores(b *testing.B, db *mongo.Database) []namedStore {
	states, events := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewEventStore(db, mongodb.Options{})
	return []namedStore{
		{states, "states", func() error { return states.Close(b.Context()) }},
		{events, "events", func() error { return events.Close(b.Context()) }},
	}
}

func basketOrder() (*order.Order, error) {
	return order.New(uuid.Must(uuid.NewV7()).String(), "9999", []order.Item{{Product: "1111", Amount: 3}}, at)
}

// liveThrough makes an order and changes it until it has so many events, each in a save of its own.
func liveThrough(b *testing.B, store ports.OrderStore, events int) error {
	o, err := basketOrder()
	if err != nil {
		return err
	}
	for {
		if err := store.Save(b.Context(), o, ports.IdempotencyKey{}); err != nil || o.Version() == events {
			return err
		}
		if o, err = store.Get(b.Context(), o.ID()); err != nil {
			return err
		}
		if err := o.AddItem("2222", 1, at); err != nil {
			return err
		}
	}
}
