//go:build cgo

package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// Subscriber implements ports.Subscriber and ports.TopicEnd: each Subscribe and Replay has its own consumer. It starts
// without a broker: while Kafka is down, or the topic does not exist yet, it waits. When librdkafka's consumer breaks
// permanently it makes a new one.
//
// A shard is a partition. A record that is not an order event is skipped and logged.
type Subscriber struct {
	options Options
	log     *slog.Logger
	// maxPoll is how long the other members of a group wait for a member whose handler still works on partitions that
	// it must hand over. After that the broker removes it from the group.
	maxPoll time.Duration
	closing sync.WaitGroup // consumers that are not closed yet; one may outlive its Subscribe
	stalls  atomic.Int64
}

// closeTimeout is how long Subscribe waits for its consumer to leave the group, at its end and before it makes a new
// consumer. While Kafka is down and the session has expired, leaving can take minutes. Nothing is lost without it: the
// next consumer asks resume, or gets some messages again.
const closeTimeout = 1200 * time.Millisecond

var (
	_ ports.Subscriber = (*Subscriber)(nil)
	_ ports.TopicEnd   = (*Subscriber)(nil)
)

var (
	// errReplace marks an error after which a new consumer may succeed.
	errReplace = errors.New("the consumer cannot continue")
	errNoGroup = errors.New("a subscription needs a group; Replay reads without one")
)

// NewSubscriber makes a subscriber. An error means that the options are invalid.
func NewSubscriber(options Options) (*Subscriber, error) {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return nil, err
	}
	return &Subscriber{options: options, log: options.Logger, maxPoll: time.Minute}, nil
}

// Subscribe implements ports.Subscriber. A nil resume means that no place is stored.
//
// A handler may take any time: meanwhile the consumer fetches nothing and stays in its group. Only when its partitions
// are assigned to another consumer must it finish within 45 seconds. After that its context ends, its result does not
// count, and the consumer joins the group again.
//
// It returns within two seconds after ctx and the handler have ended, even while Kafka is down.
func (s *Subscriber) Subscribe(ctx context.Context, group string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	if group == "" {
		return errNoGroup
	}
	return s.read(ctx, group, resume, handle)
}

// Replay implements ports.Replayable. A nil resume means that no place is stored. It ends as Subscribe does.
func (s *Subscriber) Replay(ctx context.Context, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	return s.read(ctx, "", resume, handle)
}

// read runs one consumer after the other. Without a group each reads all partitions, and only done knows how far the
// ones before it have come.
func (s *Subscriber) read(ctx context.Context, group string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 50 * time.Millisecond
	pause.MaxInterval = 2 * time.Second
	done := map[string]ports.Place{}
	for {
		l := &consumerLoop{
			topic: s.options.Topic, group: group, resume: resume, log: s.log, waitFor: s.maxPoll * 3 / 4, stalled: s.options.stalled,
			handle: func(ctx context.Context, b ports.Batch) error {
				err := handle(ctx, b)
				if err == nil {
					pause.Reset()
				}
				return err
			},
			done:       done,
			connection: &connectionLog{options: s.options},
			assigned:   make(map[int32]*partitionState),
		}
		handled, err := s.runConsumer(ctx, l)
		if !errors.Is(err, errReplace) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if group == "" {
			maps.Copy(done, handled)
		}
		if errors.Is(err, errStalled) || errors.Is(err, errCutOff) {
			s.stalls.Add(1)
		}
		s.log.Warn("the Kafka consumer is replaced by a new one", "topic", s.options.Topic, "group", group, "err", err)
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stalls is how many consumers were replaced because they got nothing although a broker answered and had something.
func (s *Subscriber) Stalls() int64 { return s.stalls.Load() }

// runConsumer runs one consumer until it ends or has to be replaced, and returns how far it has handled each partition.
func (s *Subscriber) runConsumer(ctx context.Context, l *consumerLoop) (handled map[string]ports.Place, err error) {
	logs := make(chan kafka.LogEvent, 100)
	config := s.config(l.group, logs)
	consumer, err := kafka.NewConsumer(&config)
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", s.options.Topic, err)
	}
	var logging sync.WaitGroup
	logging.Go(func() { readLogs(logs, s.log, l.connection) })
	defer func() {
		handled = l.handled() // the closing consumer changes the assignment
		l.closing = true
		s.close(consumer, l.group, func() {
			close(logs)
			logging.Wait()
		})
	}()
	client, err := kafka.NewAdminClientFromConsumer(consumer)
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", s.options.Topic, err)
	}
	defer client.Close()
	l.consumer, l.admin = consumer, &topicAdmin{client: client, options: s.options, log: s.log}

	topic, err := s.awaitTopic(ctx, l.admin, l.connection)
	if err != nil {
		return nil, err
	}
	l.identity = logOf(topic)
	partitions, err := partitionsOf(topic)
	if err != nil {
		return nil, err
	}
	return nil, l.run(ctx, partitions)
}

// close leaves the group and commits the stored offsets. After closeTimeout it goes on in the background, and the process
// may exit before it is done.
func (s *Subscriber) close(consumer *kafka.Consumer, group string, after func()) {
	closed := make(chan struct{})
	s.closing.Go(func() {
		defer close(closed)
		if err := consumer.Close(); err != nil {
			s.log.Warn("the Kafka consumer did not close cleanly", "topic", s.options.Topic, "group", group, "err", err)
		}
		after()
	})
	select {
	case <-closed:
	case <-time.After(closeTimeout):
		s.log.Info("the Kafka consumer is slow to leave its group; nothing waits for it", "topic", s.options.Topic, "group", group,
			"after", closeTimeout)
	}
}

