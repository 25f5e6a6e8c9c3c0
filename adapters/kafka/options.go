package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Options are the address of Kafka and the settings of the topic. The zero value of each field is usable.
type Options struct {
	Brokers      string        // host:port, several with commas; "" means 127.0.0.1:9092
	Security     Security      // the zero value means neither TLS nor a user
	Topic        string        // "" means orders.events
	Partitions   int           // used when the topic is created; 0 means 12
	Queue        int           // messages held for the broker before Publish waits; 0 means 100,000
	Source       string        // the ce_source of every message, a URI reference; "" means DefaultSource
	FlushTimeout time.Duration // how long Close waits for the broker; 0 means 5 s
	Logger       *slog.Logger  // nil means slog.Default()

	// SessionTimeout is the time after which the other members of a group take over from a member that has died; 0
	// means 10 s. A broker accepts no less than its group.min.session.timeout.ms, by default 6 s.
	SessionTimeout time.Duration

	stalled time.Duration // stalledAfter, less in tests
}

// Security is how clients connect. What is "" is left to librdkafka.
type Security struct {
	Protocol  string // plaintext, ssl, sasl_plaintext or sasl_ssl
	Mechanism string // plain, scram-sha-256 or scram-sha-512
	Username  string
	Password  string

	// PEM files. Each new client reads them.
	CA, Certificate, Key string
}

// stalledAfter is how long a client may get nothing although there is something, before a new client replaces it.
const stalledAfter = 20 * time.Second

// DefaultSource is the ce_source of events unless Options.Source is set.
const DefaultSource = "/hexorders"

// ErrNoTopic is wrapped in the error of Ping when a broker answers but the topic does not exist yet.
var ErrNoTopic = errors.New("the topic does not exist")

func (o Options) withDefaults() Options {
	o.Brokers = cmp.Or(o.Brokers, "127.0.0.1:9092")
	o.Topic = cmp.Or(o.Topic, "orders.events")
	o.Partitions = cmp.Or(o.Partitions, 12)
	o.Queue = cmp.Or(o.Queue, 100_000)
	o.Source = cmp.Or(o.Source, DefaultSource)
	o.FlushTimeout = cmp.Or(o.FlushTimeout, 5*time.Second)
	o.SessionTimeout = cmp.Or(o.SessionTimeout, 10*time.Second)
	o.stalled = cmp.Or(o.stalled, stalledAfter)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return o
}

// check rejects settings that librdkafka would only log: it starts without an error on a list that names no broker.
func (o Options) check() error {
	for _, broker := range o.brokers() {
		if host, port, err := net.SplitHostPort(broker); err != nil || host == "" || port == "" || strings.Contains(host, "/") {
			return fmt.Errorf("kafka: broker %q is not host:port", broker)
		}
	}
	if o.Partitions < 0 || o.Queue < 0 {
		return fmt.Errorf("kafka: %d partitions and a queue of %d: neither can be negative", o.Partitions, o.Queue)
	}
	return nil
}

func (o Options) brokers() []string {
	brokers := strings.Split(o.Brokers, ",")
	for i, broker := range brokers {
		brokers[i] = strings.TrimSpace(broker)
	}
	return brokers
}
