package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hexorders/ports"
)

// Receipt implements ports.Receipts.
func (s *Store) Receipt(ctx context.Context, key string) (ports.Receipt, error) {
	receipt := ports.Receipt{Request: ports.Request{Key: key}}
	var r row
	err := s.db.queryRow(ctx, `SELECT fingerprint, id, buyer_id, status, version, items, created_at, updated_at
		FROM receipts WHERE key = ? AND kept_since > ?`, []any{key, oldestReceipt()}, append([]any{&receipt.Fingerprint}, r.fields()...)...)
	if err == nil {
		receipt.Order, err = r.order()
	}
	if err != nil {
		return ports.Receipt{}, fmt.Errorf("get receipt %q: %w", key, err)
	}
	return receipt, nil
}

// checkKey asks before anything is written: a job that is refused then hurts no other. Nobody can take the key in
// between, for there is one write lock.
func checkKey(t *tx, key string) error {
	if key == "" {
		return nil
	}
	var taken int
	err := t.queryRow(`SELECT 1 FROM receipts WHERE key = ? AND kept_since > ?`, []any{key, oldestReceipt()}, &taken)
	switch {
	case err == nil:
		return ports.ErrRepeated
	case errors.Is(err, ports.ErrNotFound):
		return nil
	}
	return err
}

// keepReceipt writes the receipt of a request whose order has just been written, and drops up to four that are too old:
// more than one, so that they become fewer, and not all, so that no save has to pay for a busy day.
func keepReceipt(t *tx, request ports.Request, orderID string) error {
	if request.Key == "" {
		return nil
	}
	if _, err := t.exec(`DELETE FROM receipts WHERE key IN
		(SELECT key FROM receipts WHERE kept_since <= ? ORDER BY kept_since LIMIT 4)`, oldestReceipt()); err != nil {
		return err
	}
	_, err := t.exec(`REPLACE INTO receipts
			(key, fingerprint, id, buyer_id, status, version, items, created_at, updated_at, kept_since)
		SELECT ?, ?, id, buyer_id, status, version, items, created_at, updated_at, ? FROM orders WHERE id = ?`,
		request.Key, request.Fingerprint, formatTime(time.Now()), orderID)
	return err
}

// oldestReceipt is since when a receipt must have been kept to count.
func oldestReceipt() string { return formatTime(time.Now().Add(-ports.ReceiptsKept)) }