// awaitTopic waits until the topic exists and its partitions have leaders. The error is ctx's, or errReplace.
func (s *Subscriber) awaitTopic(ctx context.Context, admin *topicAdmin, connection *connectionLog) (kafka.TopicDescription, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 50 * time.Millisecond
	pause.MaxInterval = time.Second
	waiting, lastLogged := false, ""
	return backoff.Retry(ctx, func() (kafka.TopicDescription, error) {
		topic, err := admin.describe(ctx)
		if admin.isCutOff(ctx, err) {
			return topic, backoff.Permanent(fmt.Errorf("%w: %w: %w", errReplace, errCutOff, err))
		}
		if err == nil {
			connection.reached()
			_, err = partitionsOf(topic)
		}
		return topic, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		switch {
		case errors.Is(err, errNotReady):
		case codeOf(err) > 0: // a broker has answered, and does not do it
			connection.reached()
			if codeOf(err) == kafka.ErrTopicAuthorizationFailed {
				err = fmt.Errorf("%w: grant the user the rights that docs/secure.md lists", err)
			}
			if text := err.Error(); text != lastLogged {
				lastLogged = text
				s.log.Warn("the topic cannot be read yet; trying again", "topic", s.options.Topic, "err", err)
			}
		case !errors.Is(err, ErrNoTopic):
			connection.lost(err.Error())
		case !waiting:
			waiting = true
			s.log.Info("the topic does not exist yet; reading begins once it does", "topic", s.options.Topic)
		}
	}))
}

// partitionsOf returns the partitions of a topic, or errNotReady while one of them has no leader.
func partitionsOf(topic kafka.TopicDescription) (partitions []int32, err error) {
	for _, partition := range topic.Partitions {
		if partition.Leader == nil || partition.Leader.ID < 0 {
			return nil, fmt.Errorf("partition %d has no leader: %w", partition.Partition, errNotReady)
		}
		partitions = append(partitions, int32(partition.Partition))
	}
	return partitions, nil
}

// Ahead implements ports.Replayable. It counts offsets, and not every offset has a record that is an order event.
func (s *Subscriber) Ahead(ctx context.Context, from []ports.Place) (map[string]int64, error) {
	ahead := make(map[string]int64)
	return ahead, s.ask(ctx, func(partition ports.ShardRange) error {
		next, _, err := partition.Resume(from)
		ahead[partition.Shard] = partition.End - next
		return err
	})
}

// Newest implements ports.TopicEnd.
func (s *Subscriber) Newest(ctx context.Context) ([]ports.Place, error) {
	var places []ports.Place
	err := s.ask(ctx, func(partition ports.ShardRange) error {
		places = append(places, partition.At(partition.End))
		return nil
	})
	return places, err
}

// ask calls tell with each partition of the topic, unless it does not exist yet.
func (s *Subscriber) ask(ctx context.Context, tell func(ports.ShardRange) error) error {
	admin, err := newAdmin(s.options)
	if err != nil {
		return fmt.Errorf("topic %s: %w", s.options.Topic, err)
	}
	defer admin.client.Close()
	var ranges map[int32]ports.ShardRange
	// For a moment after a topic is created some partitions have no leader.
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		topic, err := admin.describe(ctx)
		if errors.Is(err, ErrNoTopic) {
			return struct{}{}, nil
		}
		if err != nil {
			return struct{}{}, err
		}
		partitions, err := partitionsOf(topic)
		if err != nil {
			return struct{}{}, err
		}
		ranges, err = admin.ranges(ctx, logOf(topic), partitions)
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(2*requestTimeout))
	for _, partition := range ranges {
		err = cmp.Or(err, tell(partition))
	}
	return err
}

func (s *Subscriber) config(group string, logs chan kafka.LogEvent) kafka.ConfigMap {
	id := group
	if id == "" {
		// librdkafka requires one and looks for its coordinator, so it needs the right that groups have. No consumer joins it,
		// and nothing is committed under it.
		id = "hexorders." + s.options.Topic + ".reader"
	}
	return s.options.client(kafka.ConfigMap{
		"group.id": id,

		// The loop stores offsets after the handler. librdkafka commits them every second, and when a partition is
		// revoked.
		"enable.auto.offset.store": false,
		"enable.auto.commit":       group != "",
		"auto.commit.interval.ms":  1000,
		"auto.offset.reset":        "error", // the loop begins again, and finds out what is missing

		// A rebalance revokes only the partitions that move; a consumer keeps reading the others.
		"partition.assignment.strategy": "cooperative-sticky",
		"session.timeout.ms":            int(s.options.SessionTimeout.Milliseconds()),
		// A consumer hears of a rebalance in the response to a heartbeat.
		"heartbeat.interval.ms": int(min(s.options.SessionTimeout/10, time.Second).Milliseconds()),
		"max.poll.interval.ms":  int(max(s.maxPoll, s.options.SessionTimeout).Milliseconds()),

		"enable.partition.eof": true,

		// A broker without new records responds after this time; the response shows that a partition is at its end.
		"fetch.wait.max.ms": 100,
		// Records are small and compress well: with librdkafka's default, 1 MB of each partition, a consumer that is behind
		// held 100 MiB of them. A larger batch is fetched all the same.
		"fetch.message.max.bytes": 128 << 10,
		// Fetch again once what was fetched is polled: while a batch lingers or is handled, what is published meanwhile
		// gathers at the broker and comes in one fetch. This pause is before librdkafka looks again; its default of a
		// second would starve a fast handler.
		"queued.min.messages":        1,
		"queued.max.messages.kbytes": 32 << 10,
		"fetch.queue.backoff.ms":     2,

		"go.logs.channel.enable": true,
		"go.logs.channel":        logs,
	})
}
