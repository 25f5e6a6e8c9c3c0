package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// Store implements ports.OrderStore, ports.IdempotencyStore, ports.History and, in scan.go, ports.OrderScanner. An order is
// a row with its items as JSON.
type Store struct{ db *DB }

var (
	_ ports.OrderStore       = (*Store)(nil)
	_ ports.IdempotencyStore = (*Store)(nil)
	_ ports.History          = (*Store)(nil)
)

func NewStore(db *DB) *Store { return &Store{db} }

const orderColumns = `id, buyer_id, status, version, items, created_at, updated_at`

func (s *Store) Get(ctx context.Context, id string) (*order.Order, error) {
	var r row
	err := s.db.queryRow(ctx, `SELECT `+orderColumns+` FROM orders WHERE id = $1`, []any{id}, r.fields()...)
	if err != nil {
		return nil, fail(ctx, fmt.Sprintf("get order %.80q", id), err)
	}
	o, err := r.order()
	if err != nil {
		return nil, fmt.Errorf("get order %q: %w", id, err)
	}
	return o, nil
}

// Save encodes on the caller's goroutine, then the committer commits.
func (s *Store) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	messages, err := eventjson.Messages(ctx, o)
	if err != nil || len(messages) == 0 {
		return err
	}
	save, err := encodeSave(o, messages, key)
	if err == nil {
		err = s.db.committer.commit(ctx, save)
	}
	if err != nil {
		return fail(ctx, "save order "+o.ID(), err)
	}
	o.Committed()
	return nil
}

// StoredResult implements ports.IdempotencyStore.
func (s *Store) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	result := ports.StoredResult{Key: ports.IdempotencyKey{Value: key}}
	var r row
	err := s.db.queryRow(ctx, `SELECT fingerprint, `+orderColumns+` FROM results WHERE key = $1 AND `+isKept, []any{key},
		append([]any{&result.Key.Fingerprint}, r.fields()...)...)
	if err == nil {
		result.Order, err = r.order()
	}
	if err != nil {
		return ports.StoredResult{}, fail(ctx, fmt.Sprintf("get stored result %q", key), err)
	}
	return result, nil
}

// isKept is true for results that have not expired (ports.ResultsKept), by the clock of the server.
const isKept = `stored_at > clock_timestamp() - interval '24 hours'`

// Messages implements ports.History.
func (s *Store) Messages(ctx context.Context, orderID string, after, limit int) ([]ports.Message, error) {
	rows, err := s.db.messages(ctx, `SELECT seq, `+messageColumns+` FROM outbox
		WHERE order_id = $1 AND version > $2 ORDER BY version LIMIT $3`, orderID, after, limit)
	return withoutSeqs(rows), fail(ctx, fmt.Sprintf("history of order %.80q", orderID), err)
}

// encodedSave is all that one Save commits.
type encodedSave struct {
	state    order.Snapshot
	loaded   int    // the version that the store must still have; 0 for a new order
	items    string // JSON
	key      ports.IdempotencyKey
	messages []ports.Message
	size     int // bytes, about
}

func encodeSave(o *order.Order, messages []ports.Message, key ports.IdempotencyKey) (*encodedSave, error) {
	s := &encodedSave{state: o.Snapshot(), loaded: o.Version() - len(messages), messages: messages, key: key}
	var err error
	if s.items, err = encodeItems(s.state.Items); err != nil {
		return nil, err
	}
	s.size = len(s.items)
	for _, m := range messages {
		s.size += len(m.Payload)
	}
	return s, nil
}

// refusal is why a save of a batch was left out.
type refusal struct {
	id        string
	duplicate bool // its key is taken; otherwise its order has another version
}

// save queues the statements that commit these saves, of different orders and under different keys. Those that must be refused
// write nothing, and are reported. The lock comes first, in a statement of its own, so that the next one sees all that
// other processes have committed.
func (db *DB) save(in *pgx.Batch, saves []*encodedSave, refuse func(refusal)) {
	db.lock(in, db.outbox)
	in.Queue(saveAll, saveColumns(saves)...).Query(func(rows pgx.Rows) error {
		var r refusal
		_, err := pgx.ForEachRow(rows, []any{&r.id, &r.duplicate}, func() error { refuse(r); return nil })
		return err
	})
	for _, s := range saves {
		if s.key.Value != "" {
			// More than one a save, so that the table shrinks, and not all, so that no save is slow after a busy day.
			in.Queue(`DELETE FROM results WHERE key IN (SELECT key FROM results WHERE NOT `+isKept+` ORDER BY stored_at LIMIT $1)`,
				4*len(saves))
			break
		}
	}
	db.outbox.notify(in)
}

