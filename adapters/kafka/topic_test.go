//go:build cgo

package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

func TestAMissingTopicIsCreatedWithTwelvePartitionsThatForgetNothing(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	if c.exists(t, topic) {
		t.Fatalf("topic %s is there before the test", topic)
	}
	publish(t, open(t, Options{Brokers: c.brokers, Topic: topic}), event("a", 1))

	metadata, err := c.admin.GetMetadata(&topic, false, 5000)
	if err != nil || len(metadata.Topics[topic].Partitions) != 12 {
		t.Errorf("the topic has %d partitions, want 12 (%v)", len(metadata.Topics[topic].Partitions), err)
	}
	settings := c.settings(t, topic)
	for name, want := range map[string]string{"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"} {
		if got := settings[name].Value; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestManyPublishersMayCreateTheTopicAtOnce(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	log := &journal{}
	told := newOutcomes()
	for _, orderID := range []string{"a", "b", "c", "d"} {
		p := open(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()})
		m := event(orderID, 1)
		go p.Publish(t.Context(), m, told.done(m))
	}
	for id, err := range told.await(t, 4) {
		if err != nil {
			t.Errorf("message %s: %v", id, err)
		}
	}
	if created := log.with("created the topic"); len(created) != 1 {
		t.Errorf("%d of 4 publishers say that they created the topic, want 1: %q", len(created), created)
	}
	if wrong := log.with("level=ERROR"); len(wrong) != 0 {
		t.Errorf("the log complains: %q", wrong)
	}
}

func TestAnExistingTopicIsLeftAsItIs(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	c.createTopic(t, topic, 3, map[string]string{"retention.ms": "3600000", "cleanup.policy": "compact"})
	log := &journal{}
	publish(t, open(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()}), event("a", 1))

	metadata, err := c.admin.GetMetadata(&topic, false, 5000)
	if err != nil || len(metadata.Topics[topic].Partitions) != 3 {
		t.Errorf("the topic has %d partitions now, want the 3 it had (%v)", len(metadata.Topics[topic].Partitions), err)
	}
	if got := c.settings(t, topic)["retention.ms"].Value; got != "3600000" {
		t.Errorf("retention.ms is %s now, want the 3600000 it was", got)
	}
	for _, words := range [][]string{
		{"level=WARN", "partitions=3", "wanted=12"},
		{"level=WARN", "setting=retention.ms", "value=3600000"},
		{"level=WARN", "setting=cleanup.policy", "value=compact"},
	} {
		if lines := log.with(words...); len(lines) != 1 {
			t.Errorf("%d lines of the log have %q, want 1 in %q", len(lines), words, log.with())
		}
	}
	if lines := log.with("setting=retention.bytes"); len(lines) != 0 {
		t.Errorf("the log complains about a setting that is right: %q", lines)
	}
}

func TestATopicThatWasDeletedIsCreatedAgain(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	topic := c.newTopic(t)
	log := &journal{}
	p := open(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()})
	publish(t, p, event("a", 1))
	first := sessionOf(p)
	if _, err := c.admin.DeleteTopics(t.Context(), []string{topic}); err != nil {
		t.Fatal(err)
	}

	// Which messages fail until the publisher has noticed is open; what counts is that it comes back by itself.
	deadline := time.Now().Add(patience)
	for version := 2; ; version++ {
		m := event("a", version)
		told := newOutcomes()
		p.Publish(t.Context(), m, told.done(m))
		err := told.await(t, 1)[m.ID]
		if err == nil && sessionOf(p) != first {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the publisher did not come back; the last error is %v, the log\n%s", err, strings.Join(log.with(), ""))
		}
	}
	if got := len(log.with("created the topic")); got != 2 {
		t.Errorf("the topic was created %d times, want twice: %q", got, log.with("created the topic"))
	}
}

