package main

import (
	"context"
	"errors"
	"log/slog"

	"hexorders/adapters/inproc"
	"hexorders/adapters/kafka"
	"hexorders/ports"
)

// brokers are where events can go (HEXORDERS_BROKER). To add a broker, add a row: no other file decides by the name of a
// broker.
var brokers = []brokerKind{
	{
		name: "inproc", publisher: inprocPublisher, subscriber: inprocSubscriber, examine: examineInproc,
		check: func(context.Context, *Config) error { return nil },
		where: func(c *Config) string {
			if c.Store.volatile {
				return "events go to a broker in this process that forgets them when it stops"
			}
			return "events beside them; `hexorders events tail` shows them"
		},
	},
	{
		name: "kafka", publisher: kafkaPublisher, subscriber: kafkaSubscriber, examine: examineKafka,
		check: func(ctx context.Context, c *Config) error { return kafka.Ping(ctx, kafkaOptions(c, nil)) },
		where: func(c *Config) string { return "events go to topic " + c.Kafka.Topic + " at " + c.Kafka.Brokers },
		built: func() finding {
			return finding{what: "cgo", good: "this binary can talk to Kafka", err: kafka.Supported()}
		},
		ownTopic: true,
	},
}

// brokerKind is one row of brokers. Only built is optional.
type brokerKind struct {
	name       string
	publisher  func(c *Config, s *storage, log *slog.Logger) (ports.Publisher, error)
	subscriber func(c *Config, s *storage, log *slog.Logger) (ports.Subscriber, error)

	// check returns what is wrong with the broker at the moment: errNoTopic when only the topic is missing.
	check func(ctx context.Context, c *Config) error

	// where says where events go, for the greeting. It comes after the words of the store.
	where func(c *Config) string

	// examine is doctor's line about the broker.
	examine func(ctx context.Context, c *Config) finding

	// built is doctor's line on whether this binary contains the broker. Without it every binary does.
	built func() finding

	// ownTopic: the topic is in the broker. Otherwise it is in the store.
	ownTopic bool
}

func (k brokerKind) String() string { return k.name }

// errNoTopic says that the topic does not exist yet. The publisher creates it.
var errNoTopic = kafka.ErrNoTopic

func inprocPublisher(_ *Config, s *storage, _ *slog.Logger) (ports.Publisher, error) {
	return inproc.NewBroker(s.topic), nil
}

func inprocSubscriber(_ *Config, s *storage, _ *slog.Logger) (ports.Subscriber, error) {
	return inproc.NewSubscriber(s.topic), nil
}

func examineInproc(_ context.Context, c *Config) finding {
	if c.Store.volatile {
		return finding{what: "broker", note: true, err: errors.New(
			"in this process, and its events in memory only: HEXORDERS_BROKER=kafka keeps them")}
	}
	return finding{what: "broker", good: "in this process; its events are kept beside the orders"}
}

func kafkaOptions(c *Config, log *slog.Logger) kafka.Options {
	return kafka.Options{
		Brokers: c.Kafka.Brokers, Security: c.Kafka.Security, Topic: c.Kafka.Topic, Logger: log, FlushTimeout: flushTimeout,
	}
}

func kafkaPublisher(c *Config, _ *storage, log *slog.Logger) (ports.Publisher, error) {
	publisher, err := kafka.NewPublisher(kafkaOptions(c, log))
	if err != nil {
		return nil, err
	}
	return publisher, nil
}

func kafkaSubscriber(c *Config, _ *storage, log *slog.Logger) (ports.Subscriber, error) {
	subscriber, err := kafka.NewSubscriber(kafkaOptions(c, log))
	if err != nil {
		return nil, err
	}
	return subscriber, nil
}

func examineKafka(ctx context.Context, c *Config) finding {
	f := finding{what: "broker", good: "Kafka answers at " + c.Kafka.Brokers + ", topic " + c.Kafka.Topic + " is there"}
	f.err = kafka.Ping(ctx, kafkaOptions(c, nil))
	f.note = errors.Is(f.err, errNoTopic)
	return f
}
