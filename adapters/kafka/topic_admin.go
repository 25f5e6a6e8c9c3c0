//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// requestTimeout bounds one request to the broker. It is short because callers retry.
const requestTimeout = 2 * time.Second

// defaultMaxMessageBytes is the default limit of a Kafka broker.
const defaultMaxMessageBytes = 1048588

// errNotReady means that the topic was created a moment ago and some brokers do not know it yet.
var errNotReady = errors.New("the topic cannot be written to yet")

// topicAdmin creates, checks and describes the topic. Before a request that is repeated it opens a plain connection
// (connectAny): while an admin request waits for a broker that was up before, librdkafka reconnects without a pause,
// and three consumers with one request a second used half a processor.
type topicAdmin struct {
	client  *kafka.AdminClient
	options Options
	log     *slog.Logger

	silentSince time.Time // since then a broker listens and no request was answered; zero when that is not so
}

// errCutOff means that a client has lost all its brokers. When a broker that shuts down answers with an empty list of
// brokers, librdkafka forgets the ones that it knows and never connects again (librdkafka issue 5301).
var errCutOff = errors.New("the client gets no answer, and a new client gets one")

// isCutOff takes the result of every request, and reports whether this client is cut off: for Options.stalled it got no
// answer, and a new client gets one.
func (a *topicAdmin) isCutOff(ctx context.Context, err error) bool {
	var nobodyListens *net.OpError
	switch {
	case err == nil, errors.As(err, &nobodyListens), codeOf(err) >= 0 && !errors.Is(err, context.DeadlineExceeded):
		a.silentSince = time.Time{} // the codes of brokers are positive, those of librdkafka negative
		return false
	case a.silentSince.IsZero():
		a.silentSince = time.Now()
	}
	if time.Since(a.silentSince) < a.options.stalled {
		return false
	}
	fresh, err := newAdmin(a.options)
	if err != nil {
		return false
	}
	defer fresh.client.Close()
	_, err = fresh.describe(ctx)
	return err == nil || errors.Is(err, ErrNoTopic)
}

// newAdmin makes an administrator with its own client. The caller closes that client. It connects only when it is asked
// something.
func newAdmin(options Options) (*topicAdmin, error) {
	config := options.client(kafka.ConfigMap{"log_level": 0}) // librdkafka would write to stderr; the error has the reason
	client, err := kafka.NewAdminClient(&config)
	if err != nil {
		return nil, err
	}
	return &topicAdmin{client: client, options: options, log: options.Logger}, nil
}

// ensure creates the topic if it does not exist, and returns its max.message.bytes once all partitions can be written
// to. It leaves an existing topic unchanged and logs settings that are wrong. The caller retries after an error.
func (a *topicAdmin) ensure(ctx context.Context) (maxMessageBytes int, err error) {
	topic, err := a.describe(ctx)
	if errors.Is(err, ErrNoTopic) {
		if err := a.create(ctx); err != nil {
			return 0, err
		}
		return 0, errNotReady
	}
	if err != nil {
		return 0, err
	}
	if _, err := partitionsOf(topic); err != nil {
		return 0, err
	}
	if len(topic.Partitions) != a.options.Partitions {
		a.log.Warn("the number of partitions differs from the setting; the topic is left unchanged",
			"topic", a.options.Topic, "partitions", len(topic.Partitions), "wanted", a.options.Partitions)
	}
	return a.check(ctx), nil
}

// describe returns the topic as the broker sees it, or ErrNoTopic.
func (a *topicAdmin) describe(ctx context.Context) (kafka.TopicDescription, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := connectAny(ctx, a.options.brokers()); err != nil {
		return kafka.TopicDescription{}, fmt.Errorf("describe topic %s: %w", a.options.Topic, err)
	}
	result, err := a.client.DescribeTopics(ctx, kafka.NewTopicCollectionOfTopicNames([]string{a.options.Topic}),
		kafka.SetAdminRequestTimeout(requestTimeout))
	if err != nil {
		return kafka.TopicDescription{}, fmt.Errorf("describe topic %s: %w", a.options.Topic, err)
	}
	topic := result.TopicDescriptions[0]
	switch topic.Error.Code() {
	case kafka.ErrNoError:
		return topic, nil
	case kafka.ErrUnknownTopicOrPart:
		return topic, fmt.Errorf("topic %s: %w", a.options.Topic, ErrNoTopic)
	default:
		return topic, fmt.Errorf("describe topic %s: %w", a.options.Topic, topic.Error)
	}
}

