package mongodb

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v5"
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
}

// Store implements ports.OrderStore.
type Store struct {
	client  *mongo.Client
	orders  *mongo.Collection
	outbox  *mongo.Collection
	timeout time.Duration
}

var _ ports.OrderStore = (*Store)(nil)

// NewStore needs a database that Connect has prepared.
func NewStore(db *mongo.Database, o Options) *Store {
	if o.Timeout <= 0 {
		o.Timeout = callTimeout
	}
	return &Store{
		client:  db.Client(),
		orders:  db.Collection(ordersCollection),
		outbox:  db.Collection(outboxCollection),
		timeout: o.Timeout,
	}
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
	w := write{order: newOrderDocument(o), loaded: o.Version() - changes}
	for _, m := range messages {
		w.messages = append(w.messages, newMessageDocument(m))
	}
	if err := s.commit(ctx, w); err != nil {
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
	limit := page.Limit
	if limit < 1 {
		limit = ports.DefaultPageLimit
	}
	limit = min(limit, ports.MaxPageLimit)

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

// write is what one Save wants to have committed.
type write struct {
	order    orderDocument
	loaded   int // the version that the store must still have; 0 for a new order
	messages []messageDocument
}

// commit is one transaction a save.
func (s *Store) commit(ctx context.Context, w write) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return s.transaction(ctx, func(ctx context.Context) error {
		if err := s.putOrder(ctx, w); err != nil {
			return err
		}
		_, err := s.outbox.InsertMany(ctx, w.messages)
		return err
	})
}

// putOrder writes the order's state if the store still has the version that it was loaded with.
func (s *Store) putOrder(ctx context.Context, w write) error {
	if w.loaded == 0 {
		_, err := s.orders.InsertOne(ctx, w.order)
		if mongo.IsDuplicateKeyError(err) {
			return ports.ErrConflict
		}
		return err
	}
	guard := bson.D{{Key: "_id", Value: w.order.ID}, {Key: "version", Value: w.loaded}}
	result, err := s.orders.ReplaceOne(ctx, guard, w.order)
	if err != nil {
		return err
	}
	if result.MatchedCount == 0 {
		return ports.ErrConflict
	}
	return nil
}

// grace is how long a transaction may go on after its caller has left, and how long it may take to be given up. It is far
// more than a server that works needs.
const grace = time.Second

// transaction runs work in a transaction until it is committed or refused, or until the deadline of ctx, which must
// have one. It takes the place of the driver's WithTransaction, which tries again for two minutes and commits under a
// context without an end, while there is a client waiting here.
//
// Trying again is what makes a lost race an ErrConflict: whoever comes second first gets a WriteConflict, which is
// transient, and then, once the other has committed, sees the newer version.
//
// A caller who leaves ends it between two commands, not inside one. A command that is broken off may still reach the
// server after the abort and lock the order for a minute, and a commit that is broken off has an outcome that nobody
// knows. Only when a command takes longer than grace is it broken off.
func (s *Store) transaction(ctx context.Context, work func(context.Context) error) error {
	session, err := s.client.StartSession()
	if err != nil {
		return err
	}
	defer func() {
		// There is something left to end only when the commit took too long.
		steady, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		session.EndSession(steady)
	}()
	deadline, _ := ctx.Deadline()
	steady, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()

	pause := backoff.ExponentialBackOff{
		InitialInterval: 2 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 200 * time.Millisecond,
	}
	for {
		err := attempt(ctx, mongo.NewSessionContext(steady, session), work)
		if err == nil || !hasLabel(err, transientTransaction) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause.NextBackOff()):
		}
	}
}

// attempt runs a transaction once. Every error of work aborts it: an error that work swallowed would have aborted it on
// the server already, without the driver's knowledge.
func attempt(caller, steady context.Context, work func(context.Context) error) error {
	session := mongo.SessionFromContext(steady)
	if err := session.StartTransaction(); err != nil {
		return err
	}
	err := caller.Err()
	if err == nil {
		err = work(steady)
	}
	if err == nil {
		err = caller.Err()
	}
	if err != nil {
		abort, cancel := context.WithTimeout(context.WithoutCancel(steady), grace)
		defer cancel()
		// When even that fails, the server aborts what is left open in its own time.
		_ = session.AbortTransaction(abort)
		return err
	}
	// After a network error the driver asks again until the deadline, and the server answers with what it did the first
	// time. What is still unknown after that is ErrUnavailable.
	return session.CommitTransaction(steady)
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
