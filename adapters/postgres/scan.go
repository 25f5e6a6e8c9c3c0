package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"hexorders/ports"
)

var _ ports.OrderScanner = (*Store)(nil)

// errPageFull ends a query at MaxPageBytes.
var errPageFull = errors.New("the page is full")

// ScanOrders implements ports.OrderScanner.
func (s *Store) ScanOrders(ctx context.Context, after string, limit int) (page []ports.ScannedOrder, err error) {
	bytes := 0
	err = s.db.query(ctx, `SELECT `+orderColumns+` FROM orders WHERE id > $1 ORDER BY id LIMIT $2`, []any{after, limit},
		func(rows pgx.Rows) error {
			var r row
			if err := rows.Scan(r.fields()...); err != nil {
				return err
			}
			scanned := ports.ScannedOrder{ID: r.state.ID}
			scanned.Order, scanned.Err = r.order()
			page = append(page, scanned)
			if bytes += len(r.items); bytes >= ports.MaxPageBytes {
				return errPageFull
			}
			return nil
		})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, fail(ctx, fmt.Sprintf("scan orders after %.80q", after), err)
	}
	return page, nil
}

// ScanMessages implements ports.OrderScanner. There is an index in this order.
func (s *Store) ScanMessages(ctx context.Context, after ports.EventRef, limit int) (page []ports.Message, err error) {
	bytes := 0
	err = s.db.query(ctx, `SELECT seq, `+messageColumns+` FROM outbox WHERE (order_id, version) > ($1, $2)
		ORDER BY order_id, version LIMIT $3`, []any{after.OrderID, after.Version, limit}, func(rows pgx.Rows) error {
		m, err := scanMessage(rows)
		page = append(page, m.Message)
		if bytes += len(m.Payload); err == nil && bytes >= ports.MaxPageBytes {
			return errPageFull
		}
		return err
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, fail(ctx, fmt.Sprintf("scan messages after %.80q, version %d", after.OrderID, after.Version), err)
	}
	return page, nil
}
