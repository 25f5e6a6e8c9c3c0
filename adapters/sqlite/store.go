package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// Store implements ports.OrderStore, with one row for each order and its items as JSON, and ports.IdempotencyStore.
type Store struct{ db *DB }

var (
	_ ports.OrderStore       = (*Store)(nil)
	_ ports.IdempotencyStore = (*Store)(nil)
)

func NewStore(db *DB) *Store { return &Store{db} }

func (s *Store) Get(ctx context.Context, id string) (*order.Order, error) {
	var r row
	err := s.db.queryRow(ctx, selectOrder+`WHERE id = ?`, []any{id}, r.fields()...)
	if err == nil {
		var o *order.Order
		if o, err = r.order(); err == nil {
			return o, nil
		}
	}
	return nil, fmt.Errorf("get order %.80q: %w", id, err)
}

// Save writes the order if its stored version is the one that was loaded, one outbox row for each change, and the
// result under the idempotency key, if there is one.
func (s *Store) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("save order %q: %w", o.ID(), err)
	}
	messages, err := eventjson.Messages(ctx, o)
	if err != nil || len(messages) == 0 {
		return err
	}
	// Encode here, on the caller's goroutine: there is only one writer.
	state, loaded := o.Snapshot(), o.Version()-len(messages)
	items, err := encodeItems(state.Items)
	if err != nil {
		return fmt.Errorf("save order %q: %w", o.ID(), err)
	}
	updatedAt, rows, size := formatTime(state.UpdatedAt), make([][]any, len(messages)), len(items)
	for i, m := range messages {
		rows[i] = messageColumns(m)
		size += len(m.Payload)
	}
	var result []any
	if key.Value != "" {
		result = resultColumns(key, state, items)
	}
	err = s.db.writer.do(ctx, size, func(t *tx) error {
		if err := checkKey(t, key.Value); err != nil {
			return err
		}
		var changed int64
		var err error
		if loaded == 0 {
			changed, err = t.exec(insertOrder,
				state.ID, state.Buyer, string(state.Status), state.Version, items, formatTime(state.CreatedAt), updatedAt)
		} else { // an order never changes its buyer
			changed, err = t.exec(updateOrder,
				string(state.Status), state.Version, items, updatedAt, state.ID, loaded)
		}
		if err != nil {
			return err
		}
		if changed == 0 {
			return ports.ErrConflict
		}
		for i, columns := range rows {
			if _, err := t.exec(insertIntoOutbox, columns...); err != nil {
				return err
			}
			t.outbox = append(t.outbox, logged{t.inserted, stored(messages[i])})
		}
		return storeResult(t, result)
	})
	if err != nil {
		return fmt.Errorf("save order %q: %w", o.ID(), err)
	}
	o.Committed()
	return nil
}

const (
	insertOrder = `INSERT INTO orders (id, buyer_id, status, version, items, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	updateOrder = `UPDATE orders SET status = ?, version = ?, items = ?, updated_at = ? WHERE id = ? AND version = ?`
	selectOrder = `SELECT id, buyer_id, status, version, items, created_at, updated_at FROM orders `
)

// row is a row of the table orders.
type row struct {
	id, buyer, status    string
	version              int
	items                []byte
	createdAt, updatedAt string
}

func (r *row) fields() []any {
	return []any{&r.id, &r.buyer, &r.status, &r.version, &r.items, &r.createdAt, &r.updatedAt}
}

func (r *row) order() (*order.Order, error) {
	state := order.Snapshot{ID: r.id, Buyer: r.buyer, Status: order.Status(r.status), Version: r.version}
	var err error
	if state.Items, err = decodeItems(r.items); err != nil {
		return nil, fmt.Errorf("items of order %q: %w: %w", r.id, order.ErrInvalidHistory, err)
	}
	if state.CreatedAt, err = parseTime(r.createdAt); err != nil {
		return nil, fmt.Errorf("order %q: %w: %w", r.id, order.ErrInvalidHistory, err)
	}
	if state.UpdatedAt, err = parseTime(r.updatedAt); err != nil {
		return nil, fmt.Errorf("order %q: %w: %w", r.id, order.ErrInvalidHistory, err)
	}
	return order.Restore(state)
}

type item struct {
	ProductID string `json:"productId"`
	Amount    int    `json:"amount"`
}

func encodeItems(from []order.Item) (string, error) {
	to := make([]item, len(from)) // never nil: [] and not null
	for i, line := range from {
		to[i] = item{line.Product, line.Amount}
	}
	text, err := json.Marshal(to)
	return string(text), err
}

func decodeItems(text []byte) ([]order.Item, error) {
	var from []item
	if err := json.Unmarshal(text, &from); err != nil {
		return nil, err
	}
	to := make([]order.Item, len(from))
	for i, line := range from {
		to[i] = order.Item{Product: line.ProductID, Amount: line.Amount}
	}
	return to, nil
}
