package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// throughKafka is the peer of the row through NATS: only the broker differs.
const throughKafka = "hexorders through Kafka"

// throughNATS is latency with one service publishing to NATS and another to Kafka. Both have a MongoDB database as their
// store, whose oplog tells when an order was committed.
func throughNATS(ctx context.Context, l *lab) (results []result, err error) {
	conn, err := nats.Connect(l.natsURL)
	if err != nil {
		return nil, fmt.Errorf("run scripts/services up nats: NATS at %s: %w", l.natsURL, err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	subject := l.newName() // has no dot, so it is the name of the stream as well
	defer func() {
		err = errors.Join(err, js.DeleteStream(context.WithoutCancel(ctx), subject))
	}()
	one, err := l.newStand(ctx, "api,relay", withRoom, "HEXORDERS_BROKER=nats", "HEXORDERS_NATS_URL="+l.natsURL,
		"HEXORDERS_NATS_SUBJECT="+subject)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, one.close()) }()
	other, err := l.newStand(ctx, "api,relay", withRoom)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, other.close()) }()
	topic := other.raw.orders.Database().Name() // other's own
	defer l.deleteTopic(ctx, topic)
	// Each relay makes its stream or topic once it holds the lease.
	if err := await(ctx, time.Minute, func() (bool, error) {
		_, missing := js.Stream(ctx, subject)
		_, err := l.end(ctx, topic)
		return missing == nil && err == nil, nil
	}); err != nil {
		return nil, err
	}

	perSecond := l.rates[0]
	title := fmt.Sprintf("from commit to consumer through NATS at %d orders/s", perSecond)
	r, err := l.compare(ctx, title, []side{
		{ours, func(ctx context.Context) (sample, error) {
			return l.watch(ctx, one, fromStream(js, subject), perSecond)
		}},
		{throughKafka, func(ctx context.Context) (sample, error) { return l.watch(ctx, other, l.fromTopic(topic), perSecond) }},
	},
		line{title + ": p50", ours, throughKafka, p50, "ms", aim{}},
		line{title + ": p99", ours, throughKafka, p99, "ms", aim{}},
		line{title + ": longest", ours, throughKafka, longest, "ms", aim{}})
	return []result{r}, err
}

// fromStream reads a stream of NATS.
func fromStream(js jetstream.JetStream, stream string) consume {
	return func(ctx context.Context) (*consumer, error) {
		ordered, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
		if err != nil {
			return nil, err
		}
		c := &consumer{arrived: map[string]time.Time{}}
		reading, err := ordered.Consume(func(m jetstream.Msg) {
			now := time.Now()
			c.mu.Lock()
			defer c.mu.Unlock()
			c.arrived[m.Headers().Get("ce-id")] = now
		})
		if err != nil {
			return nil, err
		}
		c.close = func() { reading.Stop(); <-reading.Closed() }
		return c, nil
	}
}
