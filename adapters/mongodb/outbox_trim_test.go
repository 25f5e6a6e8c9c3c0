package mongodb_test

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/ports"
)

// always is a time before which everything occurred: only what is published may go, not what is old.
var always = at.Add(1000 * time.Hour)

func checkpoint(t testing.TB, outbox ports.Outbox, p ports.Position) {
	t.Helper()
	if err := outbox.Checkpoint(t.Context(), 1, p); err != nil {
		t.Fatal(err)
	}
}

func trim(t testing.TB, outbox ports.Trimmer, want int) {
	t.Helper()
	deleted, err := outbox.Trim(t.Context(), always)
	if err != nil || deleted != want {
		t.Errorf("Trim: got %d, %v, want %d deleted", deleted, err, want)
	}
}

// The checkpoint may stand between two messages of one transaction, and they all have its time.
func TestTrimLeavesATransactionThatIsHalfPublished(t *testing.T) {
	db := mongotest.DB(t)
	store, outbox := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	save(t, store, newOrder(t, "order-1", 1))
	p := tail(t, outbox, "", 1)[0].position
	save(t, store, newOrder(t, "order-2", 2), newOrder(t, "order-3", 3))
	p = tail(t, outbox, p, 4)[3].position // version 2 of order 3
	checkpoint(t, outbox, p)
	trim(t, outbox, 3)
	wantOnce(t, tail(t, outbox, "", 3), map[string]int{"order-3": 3})
	next := tail(t, outbox, p, 1)[0]
	if next.ID != "order-3/3" {
		t.Errorf("after the checkpoint comes %s, want order-3/3", next.ID)
	}
}

func TestTrimWaitsForTheEndOfAScan(t *testing.T) {
	db := mongotest.DB(t)
	store, outbox := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	save(t, store, newOrder(t, "order-1", 2), newOrder(t, "order-2", 2))
	for _, m := range tail(t, outbox, "", 3) {
		checkpoint(t, outbox, m.position)
		trim(t, outbox, 0)
	}
}

// A rescan reads the documents again, and those that are gone were published.
func TestARescanAfterATrimLosesNothing(t *testing.T) {
	db := mongotest.DB(t)
	store, outbox := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewOutbox(db, mongodb.OutboxOptions{Logger: quiet})
	save(t, store, newOrder(t, "order-1", 2), newOrder(t, "order-2", 1))
	p := tail(t, outbox, "", 3)[2].position
	change := newOrder(t, "order-3", 1)
	save(t, store, change)
	p = tail(t, outbox, p, 1)[0].position
	checkpoint(t, outbox, p)
	save(t, store, newOrder(t, "order-4", 2)) // not published
	trim(t, outbox, 3)

	kind, _, _ := cutLast(string(p), "|")
	got := tail(t, outbox, ports.Position(kind+"|DEADBEEF"), 3)
	wantOnce(t, got, map[string]int{"order-3": 1, "order-4": 2})
	checkpoint(t, outbox, got[2].position)
	wantNothingMore(t, store, outbox, got[2].position)
}

// When the server no longer knows the time of the checkpoint nothing can be said, and nothing goes.
func TestTrimLeavesWhatItCannotJudge(t *testing.T) {
	db := mongotest.DB(t)
	store, outbox := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	save(t, store, newOrder(t, "order-1", 2), newOrder(t, "order-2", 1))
	scanned := tail(t, outbox, "", 3)[2].position
	save(t, store, newOrder(t, "order-3", 1))
	checkpoint(t, outbox, tail(t, outbox, scanned, 1)[0].position)
	for _, code := range []int{239, 246} { // SnapshotTooOld, SnapshotUnavailable
		mongotest.FailCommand(t, db, mongotest.Times(1), "find", bson.D{{Key: "errorCode", Value: code}})
		// The first find is that of the checkpoint, and the driver does not try these again.
		if deleted, err := outbox.Trim(t.Context(), always); deleted != 0 || err == nil {
			t.Errorf("Trim whose checkpoint cannot be read: got %d, %v, want an error", deleted, err)
		}
		mongotest.FailCommand(t, db, bson.D{{Key: "skip", Value: 1}}, "find", bson.D{{Key: "errorCode", Value: code}})
		trim(t, outbox, 0)
	}
	mongotest.FailCommand(t, db, mongotest.Times(1), "delete", bson.D{{Key: "errorCode", Value: 11}})
	if deleted, err := outbox.Trim(t.Context(), always); deleted != 0 || err == nil || !strings.Contains(err.Error(), "trim the outbox") {
		t.Errorf("Trim whose delete fails: got %d, %v, want an error that says what was being done", deleted, err)
	}
	trim(t, outbox, 3)
}
