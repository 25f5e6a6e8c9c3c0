package mongodb

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// ServerTime returns the time of the primary. Leases use that clock; doctor compares it with this machine's.
func ServerTime(ctx context.Context, db *mongo.Database) (time.Time, error) {
	var answer struct {
		LocalTime time.Time `bson:"localTime"`
	}
	err := db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&answer)
	return answer.LocalTime, Fail(ctx, "ask for the server's time", err)
}
