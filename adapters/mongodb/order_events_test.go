package mongodb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

// What reads an outbox reads the events: they have its fields.
func TestEventsAreLaidOutAsMessages(t *testing.T) {
	db := mongotest.DB(t)
	saveInSteps(t, newEventStore(t, db, mongodb.Options{}), "order-1", 2, 1)
	save(t, mongodb.NewStore(db, mongodb.Options{}), newOrder(t, "order-1", 2))
	read := func(collection, id string) (d bson.M) {
		t.Helper()
		if err := db.Collection(collection).FindOne(t.Context(), bson.D{{Key: "_id", Value: id}}).Decode(&d); err != nil {
			t.Fatalf("%s, %s: %v", collection, id, err)
		}
		return d
	}
	wantSame(t, read("order_events", "order-1/1"), read("outbox", "order-1/1"))
	wantSame(t, read("order_events", "order-1/2"), read("outbox", "order-1/2"))
}

// Nothing may delete what orders are made of.
func TestEventsAreNotTrimmed(t *testing.T) {
	var log any = mongodb.NewEventLog(mongotest.DB(t), mongodb.OutboxOptions{})
	if _, is := log.(ports.Trimmer); is {
		t.Error("the event log can be trimmed")
	}
}

// Both stores may have been used with one database: a checkpoint in one log says nothing of the other.
func TestTheEventLogHasACheckpointOfItsOwn(t *testing.T) {
	db := mongotest.DB(t)
	save(t, mongodb.NewStore(db, mongodb.Options{}), newOrder(t, "order-1", 1))
	save(t, newEventStore(t, db, mongodb.Options{}), newOrder(t, "order-2", 1))
	outbox, log := mongodb.NewOutbox(db, mongodb.OutboxOptions{}), mongodb.NewEventLog(db, mongodb.OutboxOptions{})
	if err := outbox.Checkpoint(t.Context(), 1, tail(t, outbox, "", 1)[0].position); err != nil {
		t.Fatal(err)
	}
	if p, err := log.Position(t.Context()); p != "" || err != nil {
		t.Errorf("position of the event log: got %q and error %v, want none", p, err)
	}
	wantOnce(t, tail(t, log, "", 1), map[string]int{"order-2": 1})
}

// Loading reads the same few documents however long an order's life was.
func TestALoadReadsNoMoreThanASnapshotAndTheEventsAfterIt(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewEventStore(db, patient)
	saveInSteps(t, store, "short", 10, 10)
	saveInSteps(t, store, "long", 10_000, 100)
	saveInSteps(t, store, "longer", 1099, 100)
	closeStore(t, store) // has waited for the snapshots

	for _, c := range []struct {
		id               string
		documents, finds int
	}{
		{"short", 10, 1},
		{"long", 101, 2},   // 1% of them, with the snapshot
		{"longer", 101, 2}, // the worst case: 99 events after the snapshot
	} {
		load := func() {
			if o, err := store.Get(t.Context(), c.id); err != nil || o.Items()[0].Amount != o.Version() {
				t.Errorf("%s: got %v and error %v", c.id, o, err)
			}
		}
		if documents, finds := reads(t, db, load); documents != c.documents || finds != c.finds {
			t.Errorf("%s: %d documents in %d questions were read, want %d in %d", c.id, documents, finds, c.documents, c.finds)
		}
	}
}

