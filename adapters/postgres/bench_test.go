package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest/contest"
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
			contestants := []contest.Contestant[saveable]{
				{Name: "raw", Save: rawLoop(b, clients, nothing)},
				{Name: "raw+advisory", Save: rawLoop(b, clients, func(ctx context.Context, tx pgx.Tx) error {
					_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(1)`)
					return err
				})},
				{Name: "raw+table", Save: rawLoop(b, clients, func(ctx context.Context, tx pgx.Tx) error {
					_, err := tx.Exec(ctx, `LOCK TABLE outbox IN EXCLUSIVE MODE`)
					return err
				})},
				{Name: "store", Save: storeLoop(b, nil)},
				{Name: "unlocked", Save: storeLoop(b, func(db *DB) { db.outbox.take = `SELECT $1::bigint` })},
				{Name: "table", Save: storeLoop(b, func(db *DB) {
					db.outbox.take = `WITH key AS (SELECT $1::bigint) SELECT lock_outbox() FROM key`
				})},
			}
			contest.Run(b, clients, saves, contestants, func(number int) saveable { return newSaveable(b, number) })
		})
	}
}

// saveable is a new order, and the rows that saving it writes.
type saveable struct {
	order   *order.Order
	items   string
	message ports.Message
}

func newSaveable(b *testing.B, number int) saveable {
	b.Helper()
	o := contest.Order(b, number)
	messages, err := eventjson.Messages(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	items, err := encodeItems(o.Snapshot().Items)
	if err != nil {
		b.Fatal(err)
	}
	return saveable{o, items, messages[0]}
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
