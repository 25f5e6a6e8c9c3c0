package mongodb

import (
	"context"
	"fmt"
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/core/order"
	"hexorders/ports"
)

var (
	_ ports.OrderScanner = (*Store)(nil)
	_ ports.OrderScanner = (*EventStore)(nil)
)

// ScanOrders implements ports.OrderScanner.
func (s *Store) ScanOrders(ctx context.Context, after string, limit int) (page []ports.ScannedOrder, err error) {
	const doing = "scan the orders"
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	byID := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(limit))
	cursor, err := s.orders.Find(bounded, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}}}, byID)
	if err != nil {
		return nil, Fail(ctx, doing, err)
	}
	defer func() { _ = cursor.Close(bounded) }()
	for bytes := 0; bytes < ports.MaxPageBytes && cursor.Next(bounded); bytes += len(cursor.Current) {
		scanned := ports.ScannedOrder{ID: cursor.Current.Lookup("_id").StringValue()}
		var d orderDocument
		if err := bson.Unmarshal(cursor.Current, &d); err != nil {
			scanned.Err = fmt.Errorf("order %s: %w: %w", scanned.ID, order.ErrInvalidHistory, err)
		} else {
			scanned.Order, scanned.Err = d.order()
		}
		page = append(page, scanned)
	}
	return page, Fail(ctx, doing, cursor.Err())
}

// ScanMessages implements ports.OrderScanner.
func (s *Store) ScanMessages(ctx context.Context, after ports.EventRef, limit int) ([]ports.Message, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	page, err := scanMessages(bounded, s.messages, after, limit)
	return page, Fail(ctx, "scan the outbox", err)
}

// ScanOrders implements ports.OrderScanner: it folds the events of one order after the other. An order that grows
// meanwhile is as it was at some moment of it.
func (s *EventStore) ScanOrders(ctx context.Context, after string, limit int) ([]ports.ScannedOrder, error) {
	const doing = "scan the events"
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	cursor, err := findByOrder(bounded, s.events, ports.EventRef{OrderID: after, Version: math.MaxInt}, 0)
	if err != nil {
		return nil, Fail(ctx, doing, err)
	}
	defer func() { _ = cursor.Close(bounded) }()
	var d messageDecoder
	var ids []string
	events := map[string][]ports.Message{}
	for bytes := 0; cursor.Next(bounded); {
		m, err := d.message(cursor.Current)
		if err != nil {
			return nil, Fail(ctx, doing, err)
		}
		if n := len(ids); n == 0 || ids[n-1] != m.OrderID {
			if n == limit || bytes >= ports.MaxPageBytes {
				break
			}
			ids = append(ids, m.OrderID)
		}
		events[m.OrderID] = append(events[m.OrderID], m)
		bytes += len(m.Payload)
	}
	if err := cursor.Err(); err != nil || len(ids) == 0 {
		return nil, Fail(ctx, doing, err)
	}
	taken, err := s.snapshots.find(bounded, ids...)
	if err != nil {
		return nil, Fail(ctx, doing, err)
	}
	page := make([]ports.ScannedOrder, len(ids))
	for i, id := range ids {
		page[i].ID = id
		page[i].Order, page[i].Err = fold(taken[id], events[id])
	}
	return page, nil
}

// ScanMessages implements ports.OrderScanner.
func (s *EventStore) ScanMessages(ctx context.Context, after ports.EventRef, limit int) ([]ports.Message, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	page, err := scanMessages(bounded, s.events, after, limit)
	return page, Fail(ctx, "scan the events", err)
}

func scanMessages(ctx context.Context, c *mongo.Collection, after ports.EventRef, limit int) (page []ports.Message, err error) {
	cursor, err := findByOrder(ctx, c, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = cursor.Close(ctx) }()
	var d messageDecoder
	for bytes := 0; bytes < ports.MaxPageBytes && cursor.Next(ctx); {
		m, err := d.message(cursor.Current)
		if err != nil {
			return nil, err
		}
		page = append(page, m)
		bytes += len(m.Payload)
	}
	return page, cursor.Err()
}

// findByOrder reads message documents after one of them along the index by order and version. A limit of 0 is none.
func findByOrder(ctx context.Context, c *mongo.Collection, after ports.EventRef, limit int) (*mongo.Cursor, error) {
	find := options.Find().SetHint(byVersion).SetSort(byVersion).SetLimit(int64(limit))
	if after != (ports.EventRef{}) {
		next := max(after.Version, after.Version+1) // the greatest version has no next
		find.SetMin(bson.D{{Key: "aggregateid", Value: after.OrderID}, {Key: "version", Value: next}})
	}
	return c.Find(ctx, bson.D{}, find)
}
