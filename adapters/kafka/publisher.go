//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// Publisher publishes to one topic. Publish waits while there is no broker. When librdkafka's producer breaks
// permanently, the goroutine run replaces it.
type Publisher struct {
	options    Options
	log        *slog.Logger
	config     kafka.ConfigMap
	envelope   envelope
	connection *connectionLog

	gate    sync.RWMutex
	closed  bool           // guarded by gate
	calls   sync.WaitGroup // of Publish; each begins under gate, before closed is set
	closing chan struct{}  // closed by Close: waiting calls of Publish return errClosed
	close   func() error   // once

	asking  sync.Mutex // one request at a time for the topic's limit; guards control, which only run replaces
	control *producer  // its connection serves requests about the topic

	mu      sync.Mutex
	current *session      // nil while there is none
	changed chan struct{} // closed when current changes
}

var errClosed = errors.New("kafka: the publisher is closed")

// lastReports is how long a producer that is being replaced may still report, so that messages that the broker has
// already stored are acknowledged and not published again.
const lastReports = time.Second

// whenFull is the interval at which Publish retries while librdkafka's queue is full. librdkafka does not report when
// there is room again.
const whenFull = 5 * time.Millisecond

// whenRefused is the pause before a new producer is made when the user lacks a right: without it there are several a second.
const whenRefused = 5 * time.Second

// Supported returns nil if this program can use Kafka, which it can when it was built with cgo.
func Supported() error { return nil }

// NewPublisher starts a publisher. It needs no broker: while Kafka is down, or the topic does not exist yet, Publish
// waits. An error means that the options are invalid.
func NewPublisher(options Options) (*Publisher, error) {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return nil, err
	}
	logs := make(chan kafka.LogEvent, 100)
	p := &Publisher{
		options:    options,
		log:        options.Logger,
		config:     options.config(logs),
		envelope:   envelope{topic: options.Topic, source: []byte(options.Source)},
		connection: &connectionLog{options: options},
		closing:    make(chan struct{}),
		changed:    make(chan struct{}),
	}
	// Making it here finds settings that librdkafka rejects.
	var err error
	if p.control, err = newProducer(p.config, nil, func(error) {}); err != nil {
		return nil, fmt.Errorf("kafka: brokers %q: %w", options.Brokers, err)
	}

	ctx, stop := context.WithCancel(context.Background())
	var running, logging sync.WaitGroup
	var givenUp int
	logging.Go(func() { readLogs(logs, p.log, p.connection) })
	running.Go(func() { givenUp = p.run(ctx) })
	p.close = sync.OnceValue(func() error {
		p.gate.Lock()
		p.closed = true
		p.gate.Unlock()
		close(p.closing)
		p.calls.Wait()
		stop()
		running.Wait()
		p.control.end(0)
		close(logs)
		logging.Wait()
		if givenUp > 0 {
			return fmt.Errorf("kafka: %d messages were not acknowledged within %s", givenUp, options.FlushTimeout)
		}
		return nil
	})
	return p, nil
}

// Publish implements ports.Publisher. Until ctx ends it waits for the topic to exist and for room in librdkafka's
// queue. Once the message is in that queue, the end of ctx has no effect.
//
// done runs on the one goroutine that reads all delivery reports: it must not block and must not call Publish or Close.
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
			case errors.Is(err, errEnding): // run is opening the next session
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
// error says how many messages were not acknowledged. Every call returns the same error.
func (p *Publisher) Close() error { return p.close() }

// run keeps a session open until ctx ends. It returns how many messages the last session gave up.
func (p *Publisher) run(ctx context.Context) (givenUp int) {
	for {
		s, err := p.openSession(ctx)
		switch {
		case errors.Is(err, errCutOff):
			p.replaceControl()
			continue
		case err != nil:
			return 0
		}
		p.setSession(s)
		stopWatching := s.watch(ctx)
		select {
		case <-ctx.Done():
			stopWatching()
			return s.end(p.options.FlushTimeout)
		case <-s.retired:
			stopWatching()
			p.setSession(nil)
			p.log.Info("the topic accepts larger messages now", "topic", p.options.Topic)
			s.end(p.options.FlushTimeout)
		case <-s.broken:
			stopWatching()
			p.setSession(nil)
			why, pause := s.why, time.Duration(0)
			if strings.Contains(why.Error(), "authorization failed") { // the fatal error has no code of its own
				why, pause = fmt.Errorf("%w: grant the user the rights that docs/secure.md lists", why), whenRefused
			}
			p.log.Error("the Kafka producer is replaced by a new one", "messages", s.end(lastReports), "err", why)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

func (p *Publisher) replaceControl() {
	control, err := newProducer(p.config, nil, func(error) {})
	if err != nil {
		p.log.Error("a Kafka client cannot be replaced", "err", err)
		return
	}
	p.asking.Lock()
	p.control, control = control, p.control
	p.asking.Unlock()
	control.end(0)
}

// limitWasRaised reports whether the topic accepts larger messages than when the session began, so that an operator
// who raises the limit and retries a parked order need not restart the relay. It costs one request for each message
// that is too large, and those are rare.
func (p *Publisher) limitWasRaised(ctx context.Context, s *session) bool {
	p.asking.Lock()
	defer p.asking.Unlock()
	client, err := kafka.NewAdminClientFromProducer(p.control.client)
	if err != nil {
		return false
	}
	admin := topicAdmin{client: client, options: p.options, log: p.log}
	return admin.raised(ctx, s.maxBytes)
}

// openSession makes a session as soon as the topic exists. It retries until ctx ends; the error is ctx's, or errCutOff.
func (p *Publisher) openSession(ctx context.Context) (*session, error) {
	client, err := kafka.NewAdminClientFromProducer(p.control.client)
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
		if admin.isCutOff(ctx, err) {
			return nil, backoff.Permanent(fmt.Errorf("%w: %w", errCutOff, err))
		}
		if err != nil {
			return nil, err
		}
		p.connection.reached()
		return newSession(limitedTo(p.config, maxBytes), maxBytes, p.options, p.connection)
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		switch {
		case errors.Is(err, errNotReady) && time.Since(started) < 5*time.Second:
		case errors.Is(err, context.DeadlineExceeded), codeOf(err) == kafka.ErrTimedOut, codeOf(err) == kafka.ErrTransport:
			p.connection.lost(err.Error())
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

func (p *Publisher) setSession(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = s
	close(p.changed)
	p.changed = make(chan struct{})
}
