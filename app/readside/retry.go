package readside

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// Orders that have buffered messages: what an operator sees of them and does about them.

// Parked lists the orders that have buffered messages, by order id: those that are parked, and those that wait for a
// missing message.
func (e *Engine) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	live, err := e.options.Store.Live(ctx)
	if err != nil {
		return nil, err
	}
	return e.options.Store.Parked(ctx, live)
}

// maxRetries bounds how often Retry tries while engines keep changing the order.
const maxRetries = 10

// Retry applies an order's buffered messages, as far as it goes. It may be called in any process, whether or not an
// engine runs. nil means that nothing is buffered any more. Errors: ErrNotFound when nothing was; what is wrong with the
// order when something still is; ErrConflict when engines kept changing the order at the same moment; ErrUnavailable.
func (e *Engine) Retry(ctx context.Context, orderID string) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval = 2 * time.Millisecond
	waits.MaxInterval = 50 * time.Millisecond
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := e.retryOrder(ctx, orderID)
		if err != nil && !errors.Is(err, ports.ErrConflict) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(waits), backoff.WithMaxTries(maxRetries), backoff.WithMaxElapsedTime(0))
	return err
}

func (e *Engine) retryOrder(ctx context.Context, orderID string) error {
	live, err := e.options.Store.Live(ctx)
	if err != nil {
		return err
	}
	loadedProgress, err := e.options.Store.Load(ctx, live, []string{orderID})
	if err != nil {
		return err
	}
	buffered, err := e.options.Store.Buffered(ctx, live, orderID)
	if err != nil {
		return err
	}
	if len(buffered) == 0 {
		return fmt.Errorf("order %s has no buffered message: %w", orderID, ports.ErrNotFound)
	}
	b := newBatch(e.viewsOf(live), e.options.Decode, &loaded{
		orders: []knownOrder{{progress: loadedProgress[orderID]}}, buffered: map[string][]ports.Message{orderID: buffered},
	})
	o := &b.orders[0]
	if o.isForked() {
		return fmt.Errorf("order %s, version %d: %w", orderID, o.waiting[0].Version, errForked)
	}
	o.progress.Parked = ""
	b.releaseNext(o)
	if o.changed {
		if err := e.options.Store.Commit(ctx, live, b.change()); err != nil {
			return err
		}
	}
	switch {
	case len(b.failures) > 0:
		return fmt.Errorf("order %s is parked again at version %d: %w", orderID, o.progress.Version+1, b.failures[0].err)
	case len(o.waiting) > 0:
		return fmt.Errorf("order %s still waits: version %d has not come", orderID, o.progress.Version+1)
	}
	return nil
}

// report tells operators what they need to know of a batch that was committed.
func (c *consumer) report(b *batch) {
	log := c.options.Logger
	for _, f := range b.failures {
		log.ErrorContext(ports.WithTraceParent(context.Background(), f.message.TraceParent),
			"a message cannot be applied; its order is parked until `hexorders views retry`",
			"order", f.message.OrderID, "version", f.message.Version, "message", f.message.ID, "err", f.err)
	}
	for i := range b.orders {
		o := &b.orders[i]
		switch {
		case o.progress.Parked == "" && o.progress.Buffered > 0 && o.was.Buffered == 0:
			log.Warn("a message is missing; the order's later messages are buffered until it has come",
				"order", o.progress.OrderID, "version", o.progress.Version+1, "buffered", o.progress.Buffered)
		case o.progress.Buffered == 0 && o.was.Buffered > 0:
			log.Info("the buffered messages of an order were applied",
				"order", o.progress.OrderID, "version", o.progress.Version)
		}
	}
	if b.foreign > 0 {
		log.Error("messages that name no order and version, or another than their id does, are skipped", "messages", b.foreign)
	}
}
