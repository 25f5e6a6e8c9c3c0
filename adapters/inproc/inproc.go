// Package inproc is a broker within this process, for a service without Kafka. It keeps its messages in a Log, so they
// survive a restart if the Log does. For a relay or a consumer it behaves as Kafka does: a message that it acknowledged is
// there permanently, it refuses messages that are too large, and a subscriber resumes where it left off.
package inproc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hexorders/ports"
)

const (
	// MaxPayload is the largest payload taken, in bytes: about what Kafka takes by default, so
	// that what works here works there.
	MaxPayload = 1 << 20

	batch        = 500             // messages an append: as many as a store commits at little more than the price of one
	closeTimeout = 2 * time.Second // for what was published before Close
)

// ErrClosed is what a message published after Close gets.
var ErrClosed = errors.New("the broker is closed")

// Broker implements ports.Publisher. While one append is on its way to the disk the next one gathers, so that a slow
// disk makes appends larger, not the wait longer.
type Broker struct {
	log   Log
	ctx   context.Context // ends when Close has lost its patience
	abort context.CancelFunc

	mu        sync.Mutex
	waiting   []publication // bounded by the publisher: the relay limits what is in flight
	appending chan struct{} // while something is to be appended; closed by the goroutine that does it, when it ends
	closed    bool
}

type publication struct {
	message ports.Message
	done    func(error)
}

func NewBroker(log Log) *Broker {
	ctx, cancel := context.WithCancel(context.Background())
	return &Broker{log: log, ctx: ctx, abort: cancel}
}

// Publish implements ports.Publisher.
func (b *Broker) Publish(ctx context.Context, m ports.Message, done func(error)) {
	if err := b.take(ctx, publication{m, done}); err != nil {
		done(fmt.Errorf("publish message %s: %w", m.ID, err))
	}
}

func (b *Broker) take(ctx context.Context, p publication) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n := len(p.message.Payload); n > MaxPayload {
		return fmt.Errorf("%d bytes, the limit is %d: %w", n, MaxPayload, ports.ErrRefused)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	b.waiting = append(b.waiting, p)
	if b.appending == nil {
		b.appending = make(chan struct{})
		go b.run(b.appending)
	}
	return nil
}

// Close waits up to two seconds for what was published, then gives up. Closing again does nothing.
func (b *Broker) Close() error {
	b.mu.Lock()
	b.closed = true
	appending := b.appending
	b.mu.Unlock()
	if appending != nil {
		giveUp := time.AfterFunc(closeTimeout, b.abort)
		defer giveUp.Stop()
		<-appending
	}
	b.abort()
	return nil
}

func (b *Broker) run(ended chan struct{}) {
	defer close(ended)
	for {
		next := b.next()
		if len(next) == 0 {
			return
		}
		b.append(b.ctx, next)
	}
}

// next takes a batch of what waits. Finding nothing ends the appending, in the same breath in which it is found.
func (b *Broker) next() []publication {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.waiting), batch)
	next := b.waiting[:n:n]
	if b.waiting = b.waiting[n:]; len(b.waiting) == 0 {
		b.waiting = nil
	}
	if n == 0 {
		b.appending = nil
	}
	return next
}

func (b *Broker) append(ctx context.Context, next []publication) {
	messages := make([]ports.Message, len(next))
	for i, p := range next {
		messages[i] = p.message
	}
	err := b.log.Append(ctx, messages)
	for _, p := range next {
		p.done(err)
	}
}
