package mongodb

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// saver is what Store and EventStore have in common: how saves become transactions.
type saver struct {
	client    *mongo.Client
	messages  *mongo.Collection
	results   *mongo.Collection
	timeout   time.Duration
	committed func(saves int)
	layout    layout
	committer *committer // nil: each save has a transaction of its own
}

// layout is how a store lays out what is saved, and how it tells whose order has moved on.
type layout interface {
	// encode adds to a write what put will need besides the messages, and to the messages what is found by.
	encode(w *write, state orderDocument, messages []messageDocument) error
	// put writes orders and messages, in a transaction. Error: ErrConflict when one of the orders is not as it was loaded.
	put(ctx context.Context, writes []*write) error
	// stale tells which orders are not as they were loaded, by id.
	stale(ctx context.Context, writes []*write) (map[string]bool, error)
}

func newSaver(db *mongo.Database, messages string, o Options, l layout) *saver {
	if o.Timeout <= 0 {
		o.Timeout = callTimeout
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = defaultMaxBatch
	}
	if o.Committed == nil {
		o.Committed = func(int) {}
	}
	s := &saver{
		client:    db.Client(),
		messages:  db.Collection(messages),
		results:   db.Collection(resultsCollection),
		timeout:   o.Timeout,
		committed: o.Committed,
		layout:    l,
	}
	if o.MaxBatch > 1 {
		s.committer = newCommitter(s, o.MaxBatch)
	}
	return s
}

// Close waits until the saves that have begun are answered, or ctx ends. Later ones get ErrUnavailable. The client stays
// open: it is its owner's.
func (s *saver) Close(ctx context.Context) error {
	if s.committer == nil {
		return nil
	}
	return s.committer.close(ctx)
}

// Save implements ports.OrderStore.
func (s *saver) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	changes := len(o.Changes())
	if changes == 0 {
		return nil
	}
	doing := "save order " + o.ID()
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	w, err := s.newWrite(o, messages, key)
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
