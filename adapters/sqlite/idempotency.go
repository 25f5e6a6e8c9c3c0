package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hexorders/ports"
)

// StoredResult implements ports.IdempotencyStore.
func (s *Store) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	result := ports.StoredResult{Key: ports.IdempotencyKey{Value: key}}
	var r row
	err := s.db.queryRow(ctx, `SELECT fingerprint, id, buyer_id, status, version, items, created_at, updated_at
		FROM receipts WHERE key = ? AND kept_since > ?`, []any{key, oldestResult()},
		append([]any{&result.Key.Fingerprint}, r.fields()...)...)
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

// storeResult copies the order that has just been written, and deletes up to four expired results: more than one, so
// that the table shrinks, and not all, so that no save is slow after a busy day.
func storeResult(t *tx, key ports.IdempotencyKey, orderID string) error {
	if key.Value == "" {
		return nil
	}
	if _, err := t.exec(`DELETE FROM receipts WHERE key IN
		(SELECT key FROM receipts WHERE kept_since <= ? ORDER BY kept_since LIMIT 4)`, oldestResult()); err != nil {
		return err
	}
	_, err := t.exec(`REPLACE INTO receipts
			(key, fingerprint, id, buyer_id, status, version, items, created_at, updated_at, kept_since)
		SELECT ?, ?, id, buyer_id, status, version, items, created_at, updated_at, ? FROM orders WHERE id = ?`,
		key.Value, key.Fingerprint, formatTime(time.Now()), orderID)
	return err
}

// oldestResult is the time before which a stored result has expired.
func oldestResult() string { return formatTime(time.Now().Add(-ports.ResultsKept)) }
