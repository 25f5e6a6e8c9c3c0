package mongodb

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/adapters/eventjson"
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

// Store implements ports.OrderStore and ports.Receipts.
type Store struct {
	client    *mongo.Client
	orders    *mongo.Collection
	outbox    *mongo.Collection
	receipts  *mongo.Collection
	timeout   time.Duration
	committed func(saves int)
	committer *committer // nil: each save has a transaction of its own
}

var (
	_ ports.OrderStore = (*Store)(nil)
	_ ports.Receipts   = (*Store)(nil)
)

// NewStore needs a database that Connect has prepared.
func NewStore(db *mongo.Database, o Options) *Store {
	if o.Timeout <= 0 {
		o.Timeout = callTimeout
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = defaultMaxBatch
	}
	if o.Committed == nil {
		o.Committed = func(int) {}
	}
	s := &Store{
		client:    db.Client(),
		orders:    db.Collection(ordersCollection),
		outbox:    db.Collection(outboxCollection),
		receipts:  db.Collection(receiptsCollection),
		timeout:   o.Timeout,
		committed: o.Committed,
	}
	if o.MaxBatch > 1 {
		s.committer = newCommitter(s, o.MaxBatch)
	}
	return s
}

// Close waits until the saves that have begun are answered, or ctx ends. Later ones get ErrUnavailable. The client stays
// open: it is its owner's.
func (s *Store) Close(ctx context.Context) error {
	if s.committer == nil {
		return nil
	}
	return s.committer.close(ctx)
}

// Save implements ports.OrderStore.
func (s *Store) Save(ctx context.Context, o *order.Order) error {
	changes := len(o.Changes())
	if changes == 0 {
		return nil
	}
	doing := "save order " + o.ID()
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	w, err := newWrite(o, messages, ports.RequestOf(ctx))
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if s.committer != nil {
		err = s.committer.save(ctx, w)
	} else {
		err = s.commit(ctx, w)
	}
	if err != nil {
		return fail(ctx, doing, err)
	}
	o.Committed()
	return nil
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

// ByBuyer implements ports.OrderStore.
func (s *Store) ByBuyer(ctx context.Context, buyer string, page ports.Page) ([]*order.Order, string, error) {
	const doing = "list a buyer's orders"
	after, err := parseCursor(page.Cursor)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", doing, err)
	}
	limit := page.Size()

	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	filter := bson.D{{Key: "buyerId", Value: buyer}, {Key: "_id", Value: bson.D{{Key: "$gt", Value: after}}}}
	// One more than asked for tells whether there is a next page.
	find := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(limit) + 1)
	cursor, err := s.orders.Find(bounded, filter, find)
	if err != nil {
		return nil, "", fail(ctx, doing, err)
	}
	var documents []orderDocument
	if err := cursor.All(bounded, &documents); err != nil {
		return nil, "", fail(ctx, doing, err)
	}
	next := ""
	if len(documents) > limit {
		documents = documents[:limit]
		next = newCursor(documents[limit-1].ID)
	}
	orders := make([]*order.Order, len(documents))
	for i, d := range documents {
		if orders[i], err = d.order(); err != nil {
			return nil, "", fmt.Errorf("%s: %w", doing, err)
		}
	}
	return orders, next, nil
}

// A cursor is the id of the last order of the page before, marked so that not just any text is one.
const cursorMark = "order:"

func newCursor(id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorMark + id))
}

func parseCursor(cursor string) (id string, err error) {
	if cursor == "" {
		return "", nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(cursor)
	id, _ = strings.CutPrefix(string(text), cursorMark)
	// Decoding forgives more than encoding makes, so only what encodes to the same text was given out.
	if !utf8.ValidString(id) || newCursor(id) != cursor {
		return "", ports.ErrBadCursor
	}
	return id, nil
}
