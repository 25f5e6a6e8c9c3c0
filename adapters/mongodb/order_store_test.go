package mongodb_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

func TestDocumentsAreAsDocumented(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	ctx := ports.WithTraceParent(t.Context(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	created, cancelled := at, at.Add(time.Second)
	o, err := order.New("o-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, created)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save(ctx, o, ports.IdempotencyKey{}); err != nil {
		t.Fatal(err)
	}
	if err := o.Cancel(order.ByBuyer, "", cancelled); err != nil {
		t.Fatal(err)
	}
	save(t, store, o)

	wantDocuments(t, db.Collection("orders"), bson.M{
		"_id": "o-1", "buyerId": "9999", "items": bson.A{bson.D{{Key: "productId", Value: "1111"}, {Key: "amount", Value: int32(3)}}},
		"status": "cancelled", "version": int32(2),
		"createdAt": bson.NewDateTimeFromTime(created), "updatedAt": bson.NewDateTimeFromTime(cancelled),
	})
	wantDocuments(t, db.Collection("outbox"), bson.M{
		"_id": "o-1/1", "aggregatetype": "order", "aggregateid": "o-1", "type": "OrderCreated", "version": int32(1),
		"payload": `{"orderId":"o-1","version":1,"occurredAt":"` + created.Format(time.RFC3339Nano) +
			`","buyerId":"9999","items":[{"productId":"1111","amount":3}]}`,
		"occurredAt":  bson.NewDateTimeFromTime(created),
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}, bson.M{
		"_id": "o-1/2", "aggregatetype": "order", "aggregateid": "o-1", "type": "OrderCancelled", "version": int32(2),
		"payload": `{"orderId":"o-1","version":2,"occurredAt":"` + cancelled.Format(time.RFC3339Nano) +
			`","schema":2,"by":"buyer","reason":""}`,
		"occurredAt": bson.NewDateTimeFromTime(cancelled),
	})
}

func TestAnOrderWithoutItemsHasAnEmptyArray(t *testing.T) {
	db := mongotest.DB(t)
	o, err := order.New("o-1", "9999", nil, at)
	if err != nil {
		t.Fatal(err)
	}
	save(t, mongodb.NewStore(db, mongodb.Options{}), o)
	wantDocuments(t, db.Collection("orders"), bson.M{
		"_id": "o-1", "buyerId": "9999", "items": bson.A{}, "status": "pending", "version": int32(1),
		"createdAt": bson.NewDateTimeFromTime(at), "updatedAt": bson.NewDateTimeFromTime(at),
	})
}

func TestTheCollectionsHaveTheirIndexes(t *testing.T) {
	db := mongotest.DB(t)
	for collection, want := range map[string][]string{
		"orders":       {"_id_"},
		"outbox":       {"_id_", "aggregateid_1_version_1 unique", "occurredAt_1"},
		"order_events": {"_id_", "aggregateid_1_version_1 unique", "occurredAt_1"},
		"parked":       {"_id_", "aggregateid_1_version_1"},
	} {
		specifications, err := db.Collection(collection).Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range specifications {
			name := s.Name
			if s.Unique != nil && *s.Unique {
				name += " unique"
			}
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("indexes of %s: got %q, want %q", collection, got, want)
		}
	}
}

// Earlier versions listed a buyer's orders by these indexes.
func TestConnectDropsTheIndexesOfTheLists(t *testing.T) {
	db := mongotest.DB(t)
	keys := map[string]bson.D{
		"orders":       {{Key: "buyerId", Value: 1}, {Key: "_id", Value: 1}},
		"order_events": {{Key: "buyerId", Value: 1}, {Key: "aggregateid", Value: 1}},
	}
	for collection, index := range keys {
		if _, err := db.Collection(collection).Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: index}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := mongodb.Connect(t.Context(), mongotest.URI(), db.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Client().Disconnect(context.Background()) }()
	for collection := range keys {
		indexes, err := db.Collection(collection).Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range indexes {
			if strings.HasPrefix(index.Name, "buyerId") {
				t.Errorf("%s still has the index %s", collection, index.Name)
			}
		}
	}
}

func TestConnectingAgainChangesNothing(t *testing.T) {
	db := mongotest.DB(t)
	save(t, mongodb.NewStore(db, mongodb.Options{}), newOrder(t, "o-1", 1))
	again, err := mongodb.Connect(t.Context(), mongotest.URI(), db.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Client().Disconnect(context.Background()) }()
	if _, err := mongodb.NewStore(again, mongodb.Options{}).Get(t.Context(), "o-1"); err != nil {
		t.Error(err)
	}
}

// A process that died in mid-transaction leaves its documents locked. Until the server opens them, a save of the same
// order must give up in its own time, and must work as soon as they are open.
func TestASaveGivesUpOnALockedOrderInItsOwnTime(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{Timeout: 300 * time.Millisecond})
	o := newOrder(t, "o-1", 1)
	save(t, store, o)
	unlock := lock(t, db, "o-1")
	change(t, o, 1)

	started := time.Now()
	err := store.Save(t.Context(), o, ports.IdempotencyKey{})
	if !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("save of a locked order: got %v, want ErrUnavailable", err)
	}
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("it took %v to give up, with a timeout of 300ms", took)
	}
	if len(o.Changes()) != 1 {
		t.Errorf("the order has %d changes left, want 1", len(o.Changes()))
	}

	unlock()
	if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
		t.Errorf("save after the lock was opened: %v", err)
	}
}

