package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"hexorders/ports"
)

// Parking implements ports.Parking with one row a message. A requested retry is stored in every row of the order, so it
// lasts until the last of them is deleted.
type Parking struct{ db *DB }

var _ ports.Parking = (*Parking)(nil)

func NewParking(db *DB) *Parking { return &Parking{db} }

func (p *Parking) Park(ctx context.Context, m ports.Message, reason string) error {
	_, err := p.db.exec(ctx, `INSERT INTO parked (`+messageColumns+`, reason, retry)
		VALUES ($1, $2, $3, $4, $5, $6, $7, (SELECT coalesce(bool_or(retry), false) FROM parked WHERE order_id = $1))
		ON CONFLICT (order_id, version) DO UPDATE SET reason = excluded.reason`,
		m.OrderID, m.Version, m.Type, string(m.Payload), m.OccurredAt, m.TraceParent, text(reason))
	return fail(ctx, "park message "+m.ID, err)
}

func (p *Parking) Parked(ctx context.Context) (list []ports.ParkedOrder, err error) {
	err = p.db.query(ctx, `SELECT DISTINCT ON (order_id) order_id, version, count(*) OVER (PARTITION BY order_id), reason, parked_at, retry
		FROM parked ORDER BY order_id, version`, nil, func(rows pgx.Rows) error {
		o, err := scanParked(rows)
		list = append(list, o)
		return err
	})
	return list, fail(ctx, "list parked orders", err)
}

// scanParked reads an order with the columns order_id, first version, messages, reason, since and retry.
func scanParked(rows pgx.Rows) (o ports.ParkedOrder, err error) {
	err = rows.Scan(&o.OrderID, &o.First, &o.Messages, &o.Reason, &o.Since, &o.Retry)
	o.Since = o.Since.UTC()
	return o, err
}

func (p *Parking) Messages(ctx context.Context, orderID string) ([]ports.Message, error) {
	rows, err := p.db.messages(ctx, `SELECT 0::bigint, `+messageColumns+` FROM parked WHERE order_id = $1 ORDER BY version`, orderID)
	return withoutSeqs(rows), fail(ctx, fmt.Sprintf("read parked messages of order %.80q", orderID), err)
}

func (p *Parking) Retry(ctx context.Context, orderID string) error {
	changed, err := p.db.exec(ctx, `UPDATE parked SET retry = true WHERE order_id = $1`, orderID)
	if err == nil && changed == 0 {
		err = ports.ErrNotFound
	}
	return fail(ctx, fmt.Sprintf("retry parked order %.80q", orderID), err)
}

func (p *Parking) Unpark(ctx context.Context, m ports.Message) error {
	_, err := p.db.exec(ctx, `DELETE FROM parked WHERE order_id = $1 AND version = $2`, m.OrderID, m.Version)
	return fail(ctx, "unpark message "+m.ID, err)
}

func (p *Parking) Refused(ctx context.Context, orderID, reason string) error {
	_, err := p.db.exec(ctx, `UPDATE parked SET retry = false,
			reason = CASE version WHEN (SELECT min(version) FROM parked WHERE order_id = $1) THEN $2 ELSE reason END
		WHERE order_id = $1`, orderID, text(reason))
	return fail(ctx, fmt.Sprintf("record that order %.80q stays parked", orderID), err)
}

// text is what PostgreSQL takes as text: UTF-8 without U+0000. What a server or a foreign message says may be anything.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
