package mongodb_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/inproc/logtest"
	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/ports/porttest"
	"hexorders/ports/porttest/cable"
)

func TestStoreContract(t *testing.T) { porttest.Store(t, openStore(t, mongodb.Options{})) }

// Without a committer the promises are the same.
func TestIdempotencyStoreContractOneByOne(t *testing.T) {
	porttest.Store(t, openStore(t, mongodb.Options{MaxBatch: 1}), "IdempotencyStore")
}

// The event store is held to the same promises, but for Trim, which it does not make.
func TestEventStoreContract(t *testing.T) {
	databases := mongotest.NewPool(t)
	porttest.Store(t, func(t testing.TB) porttest.Storage {
		c := cable.To(t, mongotest.Server())
		return eventStorage(t, databases.DBAt(t, c.Address()), c)
	})
}

func TestTopicContract(t *testing.T) {
	logtest.Log(t, func(t testing.TB) inproc.Log { return mongodb.NewTopic(mongotest.DB(t)) })
}

func openStore(t testing.TB, o mongodb.Options) func(t testing.TB) porttest.Storage {
	databases := mongotest.NewPool(t)
	return func(t testing.TB) porttest.Storage {
		c := cable.To(t, mongotest.Server())
		return storeStorage(databases.DBAt(t, c.Address()), c, o)
	}
}

func storeStorage(db *mongo.Database, c *cable.Cable, o mongodb.Options) porttest.Storage {
	s := storage(db, c)
	s.Orders, s.Outbox = mongodb.NewStore(db, o), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	s.Again = func(t testing.TB) porttest.Storage { return storeStorage(mongotest.Again(t, db, c.Address()), c, o) }
	return s
}

func eventStorage(t testing.TB, db *mongo.Database, c *cable.Cable) porttest.Storage {
	s := storage(db, c)
	s.Orders, s.Outbox = newEventStore(t, db, mongodb.Options{}), mongodb.NewEventLog(db, mongodb.OutboxOptions{})
	s.Again = func(t testing.TB) porttest.Storage { return eventStorage(t, mongotest.Again(t, db, c.Address()), c) }
	return s
}

// storage is what both stores have in common.
func storage(db *mongo.Database, c *cable.Cable) porttest.Storage {
	return porttest.Storage{
		Parking: mongodb.NewParking(db), Lease: mongodb.NewLease(db, "relay"), Encode: eventjson.Messages,
		FailCommits: func(t testing.TB) func() { return mongotest.RefuseCommits(t, db) },
		Break:       c.Cut,
		Age:         func(t testing.TB, by time.Duration) { age(t, db.Collection("receipts"), "keptAt", by) },
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

func age(t testing.TB, c *mongo.Collection, field string, by time.Duration) {
	t.Helper()
	older := bson.D{{Key: "$subtract", Value: bson.A{"$" + field, by.Milliseconds()}}}
	update := mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: field, Value: older}}}}}
	if _, err := c.UpdateMany(t.Context(), bson.D{}, update); err != nil {
		t.Fatalf("make the documents of %s older: %v", c.Name(), err)
	}
}
