package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"hexorders/adapters/inproc"
	"hexorders/adapters/kafka"
	"hexorders/adapters/nats"
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
		topic: func(c *Config) string { return c.Kafka.Topic },
	},
	{
		name: "nats", publisher: natsPublisher, subscriber: natsSubscriber, examine: examineNATS,
		check: func(ctx context.Context, c *Config) error {
			_, err := nats.Ping(ctx, natsOptions(c, nil))
			return err
		},
		where: func(c *Config) string { return "events go to subject " + c.NATS.Subject + " at " + masked(c.NATS.URL) },
		topic: func(c *Config) string { return c.NATS.Subject },
	},
}

// brokerKind is one row of brokers. Only built and topic are optional.
type brokerKind struct {
	name       string
	publisher  func(c *Config, s *storage, log *slog.Logger) (ports.Publisher, error)
	subscriber func(c *Config, s *storage, log *slog.Logger) (ports.Subscriber, error)

	// check returns what is wrong with the broker at the moment; noTopic knows the error when only the topic is missing.
	check func(ctx context.Context, c *Config) error

	// where says where events go, for the greeting. It comes after the words of the store.
	where func(c *Config) string

	// examine is doctor's line about the broker.
	examine func(ctx context.Context, c *Config) finding

	// built is doctor's line on whether this binary contains the broker. Without it every binary does.
	built func() finding

	// topic is what the broker calls the topic. Without it the topic is in the store.
	topic func(c *Config) string
}

func (k brokerKind) String() string { return k.name }

// noTopic reports whether an error of a check says that only the topic does not exist yet. The publisher creates it.
func noTopic(err error) bool {
	return errors.Is(err, kafka.ErrNoTopic) || errors.Is(err, nats.ErrNoStream)
}

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
	f.note = noTopic(f.err)
	return f
}

func natsOptions(c *Config, log *slog.Logger) nats.Options {
	return nats.Options{
		URL: c.NATS.URL, Security: c.NATS.Security, Subject: c.NATS.Subject, Replicas: c.NATS.Replicas, Logger: log,
		FlushTimeout: flushTimeout,
	}
}

func natsPublisher(c *Config, _ *storage, log *slog.Logger) (ports.Publisher, error) {
	publisher, err := nats.NewPublisher(natsOptions(c, log))
	if err != nil {
		return nil, err
	}
	return publisher, nil
}

func natsSubscriber(c *Config, _ *storage, log *slog.Logger) (ports.Subscriber, error) {
	subscriber, err := nats.NewSubscriber(natsOptions(c, log))
	if err != nil {
		return nil, err
	}
	return subscriber, nil
}

func examineNATS(ctx context.Context, c *Config) finding {
	facts, err := nats.Ping(ctx, natsOptions(c, nil))
	f := finding{what: "broker", err: err, note: noTopic(err)}
	f.good = fmt.Sprintf("NATS %s answers at %s, stream %s is there, on %d servers", facts.Version, masked(c.NATS.URL), facts.Stream,
		facts.Replicas)
	if err == nil && facts.Replicas < 2 {
		f.note, f.err = true, fmt.Errorf("NATS %s answers at %s, stream %s is there, on one server: unless its sync_interval is "+
			"`always`, it acknowledges events that a power failure can still take (adapters/nats/DESIGN.md)", facts.Version,
			masked(c.NATS.URL), facts.Stream)
	}
	return f
}
