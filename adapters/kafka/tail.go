//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// pollFor bounds how late the end of a context is noticed.
const pollFor = 100 * time.Millisecond

// Tail hands every message of the topic to handle, from the first one or from now on, and follows the topic until ctx
// ends or handle returns an error; it returns that error. It belongs to no consumer group and leaves no trace: it is
// for looking. Each order's messages come in order; those of different orders are merged as the partitions answer.
//
// A record that is not an event of ours goes to strange, with what is wrong with it.
func Tail(ctx context.Context, options Options, fromStart bool, handle func(ports.Message) error, strange func(error)) error {
	options = options.withDefaults()
	if err := Ping(ctx, options); err != nil {
		return err
	}
	consumer, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers":        options.Brokers,
		"client.id":                "hexorders-tail",
		"group.id":                 "hexorders-tail", // librdkafka wants one; nothing is ever committed under it
		"enable.auto.commit":       false,
		"enable.auto.offset.store": false,
		"allow.auto.create.topics": false,
		"fetch.wait.max.ms":        100,
		"log_level":                0, // it writes to stderr otherwise; what matters comes as an error
	})
	if err != nil {
		return fmt.Errorf("read topic %s: %w", options.Topic, err)
	}
	defer func() { _ = consumer.Close() }()
	// A moment after a topic was created not every partition has its leader, so one answer is not enough.
	if _, err := backoff.Retry(ctx, func() (any, error) {
		return nil, assign(consumer, options.Topic, fromStart)
	}, backoff.WithMaxElapsedTime(askFor)); err != nil {
		return fmt.Errorf("read topic %s: %w", options.Topic, err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		record, err := consumer.ReadMessage(pollFor)
		switch {
		case codeOf(err) == kafka.ErrTimedOut:
			continue
		case err != nil:
			// Brokers that come and go are librdkafka's business. What it cannot mend ends the reading.
			var broken kafka.Error
			if errors.As(err, &broken) && !broken.IsFatal() && broken.Code() != kafka.ErrUnknownTopicOrPart {
				continue
			}
			return fmt.Errorf("read topic %s: %w", options.Topic, err)
		}
		m, err := unwrap(record)
		if err != nil {
			strange(err)
			continue
		}
		if err := handle(m); err != nil {
			return err
		}
	}
}

// assign takes all partitions of the topic, without a group that would share them out.
func assign(consumer *kafka.Consumer, topic string, fromStart bool) error {
	metadata, err := consumer.GetMetadata(&topic, false, int(askFor.Milliseconds()))
	if err != nil {
		return err
	}
	var all []kafka.TopicPartition
	for _, p := range metadata.Topics[topic].Partitions {
		at := kafka.TopicPartition{Topic: &topic, Partition: p.ID, Offset: kafka.OffsetBeginning}
		if !fromStart {
			// The number and not "the end", which librdkafka would look up later, when more has come.
			_, high, err := consumer.QueryWatermarkOffsets(topic, p.ID, int(askFor.Milliseconds()))
			if err != nil {
				return err
			}
			at.Offset = kafka.Offset(high)
		}
		all = append(all, at)
	}
	return consumer.Assign(all)
}
