//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// Publisher publishes to one topic. While there is no broker it makes Publish wait; when librdkafka's producer breaks
// for good it makes a new one. A goroutine of its own (run) does both.
type Publisher struct {
	options  Options
	log      *slog.Logger
	config   kafka.ConfigMap
	envelope envelope
	health   *health

	gate    sync.RWMutex
	closed  bool           // guarded by gate
	calls   sync.WaitGroup // of Publish; they begin under gate while it is not closed
	closing chan struct{}  // closed by Close: calls of Publish that wait give up
	close   func() error   // once

	asking  sync.Mutex      // one question at a time whether the topic's limit was raised
	control *kafka.Producer // asks about the topic

	mu      sync.Mutex
	current *session      // nil while there is none
	changed chan struct{} // closed when current is another
}

var errClosed = errors.New("kafka: the publisher is closed")

// lastReports is how long a producer that is to be replaced may still report: what was under way when it broke is
// acknowledged then, and not published again.
const lastReports = time.Second

// whenFull is how long Publish waits before it offers a message again that librdkafka had no room for. librdkafka does
// not tell when there is room.
const whenFull = 5 * time.Millisecond

// Supported tells whether this program can talk to Kafka: nil when it was built with cgo.
func Supported() error { return nil }

// NewPublisher starts a publisher. It needs no broker: when Kafka is away, or the topic is not there yet, Publish waits.
// An error means that the options cannot be used.
func NewPublisher(options Options) (*Publisher, error) {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return nil, err
	}
	logs := make(chan kafka.LogEvent, 100)
	p := &Publisher{
		options:  options,
		log:      options.Logger,
		config:   options.config(logs),
		envelope: envelope{topic: options.Topic, source: []byte(options.Source)},
		health:   &health{log: options.Logger, brokers: options.Brokers},
		closing:  make(chan struct{}),
		changed:  make(chan struct{}),
	}
	// What asks about the topic lives as long as the publisher; making it now finds settings that librdkafka refuses.
	control, err := newProducer(p.config, nil, func(error) {})
	if err != nil {
		return nil, fmt.Errorf("kafka: brokers %q: %w", options.Brokers, err)
	}

	p.control = control.client

	ctx, stop := context.WithCancel(context.Background())
	var running, logging sync.WaitGroup
	var givenUp int
	logging.Go(func() { readLogs(logs, p.log, p.health) })
	running.Go(func() { givenUp = p.run(ctx, control) })
	p.close = sync.OnceValue(func() error {
		p.gate.Lock()
		p.closed = true
		p.gate.Unlock()
		close(p.closing)
		p.calls.Wait()
		stop()
		running.Wait()
		control.end(0)
		close(logs)
		logging.Wait()
		if givenUp > 0 {
			return fmt.Errorf("kafka: %d messages were not acknowledged within %s", givenUp, options.FlushTimeout)
		}
		return nil
	})
	return p, nil
}

// Publish implements ports.Publisher. It waits, as long as ctx lives, for the topic to exist and for room in
// librdkafka's queue; once the message is in that queue, ctx has no say any more.
//
// done runs on the goroutine that serves all of them: it must not block, and it must not call Publish or Close.
func (p *Publisher) Publish(ctx context.Context, m ports.Message, done func(error)) {
	p.gate.RLock()
	closed := p.closed
	if !closed {
		p.calls.Add(1)
		defer p.calls.Done()
	}
	p.gate.RUnlock()
	if closed {
		done(errClosed)
		return
	}
	if err := p.publish(ctx, p.envelope.wrap(m, done)); err != nil {
		done(err)
	}
}

func (p *Publisher) publish(ctx context.Context, d *delivery) error {
	for {
		if err := ctx.Err(); err != nil {
			return explain(err)
		}
		s, changed := p.session()
		var again <-chan time.Time
		if s != nil {
			err := s.send(d)
			switch {
			case err == nil:
				return nil
			case codeOf(err) == kafka.ErrQueueFull:
				again = time.After(whenFull)
			case errors.Is(err, errEnding): // the next session is on its way
			case judge(err) == stale:
				s.fail(err)
			case codeOf(err) == kafka.ErrMsgSizeTooLarge && p.limitWasRaised(ctx, s):
				s.retire()
			default:
				return explain(err)
			}
		}
		select {
		case <-again:
		case <-changed:
		case <-ctx.Done():
		case <-p.closing:
			return errClosed
		}
	}
}

