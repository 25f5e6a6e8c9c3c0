//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// Subscriber implements ports.Subscriber: a Subscribe is a consumer of its own. It needs no broker to begin with: while
// Kafka is away, or the topic is not there yet, it waits. When librdkafka's consumer breaks for good it makes a new one.
//
// A record that is not an event of ours is passed over, and the log says so.
type Subscriber struct {
	options Options
	log     *slog.Logger
	// maxPoll is how long the other members of a group wait for one whose handler is not done with what is to be
	// somebody else's. Then the broker throws it out.
	maxPoll time.Duration
	leaving sync.WaitGroup // consumers that have not ended yet; one may outlive its Subscribe
}

// goodbyeFor is how long Subscribe waits, once its context has ended, for its consumer to leave the group. While Kafka is
// away and the member's session is over, that was seen to take minutes. Nothing is lost without a goodbye: who reads on
// asks resume, or is sent some messages again.
const goodbyeFor = 1500 * time.Millisecond

var _ ports.Subscriber = (*Subscriber)(nil)

// errReplace is in the error of a consumer that a new one may do better than.
var errReplace = errors.New("the consumer is of no use any more")

// NewSubscriber makes a subscriber. An error means that the options cannot be used.
func NewSubscriber(options Options) (*Subscriber, error) {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return nil, err
	}
	return &Subscriber{options: options, log: options.Logger, maxPoll: time.Minute}, nil
}