// offsets returns an offset of each partition: kafka.LatestOffsetSpec asks for the one after the newest record,
// kafka.EarliestOffsetSpec for that of the oldest.
func (a *topicAdmin) offsets(ctx context.Context, partitions []int32, which kafka.OffsetSpec) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	topic := a.options.Topic
	if err := connectAny(ctx, a.options.brokers()); err != nil {
		return nil, fmt.Errorf("the offsets of topic %s: %w", topic, err)
	}
	asked := make(map[kafka.TopicPartition]kafka.OffsetSpec, len(partitions))
	for _, partition := range partitions {
		asked[kafka.TopicPartition{Topic: &topic, Partition: partition}] = which
	}
	// Like the consumer, this does not see records after an open transaction of another producer.
	result, err := a.client.ListOffsets(ctx, asked, kafka.SetAdminRequestTimeout(requestTimeout),
		kafka.SetAdminIsolationLevel(kafka.IsolationLevelReadCommitted))
	if err != nil {
		return nil, fmt.Errorf("the offsets of topic %s: %w", topic, err)
	}
	offsets := make(map[int32]int64, len(partitions))
	for partition, found := range result.ResultInfos {
		if found.Error.Code() != kafka.ErrNoError {
			return nil, fmt.Errorf("an offset of partition %d of topic %s: %w", partition.Partition, topic, found.Error)
		}
		offsets[partition.Partition] = int64(found.Offset)
	}
	return offsets, nil
}

func (a *topicAdmin) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	results, err := a.client.CreateTopics(ctx, []kafka.TopicSpecification{{
		Topic:         a.options.Topic,
		NumPartitions: a.options.Partitions,
		// ReplicationFactor 0 leaves it to the broker's default.replication.factor. The topic is also the audit log:
		// nothing in it ever expires.
		Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
	}}, kafka.SetAdminRequestTimeout(requestTimeout))
	if err != nil {
		return fmt.Errorf("create topic %s: %w", a.options.Topic, err)
	}
	switch results[0].Error.Code() {
	case kafka.ErrNoError:
		a.log.Info("created the topic", "topic", a.options.Topic, "partitions", a.options.Partitions)
	case kafka.ErrTopicAlreadyExists: // another process was faster
	default:
		return fmt.Errorf("create topic %s: %w", a.options.Topic, results[0].Error)
	}
	return nil
}

// check logs settings that delete messages, and returns the topic's max.message.bytes. Where reading the settings is
// not permitted it returns the broker's default.
func (a *topicAdmin) check(ctx context.Context) (maxMessageBytes int) {
	settings, err := a.settings(ctx)
	if err != nil {
		a.log.Warn("the settings of the topic cannot be read", "topic", a.options.Topic, "err", err)
		return defaultMaxMessageBytes
	}
	for name, wanted := range map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"} {
		if is := settings[name].Value; is != wanted {
			a.log.Warn("the topic does not keep every message, although it is the audit log; it is left unchanged",
				"topic", a.options.Topic, "setting", name, "value", is, "wanted", wanted)
		}
	}
	if maxMessageBytes, err = limitIn(settings); err != nil {
		return defaultMaxMessageBytes
	}
	return maxMessageBytes
}

// raised reports whether the topic now accepts messages larger than maxMessageBytes; false when the broker does not
// answer.
func (a *topicAdmin) raised(ctx context.Context, maxMessageBytes int) bool {
	settings, err := a.settings(ctx)
	if err != nil {
		return false
	}
	limit, err := limitIn(settings)
	return err == nil && limit > maxMessageBytes
}

func (a *topicAdmin) settings(ctx context.Context) (map[string]kafka.ConfigEntryResult, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resource := kafka.ConfigResource{Type: kafka.ResourceTopic, Name: a.options.Topic}
	results, err := a.client.DescribeConfigs(ctx, []kafka.ConfigResource{resource}, kafka.SetAdminRequestTimeout(requestTimeout))
	if err != nil {
		return nil, err
	}
	if results[0].Error.Code() != kafka.ErrNoError {
		return nil, results[0].Error
	}
	return results[0].Config, nil
}

func limitIn(settings map[string]kafka.ConfigEntryResult) (maxMessageBytes int, err error) {
	return strconv.Atoi(settings["max.message.bytes"].Value)
}
