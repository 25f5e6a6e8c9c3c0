//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// A consumer whose fetching has stopped without an error: here because the test pauses it behind the loop's back. One
// partition is enough, though the other one keeps the loop busy.
func TestAConsumerThatGetsNothingThoughThereIsSomethingIsReplaced(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	topic := c.newTopic(t)
	c.createTopic(t, topic, 2, nil)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	o := Options{Brokers: c.brokers, Topic: topic, Logger: log, stalled: 2 * time.Second}.withDefaults()
	publisher := open(t, o)

	logs := make(chan kafka.LogEvent, 100)
	config := newSubscriber(t, o).config("", logs)
	consumer, err := kafka.NewConsumer(&config)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := kafka.NewAdminClientFromConsumer(consumer)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1000) // the shard of each message that came
	l := &consumerLoop{
		consumer: consumer, admin: &topicAdmin{client: admin, options: o, log: o.Logger}, topic: topic,
		handle: func(_ context.Context, b ports.Batch) error {
			for _, d := range b.Messages {
				read <- d.Place.Shard
			}
			return nil
		},
		log: o.Logger, connection: &connectionLog{options: o}, stalled: o.stalled,
		assigned: make(map[int32]*partitionState),
	}
	described, err := l.admin.describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.identity = logOf(described)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx, []int32{0, 1}) }()
	defer func() {
		cancel()
		admin.Close()
		if err := consumer.Close(); err != nil {
			t.Errorf("close the consumer: %v", err)
		}
		close(logs)
	}()

	next := 0
	both := func() { // one message for each partition at least
		for range 16 {
			next++
			publish(t, publisher, event(fmt.Sprint("order-", next), 1))
		}
	}
	both()
	for seen := map[string]bool{}; len(seen) < 2; {
		select {
		case shard := <-read:
			seen[shard] = true
		case err := <-ended:
			t.Fatalf("reading ended: %v", err)
		case <-time.After(patience):
			t.Fatal("the messages do not come")
		}
	}
	if err := consumer.Pause([]kafka.TopicPartition{{Topic: &topic, Partition: 1}}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; both() {
		select {
		case err := <-ended:
			if !errors.Is(err, errReplace) || !errors.Is(err, errStalled) {
				t.Fatalf("reading ended with %v, want %v", err, errStalled)
			}
			return
		case <-time.After(100 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("a stalled partition goes unnoticed")
			}
		}
	}
}
