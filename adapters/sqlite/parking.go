package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"hexorders/ports"
)

// Parking implements ports.Parking with one row for each message. A requested retry is stored in every row of the
// order, so it lasts until the last of them is deleted.
type Parking struct{ db *DB }

var _ ports.Parking = (*Parking)(nil)

func NewParking(db *DB) *Parking { return &Parking{db} }

func (p *Parking) Park(ctx context.Context, m ports.Message, reason string) error {
	args := append(messageColumns(m), reason, formatTime(time.Now()), m.OrderID)
	err := p.db.writer.do(ctx, len(m.Payload), func(t *tx) error {
		_, err := t.exec(`INSERT INTO parked
				(order_id, version, type, payload, occurred_at, traceparent, reason, parked_at, retry)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(retry), 0) FROM parked WHERE order_id = ?))
			ON CONFLICT (order_id, version) DO UPDATE SET reason = excluded.reason`, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("park message %s: %w", m.ID, err)
	}
	return nil
}

func (p *Parking) Parked(ctx context.Context) (list []ports.ParkedOrder, err error) {
	err = p.db.query(ctx, `SELECT order_id, version, messages, reason, parked_at, retry
		FROM parked JOIN (SELECT order_id, min(version) AS version, count(*) AS messages FROM parked GROUP BY order_id)
		USING (order_id, version) ORDER BY order_id`, nil, func(rows *sql.Rows) error {
		o, err := scanParked(rows)
		list = append(list, o)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list parked orders: %w", err)
	}
	return list, nil
}

// scanParked reads an order with the columns order_id, first version, messages, reason, since and retry.
func scanParked(rows *sql.Rows) (o ports.ParkedOrder, err error) {
	var since string
	if err := rows.Scan(&o.OrderID, &o.First, &o.Messages, &o.Reason, &since, &o.Retry); err != nil {
		return o, err
	}
	o.Since, err = parseTime(since)
	return o, err
}

func (p *Parking) Messages(ctx context.Context, orderID string) ([]ports.Message, error) {
	rows, err := p.db.messagesAfter(ctx, `SELECT rowid, order_id, version, type, payload, occurred_at, traceparent
		FROM parked WHERE order_id = ? ORDER BY version`, orderID)
	if err != nil {
		return nil, fmt.Errorf("read parked messages of order %q: %w", orderID, err)
	}
	messages := make([]ports.Message, len(rows))
	for i, m := range rows {
		messages[i] = m.Message
	}
	return messages, nil
}

func (p *Parking) Retry(ctx context.Context, orderID string) error {
	err := p.db.writer.do(ctx, 0, func(t *tx) error {
		changed, err := t.exec(`UPDATE parked SET retry = 1 WHERE order_id = ?`, orderID)
		if err == nil && changed == 0 {
			return ports.ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("retry parked order %.80q: %w", orderID, err)
	}
	return nil
}

func (p *Parking) Unpark(ctx context.Context, m ports.Message) error {
	err := p.db.writer.do(ctx, 0, func(t *tx) error {
		_, err := t.exec(`DELETE FROM parked WHERE order_id = ? AND version = ?`, m.OrderID, m.Version)
		return err
	})
	if err != nil {
		return fmt.Errorf("unpark message %s: %w", m.ID, err)
	}
	return nil
}

func (p *Parking) Refused(ctx context.Context, orderID, reason string) error {
	err := p.db.writer.do(ctx, 0, func(t *tx) error {
		if _, err := t.exec(`UPDATE parked SET retry = 0 WHERE order_id = ?`, orderID); err != nil {
			return err
		}
		_, err := t.exec(`UPDATE parked SET reason = ? WHERE order_id = ?
			AND version = (SELECT min(version) FROM parked AS first WHERE first.order_id = parked.order_id)`, reason, orderID)
		return err
	})
	if err != nil {
		return fmt.Errorf("record that order %q stays parked: %w", orderID, err)
	}
	return nil
}
