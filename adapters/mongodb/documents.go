package mongodb

import (
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// BSON dates have milliseconds, so the times of an order or a message are truncated to them. A message's payload is
// text and keeps its times.

// orderDocument is a document of the collection orders: the state, and the version that guards the next save.
type orderDocument struct {
	ID        string         `bson:"_id"`
	BuyerID   string         `bson:"buyerId"`
	Items     []itemDocument `bson:"items"`
	Status    string         `bson:"status"`
	Version   int            `bson:"version"`
	CreatedAt time.Time      `bson:"createdAt"`
	UpdatedAt time.Time      `bson:"updatedAt"`
}

type itemDocument struct {
	ProductID string `bson:"productId"`
	Amount    int    `bson:"amount"`
}

// messageDocument is a document of the collections outbox and order_events. The field names are the defaults of
// Debezium's outbox event router, so that Debezium can read the collection too.
type messageDocument struct {
	ID            string    `bson:"_id"` // "<order id>/<version>"
	AggregateType string    `bson:"aggregatetype"`
	AggregateID   string    `bson:"aggregateid"`
	Type          string    `bson:"type"`
	Version       int       `bson:"version"`
	Payload       string    `bson:"payload"` // JSON
	OccurredAt    time.Time `bson:"occurredAt"`
	TraceParent   string    `bson:"traceparent,omitempty"`
}

// snapshotDocument is a document of the collection order_snapshots.
type snapshotDocument struct {
	ID      string        `bson:"_id"` // the order's
	Version int           `bson:"version"`
	Format  int           `bson:"format"`
	Order   orderDocument `bson:"order"`
}

// resultDocument is a document of the collection receipts. It has the order as it was then in one of three forms. The
// insert adds the server's time, keptAt.
type resultDocument struct {
	Key         string         `bson:"_id"`
	Fingerprint string         `bson:"fingerprint"`
	Order       *orderDocument `bson:"order,omitempty"`
	Packed      []byte         `bson:"packed,omitempty"`  // Store, when it is large: the same, compressed with Zstandard
	OrderID     string         `bson:"orderId,omitempty"` // EventStore: its events up to Version are the order
	Version     int            `bson:"version,omitempty"`
}

func newOrderDocument(o *order.Order) orderDocument {
	s := o.Snapshot()
	items := make([]itemDocument, len(s.Items)) // not nil: an empty list is [] in the document, not null
	for i, item := range s.Items {
		items[i] = itemDocument{item.Product, item.Amount}
	}
	return orderDocument{
		ID: s.ID, BuyerID: s.Buyer, Items: items, Status: string(s.Status),
		Version: s.Version, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}
}

func (d orderDocument) order() (*order.Order, error) {
	var items []order.Item
	for _, item := range d.Items {
		items = append(items, order.Item{Product: item.ProductID, Amount: item.Amount})
	}
	return order.Restore(order.Snapshot{
		ID: d.ID, Buyer: d.BuyerID, Items: items, Status: order.Status(d.Status),
		Version: d.Version, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	})
}

func newMessageDocument(m ports.Message) messageDocument {
	return messageDocument{
		ID: m.ID, AggregateType: eventjson.AggregateType, AggregateID: m.OrderID, Type: m.Type, Version: m.Version,
		Payload: string(m.Payload), OccurredAt: m.OccurredAt, TraceParent: m.TraceParent,
	}
}

func (d messageDocument) message() ports.Message {
	return ports.Message{
		ID: d.ID, Type: d.Type, OrderID: d.AggregateID, Version: d.Version,
		Payload: []byte(d.Payload), OccurredAt: d.OccurredAt, TraceParent: d.TraceParent,
	}
}