func TestASaveWaitsForALockThatIsOpenedInTime(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	o := newOrder(t, "o-1", 1)
	save(t, store, o)
	unlock := lock(t, db, "o-1")
	change(t, o, 1)
	saved := make(chan error)
	go func() { saved <- store.Save(t.Context(), o, ports.IdempotencyKey{}) }()
	unlock()
	if err := <-saved; err != nil {
		t.Errorf("save: %v", err)
	}
}

func TestACallersDeadlineEndsASave(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{Timeout: time.Minute})
	o := newOrder(t, "o-1", 1)
	save(t, store, o)
	lock(t, db, "o-1")
	change(t, o, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := store.Save(ctx, o, ports.IdempotencyKey{}); !errors.Is(err, context.DeadlineExceeded) ||
		!errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want both DeadlineExceeded and ErrUnavailable", err)
	}
}

// lock writes to an order in a transaction that stays open, as that of a killed process does. unlock aborts it.
func lock(t *testing.T, db *mongo.Database, id string) (unlock func()) {
	t.Helper()
	session, err := db.Client().StartSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.StartTransaction(); err != nil {
		t.Fatal(err)
	}
	ctx := mongo.NewSessionContext(t.Context(), session)
	if _, err := db.Collection("orders").UpdateByID(ctx, id, bson.M{"$set": bson.M{"version": 99}}); err != nil {
		t.Fatal(err)
	}
	unlock = func() { session.EndSession(context.Background()) }
	t.Cleanup(unlock)
	return unlock
}

func TestACommitThatIsRefusedIsAnErrorAndCommitsNothing(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	heal := mongotest.RefuseCommits(t, db)
	o := newOrder(t, "o-1", 2)
	if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); err == nil {
		t.Fatal("the commit was refused, and Save says nothing")
	}
	heal()
	if n := count(t, db.Collection("orders")) + count(t, db.Collection("outbox")); n != 0 {
		t.Errorf("%d documents are there after a refused commit, want none", n)
	}
	if len(o.Changes()) != 2 {
		t.Errorf("the order has %d changes left, want 2", len(o.Changes()))
	}
	save(t, store, o)
	if n := count(t, db.Collection("outbox")); n != 2 {
		t.Errorf("%d messages after the second try, want 2", n)
	}
}

func TestALostAnswerToACommitIsAskedForAgain(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	mongotest.FailCommand(t, db, mongotest.Times(2), "commitTransaction", bson.D{{Key: "closeConnection", Value: true}})
	o := newOrder(t, "o-1", 2)
	if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
		t.Fatalf("save: %v", err)
	}
	if n := count(t, db.Collection("outbox")); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	if len(o.Changes()) != 0 {
		t.Errorf("the order has %d changes left, want none", len(o.Changes()))
	}
}