// saveAll is one statement for any number of saves: a column is an array. Its parts share one snapshot.
const saveAll = `WITH saves AS (
	SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::text[], $7::timestamptz[],
			$8::timestamptz[], $9::text[], $10::text[])
		AS s (id, buyer_id, status, loaded, version, items, created_at, updated_at, key, fingerprint)
), taken AS (
	SELECT key FROM results WHERE key = ANY ($9) AND ` + isKept + `
), fresh AS (
	SELECT * FROM saves WHERE key NOT IN (SELECT key FROM taken)
), inserted AS (
	INSERT INTO orders (` + orderColumns + `)
	SELECT ` + orderColumns + ` FROM fresh WHERE loaded = 0
	ON CONFLICT DO NOTHING RETURNING id
), updated AS ( -- an order never changes its buyer
	UPDATE orders AS o SET status = f.status, version = f.version, items = f.items, updated_at = f.updated_at
	FROM fresh AS f WHERE o.id = f.id AND o.version = f.loaded AND f.loaded > 0
	RETURNING o.id
), saved AS (
	SELECT id FROM inserted UNION ALL SELECT id FROM updated
), kept AS (
	INSERT INTO results (key, fingerprint, ` + orderColumns + `, stored_at)
	SELECT key, fingerprint, ` + orderColumns + `, clock_timestamp() FROM fresh JOIN saved USING (id) WHERE key <> ''
	ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, id = excluded.id, buyer_id = excluded.buyer_id,
		status = excluded.status, version = excluded.version, items = excluded.items, created_at = excluded.created_at,
		updated_at = excluded.updated_at, stored_at = excluded.stored_at
), logged AS (
	INSERT INTO outbox (` + messageColumns + `)
	SELECT ` + messageColumns + ` FROM unnest($11::text[], $12::integer[], $13::text[], $14::text[], $15::timestamptz[], $16::text[])
		WITH ORDINALITY AS m (` + messageColumns + `, n)
	WHERE (order_id IN (SELECT id FROM saved)) IS TRUE ORDER BY n -- IS TRUE, so that it is looked up and not joined
)
SELECT id, key IN (SELECT key FROM taken) FROM saves WHERE id NOT IN (SELECT id FROM saved)`

func saveColumns(saves []*encodedSave) []any {
	n := len(saves)
	ids, buyers, states, items := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	loaded, versions := make([]int, n), make([]int, n)
	created, updated := make([]time.Time, n), make([]time.Time, n)
	keys, fingerprints := make([]string, n), make([]string, n)
	var messages []ports.Message
	for i, s := range saves {
		ids[i], buyers[i], states[i], items[i] = s.state.ID, s.state.Buyer, string(s.state.Status), s.items
		loaded[i], versions[i], created[i], updated[i] = s.loaded, s.state.Version, s.state.CreatedAt, s.state.UpdatedAt
		keys[i], fingerprints[i] = s.key.Value, s.key.Fingerprint
		messages = append(messages, s.messages...)
	}
	columns := []any{ids, buyers, states, loaded, versions, items, created, updated, keys, fingerprints}
	return append(columns, columnsOf(messages)...)
}

// row is a row of the table orders.
type row struct {
	state  order.Snapshot
	status string
	items  []byte
}

func (r *row) fields() []any {
	return []any{&r.state.ID, &r.state.Buyer, &r.status, &r.state.Version, &r.items, &r.state.CreatedAt, &r.state.UpdatedAt}
}

func (r *row) order() (*order.Order, error) {
	state := r.state
	state.Status = order.Status(r.status)
	var err error
	if state.Items, err = decodeItems(r.items); err != nil {
		return nil, fmt.Errorf("items of order %q: %w: %w", state.ID, order.ErrInvalidHistory, err)
	}
	state.CreatedAt, state.UpdatedAt = state.CreatedAt.UTC(), state.UpdatedAt.UTC()
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