// Close implements ports.Publisher. It waits up to Options.FlushTimeout, and then a second or two for librdkafka. The
// error says how many messages it gave up; the same to every caller.
func (p *Publisher) Close() error { return p.close() }

// run keeps a session going until ctx ends. It returns how many messages the last one gave up.
func (p *Publisher) run(ctx context.Context, control *producer) (givenUp int) {
	for {
		s, err := p.open(ctx, control)
		if err != nil {
			return 0
		}
		p.serve(s)
		select {
		case <-ctx.Done():
			return s.end(p.options.FlushTimeout)
		case <-s.retired:
			p.serve(nil)
			p.log.Info("the topic takes larger messages now", "topic", p.options.Topic)
			s.end(p.options.FlushTimeout)
		case <-s.broken:
			p.serve(nil)
			p.log.Error("the Kafka producer is replaced by a new one", "messages", s.end(lastReports), "err", s.why)
		}
	}
}

// limitWasRaised asks whether the topic takes larger messages than when the session began: an operator who raises the
// limit and sends a parked order again should not have to restart anything. It costs a question for each message that is
// too large, and there are few of those.
func (p *Publisher) limitWasRaised(ctx context.Context, s *session) bool {
	p.asking.Lock()
	defer p.asking.Unlock()
	client, err := kafka.NewAdminClientFromProducer(p.control)
	if err != nil {
		return false
	}
	admin := topicAdmin{client: client, options: p.options, log: p.log}
	return admin.raised(ctx, s.maxBytes)
}

// open makes a session as soon as the topic is there. It tries until ctx ends, and the error is ctx's.
func (p *Publisher) open(ctx context.Context, control *producer) (*session, error) {
	client, err := kafka.NewAdminClientFromProducer(control.client)
	if err != nil {
		return nil, err
	}
	admin := topicAdmin{client: client, options: p.options, log: p.log}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 50 * time.Millisecond
	pause.MaxInterval = 2 * time.Second
	lastLogged, started := "", time.Now()
	return backoff.Retry(ctx, func() (*session, error) {
		maxBytes, err := admin.ensure(ctx)
		if err != nil {
			return nil, err
		}
		p.health.works()
		return newSession(limitedTo(p.config, maxBytes), maxBytes, p.log, p.health)
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		switch {
		case errors.Is(err, errNotReady) && time.Since(started) < 5*time.Second:
		case errors.Is(err, context.DeadlineExceeded), codeOf(err) == kafka.ErrTimedOut, codeOf(err) == kafka.ErrTransport:
			p.health.lost(err.Error())
		case err.Error() != lastLogged:
			lastLogged = err.Error()
			p.log.Error("the Kafka topic cannot be prepared: messages wait until it can", "topic", p.options.Topic, "err", err)
		}
	}))
}

func (p *Publisher) session() (current *session, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current, p.changed
}

func (p *Publisher) serve(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = s
	close(p.changed)
	p.changed = make(chan struct{})
}

// session is the time between two breakdowns: a producer that batches, and one that does not.
//
// The second exists because a broker refuses whole batches: one message that is too large, and everything that happened
// to travel with it is refused too. So a message that the broker refuses goes once more, alone, and only what is
// refused then is refused for good.
type session struct {
	config   kafka.ConfigMap
	maxBytes int // the topic's limit when it began
	log      *slog.Logger
	health   *health

	batching *producer
	alone    *producer     // made on first need, by the goroutine that reads the reports of batching
	broken   chan struct{} // closed by fail
	why      error         // what fail was told; read it after broken
	fail     func(error)
	retired  chan struct{} // closed by retire: nothing is wrong, but a new session would do better
	retire   func()
}

func newSession(config kafka.ConfigMap, maxBytes int, log *slog.Logger, h *health) (*session, error) {
	s := &session{
		config: config, maxBytes: maxBytes, log: log, health: h,
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

func (s *session) delivered(d *delivery, err error) {
	if err == nil {
		s.health.works()
		d.done(nil)
		return
	}
	if verdict := judge(err); verdict == refused || verdict == innocent {
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
		s.log.Warn("the broker refused a batch of messages: they are sent one by one", "err", because)
	}
	return s.alone.send(d)
}

// end gives what is pending until flush, gives up the rest and says how much that was.
func (s *session) end(flush time.Duration) (givenUp int) {
	deadline := time.Now().Add(flush)
	givenUp = s.batching.end(flush) // from here on nothing comes in for the other
	if s.alone != nil {
		givenUp += s.alone.end(time.Until(deadline))
	}
	return givenUp
}
