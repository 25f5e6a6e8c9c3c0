package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"hexorders/core/order"
	"hexorders/ports"
)

var _ ports.OrderScanner = (*Store)(nil)

// errPageFull ends a query at MaxPageBytes.
var errPageFull = errors.New("the page is full")

// ScanOrders implements ports.OrderScanner.
func (s *Store) ScanOrders(ctx context.Context, after string, limit int) (page []ports.ScannedOrder, err error) {
	bytes := 0
	err = s.db.query(ctx, selectOrder+`WHERE id > ? ORDER BY id LIMIT ?`, []any{after, limit}, func(rows *sql.Rows) error {
		var r row
		if err := rows.Scan(r.fields()...); err != nil {
			return err
		}
		scanned := ports.ScannedOrder{ID: r.id}
		scanned.Order, scanned.Err = r.order()
		page = append(page, scanned)
		if bytes += len(r.items); bytes >= ports.MaxPageBytes {
			return errPageFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, fmt.Errorf("scan orders after %.80q: %w", after, err)
	}
	return page, nil
}

// ScanMessages implements ports.OrderScanner. There is an index in this order.
func (s *Store) ScanMessages(ctx context.Context, after ports.EventRef, limit int) (page []ports.Message, err error) {
	bytes := 0
	err = s.db.query(ctx, selectFromOutboxByOrder, []any{after.OrderID, after.Version, limit}, func(rows *sql.Rows) error {
		var m ports.Message
		var occurredAt string
		if err := rows.Scan(&m.OrderID, &m.Version, &m.Type, &m.Payload, &occurredAt, &m.TraceParent); err != nil {
			return err
		}
		m.ID = m.OrderID + "/" + strconv.Itoa(m.Version)
		var err error
		if m.OccurredAt, err = parseTime(occurredAt); err != nil {
			return fmt.Errorf("message %s: %w: %w", m.ID, order.ErrInvalidHistory, err)
		}
		page = append(page, m)
		if bytes += len(m.Payload); bytes >= ports.MaxPageBytes {
			return errPageFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, fmt.Errorf("scan messages after %.80q, version %d: %w", after.OrderID, after.Version, err)
	}
	return page, nil
}

const selectFromOutboxByOrder = `SELECT order_id, version, type, payload, occurred_at, traceparent FROM outbox
	WHERE (order_id, version) > (?, ?) ORDER BY order_id, version LIMIT ?`
