package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"hexorders/adapters/console"
	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/sqlite"
	"hexorders/core/order"
	"hexorders/ports"
)

// What the page Break it breaks. Every fault is a decorator round a port; the core, the use cases and the adapters do not
// know. Beside the outbox stands what it replaces: dualWrite saves an order, then publishes its events itself.

type faults struct {
	relay, broker, views gate
	kill, poison         atomic.Bool // at the next save
	poisoned             sync.Map    // ids of messages that the broker refuses
}

// gate is open at first. Those who come to a closed one wait.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // nil while it is open; closing it lets everybody through
}

func (g *gate) toggle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
		return
	}
	close(g.closed)
	g.closed = nil
}

func (g *gate) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed != nil
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed == nil {
		return nil
	}
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// press presses a button of the page.
func (d *demoService) press(ctx context.Context, button string) error {
	switch button {
	case "relay":
		d.relay.toggle()
	case "broker":
		d.broker.toggle()
	case "views":
		d.views.toggle()
	case "kill":
		d.kill.Store(true)
	case "poison":
		d.poison.Store(true)
	case "delete":
		return d.deleteRecords(ctx)
	case "repair":
		return d.repair(ctx)
	default:
		return fmt.Errorf("%q: %w", button, console.ErrNoButton)
	}
	return nil
}

// repair takes the poison out, and does what `hexorders outbox retry` does.
func (d *demoService) repair(ctx context.Context) error {
	d.poisoned.Clear()
	parked, err := d.parking.Parked(ctx)
	for _, p := range parked {
		if err == nil {
			err = d.parking.Retry(ctx, p.OrderID)
		}
	}
	return err
}

// deleteRecords deletes what is in the topic, as retention does with what is old. The bin keeps it, to know what it was.
func (d *demoService) deleteRecords(ctx context.Context) error {
	end, err := d.topic.End(ctx)
	for after := int64(0); err == nil && after < end; {
		var messages []ports.Message
		if messages, after, err = d.topic.Read(ctx, after, ports.MaxBatch); err == nil {
			err = d.bin.Append(ctx, messages)
		}
		if err == nil {
			err = d.topic.Delete(ctx, after)
		}
	}
	return err
}

// pausedOutbox is an outbox whose messages wait while the relay is paused.
type pausedOutbox struct {
	*sqlite.Outbox
	faults *faults
}

func (o pausedOutbox) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	return o.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		if err := o.faults.relay.wait(ctx); err != nil {
			return err
		}
		return emit(m, p)
	})
}

// stoppedLog is the broker's log, which nobody reaches while the broker is stopped.
type stoppedLog struct {
	inproc.Log
	faults *faults
}

func (l stoppedLog) Append(ctx context.Context, messages []ports.Message) error {
	if l.faults.broker.isClosed() {
		return fmt.Errorf("the broker is stopped: %w", ports.ErrUnavailable)
	}
	return l.Log.Append(ctx, messages)
}

func (l stoppedLog) Read(ctx context.Context, after int64, limit int) ([]ports.Message, int64, error) {
	if err := l.faults.broker.wait(ctx); err != nil {
		return nil, 0, err
	}
	return l.Log.Read(ctx, after, limit)
}

// poisonedPublisher refuses messages that are poisoned, as a broker refuses one that is too large.
type poisonedPublisher struct {
	ports.Publisher
	faults *faults
}

func (p poisonedPublisher) Publish(ctx context.Context, m ports.Message, done func(error)) {
	if _, poisoned := p.faults.poisoned.Load(m.ID); poisoned {
		done(fmt.Errorf("message %s is poisoned: %w", m.ID, ports.ErrRefused))
		return
	}
	p.Publisher.Publish(ctx, m, done)
}

// pausedSubscriber is a subscriber that hands over nothing while the views are stopped. Then it begins where they are.
type pausedSubscriber struct {
	*inproc.Subscriber
	faults *faults
}

func (s pausedSubscriber) Subscribe(
	ctx context.Context, group string, resume ports.Resume, handle func(context.Context, ports.Batch) error,
) error {
	if err := s.faults.views.wait(ctx); err != nil {
		return err
	}
	return s.Subscriber.Subscribe(ctx, group, resume, func(ctx context.Context, b ports.Batch) error {
		if s.faults.views.isClosed() {
			return fmt.Errorf("the views are stopped: %w", ports.ErrUnavailable)
		}
		return handle(ctx, b)
	})
}

// dualWrite is a store that also does what one would do without an outbox: it saves the order, then publishes its events
// to a topic of their own. Nothing makes the two writes one. A failure after the first loses events, and nobody gets to
// know: the order is saved, so the client is told that all went well.
type dualWrite struct {
	*sqlite.Store
	faults    *faults
	publisher ports.Publisher
}

func (w dualWrite) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	messages, err := eventjson.Messages(ctx, o) // Save forgets the changes
	if err != nil || len(messages) == 0 {
		return err
	}
	if w.faults.poison.CompareAndSwap(true, false) {
		w.faults.poisoned.Store(messages[0].ID, true)
	}
	if err := w.Store.Save(ctx, o, key); err != nil {
		return err
	}
	if w.faults.kill.Load() {
		killThisProcess()
	}
	for _, m := range messages {
		done := make(chan struct{})
		w.publisher.Publish(ctx, m, func(error) { close(done) }) // an error comes too late: the order is saved
		<-done
	}
	return nil
}

// killThisProcess is kill -9.
func killThisProcess() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err) // it ends the process too
	}
	select {} // a signal may take a moment
}
