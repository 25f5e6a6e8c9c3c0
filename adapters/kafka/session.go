//go:build cgo

package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// session publishes with two producers until one of them breaks: the first sends batches, the second single messages.
//
// A broker rejects whole batches: when one message is too large, the other messages of its batch are rejected too.
// Therefore a rejected message is sent once more, alone. Only a message that is rejected again is refused permanently.
type session struct {
	config     kafka.ConfigMap
	maxBytes   int // the topic's limit when the session began
	options    Options
	log        *slog.Logger
	connection *connectionLog

	batching *producer
	alone    *producer     // made when first needed, by the goroutine that reads the reports of batching
	broken   chan struct{} // closed by fail
	why      error         // the argument of fail; read it after broken is closed
	fail     func(error)
	retired  chan struct{} // closed by retire: a new session would accept more
	retire   func()
}

func newSession(config kafka.ConfigMap, maxBytes int, options Options, connection *connectionLog) (*session, error) {
	s := &session{
		config: config, maxBytes: maxBytes, options: options, log: options.Logger, connection: connection,
		broken: make(chan struct{}), retired: make(chan struct{}),
	}
	s.retire = sync.OnceFunc(func() { close(s.retired) })
	var once sync.Once
	s.fail = func(err error) {
		once.Do(func() {
			s.why = err
			close(s.broken)
		})
	}
	var err error
	s.batching, err = newProducer(config, s.delivered, s.fail)
	return s, err
}

func (s *session) send(d *delivery) error { return s.batching.send(d) }

// watchEvery is the interval between two looks at a session that waits for reports.
const watchEvery = 2 * time.Second

// watch fails the session when its client is cut off. It asks the broker only while messages wait and none is reported.
func (s *session) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		client, err := kafka.NewAdminClientFromProducer(s.batching.client)
		if err != nil {
			s.log.Warn("a Kafka producer is not watched", "err", err)
			return
		}
		defer client.Close()
		admin := topicAdmin{client: client, options: s.options, log: s.log}
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for seen := int64(-1); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			var err error
			if reports := s.batching.reports.Load(); reports != seen || !s.batching.waits() {
				seen = reports
			} else {
				_, err = admin.describe(ctx)
			}
			if admin.isCutOff(ctx, err) {
				s.fail(fmt.Errorf("%w: %w", errCutOff, err))
				return
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

func (s *session) delivered(d *delivery, err error) {
	if err == nil {
		s.connection.reached()
		d.done(nil)
		return
	}
	if verdict := judge(err); verdict == refused || verdict == collateral {
		if err = s.sendAlone(d, err); err == nil {
			return
		}
	}
	s.deliveredAlone(d, err)
}

func (s *session) deliveredAlone(d *delivery, err error) {
	if err == nil {
		d.done(nil)
		return
	}
	if judge(err) == stale {
		s.fail(err)
	}
	d.done(explain(err))
}

func (s *session) sendAlone(d *delivery, because error) error {
	if s.alone == nil {
		config := maps.Clone(s.config)
		config["batch.num.messages"] = 1
		alone, err := newProducer(config, s.deliveredAlone, s.fail)
		if err != nil {
			return err
		}
		s.alone = alone
		s.log.Warn("the broker refused a batch of messages; they are sent one by one", "err", because)
	}
	return s.alone.send(d)
}

// end waits up to flush for pending messages, gives up the rest and returns their number.
func (s *session) end(flush time.Duration) (givenUp int) {
	deadline := time.Now().Add(flush)
	givenUp = s.batching.end(flush) // after this nothing is added to alone
	if s.alone != nil {
		givenUp += s.alone.end(time.Until(deadline))
	}
	return givenUp
}
