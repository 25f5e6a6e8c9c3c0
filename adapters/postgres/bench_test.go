package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// BenchmarkSave sets Save against raw loops over the same tables, which make one transaction a save, and shows what each way
// to keep sequence numbers in the order of commits costs there and in groups. They take turns in one run, in many short
// rounds, so that what else the machine does meets all of them:
//
//	go test -run '^$' -bench Save -benchtime 20x ./adapters/postgres
//
// NAME/raw are medians of the rounds' ratios. The log gives the middle half of the rounds beside each median.
func BenchmarkSave(b *testing.B) {
	for _, clients := range []int{64, 1} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			saves := 10 * clients
			if clients > 1 {
				saves = 20 * clients
			}
			nothing := func(context.Context, pgx.Tx) error { return nil }
			contestants := []struct {
				name string
				save func(saveable) error
			}{
				{"raw", rawLoop(b, clients, nothing)},
				{"raw+advisory", rawLoop(b, clients, func(ctx context.Context, tx pgx.Tx) error {
					_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(1)`)
					return err
				})},
				{"raw+table", rawLoop(b, clients, func(ctx context.Context, tx pgx.Tx) error {
					_, err := tx.Exec(ctx, `LOCK TABLE outbox IN EXCLUSIVE MODE`)
					return err
				})},
				{"store", storeLoop(b, nil)},
				{"unlocked", storeLoop(b, func(db *DB) { db.outbox.take = `SELECT $1::bigint` })},
				{"table", storeLoop(b, func(db *DB) { db.outbox.take = `WITH key AS (SELECT $1::bigint) SELECT lock_outbox() FROM key` })},
			}
			rates := map[string][]float64{}
			next := 0
			for round := 0; b.Loop(); round++ {
				for turn := range contestants { // each contestant is first in turn
					c := contestants[(round+turn)%len(contestants)]
					work := saveables(b, next, saves)
					next += saves
					rates[c.name] = append(rates[c.name], rate(b, clients, work, c.save))
				}
			}
			for _, c := range contestants {
				low, median, high := spread(rates[c.name])
				b.Logf("%-12s %6.0f saves/s (%.0f to %.0f)", c.name, median, low, high)
				ratios := make([]float64, len(rates[c.name]))
				for i, r := range rates[c.name] {
					ratios[i] = r / rates["raw"][i]
				}
				low, median, high = spread(ratios)
				b.Logf("%-12s %6.2f of raw (%.2f to %.2f)", c.name, median, low, high)
				b.ReportMetric(median, c.name+"/raw")
			}
			b.ReportMetric(0, "ns/op") // a round's time says nothing
		})
	}
}

// saveable is a new order, and the rows that saving it writes.
type saveable struct {
	order   *order.Order
	items   string
	message ports.Message
}

func saveables(b *testing.B, first, n int) []saveable {
	b.Helper()
	all := make([]saveable, n)
	for i := range all {
		id := fmt.Sprintf("0197b3a4-0000-7000-8000-%012d", first+i) // grows, as UUIDv7 does
		at := time.Date(2026, time.March, 14, 6, 30, 0, 0, time.UTC).Add(time.Duration(first+i) * time.Millisecond)
		o, err := order.New(id, fmt.Sprintf("buyer-%d", i%1000),
			[]order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}}, at)
		if err != nil {
			b.Fatal(err)
		}
		messages, err := eventjson.Messages(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		items, err := encodeItems(o.Snapshot().Items)
		if err != nil {
			b.Fatal(err)
		}
		all[i] = saveable{o, items, messages[0]}
	}
	return all
}

// rate is how many of these were saved a second by so many clients at once.
func rate(b *testing.B, clients int, work []saveable, save func(saveable) error) float64 {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for range clients {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(work) {
					return
				}
				if err := save(work[i]); err != nil {
					b.Errorf("save: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(len(work)) / time.Since(begun).Seconds()
}

func storeLoop(b *testing.B, change func(*DB)) func(saveable) error {
	b.Helper()
	db := openAt(b, newSchema(b), Options{})
	execute(b, db, `CREATE FUNCTION lock_outbox() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOCK TABLE outbox IN EXCLUSIVE MODE; END $$`)
	if change != nil {
		change(db)
	}
	store, ctx := NewStore(db), b.Context()
	return func(s saveable) error { return store.Save(ctx, s.order, ports.IdempotencyKey{}) }
}

// rawLoop has a connection for each client, prepared statements, and nothing to do but a transaction a save.
func rawLoop(b *testing.B, clients int, begin func(context.Context, pgx.Tx) error) func(saveable) error {
	b.Helper()
	uri := newSchema(b)
	openAt(b, uri, Options{})
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = int32(clients)
	ctx := context.Background()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return func(s saveable) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if err := begin(ctx, tx); err != nil {
				return err
			}
			state := s.order.Snapshot()
			if _, err := tx.Exec(ctx, `INSERT INTO orders (`+orderColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
					ON CONFLICT (id) DO UPDATE SET status = excluded.status, version = excluded.version, items = excluded.items,
						updated_at = excluded.updated_at`,
				state.ID, state.Buyer, string(state.Status), state.Version, s.items, state.CreatedAt, state.UpdatedAt); err != nil {
				return err
			}
			m := s.message
			_, err := tx.Exec(ctx, `INSERT INTO outbox (`+messageColumns+`) VALUES ($1, $2, $3, $4, $5, $6)`,
				m.OrderID, m.Version, m.Type, string(m.Payload), m.OccurredAt, m.TraceParent)
			return err
		})
	}
}

// spread is the median of the values, between their quartiles.
func spread(values []float64) (low, median, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	last := len(sorted) - 1
	return sorted[last/4], sorted[last/2], sorted[last-last/4]
}
