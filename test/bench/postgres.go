package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"hexorders/adapters/postgres"
)

// pgxLoop is a transaction a save: BEGIN, the order, its message, COMMIT.
const pgxLoop = "raw pgx loop"

// overPostgres is POST /orders with PostgreSQL as the store.
func overPostgres(ctx context.Context, l *lab) (results []result, err error) {
	served, bare, drop, err := l.schemas(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	service, err := l.serve(ctx, l.newName(), l.newName(), "api", "HEXORDERS_STORE=postgres", "HEXORDERS_POSTGRES_URI="+served)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, service.stop()) }()
	loop, err := newRawPostgres(ctx, bare, max(l.many, l.clients[len(l.clients)-1]))
	if err != nil {
		return nil, err
	}
	defer loop.pool.Close()

	orders := func() (method, url, body string, ok bool) { return "POST", "/orders", newOrder, true }
	for _, clients := range []int{1, l.many} {
		title := "POST /orders over PostgreSQL, " + inWords(clients)
		lines := []line{
			{title, ours, pgxLoop, rate, "orders/s", aim{}},
			{title + ": p99", ours, pgxLoop, p99, "ms", aim{}},
		}
		if clients == l.many { // one client may need less processor time than the kernel's clock can tell
			lines[0].aim = atLeast(2)
			lines = append(lines,
				line{title + ": processor time of the service, of the raw loop, an order", ours, pgxLoop, cpu, "µs", aim{}})
		}
		r, err := l.compare(ctx, title, []side{
			{ours, func(ctx context.Context) (sample, error) { return l.load(ctx, service, clients, asFast, orders) }},
			{pgxLoop, func(ctx context.Context) (sample, error) {
				return l.rawLoop(ctx, clients, func(ctx context.Context) (bool, error) { return true, loop.create(ctx) })
			}},
		}, lines...)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// schemas makes two new ones with the tables of the service.
func (l *lab) schemas(ctx context.Context) (one, other string, drop func() error, err error) {
	conn, err := pgx.Connect(ctx, l.postgresURI)
	if err != nil {
		return "", "", nil, fmt.Errorf("run scripts/services up postgres: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var names, uris []string
	for range 2 {
		name := strings.ReplaceAll(l.newName(), "-", "_")
		uri, err := inSchema(l.postgresURI, name)
		if err == nil {
			_, err = conn.Exec(ctx, "CREATE SCHEMA "+name)
		}
		if err == nil {
			err = prepare(ctx, uri)
		}
		if err != nil {
			return "", "", nil, err
		}
		names, uris = append(names, name), append(uris, uri)
	}
	return uris[0], uris[1], func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, l.postgresURI)
		if err == nil {
			_, err = conn.Exec(ctx, "DROP SCHEMA "+strings.Join(names, ", ")+" CASCADE")
			err = errors.Join(err, conn.Close(ctx))
		}
		return err
	}, nil
}

func inSchema(uri, schema string) (string, error) {
	parsed, err := url.Parse(uri)
	if err != nil {
		return "", err
	}
	parameters := parsed.Query()
	parameters.Set("search_path", schema)
	parsed.RawQuery = parameters.Encode()
	return parsed.String(), nil
}

func prepare(ctx context.Context, uri string) error {
	db, err := postgres.Open(ctx, uri, postgres.Options{})
	if err != nil {
		return err
	}
	return db.Close(ctx)
}

// rawPostgres has a connection for each client, and the driver's prepared statements.
type rawPostgres struct{ pool *pgxpool.Pool }

func newRawPostgres(ctx context.Context, uri string, clients int) (*rawPostgres, error) {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(clients)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return &rawPostgres{pool}, err
}

// create writes what the service writes. The order's row is an upsert, as the next save of it would be.
func (r *rawPostgres) create(ctx context.Context) error {
	o, m := newDocuments(time.Now())
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO orders (id, buyer_id, status, version, items, created_at, updated_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE
				SET status = excluded.status, version = excluded.version, items = excluded.items, updated_at = excluded.updated_at`,
			o.ID, o.BuyerID, o.Status, o.Version, `[{"productId":"1111","amount":3}]`, o.CreatedAt, o.UpdatedAt); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO outbox (order_id, version, type, payload, occurred_at, traceparent)
			VALUES ($1, $2, $3, $4, $5, '')`, m.AggregateID, m.Version, m.Type, m.Payload, m.OccurredAt)
		return err
	})
}
