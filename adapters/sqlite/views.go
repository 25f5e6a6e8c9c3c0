package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// Views implements ports.OrderViews, ports.Inbox (inbox.go) and ports.Generations (generations.go). Each query is one
// statement, so that its result belongs to one generation and one moment.
type Views struct{ db *DB }

var (
	_ ports.OrderViews  = (*Views)(nil)
	_ ports.Inbox       = (*Views)(nil)
	_ ports.Generations = (*Views)(nil)
)

func NewViews(db *DB) *Views { return &Views{db} }

// listing is an order of a list for which there is an index. A cursor holds the values of the sorted columns.
type listing struct {
	comparison string // with the last row of the page before
	order      string
	place      func(ports.Summary) []string
}

var (
	byID     = func(s ports.Summary) []string { return []string{s.OrderID} }
	listings = map[ports.SummarySort]listing{
		ports.OldestFirst: {comparison: `order_id > ?`, order: `order_id`, place: byID},
		ports.NewestFirst: {comparison: `order_id < ?`, order: `order_id DESC`, place: byID},
		ports.LastChanged: {
			comparison: `(updated_at, order_id) < (?, ?)`, order: `updated_at DESC, order_id DESC`,
			place: func(s ports.Summary) []string { return []string{formatTime(s.UpdatedAt), s.OrderID} },
		},
		ports.LargestAmount: {
			comparison: `(total_amount, order_id) < (CAST(? AS INTEGER), ?)`, order: `total_amount DESC, order_id DESC`,
			place: func(s ports.Summary) []string { return []string{strconv.Itoa(s.TotalAmount), s.OrderID} },
		},
	}
)

func (v *Views) Summaries(ctx context.Context, q ports.SummaryQuery) (list []ports.Summary, next string, err error) {
	query, args, err := summariesQuery(q)
	if err != nil {
		return nil, "", err
	}
	err = v.db.query(ctx, query, args, func(rows *sql.Rows) error {
		s, err := scanSummary(rows)
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("list orders of buyer %.80q: %w", q.Buyer, err)
	}
	if size := q.Page.Size(); len(list) > size {
		list = list[:size]
		next = viewCursor(listName(q), listingOf(q).place(list[size-1]))
	}
	return list, next, nil
}

func listingOf(q ports.SummaryQuery) listing { return listings[cmp.Or(q.Sort, ports.OldestFirst)] }

func listName(q ports.SummaryQuery) []string {
	return []string{string(ports.OrderSummary), q.Buyer, string(q.Status), string(cmp.Or(q.Sort, ports.OldestFirst))}
}

// summariesQuery makes one of sixteen statements: four orders, with or without a status, from the start or from a
// cursor.
func summariesQuery(q ports.SummaryQuery) (query string, args []any, err error) {
	l := listingOf(q)
	place, err := parseViewCursor(q.Page.Cursor, listName(q), len(l.place(ports.Summary{})))
	if err != nil {
		return "", nil, err
	}
	query = selectSummaries + `WHERE generation = ` + liveOrders + ` AND buyer_id = ?`
	args = []any{q.Buyer}
	if q.Status != "" {
		query += ` AND status = ?`
		args = append(args, string(q.Status))
	}
	if place != nil {
		query += ` AND ` + l.comparison
		for _, value := range place {
			args = append(args, value)
		}
	}
	// One more than asked for tells whether there is a next page.
	return query + ` ORDER BY ` + l.order + ` LIMIT ?`, append(args, q.Page.Size()+1), nil
}

func (v *Views) Activity(ctx context.Context, buyer string) (ports.Activity, error) {
	a := ports.Activity{Buyer: buyer}
	var lastAt string
	err := v.db.queryRow(ctx, `SELECT pending, submitted, paid, cancelled, last_at FROM activity
		WHERE generation = `+liveActivity+` AND buyer_id = ?`, []any{buyer}, &a.Pending, &a.Submitted, &a.Paid, &a.Cancelled, &lastAt)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return a, nil
	case err == nil:
		a.LastAt, err = parseTimeIfAny(lastAt)
	}
	if err != nil {
		return ports.Activity{}, fmt.Errorf("activity of buyer %.80q: %w", buyer, err)
	}
	return a, nil
}

