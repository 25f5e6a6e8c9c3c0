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

// A receipt is old by the server's clock alone. The server deletes old ones in its own time, once a minute or so; until
// then they are there, and everyone looks past them.
var (
	kept    = bson.D{{Key: "$subtract", Value: bson.A{"$$NOW", ports.ReceiptsKept.Milliseconds()}}}
	current = bson.D{{Key: "$gt", Value: bson.A{"$keptAt", kept}}}
)

func prepareReceipts(ctx context.Context, receipts *mongo.Collection) error {
	old := mongo.IndexModel{
		Keys:    bson.D{{Key: "keptAt", Value: 1}},
		Options: options.Index().SetExpireAfterSeconds(int32(ports.ReceiptsKept.Seconds())),
	}
	_, err := receipts.Indexes().CreateOne(ctx, old)
	return fail(ctx, "create the index of the receipts", err)
}

// Receipt implements ports.Receipts.
func (s *saver) Receipt(ctx context.Context, key string) (ports.Receipt, error) {
	const doing = "get a receipt"
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var d receiptDocument
	err := s.receipts.FindOne(bounded, bson.D{{Key: "_id", Value: key}, {Key: "$expr", Value: current}}).Decode(&d)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return ports.Receipt{}, fmt.Errorf("%s: %w", doing, ports.ErrNotFound)
	}
	if err != nil {
		return ports.Receipt{}, fail(ctx, doing, err)
	}
	o, err := d.Order.order()
	return ports.Receipt{Request: ports.Request{Key: d.Key, Fingerprint: d.Fingerprint}, Order: o}, fail(ctx, doing, err)
}

// keepReceipt puts the receipt where there is none, or an old one. A current one stays as it is.
func keepReceipt(w *write) mongo.WriteModel {
	receipt := bson.D{{Key: "$mergeObjects", Value: bson.A{
		bson.D{{Key: "$literal", Value: w.receipt}}, // a name in it may begin with a dollar sign
		bson.D{{Key: "keptAt", Value: "$$NOW"}},
	}}}
	replace := mongo.Pipeline{{{Key: "$replaceWith", Value: bson.D{{Key: "$cond", Value: bson.A{current, "$$ROOT", receipt}}}}}}
	return mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: w.key}}).SetUpdate(replace).SetUpsert(true)
}

// keep writes receipts. Error: ErrRepeated when one of the keys is taken.
func (s *saver) keep(ctx context.Context, receipts []mongo.WriteModel) error {
	result, err := s.receipts.BulkWrite(ctx, receipts)
	switch {
	case mongo.IsDuplicateKeyError(err): // another has taken it at the same moment
		return ports.ErrRepeated
	case err != nil:
		return err
	case result.UpsertedCount+result.ModifiedCount < int64(len(receipts)):
		return ports.ErrRepeated
	}
	return nil
}

// taken are those of the keys under which there is a receipt.
func (s *saver) taken(ctx context.Context, keys []string) (map[string]bool, error) {
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: keys}}}, {Key: "$expr", Value: current}}
	return idsOf(ctx, s.receipts, filter)
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
