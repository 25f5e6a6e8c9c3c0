package mongodb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

// A relay that starts in a quiet outbox has been handed nothing, and must not take for unread what was published long
// ago by a process whose clock is ahead.
func TestAQuietOutboxIsNotBehind(t *testing.T) {
	db := mongotest.DB(t)
	outbox := mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	if _, _, err := outbox.Unread(t.Context()); err == nil {
		t.Error("before the first Tail: got no error, though nothing was read yet")
	}
	save(t, mongodb.NewStore(db, mongodb.Options{}), newOrder(t, "o-1", 3))
	ahead := bson.D{{Key: "$set", Value: bson.D{{Key: "occurredAt", Value: time.Now().Add(20 * time.Second)}}}}
	if _, err := db.Collection("outbox").UpdateMany(t.Context(), bson.D{}, ahead); err != nil {
		t.Fatal(err)
	}
	last := take(t, outbox, 3)

	again := mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = again.Tail(ctx, last, func(ports.Message, ports.Position) error { return nil }) // ends with ctx
	}()
	defer func() { stop(); <-ended }()
	messages, err := -1, error(nil)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if messages, _, err = again.Unread(t.Context()); err == nil {
			break
		}
	}
	if err != nil || messages != 0 {
		t.Errorf("unread: got %d messages, error %v; want none", messages, err)
	}
}

// However much is behind, the server reads no document to say how much.
func TestUnreadIsCountedInAnIndex(t *testing.T) {
	db := mongotest.DB(t)
	store, outbox := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewOutbox(db, mongodb.OutboxOptions{})
	for _, id := range []string{"o-1", "o-2", "o-3"} {
		save(t, store, newOrder(t, id, 3))
	}
	setProfiling := func(level int) {
		t.Helper()
		if err := db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: level}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	wantUnread := func(when string, want int) {
		t.Helper()
		setProfiling(2)
		defer setProfiling(0)
		if messages, _, err := outbox.Unread(t.Context()); err != nil || messages != want {
			t.Fatalf("%s: got %d messages unread, error %v; want %d", when, messages, err, want)
		}
	}
	take(t, outbox, 4)
	wantUnread("in the middle of a scan", 5)
	take(t, outbox, 9)
	later, err := order.New("o-4", "buyer-1", nil, at.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	save(t, store, later)
	wantUnread("in the stream", 1)

	found, err := db.Collection("system.profile").Find(t.Context(), bson.D{{Key: "command.aggregate", Value: "outbox"}})
	if err != nil {
		t.Fatal(err)
	}
	var asked []struct {
		DocsExamined int    `bson:"docsExamined"`
		PlanSummary  string `bson:"planSummary"`
	}
	if err := found.All(t.Context(), &asked); err != nil || len(asked) != 2 {
		t.Fatalf("the profiler has %v, error %v; want 2 questions", asked, err)
	}
	for _, question := range asked {
		if question.DocsExamined > 0 {
			t.Errorf("%d documents were read, by %s", question.DocsExamined, question.PlanSummary)
		}
	}
}

// take reads the outbox from its beginning until it was handed n messages, and returns the position of the last.
func take(t *testing.T, outbox *mongodb.Outbox, n int) (last ports.Position) {
	t.Helper()
	// The last of them counts as handed out only when emit has taken it, so what ends the Tail is its context.
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	err := outbox.Tail(ctx, "", func(_ ports.Message, p ports.Position) error {
		if n == 0 {
			return context.Canceled
		}
		if n, last = n-1, p; n == 0 {
			enough()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return last
}
