package mongodb

import (
	"cmp"
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

// Options configures a Store or an EventStore. The zero value is for production.
type Options struct {
	// Timeout bounds each call with all its retries. 0 means 5 seconds. If a process that died has left a document
	// locked, a save of that document waits for Timeout and then returns ErrUnavailable; the server opens such locks
	// after its transactionLifetimeLimitSeconds, 60 by default.
	Timeout time.Duration
	// MaxBatch bounds how many saves share a transaction. 1 gives each save a transaction of its own; 0 means 256.
	MaxBatch int
	// Around stands round each transaction: it calls commit, and gets the contexts of the transaction's saves. nil only
	// calls commit.
	Around func(ctx context.Context, saves []context.Context, commit func(context.Context) error) error
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(max(o.Timeout, 0), callTimeout)
	o.MaxBatch = cmp.Or(max(o.MaxBatch, 0), defaultMaxBatch)
	if o.Around == nil {
		o.Around = func(ctx context.Context, _ []context.Context, commit func(context.Context) error) error {
			return commit(ctx)
		}
	}
	return o
}

// Store implements ports.OrderStore, ports.IdempotencyStore and ports.History. It stores each order's state in a
// document and the order's messages in the outbox.
type Store struct {
	orders    *mongo.Collection
	messages  *mongo.Collection
	results   *resultStore
	committer *committer
	timeout   time.Duration
}

var (
	_ ports.OrderStore       = (*Store)(nil)
	_ ports.IdempotencyStore = (*Store)(nil)
	_ ports.History          = (*Store)(nil)
)

// NewStore needs a database that Connect has prepared.
func NewStore(db *mongo.Database, o Options) *Store {
	o = o.withDefaults()
	s := &Store{
		orders:   db.Collection(ordersCollection),
		messages: db.Collection(outboxCollection),
		results:  &resultStore{collection: db.Collection(resultsCollection), timeout: o.Timeout},
		timeout:  o.Timeout,
	}
	s.committer = newCommitter(db.Client(), stateLayout{s.orders, s.messages}, s.results, o)
	return s
}

// Save implements ports.OrderStore.
func (s *Store) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	return saveOrder(ctx, s.committer, o, key)
}

// StoredResult implements ports.IdempotencyStore.
func (s *Store) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	return s.results.find(ctx, key)
}

// Messages implements ports.History.
func (s *Store) Messages(ctx context.Context, orderID string, after, limit int) ([]ports.Message, error) {
	return findHistory(ctx, s.messages, s.timeout, orderID, after, limit)
}

// Close waits until all saves that have started have their result, or until ctx ends. Later saves get ErrUnavailable.
// The client belongs to the caller and stays open.
func (s *Store) Close(ctx context.Context) error { return s.committer.close(ctx) }

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
		return nil, Fail(ctx, doing, err)
	}
	o, err := d.order()
	return o, Fail(ctx, doing, err)
}

// stateLayout is the documentLayout of Store: a document an order in orders, its messages in outbox.
type stateLayout struct {
	orders   *mongo.Collection
	messages *mongo.Collection
}

// stateDocument implements documentLayout: the new order or, for a loaded one, the statement that replaces it.
func (stateLayout) stateDocument(state orderDocument, loaded int) any {
	if loaded == 0 {
		return state
	}
	asLoaded := bson.D{{Key: "_id", Value: state.ID}, {Key: "version", Value: loaded}}
	return bson.D{{Key: "q", Value: asLoaded}, {Key: "u", Value: state}}
}

// insertOrUpdate implements documentLayout.
func (l stateLayout) insertOrUpdate(ctx context.Context, saves []*encodedSave) error {
	var inserts, updates []bson.Raw
	for _, s := range saves {
		if s.loaded == 0 {
			inserts = append(inserts, s.state)
		} else {
			updates = append(updates, s.state)
		}
	}
	if err := insertAll(ctx, l.orders, inserts); mongo.IsDuplicateKeyError(err) {
		return ports.ErrConflict
	} else if err != nil {
		return err
	}
	matched, err := updateAll(ctx, l.orders, updates)
	if err != nil {
		return err
	}
	if matched < len(updates) {
		return ports.ErrConflict
	}
	return insertMessages(ctx, l.messages, saves)
}

// findStale implements documentLayout.
func (l stateLayout) findStale(ctx context.Context, saves []*encodedSave) (map[string]bool, error) {
	ids := make([]string, len(saves))
	for i, s := range saves {
		ids[i] = s.id
	}
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
	cursor, err := l.orders.Find(ctx, filter, options.Find().SetProjection(bson.D{{Key: "version", Value: 1}}))
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
	for _, s := range saves {
		stale[s.id] = versions[s.id] != s.loaded
	}
	return stale, nil
}
