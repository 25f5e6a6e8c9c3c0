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
	porttest.Subscriber(t, feed)
}

func TestReplayable(t *testing.T) {
	t.Parallel()
	porttest.Replayable(t, feed)
}

func feed(t testing.TB) porttest.Feed {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	c.createTopic(t, topic, 3, nil)
	// A session longer than any pause of the machine: members of these checks say goodbye.
	options := Options{Brokers: c.brokers, Topic: topic, Partitions: 3, SessionTimeout: time.Minute}
	p := open(t, options)
	return porttest.Feed{
		Delete:     func(t testing.TB) { t.Helper(); c.deleteRecords(t, topic, 3) },
		Subscriber: newSubscriber(t, options),
		Append:     func(t testing.TB, messages ...ports.Message) { t.Helper(); publish(t, p, messages...) },
	}
}

func TestReplayOfWhatComesBeginsAtTheNewest(t *testing.T) {
	t.Parallel()
	f := feed(t)
	s := f.Subscriber.(*Subscriber)
	f.Append(t, event("a", 1), event("b", 1), event("c", 1), event("d", 1))
	newest, err := s.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Append(t, event("a", 2), event("b", 2))
	r := startReplay(t, s, func(context.Context, []string) ([]ports.Place, error) { return newest, nil })
	r.await(t, 2)
	r.stop(t)
	if got := slices.Sorted(slices.Values(r.ids())); !slices.Equal(got, []string{"a/2", "b/2"}) {
		t.Errorf("got %q, want what was published after Newest", got)
	}
}

// A topic that was truncated, by a retention or by hand: what is gone does not lie ahead. Nor does a topic that was made
// anew begin where the old one ended.
func TestAheadCountsFromTheFirstRecordThatIsThere(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	topic := c.newTopic(t)
	c.createTopic(t, topic, 1, nil)
	options := Options{Brokers: c.brokers, Topic: topic, Partitions: 1}
	p := open(t, options)
	publish(t, p, manyEvents(4, 1, 1)...)
	c.deleteRecords(t, topic, 1)
	publish(t, p, manyEvents(6, 2, 2)...)
	s := newSubscriber(t, options)
	for next, want := range map[string]int64{"": 6, "2": 6, "4": 6, "7": 3, "10": 0, "11": 6} {
		ahead, err := s.Ahead(t.Context(), []ports.Place{{Shard: "0", Next: next}})
		if err != nil || ahead["0"] != want {
			t.Errorf("ahead of offset %q: got %v, %v; want %d", next, ahead, err, want)
		}
	}
}

func TestABatchLingersWhileMessagesKeepComing(t *testing.T) {
	t.Parallel()
	f := feed(t)
	ctx, cancel := context.WithCancel(t.Context())
	var messages, batches int
	var first, last time.Time
	all := manyEvents(20, 1, 100)
	total := len(all)
	ended := make(chan error, 1)
	go func() {
		ended <- f.Subscriber.(*Subscriber).Replay(ctx, nil, func(_ context.Context, b ports.Batch) error {
			if len(b.Messages) == 0 {
				return nil
			}
			if messages == 0 {
				first = time.Now()
			}
			last, batches, messages = time.Now(), batches+1, messages+len(b.Messages)
			if messages == total {
				cancel()
			}
			return nil
		})
	}()
	for load := time.NewTicker(10 * time.Millisecond); len(all) > 0; all = all[20:] {
		<-load.C
		f.Append(t, all[:20]...)
	}
	select {
	case err := <-ended:
		t.Logf("the subscription ended: %v", err)
	case <-time.After(patience):
		cancel()
		t.Fatalf("%v; %d of %d messages came", <-ended, messages, total)
	}
	// Those at the beginning and at the end may be small, and then the next one does not linger.
	if most := 10 + int(last.Sub(first)/lingerFor); batches > most {
		t.Errorf("%d messages in %s came in %d batches, want %d at most", messages, last.Sub(first), batches, most)
	}
}

func TestATopicThatIsNotThereYetIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	for _, start := range []func(testing.TB, *Subscriber) *reader{
		func(t testing.TB, s *Subscriber) *reader { return startReader(t, s, "test") },
		func(t testing.TB, s *Subscriber) *reader { return startReplay(t, s, nil) },
	} {
		topic := c.newTopic(t)
		log := &journal{}
		s := newSubscriber(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()})
		if ahead, err := s.Ahead(t.Context(), nil); err != nil || len(ahead) != 0 {
			t.Errorf("shards of a topic that is not there: %v, %v; want none", ahead, err)
		}
		r := start(t, s)
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
	return read(t, func(ctx context.Context, handle func(context.Context, ports.Batch) error) error {
		return s.Subscribe(ctx, group, nil, handle)
	})
}

func startReplay(t testing.TB, s *Subscriber, resume ports.Resume) *reader {
	return read(t, func(ctx context.Context, handle func(context.Context, ports.Batch) error) error {
		return s.Replay(ctx, resume, handle)
	})
}

func read(t testing.TB, deliver func(context.Context, func(context.Context, ports.Batch) error) error) *reader {
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{cancel: cancel, ended: make(chan error, 1), news: make(chan struct{}, 1), idles: make(chan struct{}, 1)}
	t.Cleanup(cancel)
	go func() {
		r.ended <- deliver(ctx, func(_ context.Context, b ports.Batch) error {
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