func TestPingSaysInPlainWordsWhatToDo(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	c.createTopic(t, topic, 1, nil)
	ctx := t.Context()

	// The topic was created a moment ago, and it takes the broker that moment to find a leader for it.
	deadline := time.Now().Add(patience)
	for err := Ping(ctx, Options{Brokers: c.brokers, Topic: topic}); err != nil; {
		if !strings.Contains(err.Error(), "has no leader") || time.Now().After(deadline) {
			t.Fatalf("a topic that is there: %v", err)
		}
		err = Ping(ctx, Options{Brokers: c.brokers, Topic: topic})
	}

	closed, mute := listen(t), listen(t)
	closed.Close()
	leader := &kafka.Node{ID: 7, Host: "127.0.0.1", Port: closed.Addr().(*net.TCPAddr).Port}
	for name, example := range map[string]struct {
		err   error
		words []string
	}{
		"no topic": {Ping(ctx, Options{Brokers: c.brokers, Topic: topic + ".other"}),
			[]string{topic + ".other", "does not exist", "hexorders serve"}},
		"no broker": {Ping(ctx, Options{Brokers: closed.Addr().String()}),
			[]string{closed.Addr().String(), "connection refused", "scripts/services up", "HEXORDERS_KAFKA_BROKERS"}},
		"not a Kafka": {Ping(ctx, Options{Brokers: mute.Addr().String()}), []string{mute.Addr().String(), "not as a Kafka broker"}},
		"nonsense":    {Ping(ctx, Options{Brokers: "kafka"}), []string{`"kafka"`, "host:port"}},
		"no way to the leader": {
			reachable(ctx, Options{Brokers: "kafka:9092"}, []kafka.TopicPartitionInfo{{Leader: leader}}),
			[]string{"kafka:9092", "broker 7", closed.Addr().String(), "advertised.listeners"},
		},
		"no leader": {
			reachable(ctx, Options{Topic: "orders.events"}, []kafka.TopicPartitionInfo{{Partition: 5}}),
			[]string{"partition 5", "orders.events", "no leader"},
		},
	} {
		for _, word := range example.words {
			if example.err == nil || !strings.Contains(example.err.Error(), word) {
				t.Errorf("%s: the error is %q, want %q in it", name, example.err, word)
			}
		}
	}
	if err := Ping(ctx, Options{Brokers: c.brokers, Topic: topic + ".other"}); !errors.Is(err, ErrNoTopic) {
		t.Errorf("no topic: %v is not ErrNoTopic", err)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	start := time.Now()
	if err := Ping(ended, Options{Brokers: mute.Addr().String()}); err == nil || time.Since(start) > requestTimeout {
		t.Errorf("with an ended context: %v after %v, want an error at once", err, time.Since(start))
	}
}

// librdkafka is not used while no broker listens, because it would use a whole processor. This admin has no client at all.
func TestNobodyIsAskedWhereNobodyListens(t *testing.T) {
	closed, open := listen(t), listen(t)
	closed.Close()
	admin := topicAdmin{options: Options{Brokers: closed.Addr().String(), Topic: "orders.events"}}
	if _, err := admin.describe(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("describe without a listener: %v, want a refused connection", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := connectAny(ctx, []string{closed.Addr().String(), open.Addr().String()}); err != nil {
		t.Errorf("one of two addresses listens: %v", err)
	}
}

func TestOptionsThatCannotBeUsedAreAnError(t *testing.T) {
	for _, options := range []Options{
		{Brokers: "kafka"}, {Brokers: ","}, {Brokers: "127.0.0.1:9092,"}, {Brokers: "kafka://127.0.0.1:9092"},
		{Partitions: -1}, {Queue: -1},
	} {
		options.Logger = slog.New(slog.DiscardHandler)
		if p, err := NewPublisher(options); err == nil {
			t.Errorf("a publisher was made with %+v", options)
			p.Close()
		}
	}
}

// listen opens a port that never answers.
func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() }) // some tests have closed it already
	return listener
}
