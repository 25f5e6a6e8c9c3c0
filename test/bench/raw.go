package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// rawStore is what everybody writes first: the driver's WithTransaction, one for each save, with an order and a message
// in it. The documents are the service's own; there is no HTTP, no aggregate and no JSON to read.
type rawStore struct {
	client *mongo.Client
	orders *mongo.Collection
	outbox *mongo.Collection
}

func newRawStore(uri, db string) (*rawStore, error) {
	// As many connections as clients. The concerns are those of the service.
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetMaxPoolSize(256).
		SetWriteConcern(writeconcern.Majority()).SetReadConcern(readconcern.Majority()))
	if err != nil {
		return nil, err
	}
	return &rawStore{client, client.Database(db).Collection("orders"), client.Database(db).Collection("outbox")}, nil
}

func (r *rawStore) close() { _ = r.client.Disconnect(context.Background()) } // nothing is left to lose

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

type messageDocument struct {
	ID            string    `bson:"_id"`
	AggregateType string    `bson:"aggregatetype"`
	AggregateID   string    `bson:"aggregateid"`
	Type          string    `bson:"type"`
	Version       int       `bson:"version"`
	Payload       string    `bson:"payload"`
	OccurredAt    time.Time `bson:"occurredAt"`
}

// newOrder is the order that every POST of a benchmark makes.
const newOrder = `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`

func newDocuments(now time.Time) (orderDocument, messageDocument) {
	id := uuid.Must(uuid.NewV7()).String()
	o := orderDocument{
		ID: id, BuyerID: "9999", Items: []itemDocument{{"1111", 3}}, Status: "pending", Version: 1,
		CreatedAt: now, UpdatedAt: now,
	}
	return o, newMessage(id, 1, "OrderCreated", now, `,"buyerId":"9999","items":[{"productId":"1111","amount":3}]`)
}

func newMessage(id string, version int, kind string, now time.Time, rest string) messageDocument {
	return messageDocument{
		ID: fmt.Sprintf("%s/%d", id, version), AggregateType: "order", AggregateID: id, Type: kind, Version: version,
		Payload:    fmt.Sprintf(`{"orderId":"%s","version":%d,"occurredAt":"%s"%s}`, id, version, now.UTC().Format(time.RFC3339Nano), rest),
		OccurredAt: now,
	}
}

// create is POST /orders.
func (r *rawStore) create(ctx context.Context) error {
	o, m := newDocuments(time.Now())
	return r.transaction(ctx, func(ctx context.Context) error {
		if _, err := r.orders.InsertOne(ctx, o); err != nil {
			return err
		}
		_, err := r.outbox.InsertOne(ctx, m)
		return err
	})
}

// pay is POST /orders/{id}/pay: the order is read first, and replaced if it is still as it was.
func (r *rawStore) pay(ctx context.Context, id string) error {
	o, err := r.get(ctx, id)
	if err != nil {
		return err
	}
	return r.transaction(ctx, func(ctx context.Context) error {
		return r.put(ctx, o, "OrderPaid", "", func(o *orderDocument) { o.Status = "paid" })
	})
}

// addItem is POST /orders/{id}/items where all clients want the same order: read in the transaction, so that the driver
// tries again whenever another was faster.
func (r *rawStore) addItem(ctx context.Context, id string) error {
	return r.transaction(ctx, func(ctx context.Context) error {
		o, err := r.get(ctx, id)
		if err != nil {
			return err
		}
		return r.put(ctx, o, "OrderItemAdded", `,"productId":"1111","amount":1`, func(o *orderDocument) { o.Items[0].Amount++ })
	})
}

// get is GET /orders/{id}.
func (r *rawStore) get(ctx context.Context, id string) (o orderDocument, err error) {
	err = r.orders.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&o)
	return o, err
}

func (r *rawStore) put(ctx context.Context, o orderDocument, kind, rest string, change func(*orderDocument)) error {
	guard := bson.D{{Key: "_id", Value: o.ID}, {Key: "version", Value: o.Version}}
	o.Version++
	o.UpdatedAt = time.Now()
	change(&o)
	result, err := r.orders.ReplaceOne(ctx, guard, o)
	if err != nil {
		return err
	}
	if result.MatchedCount == 0 {
		return fmt.Errorf("order %s has changed meanwhile", o.ID)
	}
	_, err = r.outbox.InsertOne(ctx, newMessage(o.ID, o.Version, kind, o.UpdatedAt, rest))
	return err
}

func (r *rawStore) transaction(ctx context.Context, work func(context.Context) error) error {
	session, err := r.client.StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(ctx)
	_, err = session.WithTransaction(ctx, func(ctx context.Context) (any, error) { return nil, work(ctx) })
	return err
}

// position is where a change stream of the outbox is now.
func (r *rawStore) position(ctx context.Context) (bson.Raw, error) {
	stream, err := r.outbox.Watch(ctx, mongo.Pipeline{})
	if err != nil {
		return nil, err
	}
	return stream.ResumeToken(), stream.Close(ctx)
}

// chunk is how many documents go into one insert.
const chunk = 1000

// fill inserts documents without a transaction, in the order in which make gives them.
func fill[D any](ctx context.Context, into *mongo.Collection, n int, next func(i int) D) error {
	documents := make([]D, 0, chunk)
	for i := range n {
		documents = append(documents, next(i))
		if len(documents) == chunk || i == n-1 {
			if _, err := into.InsertMany(ctx, documents); err != nil {
				return err
			}
			documents = documents[:0]
		}
	}
	return nil
}