// The server commits, but never says that a majority has it: its outcome is not known yet.
func TestACommitWithAnUnknownOutcomeIsUnavailable(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{Timeout: 500 * time.Millisecond})
	heal := mongotest.FailCommand(t, db, "alwaysOn", "commitTransaction", bson.D{{Key: "writeConcernError", Value: bson.D{
		{Key: "code", Value: 64}, {Key: "errmsg", Value: "waiting for replication timed out"},
	}}})
	o := newOrder(t, "o-1", 1)
	if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if len(o.Changes()) != 1 {
		t.Errorf("the order has %d changes left, want 1", len(o.Changes()))
	}
	heal()
	// This time it had been committed. Whoever saves again is told.
	if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); !errors.Is(err, ports.ErrConflict) {
		t.Errorf("second save: got %v, want ErrConflict", err)
	}
	if n := count(t, db.Collection("outbox")); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestAServerThatHangsInTheCommitIsUnavailable(t *testing.T) {
	db := mongotest.DB(t)
	hasty := mongodb.NewStore(db, mongodb.Options{Timeout: 200 * time.Millisecond})
	heal := mongotest.FailCommand(t, db, mongotest.Times(1), "commitTransaction", bson.D{
		{Key: "blockConnection", Value: true}, {Key: "blockTimeMS", Value: 600},
	})
	o := newOrder(t, "o-1", 1)
	if err := hasty.Save(t.Context(), o, ports.IdempotencyKey{}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	heal()
	// Whether it was committed in the end is the server's secret, but the order must not stay locked.
	patient := mongodb.NewStore(db, mongodb.Options{})
	started := time.Now()
	if err := patient.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil && !errors.Is(err, ports.ErrConflict) {
		t.Errorf("second save: got %v, want none or ErrConflict", err)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("the second save took %v: the first has left a lock", took)
	}
	if n := count(t, db.Collection("outbox")); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

// Leaving in the middle of a commit must not make the outcome unknown.
func TestACallerWhoLeavesDuringTheCommitGetsItsOutcome(t *testing.T) {
	db := mongotest.DB(t)
	ctx, cancel := context.WithCancel(t.Context())
	store := mongodb.NewStore(db, mongodb.Options{})
	mongotest.FailCommand(t, db, mongotest.Times(1), "commitTransaction", bson.D{
		{Key: "blockConnection", Value: true}, {Key: "blockTimeMS", Value: 300},
	})
	o := newOrder(t, "o-1", 1)
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := store.Save(ctx, o, ports.IdempotencyKey{}); err != nil {
		t.Errorf("save: %v", err)
	}
	if ctx.Err() == nil {
		t.Error("the context should have been cancelled on the way")
	}
	if n := count(t, db.Collection("orders")); n != 1 {
		t.Errorf("%d orders, want 1", n)
	}
}

func TestACallerWhoLeavesBeforeTheCommitSavesNothing(t *testing.T) {
	db := mongotest.DB(t)
	ctx, cancel := context.WithCancel(t.Context())
	store := mongodb.NewStore(db, mongodb.Options{})
	slow := bson.D{{Key: "blockConnection", Value: true}, {Key: "blockTimeMS", Value: 500}}
	mongotest.FailCommand(t, db, mongotest.Times(1), "insert", slow)
	o := newOrder(t, "o-1", 1)
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := store.Save(ctx, o, ports.IdempotencyKey{}); !errors.Is(err, context.Canceled) || errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want Canceled alone: the outcome is known", err)
	}
	if n := count(t, db.Collection("orders")); n != 0 {
		t.Errorf("%d orders, want none", n)
	}
}

func TestATransientErrorIsTriedAgain(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	for _, command := range []string{"insert", "commitTransaction"} {
		mongotest.FailCommand(t, db, mongotest.Times(3), command, bson.D{
			{Key: "errorCode", Value: 251}, {Key: "errorLabels", Value: bson.A{"TransientTransactionError"}},
		})
		if err := store.Save(t.Context(), newOrder(t, "o-"+command, 1), ports.IdempotencyKey{}); err != nil {
			t.Errorf("%s fails three times: %v", command, err)
		}
	}
	if n := count(t, db.Collection("outbox")); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestNotPrimaryIsUnavailable(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{Timeout: 300 * time.Millisecond})
	mongotest.FailCommand(t, db, "alwaysOn", "find", bson.D{{Key: "errorCode", Value: 10107}})
	if _, err := store.Get(t.Context(), "o-1"); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("get: got %v, want ErrUnavailable", err)
	}
}

// An outbox document that is there without its order would be published instead of the new one.
func TestAMessageThatIsThereAlreadyIsNoLostRace(t *testing.T) {
	db := mongotest.DB(t)
	if _, err := db.Collection("outbox").InsertOne(t.Context(), bson.M{"_id": "o-1/1", "aggregateid": "o-1", "version": 1}); err != nil {
		t.Fatal(err)
	}
	err := mongodb.NewStore(db, mongodb.Options{}).Save(t.Context(), newOrder(t, "o-1", 1), ports.IdempotencyKey{})
	if err == nil || errors.Is(err, ports.ErrConflict) || errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want a permanent error", err)
	}
	if n := count(t, db.Collection("orders")); n != 0 {
		t.Errorf("%d orders, want none", n)
	}
}

func TestADamagedOrderIsAnError(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	if _, err := db.Collection("orders").InsertOne(t.Context(),
		bson.M{"_id": "o-1", "buyerId": "b", "version": 1, "status": "lost"}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), "o-1"); !errors.Is(err, order.ErrInvalidHistory) {
		t.Errorf("get: got %v, want ErrInvalidHistory", err)
	}
}

func wantDocuments(t *testing.T, c *mongo.Collection, want ...bson.M) {
	t.Helper()
	cursor, err := c.Find(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var got []bson.M
	if err := cursor.All(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	wantSame(t, got, want)
}

func count(t *testing.T, c *mongo.Collection) int64 {
	t.Helper()
	n, err := c.CountDocuments(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
