//go:build cgo

package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestSubscriber(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	porttest.Subscriber(t, func(t testing.TB) porttest.Feed {
		topic := c.newTopic(t)
		c.createTopic(t, topic, 3, nil)
		// A session longer than any pause of the machine: members of these checks say goodbye.
		options := Options{Brokers: c.brokers, Topic: topic, Partitions: 3, SessionTimeout: time.Minute}
		p := open(t, options)
		return porttest.Feed{
			Subscriber: newSubscriber(t, options),
			Append:     func(t testing.TB, messages ...ports.Message) { t.Helper(); publish(t, p, messages...) },
		}
	})
}

func TestATopicThatIsNotThereYetIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	for _, group := range []string{"test", ""} {
		topic := c.newTopic(t)
		log := &journal{}
		s := newSubscriber(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()})
		if ends, err := s.Ends(t.Context()); err != nil || len(ends) != 0 {
			t.Errorf("ends of a topic that is not there: %v, %v; want none", ends, err)
		}
		r := startReader(t, s, group)
		log.await(t, 1, "does not exist yet", topic)
		if c.exists(t, topic) {
			t.Errorf("topic %s was created by its reader", topic)
		}
		p := open(t, Options{Brokers: c.brokers, Topic: topic, Partitions: 2})
		publish(t, p, event("a", 1), event("b", 1))
		r.await(t, 2)
		r.stop(t)
	}
}

func TestATopicThatWasDeletedIsReadAgainFromItsBeginning(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	topic := c.newTopic(t)
	options := Options{Brokers: c.brokers, Topic: topic, Partitions: 1}
	log := &journal{}
	s := newSubscriber(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()})
	first := open(t, options)
	publish(t, first, event("a", 1))
	r := startReader(t, s, "test")
	r.await(t, 1)
	if err := first.Close(); err != nil { // it would create the topic again
		t.Fatal(err)
	}
	if _, err := c.admin.DeleteTopics(t.Context(), []string{topic}); err != nil {
		t.Fatal(err)
	}
	log.await(t, 1, "level=WARN", "is replaced by a new one")
	publish(t, open(t, options), event("b", 1), event("b", 2))
	r.await(t, 3)
	r.stop(t)
}

func TestRecordsThatAreNotOursArePassedOver(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	topic := c.newTopic(t)
	c.createTopic(t, topic, 1, nil)
	foreign, err := kafka.NewProducer(&kafka.ConfigMap{"bootstrap.servers": c.brokers})
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	send := func() {
		report := make(chan kafka.Event, 1)
		record := &kafka.Message{TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: 0}, Value: []byte("hello")}
		if err := foreign.Produce(record, report); err != nil {
			t.Fatal(err)
		}
		if sent := (<-report).(*kafka.Message); sent.TopicPartition.Error != nil {
			t.Fatal(sent.TopicPartition.Error)
		}
	}
	send()
	publish(t, open(t, Options{Brokers: c.brokers, Topic: topic, Partitions: 1}), event("a", 1))
	send()
	// The last record moves the group too: the second member has nothing to pass over.
	for range 2 {
		log := &journal{}
		s := newSubscriber(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()})
		r := startReader(t, s, "test")
		r.awaitIdle(t)
		r.awaitIdle(t) // a second later: what was passed over after the last message is stored by then
		r.stop(t)
		ids, passed := r.ids(), log.with("not order events")
		if first := len(ids) > 0; first != (len(passed) > 0) || len(ids) > 1 {
			t.Errorf("delivered %v, and the log says %q", ids, passed)
		}
		if len(ids) == 0 {
			return
		}
	}
	t.Error("the second member was delivered a message that the first had handled")
}

// reader is a member that handles everything at once.
type reader struct {
	cancel context.CancelFunc
	ended  chan error

	mu    sync.Mutex
	got   []string
	news  chan struct{} // has something in it when a batch came
	idles chan struct{} // a batch without messages
}

func startReader(t testing.TB, s *Subscriber, group string) *reader {
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{cancel: cancel, ended: make(chan error, 1), news: make(chan struct{}, 1), idles: make(chan struct{}, 1)}
	t.Cleanup(cancel)
	go func() {
		r.ended <- s.Subscribe(ctx, group, nil, func(_ context.Context, b ports.Batch) error {
			r.mu.Lock()
			for _, d := range b.Messages {
				r.got = append(r.got, d.ID)
			}
			r.mu.Unlock()
			signal(r.news)
			if len(b.Messages) == 0 {
				signal(r.idles)
			}
			return nil
		})
	}()
	return r
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *reader) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// await waits until n messages have come.
func (r *reader) await(t testing.TB, n int) {
	t.Helper()
	for timeout := time.After(memberPatience); len(r.ids()) < n; {
		select {
		case <-r.news:
		case err := <-r.ended:
			t.Fatalf("Subscribe ended after %d messages: %v", len(r.ids()), err)
		case <-timeout:
			t.Fatalf("%d messages came, want %d", len(r.ids()), n)
		}
	}
}

// awaitAll waits until each of these messages has come.
func (r *reader) awaitAll(t testing.TB, want []string) {
	t.Helper()
	missing := func() []string {
		got := map[string]bool{}
		for _, id := range r.ids() {
			got[id] = true
		}
		return slices.DeleteFunc(slices.Clone(want), func(id string) bool { return got[id] })
	}
	for timeout := time.After(memberPatience); len(missing()) > 0; {
		select {
		case <-r.news:
		case err := <-r.ended:
			t.Fatalf("Subscribe ended: %v", err)
		case <-timeout:
			t.Fatalf("%d messages did not come: %.300q", len(missing()), missing())
		}
	}
}

func (r *reader) awaitIdle(t testing.TB) {
	t.Helper()
	select {
	case <-r.idles:
	case err := <-r.ended:
		t.Fatalf("Subscribe ended: %v", err)
	case <-time.After(memberPatience):
		t.Fatal("the end of the topic was not reported")
	}
}

func (r *reader) stop(t testing.TB) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Subscribe ended with %v, want the context's error", err)
		}
	case <-time.After(memberPatience):
		t.Fatal("Subscribe does not end")
	}
}
