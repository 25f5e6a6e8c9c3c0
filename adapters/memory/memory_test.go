package memory

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/inproc/logtest"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) { porttest.Store(t, open) }

func open(testing.TB) porttest.Storage {
	s := NewStore()
	setFailure := func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failCommit = err
	}
	storage := porttest.Storage{
		Orders: s, Outbox: NewOutbox(s), Parking: NewParking(), Lease: NewLease(), Encode: eventjson.Messages,
		FailCommits: func(testing.TB) func() {
			setFailure(errors.New("the disk is full"))
			return func() { setFailure(nil) }
		},
		Age: func(_ testing.TB, by time.Duration) { age(s, by) },
	}
	storage.Again = func(testing.TB) porttest.Storage {
		again := storage
		again.Outbox = NewOutbox(s)
		return again
	}
	return storage
}

func age(s *Store, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, r := range s.results {
		r.storedAt = r.storedAt.Add(-by)
		s.results[key] = r
	}
}

func TestOldResultsAreForgotten(t *testing.T) {
	s := NewStore()
	save := func(id string) {
		t.Helper()
		o, err := order.New(id, "9999", nil, time.Now())
		if err == nil {
			err = s.Save(t.Context(), o, ports.IdempotencyKey{Value: "key of " + id})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		save(fmt.Sprintf("order-%d", i))
	}
	age(s, ports.ResultsKept+time.Minute)
	save("order-10")
	if len(s.results) != 1 || len(s.keys) != 1 {
		t.Errorf("%d results under %d keys are stored, want the newest alone", len(s.results), len(s.keys))
	}
}

func TestTailRefusesAPositionOfAnotherOutbox(t *testing.T) {
	b := NewOutbox(NewStore())
	for _, p := range []ports.Position{"a resume token", "-1", "1"} {
		err := b.Tail(t.Context(), p, func(ports.Message, ports.Position) error { return nil })
		if err == nil {
			t.Errorf("Tail from %q of an empty outbox: got no error", p)
		}
	}
}

func TestTopic(t *testing.T) {
	logtest.Log(t, func(testing.TB) inproc.Log { return NewTopic() })
}

func TestAFullTopicDropsTheOldest(t *testing.T) {
	topic := NewTopic()
	page := make([]ports.Message, 1000)
	for n := range 2 * TopicKept / len(page) {
		page[0].Version = n
		if err := topic.Append(t.Context(), page); err != nil {
			t.Fatal(err)
		}
		if kept := len(topic.messages); kept > TopicKept+TopicKept/10 {
			t.Fatalf("%d messages are kept, want at most a tenth more than %d", kept, TopicKept)
		}
	}
	messages, last, err := topic.Read(t.Context(), 0, 1)
	if oldest := int64(2*TopicKept - len(topic.messages)); err != nil || len(messages) != 1 || last != oldest+1 {
		t.Errorf("after 0 comes offset %d, %v; want the oldest kept, %d", last, err, oldest+1)
	}
	if end, err := topic.End(t.Context()); err != nil || end != 2*TopicKept {
		t.Errorf("the end is %d, %v; want %d: dropping moves no offset", end, err, 2*TopicKept)
	}
}
