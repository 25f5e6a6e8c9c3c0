package mongodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/core/order"
	"hexorders/ports"
)

// Options of a store. The zero value is for production.
type Options struct {
	// Timeout bounds each call, with everything that is tried again in it. 0 means 5 seconds. A save that meets a
	// document which another process left locked when it died waits as long before it answers ErrUnavailable; the
	// server opens such locks after its transactionLifetimeLimitSeconds, 60 by default.
	Timeout time.Duration
	// MaxBatch is how many saves may share a transaction. 1 gives each its own, as it would be without a committer; 0
	// means 256.
	MaxBatch int
	// Committed is called after each transaction with the number of saves in it. nil: nobody is told.
	Committed func(saves int)
}

// Store implements ports.OrderStore, ports.IdempotencyStore and ports.History. It keeps each order's state in a document, and the
// messages beside it.
type Store struct {
	*saver
	orders *mongo.Collection
}

var (
	_ ports.OrderStore       = (*Store)(nil)
	_ ports.IdempotencyStore = (*Store)(nil)
	_ ports.History          = (*Store)(nil)
)

// NewStore needs a database that Connect has prepared.
func NewStore(db *mongo.Database, o Options) *Store {
	s := &Store{orders: db.Collection(ordersCollection)}
	s.saver = newSaver(db, outboxCollection, o, s)
	return s
}

// Get implements ports.OrderStore.
func (s *Store) Get(ctx context.Context, id string) (*order.Order, error) {
	doing := "get order " + id
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var d orderDocument
	err := s.orders.FindOne(bounded, bson.D{{Key: "_id", Value: id}}).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, fmt.Errorf("%s: %w", doing, ports.ErrNotFound)
	}
	if err != nil {
		return nil, fail(ctx, doing, err)
	}
	o, err := d.order()
	return o, fail(ctx, doing, err)
}

// encode implements layout: the order to be inserted or, when there is something to replace, the statement that does.
func (s *Store) encode(w *write, state orderDocument, _ []messageDocument) (err error) {
	var statement any = state
	if w.loaded > 0 {
		guard := bson.D{{Key: "_id", Value: w.id}, {Key: "version", Value: w.loaded}}
		statement = bson.D{{Key: "q", Value: guard}, {Key: "u", Value: state}}
	}
	w.order, err = w.encode(statement)
	return err
}

// put implements layout.
func (s *Store) put(ctx context.Context, writes []*write) error {
	var inserts, updates []bson.Raw
	for _, w := range writes {
		if w.loaded == 0 {
			inserts = append(inserts, w.order)
		} else {
			updates = append(updates, w.order)
		}
	}
	if _, err := run(ctx, s.orders, "insert", "documents", inserts); mongo.IsDuplicateKeyError(err) {
		return ports.ErrConflict
	} else if err != nil {
		return err
	}
	matched, err := run(ctx, s.orders, "update", "updates", updates)
	if err != nil {
		return err
	}
	if matched < len(updates) {
		return ports.ErrConflict
	}
	return s.putMessages(ctx, writes)
}

// stale implements layout.
func (s *Store) stale(ctx context.Context, writes []*write) (map[string]bool, error) {
	ids := make([]string, len(writes))
	for i, w := range writes {
		ids[i] = w.id
	}
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
	cursor, err := s.orders.Find(ctx, filter, options.Find().SetProjection(bson.D{{Key: "version", Value: 1}}))
	if err != nil {
		return nil, err
	}
	var found []struct {
		ID      string `bson:"_id"`
		Version int    `bson:"version"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, err
	}
	versions := make(map[string]int, len(found))
	for _, f := range found {
		versions[f.ID] = f.Version
	}
	stale := make(map[string]bool)
	for _, w := range writes {
		stale[w.id] = versions[w.id] != w.loaded
	}
	return stale, nil
}
