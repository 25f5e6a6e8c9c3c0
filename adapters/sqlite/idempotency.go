package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"hexorders/core/order"
	"hexorders/ports"
)

// StoredResult implements ports.IdempotencyStore.
func (s *Store) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	result := ports.StoredResult{Key: ports.IdempotencyKey{Value: key}}
	var r row
	var packed []byte
	err := s.db.queryRow(ctx, `SELECT fingerprint, packed_items, id, buyer_id, status, version, items, created_at, updated_at
		FROM receipts WHERE key = ? AND kept_since > ?`, []any{key, oldestResult()},
		append([]any{&result.Key.Fingerprint, &packed}, r.fields()...)...)
	if err == nil && packed != nil {
		r.items, err = unpacker.DecodeAll(packed, nil)
	}
	if err == nil {
		result.Order, err = r.order()
	}
	if err != nil {
		return ports.StoredResult{}, fmt.Errorf("get stored result %q: %w", key, err)
	}
	return result, nil
}

// checkKey runs before anything is written, so that a rejected job does not roll back the others of its transaction.
// The write lock excludes other writers until the commit.
func checkKey(t *tx, key string) error {
	if key == "" {
		return nil
	}
	var taken int
	err := t.queryRow(`SELECT 1 FROM receipts WHERE key = ? AND kept_since > ?`, []any{key, oldestResult()}, &taken)
	switch {
	case err == nil:
		return ports.ErrDuplicateRequest
	case errors.Is(err, ports.ErrNotFound):
		return nil
	}
	return err
}

// packFrom is how many bytes of items are worth compressing.
const packFrom = 1 << 10

// Both are safe for use by many goroutines at once, and fail only for wrong options.
var (
	packer, _   = zstd.NewWriter(nil)
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(16<<20))
)

// resultColumns are the row of an order that is saved under a key. The outbox is trimmed, so that a result needs a copy of
// the order.
func resultColumns(key ports.IdempotencyKey, state order.Snapshot, items string) []any {
	var packed []byte
	if len(items) >= packFrom {
		packed, items = packer.EncodeAll([]byte(items), nil), ""
	}
	return []any{key.Value, key.Fingerprint, state.ID, state.Buyer, string(state.Status), state.Version, items, packed,
		formatTime(state.CreatedAt), formatTime(state.UpdatedAt)}
}

// storeResult inserts a result, and deletes up to four expired ones: more than one, so that the table shrinks, and not
// all, so that no save is slow after a busy day.
func storeResult(t *tx, columns []any) error {
	if columns == nil {
		return nil
	}
	if _, err := t.exec(`DELETE FROM receipts WHERE key IN
		(SELECT key FROM receipts WHERE kept_since <= ? ORDER BY kept_since LIMIT 4)`, oldestResult()); err != nil {
		return err
	}
	_, err := t.exec(`REPLACE INTO receipts
			(key, fingerprint, id, buyer_id, status, version, items, packed_items, created_at, updated_at, kept_since)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, append(columns, formatTime(time.Now()))...)
	return err
}

// oldestResult is the time before which a stored result has expired.
func oldestResult() string { return formatTime(time.Now().Add(-ports.ResultsKept)) }
