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

// resultStore is the ports.IdempotencyStore of both stores: the result of a request under its idempotency key.
type resultStore struct {
	collection *mongo.Collection
	timeout    time.Duration
	at         func(ctx context.Context, id string, version int) (*order.Order, error) // nil: results have the order itself
}

// Only the server's clock decides whether a stored result is expired. The server deletes expired ones about once a
// minute; until then all queries filter them out.
var (
	kept    = bson.D{{Key: "$subtract", Value: bson.A{"$$NOW", ports.ResultsKept.Milliseconds()}}}
	current = bson.D{{Key: "$gt", Value: bson.A{"$keptAt", kept}}}
)

// find is the StoredResult of both stores.
func (r *resultStore) find(ctx context.Context, key string) (ports.StoredResult, error) {
	const doing = "get a stored result"
	bounded, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var d resultDocument
	err := r.collection.FindOne(bounded, bson.D{{Key: "_id", Value: key}, {Key: "$expr", Value: current}}).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return ports.StoredResult{}, fmt.Errorf("%s: %w", doing, ports.ErrNotFound)
	}
	if err != nil {
		return ports.StoredResult{}, Fail(ctx, doing, err)
	}
	o, err := r.order(bounded, d)
	return ports.StoredResult{Key: ports.IdempotencyKey{Value: d.Key, Fingerprint: d.Fingerprint}, Order: o}, Fail(ctx, doing, err)
}

func (r *resultStore) order(ctx context.Context, d resultDocument) (*order.Order, error) {
	switch {
	case d.Version > 0 && r.at != nil:
		return r.at(ctx, d.OrderID, d.Version)
	case d.Packed != nil:
		return unpack(d.Packed)
	case d.Order != nil:
		return d.Order.order()
	}
	return nil, fmt.Errorf("stored result %q has no order: %w", d.Key, order.ErrInvalidHistory)
}

// insert inserts the results of those saves that have a key, inside a transaction. Error: ErrDuplicateRequest when
// one of the keys is taken.
func (r *resultStore) insert(ctx context.Context, saves []*encodedSave) error {
	var inserts []mongo.WriteModel
	for _, s := range saves {
		if s.key != "" {
			inserts = append(inserts, insertResult(s))
		}
	}
	if len(inserts) == 0 {
		return nil
	}
	done, err := r.collection.BulkWrite(ctx, inserts)
	switch {
	case mongo.IsDuplicateKeyError(err): // another process has inserted it at the same moment
		return ports.ErrDuplicateRequest
	case err != nil:
		return err
	case done.UpsertedCount+done.ModifiedCount < int64(len(inserts)):
		return ports.ErrDuplicateRequest
	}
	return nil
}

// insertResult inserts a result, or replaces an expired one. It leaves a current one unchanged.
func insertResult(s *encodedSave) mongo.WriteModel {
	result := bson.D{{Key: "$mergeObjects", Value: bson.A{
		bson.D{{Key: "$literal", Value: s.result}}, // a name in it may begin with a dollar sign
		bson.D{{Key: "keptAt", Value: "$$NOW"}},
	}}}
	replace := mongo.Pipeline{{{Key: "$replaceWith", Value: bson.D{{Key: "$cond", Value: bson.A{current, "$$ROOT", result}}}}}}
	return mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: s.key}}).SetUpdate(replace).SetUpsert(true)
}

// findTaken returns those keys of the saves under which a current result is stored.
func (r *resultStore) findTaken(ctx context.Context, saves []*encodedSave) (map[string]bool, error) {
	var keys []string
	for _, s := range saves {
		if s.key != "" {
			keys = append(keys, s.key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: keys}}}, {Key: "$expr", Value: current}}
	return findIDs(ctx, r.collection, filter)
}

// findIDs returns the ids of the documents that match a filter.
func findIDs(ctx context.Context, c *mongo.Collection, filter bson.D) (map[string]bool, error) {
	cursor, err := c.Find(ctx, filter, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return nil, err
	}
	var found []struct {
		ID string `bson:"_id"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, err
	}
	ids := make(map[string]bool, len(found))
	for _, f := range found {
		ids[f.ID] = true
	}
	return ids, nil
}
