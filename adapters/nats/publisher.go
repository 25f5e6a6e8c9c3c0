package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hexorders/ports"
)

// Publisher publishes to one stream, which it creates if it is not there. Publish waits while there is no server.
type Publisher struct {
	connection *connection
	codec      codec
	timeout    time.Duration // of Close

	room    chan struct{}  // one for each message in flight
	calls   sync.WaitGroup // of Publish; each begins under mu, before closed is set
	flights sync.WaitGroup // of messages; each begins in a call and ends when done was called
	closing chan struct{}  // closed by Close: waiting calls of Publish return errClosed
	close   func() error   // once

	mu       sync.Mutex
	closed   bool
	inFlight map[*nats.Msg]func(error)
	ready    chan struct{} // closed while there is a connection and the stream is there
	prepare  chan struct{} // has something in it when the stream has to be looked for
}

var (
	errClosed  = errors.New("nats: the publisher is closed")
	errGivenUp = errors.New("nats: closed before the server acknowledged the message")
)

// ackTimeout is how long a message waits for its acknowledgement. After that it may be in the stream all the same; sent
// again within two minutes, it is there once.
const ackTimeout = 5 * time.Second

// NewPublisher starts a publisher. It needs no server: while NATS is down, Publish waits. An error means that the options
// are invalid.
func NewPublisher(options Options) (*Publisher, error) {
	options = options.withDefaults()
	p := &Publisher{
		codec:    codec{subject: options.Subject, source: options.Source},
		timeout:  options.FlushTimeout,
		room:     make(chan struct{}, options.Queue),
		closing:  make(chan struct{}),
		inFlight: make(map[*nats.Msg]func(error)),
		ready:    make(chan struct{}),
		prepare:  make(chan struct{}, 1),
	}
	var err error
	p.connection, err = connect(options, func(error) { p.lost() },
		jetstream.WithPublishAsyncTimeout(ackTimeout),
		jetstream.WithPublishAsyncMaxPending(options.Queue),
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *nats.Msg, _ *jetstream.PubAck) { p.settle(m, nil) }),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) { p.settle(m, p.judge(err)) }),
	)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.run(ctx) })
	p.close = sync.OnceValue(func() error {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		close(p.closing)
		p.calls.Wait()
		givenUp := p.drain()
		stop()
		running.Wait()
		p.connection.close()
		if givenUp > 0 {
			return fmt.Errorf("nats: %d messages were not acknowledged within %s", givenUp, p.timeout)
		}
		return nil
	})
	return p, nil
}

// Publish implements ports.Publisher. Until ctx ends it waits for a connection, the stream, and room among the messages in
// flight. Once the message is on its way, the end of ctx has no effect.
//
// done runs on the goroutine that reads acknowledgements: it must not block and must not call Publish or Close.
func (p *Publisher) Publish(ctx context.Context, m ports.Message, done func(error)) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.calls.Add(1)
		defer p.calls.Done()
	}
	p.mu.Unlock()
	if closed {
		done(errClosed)
		return
	}
	if err := p.await(ctx); err != nil {
		done(err)
		return
	}
	encoded := p.codec.encode(m)
	p.mu.Lock()
	p.inFlight[encoded] = done
	p.flights.Add(1)
	p.mu.Unlock()
	if _, err := p.connection.js.PublishMsgAsync(encoded); err != nil {
		p.settle(encoded, p.judge(err))
	}
}

// await returns nil once the stream is there and the message may be in flight.
func (p *Publisher) await(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	ready := p.ready
	p.mu.Unlock()
	select {
	case <-ready:
	case <-ctx.Done():
		return ctx.Err()
	case <-p.closing:
		return errClosed
	}
	select {
	case p.room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.closing:
		return errClosed
	}
}

// settle tells the outcome of a message in flight, and reports whether nobody has told it before.
func (p *Publisher) settle(m *nats.Msg, err error) bool {
	p.mu.Lock()
	done := p.inFlight[m]
	delete(p.inFlight, m)
	p.mu.Unlock()
	if done == nil {
		return false
	}
	<-p.room
	done(err)
	p.flights.Done()
	return true
}

// The server's code for a message larger than the stream's max_msg_size.
const codeTooLarge jetstream.ErrorCode = 10054

// judge tells a message that the server will never take from one that may be sent again. When in doubt, it may: a message
// that is parked by mistake needs an operator.
func (p *Publisher) judge(err error) error {
	var refused *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: it is larger than the server's max_payload, %d bytes with its headers (%w)", ports.ErrRefused,
			p.connection.nc.MaxPayload(), err)
	case errors.As(err, &refused) && refused.ErrorCode == codeTooLarge:
		return fmt.Errorf("%w: it is larger than the stream's max_msg_size (%w)", ports.ErrRefused, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse): // no stream has the subject, or none of its servers leads
		p.lost()
	}
	return p.connection.explain(err)
}

// drain waits for the messages in flight, and gives up those that are not acknowledged in time.
func (p *Publisher) drain() (givenUp int) {
	landed := make(chan struct{})
	go func() {
		p.flights.Wait()
		close(landed)
	}()
	select {
	case <-landed:
		return 0
	case <-time.After(p.timeout):
	}
	p.mu.Lock()
	left := slices.Collect(maps.Keys(p.inFlight))
	p.mu.Unlock()
	for _, m := range left {
		if p.settle(m, errGivenUp) {
			givenUp++
		}
	}
	<-landed
	return givenUp
}

// run keeps the stream there until ctx ends.
func (p *Publisher) run(ctx context.Context) {
	for {
		_, err := persist(ctx, p.connection, "look for the stream, or create it", func() (struct{}, error) {
			return struct{}{}, p.connection.ensure(ctx)
		})
		if err != nil {
			return
		}
		p.mu.Lock()
		close(p.ready)
		p.mu.Unlock()
		select {
		case <-p.prepare:
		case <-ctx.Done():
			return
		}
	}
}

// lost makes Publish wait until run has found the stream again.
func (p *Publisher) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ready:
		p.ready = make(chan struct{})
		p.prepare <- struct{}{} // there is room: run took the last one before it closed ready
	default:
	}
}

// Close implements ports.Publisher. It waits up to Options.FlushTimeout. The error says how many messages were not
// acknowledged. Every call returns the same error.
func (p *Publisher) Close() error { return p.close() }
