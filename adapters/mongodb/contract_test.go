package mongodb_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/inproc"
	"hexorders/adapters/inproc/logtest"
	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestOrderStoreContract(t *testing.T) { porttest.OrderStore(t, openStorage) }

func TestOutboxContract(t *testing.T) { porttest.Outbox(t, openStorage) }

func TestBacklogContract(t *testing.T) { porttest.Backlog(t, openStorage) }

func TestIdempotencyStoreContract(t *testing.T) { porttest.IdempotencyStore(t, openStorage) }

// Without a committer the promises are the same.
func TestIdempotencyStoreContractOneByOne(t *testing.T) {
	porttest.IdempotencyStore(t, func(t testing.TB) porttest.Storage { return openStorageWith(t, mongodb.Options{MaxBatch: 1}) })
}

func TestHistoryContract(t *testing.T) { porttest.History(t, openStorage) }

func TestOrderScannerContract(t *testing.T) { porttest.OrderScanner(t, openStorage) }

func TestTrimmerContract(t *testing.T) { porttest.Trimmer(t, openStorage) }

func TestParkingContract(t *testing.T) {
	porttest.Parking(t, func(t testing.TB) ports.Parking { return mongodb.NewParking(mongotest.DB(t)) })
}

func TestLeaseContract(t *testing.T) {
	porttest.Lease(t, func(t testing.TB) ports.Lease { return mongodb.NewLease(mongotest.DB(t), "relay") })
}

func TestTopicContract(t *testing.T) {
	logtest.Log(t, func(t testing.TB) inproc.Log { return mongodb.NewTopic(mongotest.DB(t)) })
}

// The event store is held to the same promises, but for Trim, which it does not make.

func TestEventStoreContract(t *testing.T) { porttest.OrderStore(t, openEvents) }

func TestEventLogContract(t *testing.T) { porttest.Outbox(t, openEvents) }

func TestEventBacklogContract(t *testing.T) { porttest.Backlog(t, openEvents) }

func TestEventIdempotencyStoreContract(t *testing.T) { porttest.IdempotencyStore(t, openEvents) }

func TestEventHistoryContract(t *testing.T) { porttest.History(t, openEvents) }

func TestEventOrderScannerContract(t *testing.T) { porttest.OrderScanner(t, openEvents) }

func openEvents(t testing.TB) porttest.Storage {
	db := mongotest.DB(t)
	store := newEventStore(t, db, mongodb.Options{})
	return porttest.Storage{
		Orders:      store,
		Outbox:      mongodb.NewEventLog(db, mongodb.OutboxOptions{}),
		Idempotency: store,
		History:     store,
		Scanner:     store,
		Age:         func(t testing.TB, by time.Duration) { age(t, db.Collection("receipts"), "keptAt", by) },
		FailCommits: func(t testing.TB) func() { return mongotest.RefuseCommits(t, db) },
	}
}

// newEventStore is closed when the test is over, before its database is dropped.
func newEventStore(t testing.TB, db *mongo.Database, o mongodb.Options) *mongodb.EventStore {
	t.Helper()
	store := mongodb.NewEventStore(db, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := store.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return store
}

func openStorage(t testing.TB) porttest.Storage { return openStorageWith(t, mongodb.Options{}) }

func openStorageWith(t testing.TB, o mongodb.Options) porttest.Storage {
	db := mongotest.DB(t)
	store, outbox := mongodb.NewStore(db, o), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	return porttest.Storage{
		Orders:      store,
		Outbox:      outbox,
		Trimmer:     outbox,
		Idempotency: store,
		History:     store,
		Scanner:     store,
		Age:         func(t testing.TB, by time.Duration) { age(t, db.Collection("receipts"), "keptAt", by) },
		FailCommits: func(t testing.TB) func() {
			return mongotest.RefuseCommits(t, db)
		},
	}
}

func age(t testing.TB, c *mongo.Collection, field string, by time.Duration) {
	t.Helper()
	older := bson.D{{Key: "$subtract", Value: bson.A{"$" + field, by.Milliseconds()}}}
	update := mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: field, Value: older}}}}}
	if _, err := c.UpdateMany(t.Context(), bson.D{}, update); err != nil {
		t.Fatalf("make the documents of %s older: %v", c.Name(), err)
	}
}
