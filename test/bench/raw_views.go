package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/app/readside"
	"hexorders/ports"
)

// rawViews is the least that makes the rows of the three views: records read, each order folded in memory, and what a batch
// of records changes written in bulk, a document once, with the same indexes. It keeps no place and no progress, has no
// transaction, does not look for duplicates or gaps, and knows nothing after a restart.
func (l *lab) rawViews(ctx context.Context, db *mongo.Database, topic string) error {
	consumer, err := newRawConsumer(l.brokers, topic)
	if err != nil {
		return err
	}
	defer consumer.close()
	if err := indexed(ctx, db.Collection("summaries"), readside.OrderSummary.Indexes); err != nil {
		return err
	}
	orders := map[string]*rawSummary{}
	for read := 0; read < l.messages; {
		values, types, err := consumer.batch(ctx, min(ports.MaxBatch, l.messages-read))
		if err != nil {
			return err
		}
		read += len(values)
		b := rawBatch{orders: orders, changed: map[string]*rawSummary{}, counts: map[string]bson.M{}}
		for i, value := range values {
			if err := b.apply(types[i], value); err != nil {
				return err
			}
		}
		if err := b.write(ctx, db); err != nil {
			return err
		}
	}
	return nil
}

// indexed makes the indexes of a view.
func indexed(ctx context.Context, rows *mongo.Collection, indexes []ports.Index) error {
	var models []mongo.IndexModel
	for _, i := range indexes {
		var keys bson.D
		for _, name := range []string{i.Equal, i.Sort, "_id", i.Filter} {
			if name != "" {
				keys = append(keys, bson.E{Key: name, Value: 1})
			}
		}
		models = append(models, mongo.IndexModel{Keys: keys})
	}
	_, err := rows.Indexes().CreateMany(ctx, models)
	return err
}

// rawSummary is an order as its list shows it.
type rawSummary struct {
	ID          string         `json:"id"`
	BuyerID     string         `json:"buyerId"`
	Items       []itemDocument `json:"items"`
	TotalAmount int            `json:"totalAmount"`
	Status      string         `json:"status"`
	Version     int            `json:"version"`
	CreatedAt   time.Time      `json:"createdAt"`
	UpdatedAt   time.Time      `json:"updatedAt"`
	PaidAt      *time.Time     `json:"paidAt,omitempty"`
}

// rawBatch is what a batch of records changes.
type rawBatch struct {
	orders  map[string]*rawSummary // all there ever were
	changed map[string]*rawSummary
	counts  map[string]bson.M // by buyer
	latest  time.Time
	entries []any
}

func (b *rawBatch) apply(kind string, payload []byte) error {
	var e struct {
		OrderID    string         `json:"orderId"`
		Version    int            `json:"version"`
		OccurredAt time.Time      `json:"occurredAt"`
		BuyerID    string         `json:"buyerId"`
		Items      []itemDocument `json:"items"`
		ProductID  string         `json:"productId"`
		Amount     int            `json:"amount"`
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return err
	}
	o, text := b.orders[e.OrderID], ""
	switch kind {
	case "OrderCreated":
		o = &rawSummary{ID: e.OrderID, BuyerID: e.BuyerID, Items: e.Items, Status: "pending", CreatedAt: e.OccurredAt}
		for _, item := range e.Items {
			o.TotalAmount += item.Amount
		}
		b.orders[e.OrderID], text = o, fmt.Sprintf("created for buyer %s, with %d item", e.BuyerID, len(e.Items))
		b.count(o.BuyerID, "pending", 1)
	case "OrderItemAdded":
		o.Items = append(o.Items, itemDocument{e.ProductID, e.Amount})
		o.TotalAmount += e.Amount
		text = fmt.Sprintf("%d × %s added", e.Amount, e.ProductID)
	case "OrderPaid":
		b.count(o.BuyerID, o.Status, -1)
		b.count(o.BuyerID, "paid", 1)
		o.Status, o.PaidAt, text = "paid", &e.OccurredAt, "paid"
	}
	o.Version, o.UpdatedAt = e.Version, e.OccurredAt
	b.changed[o.ID], b.latest = o, e.OccurredAt
	body, err := json.Marshal(map[string]any{"version": e.Version, "type": kind, "occurredAt": e.OccurredAt, "text": text})
	b.entries = append(b.entries, bson.D{{Key: "_id", Value: fmt.Sprintf("%s\x1f%09d", e.OrderID, e.Version)},
		{Key: "body", Value: string(body)}})
	return err
}

func (b *rawBatch) count(buyer, status string, n int) {
	if b.counts[buyer] == nil {
		b.counts[buyer] = bson.M{}
	}
	had, _ := b.counts[buyer][status].(int)
	b.counts[buyer][status] = had + n
}

func (b *rawBatch) write(ctx context.Context, db *mongo.Database) error {
	var summaries, buyers []mongo.WriteModel
	for id, o := range b.changed {
		body, err := json.Marshal(o)
		if err != nil {
			return err
		}
		summaries = append(summaries, mongo.NewReplaceOneModel().SetUpsert(true).SetFilter(bson.D{{Key: "_id", Value: id}}).
			SetReplacement(bson.D{{Key: "_id", Value: id}, {Key: "buyer", Value: o.BuyerID}, {Key: "status", Value: o.Status},
				{Key: "updatedAt", Value: o.UpdatedAt.UnixMilli()}, {Key: "totalAmount", Value: o.TotalAmount},
				{Key: "body", Value: string(body)}}))
	}
	for buyer, counts := range b.counts {
		buyers = append(buyers, mongo.NewUpdateOneModel().SetUpsert(true).SetFilter(bson.D{{Key: "_id", Value: buyer}}).
			SetUpdate(bson.D{{Key: "$inc", Value: counts}, {Key: "$max", Value: bson.D{{Key: "lastAt", Value: b.latest.UnixMilli()}}}}))
	}
	unordered := options.BulkWrite().SetOrdered(false)
	if _, err := db.Collection("summaries").BulkWrite(ctx, summaries, unordered); err != nil {
		return err
	}
	if len(buyers) > 0 {
		if _, err := db.Collection("buyers").BulkWrite(ctx, buyers, unordered); err != nil {
			return err
		}
	}
	_, err := db.Collection("entries").InsertMany(ctx, b.entries, options.InsertMany().SetOrdered(false))
	return err
}
