package mongodb

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// Messages implements ports.History.
func (s *Store) Messages(ctx context.Context, orderID string, after, limit int) ([]ports.Message, error) {
	doing := "history of order " + orderID
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	filter := bson.D{{Key: "aggregateid", Value: orderID}, {Key: "version", Value: bson.D{{Key: "$gt", Value: after}}}}
	cursor, err := s.outbox.Find(bounded, filter, options.Find().SetSort(byVersion).SetLimit(int64(limit)))
	if err != nil {
		return nil, fail(ctx, doing, err)
	}
	var documents []messageDocument
	if err := cursor.All(bounded, &documents); err != nil {
		return nil, fail(ctx, doing, err)
	}
	messages := make([]ports.Message, len(documents))
	for i, d := range documents {
		messages[i] = d.message()
	}
	return messages, nil
}
