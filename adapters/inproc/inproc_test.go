package inproc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPublisher(t *testing.T) {
	porttest.Publisher(t, func(t testing.TB) porttest.Broker {
		topic := memory.NewTopic()
		b := inproc.NewBroker(topic)
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return porttest.Broker{
			Publisher: b,
			Read:      func(t testing.TB, n int) []ports.Message { return read(t, topic, n) },
			TooLarge:  inproc.MaxPayload + 1,
		}
	})
}

func TestTheLargestPayloadIsTaken(t *testing.T) {
	topic := memory.NewTopic()
	publish(t, inproc.NewBroker(topic), ports.Message{ID: "1/1", Payload: make([]byte, inproc.MaxPayload)})
	if got := len(read(t, topic, 1)[0].Payload); got != inproc.MaxPayload {
		t.Errorf("payload: got %d bytes, want %d", got, inproc.MaxPayload)
	}
}

// slowTopic appends when the test says so.
type slowTopic struct {
	*memory.Topic
	release chan error
	mu      sync.Mutex
	counts  []int
}

func (s *slowTopic) Append(ctx context.Context, messages []ports.Message) error {
	s.mu.Lock()
	s.counts = append(s.counts, len(messages))
	s.mu.Unlock()
	select {
	case err := <-s.release:
		if err != nil {
			return err
		}
		return s.Topic.Append(ctx, messages)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestWhatIsPublishedDuringAnAppendGoesTogetherInTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := &slowTopic{Topic: memory.NewTopic(), release: make(chan error)}
		b := inproc.NewBroker(topic)
		acknowledged := 0
		for n := range 10 {
			b.Publish(t.Context(), ports.Message{ID: fmt.Sprint(n)}, func(error) { acknowledged++ })
			synctest.Wait()
		}
		if acknowledged != 0 {
			t.Errorf("%d messages were acknowledged before they were appended", acknowledged)
		}
		topic.release <- nil
		topic.release <- nil
		synctest.Wait()
		if !slices.Equal(topic.counts, []int{1, 9}) || acknowledged != 10 {
			t.Errorf("appends of %v messages, %d acknowledged; want [1 9] and 10", topic.counts, acknowledged)
		}
	})
}

func TestAFailedAppendIsToldAndStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := &slowTopic{Topic: memory.NewTopic(), release: make(chan error)}
		b := inproc.NewBroker(topic)
		full := errors.New("disk full")
		var first, second error = nil, errors.New("no answer")
		b.Publish(t.Context(), ports.Message{ID: "1"}, func(err error) { first = err })
		topic.release <- full
		synctest.Wait()
		b.Publish(t.Context(), ports.Message{ID: "2"}, func(err error) { second = err })
		topic.release <- nil
		synctest.Wait()
		if !errors.Is(first, full) || second != nil {
			t.Errorf("first %v, second %v; want %v and nil", first, second, full)
		}
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inproc.NewBroker(&slowTopic{Topic: memory.NewTopic(), release: make(chan error)})
		var told error
		b.Publish(t.Context(), ports.Message{ID: "1"}, func(err error) { told = err })
		began := time.Now()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*time.Second || told == nil {
			t.Errorf("Close took %s and told %v, want 2s and an error", took, told)
		}
	})
}

func TestPublishAfterCloseIsAnError(t *testing.T) {
	topic := memory.NewTopic()
	b := inproc.NewBroker(topic)
	publish(t, b, ports.Message{ID: "1/1"})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var published error
	b.Publish(t.Context(), ports.Message{ID: "1/2"}, func(err error) { published = err })
	if !errors.Is(published, inproc.ErrClosed) {
		t.Errorf("Publish after Close: got %v, want %v", published, inproc.ErrClosed)
	}
	if got := ids(read(t, topic, 1)); !slices.Equal(got, []string{"1/1"}) {
		t.Errorf("the topic has %v, want 1/1", got)
	}
}

func publish(t testing.TB, b *inproc.Broker, m ports.Message) {
	t.Helper()
	answer := make(chan error, 1)
	b.Publish(t.Context(), m, func(err error) { answer <- err })
	if err := <-answer; err != nil {
		t.Fatalf("publish %s: %v", m.ID, err)
	}
}

// read returns all the topic holds, once that is at least n messages.
func read(t testing.TB, topic inproc.Log, n int) (messages []ports.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var after int64
	for end, err := topic.End(ctx); len(messages) < n || after < end; {
		page, last, failed := topic.Read(ctx, after, 1000)
		if err != nil || failed != nil {
			t.Fatalf("read %d of %d messages: %v, %v", len(messages), n, err, failed)
		}
		messages, after = append(messages, page...), last
	}
	return messages
}

func ids(messages []ports.Message) (ids []string) {
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return ids
}
