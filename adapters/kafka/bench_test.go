//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// inFlight is how many messages the benchmarks have published and not yet seen acknowledged.
const inFlight = 4096

// BenchmarkPublish measures what Publish adds to librdkafka: ns/op for a message through a loop over nothing but the
// driver (raw), then through the Publisher, with their ratio. Both send the same records with the same settings to a
// topic of the same kind.
func BenchmarkPublish(b *testing.B) {
	c := sharedCluster(b)
	messages := make([]ports.Message, 1000)
	for i := range messages {
		messages[i] = event(fmt.Sprintf("0195a1c2-7c4e-7000-8000-%012d", i), 1)
		messages[i].Payload = random(250)
		messages[i].TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	}
	options := func(b *testing.B) Options {
		return Options{Brokers: c.brokers, Topic: c.newTopic(b), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	}
	var raw time.Duration

	b.Run("raw", func(b *testing.B) {
		o := options(b).withDefaults()
		c.createTopic(b, o.Topic, o.Partitions, nil)
		logs := make(chan kafka.LogEvent, 1000)
		config := o.config(logs)
		producer, err := kafka.NewProducer(&config)
		if err != nil {
			b.Fatal(err)
		}
		defer producer.Close()
		e := envelope{topic: o.Topic, source: []byte(o.Source)}
		var records []*kafka.Message
		for _, m := range messages {
			records = append(records, &e.wrap(m, nil).message)
		}
		room := make(chan struct{}, inFlight)
		read := make(chan struct{})
		loop := func(n int) {
			go func() {
				for range n {
					if report, ok := (<-producer.Events()).(*kafka.Message); !ok || report.TopicPartition.Error != nil {
						b.Errorf("not delivered: %v", report)
					}
					<-room
				}
				read <- struct{}{}
			}()
			for i := range n {
				room <- struct{}{}
				if err := producer.Produce(records[i%len(records)], nil); err != nil {
					b.Fatal(err)
				}
			}
			<-read
		}
		loop(len(messages)) // connect first
		b.ReportAllocs()
		b.ResetTimer()
		loop(b.N)
		raw = b.Elapsed() / time.Duration(b.N)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	})

	b.Run("publisher", func(b *testing.B) {
		p := open(b, options(b))
		room := make(chan struct{}, inFlight)
		done := func(err error) {
			if err != nil {
				b.Errorf("not delivered: %v", err)
			}
			<-room
		}
		loop := func(n int) {
			for i := range n {
				room <- struct{}{}
				p.Publish(b.Context(), messages[i%len(messages)], done)
			}
			for range inFlight {
				room <- struct{}{}
			}
			for range inFlight {
				<-room
			}
		}
		loop(len(messages))
		b.ReportAllocs()
		b.ResetTimer()
		loop(b.N)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		b.ReportMetric(float64(b.Elapsed()/time.Duration(b.N))/float64(raw), "x-raw")
	})
}

// BenchmarkSubscribe measures what Subscribe adds to librdkafka: ns/op for a message through a loop over nothing but the
// driver (raw), then through the Subscriber, with their ratio. Both read the same topic from its first message, and join
// nothing.
func BenchmarkSubscribe(b *testing.B) {
	c := sharedCluster(b)
	topic := c.newTopic(b)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	options := Options{Brokers: c.brokers, Topic: topic, Logger: quiet}
	p := open(b, options)
	const orders, versions = 5_000, 10
	for from := 1; from <= versions; from++ {
		all := manyEvents(orders, from, from)
		for i := range all {
			all[i].Payload = random(250)
			all[i].TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		}
		publish(b, p, all...)
	}
	s := newSubscriber(b, options)
	var raw time.Duration

	b.Run("raw", func(b *testing.B) {
		logs := make(chan kafka.LogEvent, 1000)
		config := s.config("", logs)
		consumer, err := kafka.NewConsumer(&config)
		if err != nil {
			b.Fatal(err)
		}
		defer consumer.Close()
		var all []kafka.TopicPartition
		for n := range int32(12) {
			all = append(all, kafka.TopicPartition{Topic: &topic, Partition: n, Offset: kafka.OffsetBeginning})
		}
		b.ReportAllocs()
		for read := 0; read < b.N; {
			if err := consumer.Assign(all); err != nil {
				b.Fatal(err)
			}
			for n := 0; n < orders*versions && read < b.N; {
				if record, err := consumer.ReadMessage(pollFor); err == nil && len(record.Value) > 0 {
					n++
					read++
				}
			}
		}
		raw = b.Elapsed() / time.Duration(b.N)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	})

	b.Run("subscriber", func(b *testing.B) {
		enough := errors.New("enough")
		b.ReportAllocs()
		for read := 0; read < b.N; {
			n := 0
			err := s.Replay(b.Context(), nil, func(_ context.Context, batch ports.Batch) error {
				n, read = n+len(batch.Messages), read+len(batch.Messages)
				if n >= orders*versions || read >= b.N {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		b.ReportMetric(float64(b.Elapsed()/time.Duration(b.N))/float64(raw), "x-raw")
	})
}