// Subscribe implements ports.Subscriber. A nil resume knows nothing.
//
// A handler may take as long as it likes: meanwhile nothing is fetched, and the member stays one. Only when its partitions
// are to be shared out anew is there a minute for it; a handler that takes longer sees its context end, what it comes to does
// not count, and the member joins again.
//
// It returns within two seconds of the end of ctx and of the handler, whatever Kafka does.
func (s *Subscriber) Subscribe(ctx context.Context, group string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	read := map[int]int64{} // nobody else keeps the place of those who belong to no group
	if group == "" {
		first := resume
		resume = func(ctx context.Context, partitions []int) (map[int]int64, error) {
			if len(read) > 0 || first == nil {
				return read, nil
			}
			return first(ctx, partitions)
		}
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 50 * time.Millisecond
	pause.MaxInterval = 2 * time.Second
	for {
		m := &member{
			topic: s.options.Topic, group: group, resume: resume, log: s.log, waitFor: s.maxPoll * 3 / 4,
			handle: func(ctx context.Context, b ports.Batch) error {
				err := handle(ctx, b)
				if err == nil {
					pause.Reset()
				}
				return err
			},
			health: &health{log: s.log, brokers: s.options.Brokers},
			share:  make(map[int32]*place),
		}
		err := s.work(ctx, m)
		if !errors.Is(err, errReplace) {
			return err
		}
		if ctx.Err() != nil { // the share may still be the leaving consumer's
			return ctx.Err()
		}
		for partition, at := range m.share {
			if group == "" && at.handled >= 0 {
				read[int(partition)] = at.handled
			}
		}
		s.log.Warn("the Kafka consumer is replaced by a new one", "topic", s.options.Topic, "group", group, "err", err)
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// work is one consumer's life.
func (s *Subscriber) work(ctx context.Context, m *member) error {
	logs := make(chan kafka.LogEvent, 100)
	config := s.config(m.group, logs)
	consumer, err := kafka.NewConsumer(&config)
	if err != nil {
		return fmt.Errorf("read topic %s: %w", s.options.Topic, err)
	}
	var logging sync.WaitGroup
	logging.Go(func() { readLogs(logs, s.log, m.health) })
	defer func() {
		left := make(chan struct{})
		s.leaving.Go(func() {
			defer close(left)
			// It leaves the group, and commits what was stored.
			if err := consumer.Close(); err != nil {
				s.log.Warn("the Kafka consumer did not end in order", "topic", s.options.Topic, "group", m.group, "err", err)
			}
			close(logs)
			logging.Wait()
		})
		s.await(ctx, left, m.group)
	}()
	client, err := kafka.NewAdminClientFromConsumer(consumer)
	if err != nil {
		return fmt.Errorf("read topic %s: %w", s.options.Topic, err)
	}
	defer client.Close()
	m.consumer, m.admin = consumer, &topicAdmin{client: client, options: s.options, log: s.log}

	partitions, err := s.awaitTopic(ctx, m.admin, m.health)
	if err != nil {
		return err
	}
	return m.work(ctx, partitions)
}

// await waits until a consumer has left, but not much longer than ctx. Then it leaves without anybody waiting for it, and the
// process may end before.
func (s *Subscriber) await(ctx context.Context, left <-chan struct{}, group string) {
	select {
	case <-left:
		return
	case <-ctx.Done():
	}
	select {
	case <-left:
	case <-time.After(goodbyeFor):
		s.log.Info("Kafka takes long to let a consumer go: nobody waits for it", "topic", s.options.Topic, "group", group,
			"after", goodbyeFor)
	}
}

// awaitTopic returns the topic's partitions once it is there. The error is ctx's.
func (s *Subscriber) awaitTopic(ctx context.Context, admin *topicAdmin, h *health) ([]int32, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 50 * time.Millisecond
	pause.MaxInterval = time.Second
	waiting := false
	return backoff.Retry(ctx, func() ([]int32, error) {
		topic, err := admin.describe(ctx)
		if err != nil {
			return nil, err
		}
		h.works()
		return partitionsOf(topic)
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		switch {
		case errors.Is(err, errNotReady):
		case !errors.Is(err, ErrNoTopic):
			h.lost(err.Error())
		case !waiting:
			waiting = true
			s.log.Info("the topic is not there yet: reading begins when it is", "topic", s.options.Topic)
		}
	}))
}

// partitionsOf are the partitions of a topic, or errNotReady while one of them has no leader.
func partitionsOf(topic kafka.TopicDescription) (partitions []int32, err error) {
	for _, partition := range topic.Partitions {
		if partition.Leader == nil || partition.Leader.ID < 0 {
			return nil, fmt.Errorf("partition %d has no leader: %w", partition.Partition, errNotReady)
		}
		partitions = append(partitions, int32(partition.Partition))
	}
	return partitions, nil
}

// Ends implements ports.Subscriber. A topic that is not there yet has none.
func (s *Subscriber) Ends(ctx context.Context) (map[int]int64, error) {
	client, err := kafka.NewAdminClient(&kafka.ConfigMap{
		"bootstrap.servers":        s.options.Brokers,
		"client.id":                "hexorders",
		"allow.auto.create.topics": false,
		"log_level":                0, // what matters is in the error
	})
	if err != nil {
		return nil, fmt.Errorf("the ends of topic %s: %w", s.options.Topic, err)
	}
	defer client.Close()
	admin := topicAdmin{client: client, options: s.options, log: s.log}
	// A moment after a topic was created not every partition has its leader.
	return backoff.Retry(ctx, func() (map[int]int64, error) {
		topic, err := admin.describe(ctx)
		if errors.Is(err, ErrNoTopic) {
			return map[int]int64{}, nil
		}
		if err != nil {
			return nil, err
		}
		partitions, err := partitionsOf(topic)
		if err != nil {
			return nil, err
		}
		return admin.ends(ctx, partitions)
	}, backoff.WithMaxElapsedTime(2*askFor))
}

func (s *Subscriber) config(group string, logs chan kafka.LogEvent) kafka.ConfigMap {
	id := group
	if id == "" {
		id = "hexorders-reader" // librdkafka wants one; nobody joins it, and nothing is committed under it
	}
	return kafka.ConfigMap{
		"bootstrap.servers": s.options.Brokers,
		"client.id":         "hexorders",
		"group.id":          id,

		// What is stored after the handler is committed every second, and at once when a partition is given away.
		"enable.auto.offset.store": false,
		"enable.auto.commit":       group != "",
		"auto.commit.interval.ms":  1000,
		"auto.offset.reset":        "earliest",

		// A rebalance takes from a member only what another gets; it goes on with the rest.
		"partition.assignment.strategy": "cooperative-sticky",
		"session.timeout.ms":            int(s.options.SessionTimeout.Milliseconds()),
		"heartbeat.interval.ms":         int(min(s.options.SessionTimeout/10, time.Second).Milliseconds()), // a rebalance is heard of with one
		"max.poll.interval.ms":          int(max(s.maxPoll, s.options.SessionTimeout).Milliseconds()),

		"enable.partition.eof":     true,
		"allow.auto.create.topics": false,

		// Who has nothing for us says so after this long, and so it is known that a partition has no more.
		"fetch.wait.max.ms": 100,
		// What is read ahead: enough for a few batches, and no more memory than that. Once there is room, librdkafka looks
		// again after this pause, by default a second, in which a fast handler would run dry.
		"queued.max.messages.kbytes": 32 << 10,
		"fetch.queue.backoff.ms":     10,

		"reconnect.backoff.ms":               100,
		"reconnect.backoff.max.ms":           2000,
		"socket.keepalive.enable":            true,
		"socket.connection.setup.timeout.ms": 10_000,

		"go.logs.channel.enable": true,
		"go.logs.channel":        logs,
	}
}
