//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// rawProducer is librdkafka with the settings of adapters/kafka, and nothing else: what it is given it sends, and it
// counts the acknowledgements.
type rawProducer struct {
	client *kafka.Producer
	topic  string
	sent   int64
	acked  atomic.Int64
	read   chan error // closed, or the first refusal
}

func newRawProducer(brokers, topic string) (*rawProducer, error) {
	client, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers": brokers, "enable.idempotence": true, "acks": "all", "message.timeout.ms": 0,
		"max.in.flight": 1, "compression.type": "lz4", "partitioner": "murmur2_random", "linger.ms": 1,
		"queue.buffering.max.messages": 100_000, "queue.buffering.max.kbytes": 128 << 10,
		"go.delivery.report.fields": "none", "go.events.channel.size": 1000, "go.produce.channel.size": 0,
	})
	if err != nil {
		return nil, err
	}
	p := &rawProducer{client: client, topic: topic, read: make(chan error, 1)}
	go func() {
		defer close(p.read)
		for event := range client.Events() {
			switch event := event.(type) {
			case *kafka.Message:
				if err := event.TopicPartition.Error; err != nil {
					select {
					case p.read <- err:
					default:
					}
				}
				p.acked.Add(1)
			}
		}
	}()
	return p, nil
}

var (
	headerSpecVersion = kafka.Header{Key: "ce_specversion", Value: []byte("1.0")}
	headerSource      = kafka.Header{Key: "ce_source", Value: []byte("/hexorders")}
	headerContentType = kafka.Header{Key: "content-type", Value: []byte("application/json")}
)

// produce sends the record that hexorders makes of a message.
func (p *rawProducer) produce(ctx context.Context, m *messageDocument) error {
	record := kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &p.topic, Partition: kafka.PartitionAny},
		Key:            []byte(m.AggregateID),
		Value:          []byte(m.Payload),
		Headers: []kafka.Header{
			headerSpecVersion, headerSource, headerContentType,
			{Key: "ce_id", Value: []byte(m.ID)},
			{Key: "ce_type", Value: []byte(m.Type)},
			{Key: "ce_time", Value: m.OccurredAt.UTC().AppendFormat(nil, time.RFC3339Nano)},
			{Key: "ce_subject", Value: []byte(m.AggregateID)},
			{Key: "ce_aggregateversion", Value: fmt.Append(nil, m.Version)},
		},
	}
	for {
		err := p.client.Produce(&record, nil)
		var full kafka.Error
		if !errors.As(err, &full) || full.Code() != kafka.ErrQueueFull {
			p.sent++
			return err
		}
		select {
		case <-time.After(time.Millisecond): // librdkafka does not tell when there is room again
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flush waits until everything is acknowledged.
func (p *rawProducer) flush(ctx context.Context) error {
	return await(ctx, roundTimeout, func() (bool, error) { return p.acked.Load() == p.sent, nil })
}

func (p *rawProducer) close() error {
	p.client.Close()
	return <-p.read
}
