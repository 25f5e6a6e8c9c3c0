//go:build cgo

package main

import (
	"context"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// rawConsumer is librdkafka, and nothing else: all partitions from their beginning, in no group.
type rawConsumer struct{ client *kafka.Consumer }

func newRawConsumer(brokers, topic string) (*rawConsumer, error) {
	client, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers": brokers, "group.id": topic, "enable.auto.commit": false, "fetch.wait.max.ms": 100,
		"fetch.message.max.bytes": 128 << 10, "queued.min.messages": 10_000,
		"queued.max.messages.kbytes": 32 << 10, "fetch.queue.backoff.ms": 10,
	})
	if err != nil {
		return nil, err
	}
	var all []kafka.TopicPartition
	for n := range int32(12) {
		all = append(all, kafka.TopicPartition{Topic: &topic, Partition: n, Offset: kafka.OffsetBeginning})
	}
	return &rawConsumer{client}, client.Assign(all)
}

// batch waits for the first record, and takes what else is there.
func (c *rawConsumer) batch(ctx context.Context, limit int) (values [][]byte, types []string, err error) {
	for len(values) < limit {
		wait := 100 * time.Millisecond
		if len(values) > 0 {
			wait = 0
		}
		record, err := c.client.ReadMessage(wait)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err != nil && len(values) > 0:
			return values, types, nil
		case err != nil: // nothing yet
			continue
		}
		values = append(values, record.Value)
		for _, h := range record.Headers {
			if h.Key == "ce_type" {
				types = append(types, string(h.Value))
			}
		}
	}
	return values, types, nil
}

func (c *rawConsumer) close() { _ = c.client.Close() } // it was only read