func (v *Views) Timeline(ctx context.Context, orderID string, page ports.Page) (list []ports.TimelineEntry, next string, err error) {
	name := []string{string(ports.OrderTimeline), orderID}
	place, err := parseViewCursor(page.Cursor, name, 1)
	if err != nil {
		return nil, "", err
	}
	after := "0" // versions begin at 1
	if place != nil {
		after = place[0]
	}
	size := page.Size()
	err = v.db.query(ctx, selectTimeline, []any{orderID, after, size + 1}, func(rows *sql.Rows) error {
		e := ports.TimelineEntry{OrderID: orderID}
		var at string
		if err := rows.Scan(&e.Version, &e.Type, &at, &e.Text); err != nil {
			return err
		}
		var err error
		e.At, err = parseTimeIfAny(at)
		list = append(list, e)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("timeline of order %.80q: %w", orderID, err)
	}
	if len(list) > size {
		list = list[:size]
		next = viewCursor(name, []string{strconv.Itoa(list[size-1].Version)})
	}
	return list, next, nil
}

func (v *Views) Freshness(ctx context.Context, view ports.View, orderID string) (f ports.Freshness, err error) {
	var asOf string
	err = v.db.queryRow(ctx, `SELECT
			coalesce((SELECT version FROM marks WHERE generation = g.id AND order_id = ?), 0),
			coalesce((SELECT min(as_of) FROM positions WHERE generation = g.id), '')
		FROM generations AS g WHERE view = ? AND state = 'live'`, []any{orderID, string(view)}, &f.Version, &asOf)
	if err == nil {
		f.AsOf, err = parseTimeIfAny(asOf)
	}
	if err != nil {
		return ports.Freshness{}, fmt.Errorf("freshness of %s: %w", view, err)
	}
	return f, nil
}

const (
	liveOrders     = `(SELECT id FROM generations WHERE view = 'order-summary' AND state = 'live')`
	liveActivity   = `(SELECT id FROM generations WHERE view = 'buyer-activity' AND state = 'live')`
	selectTimeline = `SELECT version, type, at, text FROM timeline
		WHERE generation = (SELECT id FROM generations WHERE view = 'timeline' AND state = 'live')
		AND order_id = ? AND version > CAST(? AS INTEGER) ORDER BY version LIMIT ?`

	selectSummaries = `SELECT order_id, version, buyer_id, items, total_amount, status,
		created_at, updated_at, submitted_at, paid_at, cancelled_at FROM summaries `
	replaceSummary = `REPLACE INTO summaries (order_id, version, buyer_id, items, total_amount, status,
		created_at, updated_at, submitted_at, paid_at, cancelled_at, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

func summaryColumns(s ports.Summary) ([]any, error) {
	items, err := encodeItems(s.Items)
	return []any{
		s.OrderID, s.Version, s.Buyer, items, s.TotalAmount, string(s.Status), formatTimeIfAny(s.CreatedAt), formatTimeIfAny(s.UpdatedAt),
		formatTimeIfAny(s.SubmittedAt), formatTimeIfAny(s.PaidAt), formatTimeIfAny(s.CancelledAt),
	}, err
}

func scanSummary(rows *sql.Rows) (s ports.Summary, err error) {
	var status string
	var items []byte
	var times [5]string
	if err := rows.Scan(&s.OrderID, &s.Version, &s.Buyer, &items, &s.TotalAmount, &status,
		&times[0], &times[1], &times[2], &times[3], &times[4]); err != nil {
		return s, err
	}
	s.Status = order.Status(status)
	if s.Items, err = decodeItems(items); err != nil {
		return s, fmt.Errorf("items of the summary of order %q: %w", s.OrderID, err)
	}
	for i, to := range []*time.Time{&s.CreatedAt, &s.UpdatedAt, &s.SubmittedAt, &s.PaidAt, &s.CancelledAt} {
		if *to, err = parseTimeIfAny(times[i]); err != nil {
			return s, fmt.Errorf("summary of order %q: %w", s.OrderID, err)
		}
	}
	return s, nil
}

// viewCursor names a list and the last row of a page. It is valid for that list only.
func viewCursor(list, place []string) string {
	text, _ := json.Marshal(slices.Concat(list, place)) // strings can always be encoded
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseViewCursor returns the values of the sorted columns, nil for the first page.
func parseViewCursor(cursor string, list []string, parts int) (place []string, err error) {
	if cursor == "" {
		return nil, nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(cursor)
	var all []string
	_ = json.Unmarshal(text, &all)
	if len(all) == len(list)+parts {
		// Decoding accepts more than encoding produces; only a cursor that encodes to the same text is ours.
		if place = all[len(list):]; viewCursor(list, place) == cursor {
			return place, nil
		}
	}
	return nil, fmt.Errorf("cursor %.80q: %w", cursor, ports.ErrBadCursor)
}

// The zero time is stored as empty text, which sorts before every other time.

func formatTimeIfAny(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return formatTime(t)
}

func parseTimeIfAny(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return parseTime(text)
}
