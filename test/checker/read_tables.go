package checker

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver

	"hexorders/core/order"
)

// readTables reads all tables of SQLite or PostgreSQL as they were at one moment. Both have the same names.
func (r *Reader) readTables(ctx context.Context, h *History) (err error) {
	options, instant := &sql.TxOptions{ReadOnly: true}, func(column string) string { return column }
	if r.source.Postgres != "" {
		options.Isolation = sql.LevelRepeatableRead
		instant = func(column string) string {
			return `to_char(` + column + ` AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
		}
	}
	tx, err := r.tables.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()

	h.Orders, err = readRows(ctx, tx,
		"SELECT id, buyer_id, status, version, items, "+instant("created_at")+", "+instant("updated_at")+" FROM orders",
		func(rows *sql.Rows) (s order.Snapshot, err error) {
			var items, created, updated string
			if err := rows.Scan(&s.ID, &s.Buyer, &s.Status, &s.Version, &items, &created, &updated); err != nil {
				return s, err
			}
			var parsed []struct {
				ProductID string
				Amount    int
			}
			err = json.Unmarshal([]byte(items), &parsed)
			for _, item := range parsed {
				s.Items = append(s.Items, order.Item{Product: item.ProductID, Amount: item.Amount})
			}
			var err2, err3 error
			s.CreatedAt, err2 = time.Parse(time.RFC3339Nano, created)
			s.UpdatedAt, err3 = time.Parse(time.RFC3339Nano, updated)
			return s, errors.Join(err, err2, err3)
		})
	if err != nil {
		return err
	}
	h.Outbox, err = readRows(ctx, tx,
		"SELECT order_id, version, type, payload, "+instant("occurred_at")+", traceparent FROM outbox ORDER BY seq",
		func(rows *sql.Rows) (d Document, err error) {
			var occurred string
			d.AggregateType = "order"
			if err := rows.Scan(&d.AggregateID, &d.Version, &d.Type, &d.Payload, &occurred, &d.TraceParent); err != nil {
				return d, err
			}
			d.ID = d.AggregateID + "/" + strconv.Itoa(d.Version)
			d.OccurredAt, err = time.Parse(time.RFC3339Nano, occurred)
			return d, err
		})
	if err != nil {
		return err
	}
	h.Parked, err = readRows(ctx, tx, "SELECT order_id || '/' || version FROM parked", func(rows *sql.Rows) (id string, err error) {
		return id, rows.Scan(&id)
	})
	return err
}

func readRows[T any](ctx context.Context, tx *sql.Tx, query string, read func(*sql.Rows) (T, error)) (all []T, err error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of Err
	for rows.Next() {
		one, err := read(rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
