package mongodb

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// findHistory is the Messages of both stores.
func findHistory(
	ctx context.Context, c *mongo.Collection, timeout time.Duration, orderID string, after, limit int,
) ([]ports.Message, error) {
	doing := "history of order " + orderID
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	filter := bson.D{{Key: "aggregateid", Value: orderID}, {Key: "version", Value: bson.D{{Key: "$gt", Value: after}}}}
	messages, err := findMessages(bounded, c, filter, options.Find().SetLimit(int64(limit)))
	return messages, Fail(ctx, doing, err)
}

// findMessages reads message documents in version order.
func findMessages(ctx context.Context, c *mongo.Collection, filter bson.D, find *options.FindOptionsBuilder) ([]ports.Message, error) {
	cursor, err := c.Find(ctx, filter, find.SetSort(byVersion))
	if err != nil {
		return nil, err
	}
	var documents []messageDocument
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, err
	}
	messages := make([]ports.Message, len(documents))
	for i, d := range documents {
		messages[i] = d.message()
	}
	return messages, nil
}
