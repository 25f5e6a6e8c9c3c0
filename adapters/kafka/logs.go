//go:build cgo

package kafka

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// connectionLog logs one line when the connection to Kafka is lost and one when it is back. While the broker is down
// the client library reports it several times a second. A broker that refuses this client, perhaps after it was down, is
// one line more.
type connectionLog struct {
	options   Options
	away      atomic.Bool
	explained atomic.Bool
}

func (c *connectionLog) lost(reason string) {
	first := c.away.CompareAndSwap(false, true)
	if !first && c.explained.Load() {
		return
	}
	if why := c.explain(reason); why != nil && c.explained.CompareAndSwap(false, true) {
		reason = why.Error()
	} else if !first {
		return
	}
	c.options.Logger.Warn("Kafka cannot be reached: messages wait until it can", "brokers", c.options.Brokers, "err", reason)
}

// explain asks only brokers that talk TLS: another would not understand the question.
func (c *connectionLog) explain(reason string) error {
	if !c.options.Security.encrypts() && !strings.Contains(reason, "SASL") {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*requestTimeout)
	defer cancel()
	return c.options.refused(ctx, reason)
}

func (c *connectionLog) reached() {
	if c.away.Load() && c.away.CompareAndSwap(true, false) {
		c.explained.Store(false)
		c.options.Logger.Info("Kafka can be reached again", "brokers", c.options.Brokers)
	}
}

// readLogs passes librdkafka's log lines to log until the channel is closed.
func readLogs(lines <-chan kafka.LogEvent, log *slog.Logger, connection *connectionLog) {
	// librdkafka uses syslog's levels.
	const syslogError, syslogWarning = 3, 4
	for line := range lines {
		text := line.Message
		// "[thrd:...]: " names a thread of librdkafka.
		if _, rest, found := strings.Cut(text, "]: "); found && strings.HasPrefix(text, "[thrd:") {
			text = rest
		}
		level := slog.LevelDebug
		switch {
		case line.Level <= syslogError && line.Tag == "FAIL":
			// A connection that could not be opened or that broke during a request. A broker that closes an idle
			// connection causes a FAIL line of a lower level; the next message opens it again.
			connection.lost(text)
		case line.Tag == "FATAL": // the publisher logs it when it replaces the producer
		case line.Level <= syslogError:
			level = slog.LevelError
		case line.Level <= syslogWarning:
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "Kafka client: "+text, "tag", line.Tag)
	}
}
