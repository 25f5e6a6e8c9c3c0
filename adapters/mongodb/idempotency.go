package mongodb

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// A stored result is old by the server's clock alone. The server deletes old ones in its own time, once a minute or so; until
// then they are there, and nothing reads them.
var (
	kept    = bson.D{{Key: "$subtract", Value: bson.A{"$$NOW", ports.ResultsKept.Milliseconds()}}}
	current = bson.D{{Key: "$gt", Value: bson.A{"$keptAt", kept}}}
)

func prepareResults(ctx context.Context, results *mongo.Collection) error {
	old := mongo.IndexModel{
		Keys:    bson.D{{Key: "keptAt", Value: 1}},
		Options: options.Index().SetExpireAfterSeconds(int32(ports.ResultsKept.Seconds())),
	}
	_, err := results.Indexes().CreateOne(ctx, old)
	return fail(ctx, "create the index of the stored results", err)
}

// StoredResult implements ports.IdempotencyStore.
func (s *saver) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	const doing = "get a stored result"
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var d resultDocument
	err := s.results.FindOne(bounded, bson.D{{Key: "_id", Value: key}, {Key: "$expr", Value: current}}).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return ports.StoredResult{}, fmt.Errorf("%s: %w", doing, ports.ErrNotFound)
	}
	if err != nil {
		return ports.StoredResult{}, fail(ctx, doing, err)
	}
	o, err := d.Order.order()
	return ports.StoredResult{Key: ports.IdempotencyKey{Value: d.Key, Fingerprint: d.Fingerprint}, Order: o}, fail(ctx, doing, err)
}

// storeResult puts the result where there is none, or an old one. A current one stays as it is.
func storeResult(w *write) mongo.WriteModel {
	result := bson.D{{Key: "$mergeObjects", Value: bson.A{
		bson.D{{Key: "$literal", Value: w.result}}, // a name in it may begin with a dollar sign
		bson.D{{Key: "keptAt", Value: "$$NOW"}},
	}}}
	replace := mongo.Pipeline{{{Key: "$replaceWith", Value: bson.D{{Key: "$cond", Value: bson.A{current, "$$ROOT", result}}}}}}
	return mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: w.key}}).SetUpdate(replace).SetUpsert(true)
}

// keep writes stored results. Error: ErrDuplicateRequest when one of the keys is taken.
func (s *saver) keep(ctx context.Context, results []mongo.WriteModel) error {
	written, err := s.results.BulkWrite(ctx, results)
	switch {
	case mongo.IsDuplicateKeyError(err): // another has taken it at the same moment
		return ports.ErrDuplicateRequest
	case err != nil:
		return err
	case written.UpsertedCount+written.ModifiedCount < int64(len(results)):
		return ports.ErrDuplicateRequest
	}
	return nil
}

// taken are those of the keys under which there is a current result.
func (s *saver) taken(ctx context.Context, keys []string) (map[string]bool, error) {
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: keys}}}, {Key: "$expr", Value: current}}
	return idsOf(ctx, s.results, filter)
}

// idsOf are the ids of the documents that a filter finds.
func idsOf(ctx context.Context, c *mongo.Collection, filter bson.D) (map[string]bool, error) {
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
