package readmodel_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/adapters/mongodb/mongotest"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/app/readside"
	"hexorders/ports"
)

// BenchmarkCommit commits batches to the tables of the program's views, and after each one lets a loop over nothing but the
// driver write the same documents to collections with the same indexes, without a transaction, a guard or a counter:
// InsertMany for new orders, an unordered BulkWrite of replacements for known ones. It says what an order costs, of both
// (raw is the loop): wall time, and processor time of the server and of this process. Run it with -benchtime 100x.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{200, 1000} {
		for was, name := range []string{"new", "known"} {
			b.Run(fmt.Sprintf("batch=%d/%s", size, name), func(b *testing.B) {
				store, commit := benchStore(b)
				loop, prepare := benchStore(b)
				all := make([][]benchOrder, b.N)
				for i := range all {
					all[i] = newOrders(size)
					if was == 1 {
						commit(batch(1+i, all[i], 1))
						prepare(batch(1+i, all[i], 1))
					}
				}
				server := serverPID(b, store)
				var ours, raw cost
				b.ResetTimer()
				for i, orders := range all {
					c := batch(1+was*b.N+i, orders, 1+was)
					ours.of(server, func() { commit(c) })
					raw.of(server, func() { plain(b, loop, c) })
				}
				for name, c := range map[string]cost{"": ours, "raw-": raw} {
					for unit, d := range map[string]time.Duration{"us/order": c.wall, "mongod-us/order": c.server, "own-us/order": c.own} {
						b.ReportMetric(float64(d.Microseconds())/float64(b.N*size), name+unit)
					}
				}
			})
		}
	}
}

