package mongodb_test

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestOrderStoreContract(t *testing.T) { porttest.OrderStore(t, openStorage) }

func TestOutboxContract(t *testing.T) { porttest.Outbox(t, openStorage) }

func TestBacklogContract(t *testing.T) { porttest.Backlog(t, openStorage) }

func TestReceiptsContract(t *testing.T) { porttest.Receipts(t, openStorage) }

// Without a committer the promises are the same.
func TestReceiptsContractOneByOne(t *testing.T) {
	porttest.Receipts(t, func(t testing.TB) porttest.Storage { return openStorageWith(t, mongodb.Options{MaxBatch: 1}) })
}

func TestHistoryContract(t *testing.T) { porttest.History(t, openStorage) }

func TestTrimmerContract(t *testing.T) { porttest.Trimmer(t, openStorage) }

func TestParkingContract(t *testing.T) {
	porttest.Parking(t, func(t testing.TB) ports.Parking { return mongodb.NewParking(testDB(t)) })
}

func TestLeaseContract(t *testing.T) {
	porttest.Lease(t, func(t testing.TB) ports.Lease { return mongodb.NewLease(testDB(t), "relay") })
}

func TestTopicContract(t *testing.T) {
	porttest.Topic(t, func(t testing.TB) ports.Topic { return mongodb.NewTopic(testDB(t)) })
}

func openStorage(t testing.TB) porttest.Storage { return openStorageWith(t, mongodb.Options{}) }

func openStorageWith(t testing.TB, o mongodb.Options) porttest.Storage {
	db := testDB(t)
	store, outbox := mongodb.NewStore(db, o), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	return porttest.Storage{
		Orders:   store,
		Outbox:   outbox,
		Trimmer:  outbox,
		Receipts: store,
		History:  store,
		Age:      func(t testing.TB, by time.Duration) { age(t, db, by) },
		FailCommits: func(t testing.TB) func() {
			return refuseCommits(t, db)
		},
	}
}

func age(t testing.TB, db *mongo.Database, by time.Duration) {
	t.Helper()
	older := bson.D{{Key: "$subtract", Value: bson.A{"$keptAt", by.Milliseconds()}}}
	update := mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "keptAt", Value: older}}}}}
	if _, err := db.Collection("receipts").UpdateMany(t.Context(), bson.D{}, update); err != nil {
		t.Fatalf("make the receipts older: %v", err)
	}
}
