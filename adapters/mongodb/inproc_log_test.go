package mongodb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/ports"
)

// TestProcessesShareATopic has each process append where another reads. The reader is not woken and has to poll.
func TestProcessesShareATopic(t *testing.T) {
	db := mongotest.DB(t)
	const processes, appends = 4, 10
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var writers sync.WaitGroup
	defer writers.Wait()
	for p := range processes {
		topic := mongodb.NewTopic(db)
		writers.Go(func() {
			for n := range appends {
				id := fmt.Sprintf("o-%d", p)
				// On a busy machine a call's time may be up before it has won a race, or before it knows that it has.
				for err := errEnough; err != nil; {
					err = topic.Append(ctx, []ports.Message{{ID: fmt.Sprint(id, "/", n), OrderID: id, Version: n + 1, OccurredAt: at}})
					if err != nil && !errors.Is(err, ports.ErrUnavailable) {
						t.Errorf("append: %v", err)
						return
					}
				}
			}
		})
	}
	reader, newest, seen := mongodb.NewTopic(db), make(map[string]int), 0
	for last := int64(0); seen < processes*appends; {
		messages, end, err := reader.Read(ctx, last, 7)
		if err != nil {
			t.Fatal(err)
		}
		if end != last+int64(len(messages)) {
			t.Fatalf("%d messages after offset %d end at %d: one was passed over", len(messages), last, end)
		}
		for _, m := range messages {
			switch next := newest[m.OrderID] + 1; {
			case m.Version > next:
				t.Fatalf("version %d of %s came where %d should", m.Version, m.OrderID, next)
			case m.Version == next: // or else it was appended again
				newest[m.OrderID] = next
				seen++
			}
		}
		last = end
	}
}

func TestATopicIsAppendedToOnceThoughTheCommitsAnswerIsLost(t *testing.T) {
	db := mongotest.DB(t)
	topic := mongodb.NewTopic(db)
	one := ports.Message{ID: "o-1/1", OrderID: "o-1", Version: 1, OccurredAt: at}
	mongotest.FailCommand(t, db, mongotest.Times(2), "commitTransaction", bson.D{{Key: "closeConnection", Value: true}})
	if err := topic.Append(t.Context(), []ports.Message{one}); err != nil {
		t.Fatal(err)
	}
	heal := mongotest.RefuseCommits(t, db)
	if err := topic.Append(t.Context(), []ports.Message{one}); err == nil {
		t.Error("an append whose commit was refused says that it succeeded")
	}
	heal()
	two := ports.Message{ID: "o-1/2", OrderID: "o-1", Version: 2, OccurredAt: at}
	if err := topic.Append(t.Context(), []ports.Message{two}); err != nil {
		t.Fatal(err)
	}
	messages, _, err := topic.Read(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range messages {
		got = append(got, m.ID)
	}
	if want := []string{"o-1/1", "o-1/2"}; !slices.Equal(got, want) {
		t.Errorf("the topic holds %v, want %v", got, want)
	}
}
