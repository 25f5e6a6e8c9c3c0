//go:build cgo

package kafka

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// health turns what the client libraries say about the connection, several times a second while the broker is away, into
// one line when it goes and one when it is back.
type health struct {
	log     *slog.Logger
	brokers string
	away    atomic.Bool
}

func (h *health) lost(reason string) {
	if h.away.CompareAndSwap(false, true) {
		h.log.Warn("Kafka cannot be reached: messages wait until it can", "brokers", h.brokers, "err", reason)
	}
}

func (h *health) works() {
	if h.away.Load() && h.away.CompareAndSwap(true, false) {
		h.log.Info("Kafka can be reached again", "brokers", h.brokers)
	}
}

// readLogs passes librdkafka's log on until the channel is closed.
func readLogs(lines <-chan kafka.LogEvent, log *slog.Logger, h *health) {
	// librdkafka has syslog's levels.
	const syslogError, syslogWarning = 3, 4
	for line := range lines {
		text := line.Message
		// "[thrd:...]: " is about its own threads.
		if _, rest, found := strings.Cut(text, "]: "); found && strings.HasPrefix(text, "[thrd:") {
			text = rest
		}
		level := slog.LevelDebug
		switch {
		case line.Level <= syslogError && line.Tag == "FAIL":
			// A connection that could not be made or broke under a request. A broker that closes an idle connection
			// makes a FAIL line too, of a lower level; the next message opens it again.
			h.lost(text)
		case line.Tag == "FATAL": // the publisher says so itself, when it replaces the producer
		case line.Level <= syslogError:
			level = slog.LevelError
		case line.Level <= syslogWarning:
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "Kafka client: "+text, "tag", line.Tag)
	}
}
