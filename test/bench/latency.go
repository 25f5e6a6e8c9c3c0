package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// latency is the time from the commit of an order to a consumer that has its message. When it was committed is what the
// server wrote into its oplog, to the millisecond and rounded down, so the figures are up to a millisecond too long. The
// peer is the same service without its relay, and rawTail in its place.
func latency(ctx context.Context, l *lab) (results []result, err error) {
	whole, err := l.newStand(ctx, "api,relay", withRoom)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, whole.close()) }()
	half, err := l.newStand(ctx, "api", withRoom)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, half.close()) }()
	topic := whole.raw.orders.Database().Name() // whole's own
	rawTopic := l.newName()
	if err := l.createTopic(ctx, rawTopic); err != nil {
		return nil, err
	}
	defer l.deleteTopic(ctx, topic)
	defer l.deleteTopic(ctx, rawTopic)
	tail, err := half.raw.tail(ctx, l.brokers, rawTopic, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tail.stop()) }()
	// The relay makes the topic once it holds the lease.
	if err := await(ctx, time.Minute, func() (bool, error) { _, err := l.end(ctx, topic); return err == nil, nil }); err != nil {
		return nil, err
	}

	for _, perSecond := range l.rates {
		title := fmt.Sprintf("from commit to consumer at %d orders/s", perSecond)
		of := func(s *stand, topic string) func(context.Context) (sample, error) {
			return func(ctx context.Context) (sample, error) { return l.watch(ctx, s, l.fromTopic(topic), perSecond) }
		}
		lines := []line{
			{title + ": p50", ours, raw, p50, "ms", aim{}},
			{title + ": p99", ours, raw, p99, "ms", aim{}},
			{title + ": longest", ours, raw, longest, "ms", aim{}},
		}
		if perSecond == 500 {
			lines[1].aim = below(25, "ms")
		}
		r, err := l.compare(ctx, title, []side{{ours, of(whole, topic)}, {raw, of(half, rawTopic)}}, lines...)
		if err != nil {
			return results, err
		}
		r.group = fmt.Sprintf("%d orders/s", perSecond)
		r.charts = []chart{{"latency", "From commit to consumer: 99th percentile in ms", p99}}
		results = append(results, r)
	}
	return results, nil
}

// watch posts orders at a rate and follows each to the consumer.
func (l *lab) watch(ctx context.Context, s *stand, consume consume, perSecond int) (sample, error) {
	c, err := consume(ctx)
	if err != nil {
		return sample{}, err
	}
	defer c.close()
	// One order first, so that everything is connected and waits for the next.
	if err := s.service.post(ctx, "/orders", newOrder); err != nil {
		return sample{}, err
	}
	if err := c.wait(ctx, 1); err != nil {
		return sample{}, err
	}
	before, err := s.raw.position(ctx)
	if err != nil {
		return sample{}, err
	}

	orders := func() (method, url, body string, ok bool) { return "POST", "/orders", newOrder, true }
	load, err := l.load(ctx, s.service, manyClients, vegeta.Rate{Freq: perSecond, Per: time.Second}, orders)
	if err != nil {
		return load, err
	}
	if err := c.wait(ctx, load.done+1); err != nil {
		return load, err
	}
	committed, err := s.raw.commits(ctx, before, load.done)
	if err != nil {
		return load, err
	}
	var times []time.Duration
	for id, at := range committed {
		arrival, arrived := c.arrived[id]
		if !arrived {
			return load, fmt.Errorf("message %s has not arrived, though as many have as were committed", id)
		}
		times = append(times, arrival.Sub(at))
	}
	end := latencyOf(times)
	end.rate, end.done = load.rate, load.done
	return end, nil
}

// commits are when the server committed the next n messages.
func (r *rawStore) commits(ctx context.Context, after bson.Raw, n int) (map[string]time.Time, error) {
	stream, err := r.outbox.Watch(ctx, mongo.Pipeline{}, options.ChangeStream().SetResumeAfter(after))
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close(context.WithoutCancel(ctx)) }() // it only reads
	at := make(map[string]time.Time, n)
	for len(at) < n && stream.Next(ctx) {
		var event struct {
			WallTime time.Time `bson:"wallTime"`
			Key      struct {
				ID string `bson:"_id"`
			} `bson:"documentKey"`
		}
		if err := bson.Unmarshal(stream.Current, &event); err != nil {
			return nil, err
		}
		if event.WallTime.IsZero() {
			return nil, errors.New("the change stream does not tell when a message was committed: MongoDB 6.0 or newer does")
		}
		at[event.Key.ID] = event.WallTime
	}
	return at, stream.Err()
}

// consumer is what somebody else's program would be: it notes when each message arrives.
type consumer struct {
	close   func()
	mu      sync.Mutex
	arrived map[string]time.Time // by message id; guarded by mu
}

// consume starts a consumer that reads only what comes from now on.
type consume func(context.Context) (*consumer, error)

// fromTopic reads a topic of Kafka.
func (l *lab) fromTopic(topic string) consume {
	return func(ctx context.Context) (*consumer, error) {
		ends, err := l.admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return nil, err
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(l.brokers, ",")...), kgo.ConsumePartitions(ends.KOffsets()))
		if err != nil {
			return nil, err
		}
		ctx, end := context.WithCancel(ctx)
		ended := make(chan struct{})
		c := &consumer{arrived: map[string]time.Time{}, close: func() { end(); <-ended; client.Close() }}
		go func() {
			defer close(ended)
			for ctx.Err() == nil {
				fetches := client.PollFetches(ctx)
				now := time.Now()
				c.mu.Lock()
				fetches.EachRecord(func(k *kgo.Record) { c.arrived[messageID(k)] = now })
				c.mu.Unlock()
			}
		}()
		return c, nil
	}
}

func messageID(k *kgo.Record) string {
	for _, h := range k.Headers {
		if h.Key == "ce_id" {
			return string(h.Value)
		}
	}
	return ""
}

func (c *consumer) wait(ctx context.Context, n int) error {
	got := 0
	err := await(ctx, time.Minute, func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		got = len(c.arrived)
		return got >= n, nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d messages have arrived: %w", got, n, err)
	}
	return nil
}
