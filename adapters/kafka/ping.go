//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// Ping checks that messages can be published: a broker answers, the topic exists, and the leaders of its partitions
// can be reached from here. An error says what to do. Ping takes at most 5 s and ends with ctx.
func Ping(ctx context.Context, options Options) error {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// A producer, because it also says why it cannot connect. Its errors and logs are read once, when it is needed.
	config := options.client(kafka.ConfigMap{"log_level": 0, "go.events.channel.size": 100})
	producer, err := kafka.NewProducer(&config)
	if err != nil {
		return fmt.Errorf("the Kafka brokers %q cannot be used: %w", options.Brokers, err)
	}
	defer producer.Close()
	client, err := kafka.NewAdminClientFromProducer(producer)
	if err != nil {
		return err
	}
	admin := topicAdmin{client: client, options: options, log: options.Logger}
	topic, err := admin.describe(ctx)
	switch {
	case errors.Is(err, ErrNoTopic):
		return fmt.Errorf("a Kafka broker answers at %s, but %w: %s (`hexorders serve` creates it at start)",
			options.Brokers, ErrNoTopic, options.Topic)
	case err != nil:
		// A plain connection gives a better reason: librdkafka only reports a timeout.
		if reason := connectAny(ctx, options.brokers()); reason != nil {
			return fmt.Errorf("no Kafka broker answers at %s (%w): start one with scripts/services up, or name "+
				"another in HEXORDERS_KAFKA_BROKERS", options.Brokers, reason)
		}
		if codeOf(err) == kafka.ErrTopicAuthorizationFailed {
			return fmt.Errorf("%w: grant the user the rights that docs/secure.md lists", err)
		}
		if reason := options.refused(ctx, firstError(producer)); reason != nil {
			return reason
		}
		return fmt.Errorf("something answers at %s, but not as a Kafka broker should: %w (does it want a user, "+
			"HEXORDERS_KAFKA_SECURITY_PROTOCOL=%s?)", options.Brokers, err, options.Security.withUser())
	}

	return reachable(ctx, options, topic.Partitions)
}

// reachable checks that the leaders of the partitions can be reached. Clients write to the leaders at the addresses
// that the brokers advertise, not at the address in the settings.
func reachable(ctx context.Context, options Options, partitions []kafka.TopicPartitionInfo) error {
	checked := map[int]bool{}
	for _, partition := range partitions {
		leader := partition.Leader
		if leader == nil || leader.ID < 0 {
			return fmt.Errorf("partition %d of topic %s has no leader: look at the brokers' logs, one of them is down",
				partition.Partition, options.Topic)
		}
		if checked[leader.ID] {
			continue
		}
		checked[leader.ID] = true
		address := net.JoinHostPort(leader.Host, strconv.Itoa(leader.Port))
		connection, reason := dial(ctx, address, requestTimeout)
		if reason != nil {
			return fmt.Errorf("the Kafka broker at %s sends its clients on to broker %d at %s, which cannot be reached from here "+
				"(%w): set that broker's advertised.listeners to an address that this machine knows", options.Brokers,
				leader.ID, address, reason)
		}
		if !options.Security.encrypts() {
			_ = connection.Close() // nothing is sent
		} else if _, reason := options.handshake(ctx, connection, address); reason != nil {
			return reason
		}
	}
	return nil
}

// firstError is why a client could not connect, "" when it does not say.
func firstError(client *kafka.Producer) string {
	for {
		select {
		case event := <-client.Events():
			if err, ok := event.(kafka.Error); ok && err.Code() != kafka.ErrAllBrokersDown {
				return err.Error()
			}
		default:
			return ""
		}
	}
}

// connectAny returns nil when one of the addresses accepts a connection, otherwise the error of the first. The
// addresses share the time until the deadline of ctx.
func connectAny(ctx context.Context, addresses []string) (first error) {
	deadline, _ := ctx.Deadline()
	for i, address := range addresses {
		connection, err := dial(ctx, address, time.Until(deadline)/time.Duration(len(addresses)-i))
		if err == nil {
			return connection.Close()
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func dial(ctx context.Context, address string, timeout time.Duration) (net.Conn, error) {
	return (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", address)
}
