package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"hexorders/adapters/eventjson"
	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest/contest"
)

// BenchmarkSave sets Save against a raw loop, which does the same two inserts and the commit through the same driver
// and has nothing else to do. They take turns in one run, in many short rounds, so that what else the machine does
// meets all of them:
//
//	go test -run '^$' -bench Save -benchtime 50x ./adapters/sqlite
//
// single/raw and grouped/raw are medians of the rounds' ratios; single is the store without group commit. The log gives
// the middle half of the rounds beside each median.
func BenchmarkSave(b *testing.B) {
	for _, clients := range []int{32, 1} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			const saves = 320 // a round of a tenth of a second or two
			contestants := []contest.Contestant[saveable]{
				{Name: "raw", Save: rawLoop(b)},
				{Name: "single", Save: storeLoop(b, options{maxBatch: 1})},
				{Name: "grouped", Save: storeLoop(b, options{})},
			}
			contest.Run(b, clients, saves, contestants, func(number int) saveable { return newSaveable(b, number) })
		})
	}
}

// saveable is a new order, and the rows that saving it writes.
type saveable struct {
	order     *order.Order
	orderRow  []any
	outboxRow []any
}

func newSaveable(b *testing.B, number int) saveable {
	b.Helper()
	o := contest.Order(b, number)
	messages, err := eventjson.Messages(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	state := o.Snapshot()
	items, err := encodeItems(state.Items)
	if err != nil {
		b.Fatal(err)
	}
	return saveable{
		order: o,
		orderRow: []any{state.ID, state.Buyer, string(state.Status), state.Version, items,
			formatTime(state.CreatedAt), formatTime(state.UpdatedAt)},
		outboxRow: messageColumns(messages[0]),
	}
}

func storeLoop(b *testing.B, o options) func(saveable) error {
	b.Helper()
	store, ctx := NewStore(openWith(b, filepath.Join(b.TempDir(), "orders.db"), o)), b.Context()
	return func(s saveable) error { return store.Save(ctx, s.order, ports.IdempotencyKey{}) }
}

// rawLoop is as fast as database/sql and one connection go: the same file, pragmas and tables, prepared statements.
func rawLoop(b *testing.B) func(saveable) error {
	b.Helper()
	path := filepath.Join(b.TempDir(), "orders.db")
	if err := openAt(b, path).Close(); err != nil {
		b.Fatal(err)
	}
	pool, err := connect(path, "synchronous(FULL)", "busy_timeout(5000)")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = pool.Close() })
	ctx := context.Background()
	conn, err := pool.Conn(ctx)
	if err != nil {
		b.Fatal(err)
	}
	prepare := func(query string) *sql.Stmt {
		statement, err := conn.PrepareContext(ctx, query)
		if err != nil {
			b.Fatal(err)
		}
		return statement
	}
	begin, commit := prepare("BEGIN IMMEDIATE"), prepare("COMMIT")
	insertOrder, insertMessage := prepare(insertOrder), prepare(insertIntoOutbox)
	var mu sync.Mutex
	return func(s saveable) error {
		mu.Lock()
		defer mu.Unlock()
		if _, err := begin.Exec(); err != nil {
			return err
		}
		if _, err := insertOrder.Exec(s.orderRow...); err != nil {
			return err
		}
		if _, err := insertMessage.Exec(s.outboxRow...); err != nil {
			return err
		}
		_, err := commit.Exec()
		return err
	}
}

// BenchmarkReadModelCommit commits new orders of many buyers to the three views, 200 at once:
//
//	go test -run '^$' -bench ReadModelCommit ./adapters/sqlite
func BenchmarkReadModelCommit(b *testing.B) {
	const orders = 200
	m := NewReadModel(openNew(b), readside.Tables(readside.All))
	g, err := m.Live(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	document := []byte(`{"id":"0197b3a4-0000-7000-8000-000000000000","items":[{"productId":"1111","amount":3}],"status":"pending"}`)
	for n := 0; b.Loop(); n += orders {
		var c ports.Change
		var summaries, entries []ports.Row
		var activity []ports.Addition
		for i := n; i < n+orders; i++ {
			id, buyer := fmt.Sprintf("0197b3a4-0000-7000-8000-%012d", i), fmt.Sprintf("buyer-%d", i*7919%1000)
			c.Progress = append(c.Progress, ports.ProgressChange{Progress: ports.Progress{OrderID: id, Version: 1, State: document}})
			summaries = append(summaries, ports.Row{Key: id, Body: document, Fields: []ports.Field{
				{Name: "buyer", Value: buyer}, {Name: "status", Value: "pending"},
				{Name: "updatedAt", Value: int64(i)}, {Name: "totalAmount", Value: int64(i % 50)},
			}})
			entries = append(entries, ports.Row{Key: id + "\x1f000000001", Body: document})
			activity = append(activity, ports.Addition{Key: buyer, Add: []ports.Count{{Name: "pending", Value: 1}}})
		}
		c.Rows = map[string]ports.RowChanges{
			readside.OrderSummary.Name:  {Insert: summaries},
			readside.Timeline.Name:      {Insert: entries},
			readside.BuyerActivity.Name: {Add: activity},
		}
		if err := m.Commit(b.Context(), g, c); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/orders, "µs/order")
}
