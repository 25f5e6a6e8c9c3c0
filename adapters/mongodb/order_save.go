package mongodb

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// documentLayout is what Store and EventStore do differently with a save: which documents an order has. The committer
// calls it; it does not know the committer.
type documentLayout interface {
	// stateDocument returns what to encode for the order's state, which was loaded at a version, 0 if it is new. nil means
	// that this layout stores messages only.
	stateDocument(state orderDocument, loaded int) any
	// keep puts into a result what the store needs to return the order as it is now, whatever becomes of it.
	keep(state orderDocument, in *resultDocument) error
	// insertOrUpdate inserts or updates orders and messages inside a transaction. Error: ErrConflict when one of the
	// orders is not at the version that it was loaded with.
	insertOrUpdate(ctx context.Context, saves []*encodedSave) error
	// findStale returns the ids of the orders that are not at the version that they were loaded with.
	findStale(ctx context.Context, saves []*encodedSave) (map[string]bool, error)
}

// encodedSave is all that one Save commits, as BSON. The caller of Save encodes it, so that a save that cannot be
// encoded, or that is too large, fails before it reaches a batch.
type encodedSave struct {
	id       string
	loaded   int        // the version that the store must still have; 0 for a new order
	version  int        // the version after the save
	state    bson.Raw   // of layout.stateDocument
	messages []bson.Raw // one an event
	key      string     // the idempotency key; "" for none
	result   bson.Raw   // to be stored under the key
	size     int        // bytes
}

// maxDocument is the server's limit, less what it and the driver add.
const maxDocument = 16<<20 - 16<<10

// saveOrder is the Save of both stores: encode, then commit.
func saveOrder(ctx context.Context, c *committer, o *order.Order, key ports.IdempotencyKey) error {
	if len(o.Changes()) == 0 {
		return nil
	}
	doing := "save order " + o.ID()
	save, err := encodeSave(ctx, c.layout, o, key)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := c.commit(ctx, save); err != nil {
		return Fail(ctx, doing, err)
	}
	o.Committed()
	return nil
}

func encodeSave(ctx context.Context, layout documentLayout, o *order.Order, key ports.IdempotencyKey) (*encodedSave, error) {
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &encodedSave{
		id: o.ID(), loaded: o.Version() - len(messages), version: o.Version(), key: key.Value,
		messages: make([]bson.Raw, len(messages)),
	}
	state := newOrderDocument(o)
	if document := layout.stateDocument(state, s.loaded); document != nil {
		if s.state, err = s.encode(document); err != nil {
			return nil, err
		}
	}
	if s.key != "" {
		result := resultDocument{Key: key.Value, Fingerprint: key.Fingerprint}
		if err := layout.keep(state, &result); err != nil {
			return nil, err
		}
		if s.result, err = s.encode(result); err != nil {
			return nil, err
		}
	}
	for i, m := range messages {
		if s.messages[i], err = s.encode(newMessageDocument(m)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *encodedSave) encode(document any) (bson.Raw, error) {
	raw, err := bson.Marshal(document)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("a document of %d bytes is too large for MongoDB, which takes %d", len(raw), maxDocument)
	}
	s.size += len(raw)
	return raw, nil
}

// insertMessages inserts the messages of all saves with as few commands as their size allows.
func insertMessages(ctx context.Context, c *mongo.Collection, saves []*encodedSave) error {
	var messages []bson.Raw
	for _, s := range saves {
		messages = append(messages, s.messages...)
	}
	return insertAll(ctx, c, messages)
}