// benchStore is a store with one order, and its database.
func benchStore(b *testing.B) (*mongo.Database, func(ports.Change)) {
	db := mongotest.DB(b)
	store := readmodel.New(db, readside.Tables(readside.All), readmodel.Options{})
	live, err := store.Live(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	commit := func(c ports.Change) {
		if err := store.Commit(b.Context(), live, c); err != nil {
			b.Fatal(err)
		}
	}
	commit(batch(0, newOrders(1), 1)) // makes the collections
	return db, commit
}

type cost struct{ wall, server, own time.Duration }

func (c *cost) of(server string, do func()) {
	runtime.GC() // of what others have left
	serverWas := cpuTime(server)
	ownWas, start := cpuTime("self"), time.Now()
	do()
	c.wall += time.Since(start)
	c.own += cpuTime("self") - ownWas
	c.server += cpuTime(server) - serverWas
}

// BenchmarkCommitOfOne is what a commit costs that one message is alone in.
func BenchmarkCommitOfOne(b *testing.B) {
	_, commit := benchStore(b)
	n := 1
	for b.Loop() {
		commit(batch(n, newOrders(1), 1))
		n++
	}
}

type benchOrder struct{ id, buyer string }

func newOrders(n int) []benchOrder {
	orders := make([]benchOrder, n)
	for i := range orders {
		orders[i] = benchOrder{uuid.Must(uuid.NewV7()).String(), "buyer-" + strconv.Itoa(i%20)}
	}
	return orders
}

// batch is the change that each order's next message makes: version 1 or 2.
func batch(n int, orders []benchOrder, version int) ports.Change {
	const created = `{"id":"%s","buyerId":"%s","items":[{"productId":"1111","amount":3}],"totalAmount":%d,"status":"%s",` +
		`"version":%d,"createdAt":"2026-01-02T03:04:05.678Z","updatedAt":"2026-01-02T03:04:05.678Z"}`
	const entry = `{"version":%d,"type":"OrderCreated","occurredAt":"2026-01-02T03:04:05.678Z","text":"created for buyer %s, with 1 item"}`
	now, status := time.Now(), [...]string{"", "pending", "submitted"}[version]
	place := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	c := ports.Change{Places: []ports.PlaceChange{{Shard: "p0", From: place(n), To: place(n + 1), AsOf: now}}}
	var summaries, timeline ports.RowChanges
	added := map[string]int64{}
	for _, o := range orders {
		body := fmt.Appendf(nil, created, o.id, o.buyer, 2+version, status, version)
		c.Progress = append(c.Progress, ports.ProgressChange{
			Progress: ports.Progress{OrderID: o.id, Version: version, Newest: version, State: body}, WasVersion: version - 1,
		})
		row := ports.Row{Key: o.id, Body: body, Fields: []ports.Field{
			{Name: "buyer", Value: o.buyer}, {Name: "status", Value: status},
			{Name: "updatedAt", Value: now.UnixMilli()}, {Name: "totalAmount", Value: int64(2 + version)},
		}}
		if version == 1 {
			summaries.Insert = append(summaries.Insert, row)
		} else {
			summaries.Put = append(summaries.Put, row)
		}
		timeline.Insert = append(timeline.Insert, ports.Row{
			Key: fmt.Sprintf("%s%09d", readside.TimelinePrefix(o.id), version), Body: fmt.Appendf(nil, entry, version, o.buyer),
		})
		added[o.buyer]++
	}
	var activity ports.RowChanges
	for buyer, n := range added {
		activity.Add = append(activity.Add, ports.Addition{
			Key: buyer, Add: []ports.Count{{Name: status, Value: n}}, Max: []ports.Count{{Name: "lastAt", Value: now.UnixMilli()}},
		})
	}
	c.Rows = map[string]ports.RowChanges{"order-summary": summaries, "timeline": timeline, "buyer-activity": activity}
	return c
}

// plain writes the documents of a change by the means of the driver.
func plain(b *testing.B, db *mongo.Database, c ports.Change) {
	var records, known []any
	for _, p := range c.Progress {
		record := bson.D{
			{Key: "_id", Value: p.OrderID}, {Key: "version", Value: int64(p.Version)}, {Key: "newest", Value: int64(p.Newest)},
			{Key: "buffered", Value: int64(p.Buffered)}, {Key: "state", Value: string(p.State)},
		}
		if p.WasVersion == 0 {
			records = append(records, record)
		} else {
			known = append(known, record)
		}
	}
	documents := func(rows []ports.Row) (list []any) {
		for _, row := range rows {
			d := bson.D{{Key: "_id", Value: row.Key}}
			if len(row.Fields) > 0 {
				var fields bson.D
				for _, f := range row.Fields {
					fields = append(fields, bson.E{Key: f.Name, Value: f.Value})
				}
				d = append(d, bson.E{Key: "f", Value: fields})
			}
			list = append(list, append(d, bson.E{Key: "body", Value: string(row.Body)}))
		}
		return list
	}
	for _, w := range []struct {
		to             string
		insert, change []any
	}{
		{"progress", records, known},
		{"order-summary", documents(c.Rows["order-summary"].Insert), documents(c.Rows["order-summary"].Put)},
		{"timeline", documents(c.Rows["timeline"].Insert), nil},
	} {
		collection := db.Collection("readmodel.1." + w.to)
		if len(w.insert) > 0 {
			if _, err := collection.InsertMany(b.Context(), w.insert); err != nil {
				b.Fatal(err)
			}
		}
		if len(w.change) > 0 {
			replacements := make([]mongo.WriteModel, len(w.change))
			for i, d := range w.change {
				byID := bson.D{d.(bson.D)[0]}
				replacements[i] = mongo.NewReplaceOneModel().SetFilter(byID).SetReplacement(d).SetUpsert(true)
			}
			if _, err := collection.BulkWrite(b.Context(), replacements, options.BulkWrite().SetOrdered(false)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func serverPID(b *testing.B, db *mongo.Database) string {
	b.Helper()
	var status struct{ PID int64 }
	if err := db.RunCommand(b.Context(), bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status); err != nil {
		b.Fatal(err)
	}
	return strconv.FormatInt(status.PID, 10)
}

// cpuTime is the processor time of all threads of a process of this machine, as Linux counts it; 0 elsewhere.
func cpuTime(pid string) (sum time.Duration) {
	threads, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
	for _, thread := range threads {
		stat, _ := os.ReadFile(thread)
		nanoseconds, _, _ := strings.Cut(string(stat), " ")
		n, _ := strconv.ParseInt(nanoseconds, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}