// A snapshot saves time and nothing hangs on it: without it, or with one that is of no use, an order is the same, and the
// load leaves a good one behind.
func TestALostSnapshotCostsOnlyTime(t *testing.T) {
	for name, spoil := range map[string]any{
		"lost":              bson.D{{Key: "$unset", Value: bson.D{{Key: "format", Value: ""}, {Key: "order", Value: ""}}}},
		"in an old format":  bson.D{{Key: "$set", Value: bson.D{{Key: "format", Value: 0}}}},
		"of another kind":   bson.D{{Key: "$set", Value: bson.D{{Key: "order", Value: "?"}}}},
		"of no known state": bson.D{{Key: "$set", Value: bson.D{{Key: "order.status", Value: "shipped"}}}},
		"of another state":  bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: 199}}}},
		"of another order":  bson.D{{Key: "$set", Value: bson.D{{Key: "order._id", Value: "order-2"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			db := mongotest.DB(t)
			store := mongodb.NewEventStore(db, patient)
			saveInSteps(t, store, "order-1", 250, 50)
			closeStore(t, store) // takes no more snapshots
			want, err := store.Get(t.Context(), "order-1")
			if err != nil {
				t.Fatal(err)
			}
			snapshots := db.Collection("order_snapshots")
			if spoiled, err := snapshots.UpdateMany(t.Context(), bson.D{{Key: "version", Value: 200}},
				spoil); err != nil || spoiled.ModifiedCount != 1 {
				t.Fatalf("%d snapshots are spoiled, error %v, want 1", spoiled.ModifiedCount, err)
			}

			again := mongodb.NewEventStore(db, patient)
			got, err := again.Get(t.Context(), "order-1")
			if err != nil {
				t.Fatal(err)
			}
			wantSame(t, got.Snapshot(), want.Snapshot())
			closeStore(t, again)
			if n, err := snapshots.CountDocuments(t.Context(),
				bson.D{{Key: "order.version", Value: 250}, {Key: "format", Value: 1}}); err != nil || n != 1 {
				t.Errorf("%d good snapshots are left behind, error %v, want 1", n, err)
			}
		})
	}
}

// Two processes take snapshots in any order.
func TestAnOlderSnapshotDoesNotReplaceANewerOne(t *testing.T) {
	db := mongotest.DB(t)
	slow, fast := mongodb.NewEventStore(db, patient), mongodb.NewEventStore(db, patient)
	saveInSteps(t, fast, "order-1", 99, 99)
	o, err := slow.Get(t.Context(), "order-1")
	if err != nil {
		t.Fatal(err)
	}
	change(t, o, 1)
	held := mongotest.HoldUp(t, db, "update", time.Second)
	save(t, slow, o) // its snapshot, of version 100, is under way
	held()
	ahead, err := fast.Get(t.Context(), "order-1")
	if err != nil {
		t.Fatal(err)
	}
	change(t, ahead, 101)
	save(t, fast, ahead)
	closeStore(t, fast) // the snapshot of version 201 is there
	closeStore(t, slow)
	var snapshot struct{ Version int }
	if err := db.Collection("order_snapshots").FindOne(t.Context(), bson.D{}).Decode(&snapshot); err != nil || snapshot.Version != 201 {
		t.Errorf("the snapshot is of version %d, error %v, want 201", snapshot.Version, err)
	}
}

// A hole among the events is an error, not an order that never was.
func TestAMissingEventIsAnError(t *testing.T) {
	db := mongotest.DB(t)
	store := newEventStore(t, db, mongodb.Options{})
	save(t, store, newOrder(t, "order-1", 5))
	if _, err := db.Collection("order_events").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "order-1/3"}}); err != nil {
		t.Fatal(err)
	}
	if o, err := store.Get(t.Context(), "order-1"); !errors.Is(err, order.ErrInvalidHistory) {
		t.Errorf("got %v and error %v, want %v", o, err, order.ErrInvalidHistory)
	}
}

// patient loses no snapshot to a busy machine.
var patient = mongodb.Options{Timeout: 2 * time.Minute}

// saveInSteps makes an order of so many events, some in each save.
func saveInSteps(t testing.TB, store ports.OrderStore, id string, events, step int) {
	t.Helper()
	o := newOrder(t, id, min(step, events))
	save(t, store, o)
	for o.Version() < events {
		change(t, o, min(step, events-o.Version()))
		save(t, store, o)
	}
}

func closeStore(t testing.TB, store *mongodb.EventStore) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := store.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// reads tells how many documents a test's database gave away meanwhile, and in answer to how many questions. It is the
// server that counts them.
func reads(t testing.TB, db *mongo.Database, during func()) (documents, finds int) {
	t.Helper()
	profile := func(level int) {
		t.Helper()
		if err := db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: level}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	profile(2)
	during()
	profile(0)
	asked, err := db.Collection("system.profile").Find(t.Context(),
		bson.D{{Key: "op", Value: bson.D{{Key: "$in", Value: bson.A{"query", "getmore"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var questions []struct {
		Documents int    `bson:"nreturned"`
		Plan      string `bson:"planSummary"`
	}
	if err := asked.All(t.Context(), &questions); err != nil {
		t.Fatal(err)
	}
	for _, q := range questions {
		documents += q.Documents
		finds++
		if q.Plan == "COLLSCAN" {
			t.Errorf("question %d was answered without an index", finds)
		}
	}
	if err := db.Collection("system.profile").Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return documents, finds
}
