package mongodb

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// The collections and indexes. Everything here looks before it changes something: a user without the right to create
// anything serves as well, once a user with that right has opened the database (docs/secure.md).

// collections must all exist before: a collection that is created inside a transaction makes the transaction slow and prone
// to conflicts.
var collections = []string{
	ordersCollection, outboxCollection, eventsCollection, snapshotsCollection, resultsCollection,
	relayCollection, parkedCollection, leasesCollection, topicCollection, topicEndCollection, subscribersCollection,
}

var (
	outboxIndexes = []mongo.IndexModel{{Keys: byVersion, Options: options.Index().SetUnique(true)}, {Keys: byTime}}

	indexes = map[string][]mongo.IndexModel{
		outboxCollection: outboxIndexes,
		eventsCollection: outboxIndexes,
		parkedCollection: {{Keys: byVersion}},
		resultsCollection: {{
			Keys:    bson.D{{Key: "keptAt", Value: 1}},
			Options: options.Index().SetExpireAfterSeconds(int32(ports.ResultsKept.Seconds())),
		}},
	}

	// oldIndexes are those by which earlier versions listed a buyer's orders. Each Save had to keep them up to date.
	oldIndexes = map[string]bson.D{
		ordersCollection: {{Key: "buyerId", Value: 1}, {Key: "_id", Value: 1}},
		eventsCollection: {{Key: "buyerId", Value: 1}, {Key: "aggregateid", Value: 1}},
	}
)

// prepareSchema creates what is missing, and drops what earlier versions needed.
func prepareSchema(ctx context.Context, db *mongo.Database) error {
	names, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return Fail(ctx, "list the collections", err)
	}
	for _, name := range collections {
		if slices.Contains(names, name) {
			continue
		}
		if err := db.CreateCollection(ctx, name); err != nil && !hasCode(err, namespaceExists) {
			return Fail(ctx, "create collection "+name, err)
		}
	}
	for name, old := range oldIndexes {
		if err := dropIndex(ctx, db.Collection(name), old); err != nil {
			return Fail(ctx, "drop an index of "+name, err)
		}
	}
	for name, models := range indexes {
		if err := EnsureIndexes(ctx, db.Collection(name), models); err != nil {
			return Fail(ctx, "create the indexes of "+name, err)
		}
	}
	return prepareTopicEnd(ctx, db.Collection(topicEndCollection))
}

// EnsureIndexes creates those that are missing. An index by _id creates the collection.
func EnsureIndexes(ctx context.Context, c *mongo.Collection, models []mongo.IndexModel) error {
	found, err := c.Indexes().ListSpecifications(ctx)
	if err != nil {
		return err
	}
	var missing []mongo.IndexModel
	for _, model := range models {
		if same, err := sameKeys(found, model.Keys); err != nil {
			return err
		} else if same == "" {
			missing = append(missing, model)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.Indexes().CreateMany(ctx, missing)
	return err
}

func dropIndex(ctx context.Context, c *mongo.Collection, keys bson.D) error {
	found, err := c.Indexes().ListSpecifications(ctx)
	if err != nil {
		return err
	}
	name, err := sameKeys(found, keys)
	if name == "" || err != nil {
		return err
	}
	if err := c.Indexes().DropOne(ctx, name); !hasCode(err, indexNotFound) { // another process may have dropped it
		return err
	}
	return nil
}

// sameKeys returns the name of the index with these keys, "" when there is none.
func sameKeys(found []mongo.IndexSpecification, keys any) (name string, err error) {
	wanted, err := bson.Marshal(keys)
	for _, index := range found {
		if bytes.Equal(index.KeysDocument, wanted) {
			name = index.Name
		}
	}
	return name, err
}

// prepareTopicEnd makes the document that counts the messages of the in-process broker, or gives that of an earlier version
// its id.
func prepareTopicEnd(ctx context.Context, end *mongo.Collection) error {
	const doing = "prepare the topic"
	hasID := bson.D{{Key: "_id", Value: topicID}, {Key: "id", Value: bson.D{{Key: "$exists", Value: true}}}}
	if err := end.FindOne(ctx, hasID).Err(); !errors.Is(err, mongo.ErrNoDocuments) {
		return Fail(ctx, doing, err)
	}
	ifNew := func(name string, value any) bson.E {
		return bson.E{Key: name, Value: bson.D{{Key: "$ifNull", Value: bson.A{"$" + name, value}}}}
	}
	set := mongo.Pipeline{{{Key: "$set", Value: bson.D{ifNew("end", int64(0)), ifNew("id", bson.NewObjectID().Hex())}}}}
	_, err := end.UpdateByID(ctx, topicID, set, options.UpdateOne().SetUpsert(true))
	if mongo.IsDuplicateKeyError(err) { // another process has inserted it at the same moment
		return nil
	}
	return Fail(ctx, doing, err)
}
