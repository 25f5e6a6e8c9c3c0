package relay

import (
	"context"
	"errors"
	"fmt"

	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// park moves the head of a queue into the parking store, trying until it works: until then the checkpoint
// stays before that message.
func (l *leadership) park(ctx context.Context, q *orderQueue, reason string) {
	m := q.head.message
	l.start(q, parking, func() error {
		return l.options.retry(ctx, "park message "+m.ID, func() error {
			return l.options.Parking.Park(ctx, m, reason)
		})
	})
}

// findRetryRequest asks the store whether an operator sends a parked order again; one order at a time.
func (l *leadership) findRetryRequest(ctx context.Context) {
	if l.retrying {
		return
	}
	l.retrying = true
	l.calls.Go(func() {
		parked, err := l.options.Parking.Parked(ctx)
		if err != nil && ctx.Err() == nil {
			l.options.Logger.Warn("relay could not look for parked orders to send again", "err", err)
		}
		if err == nil {
			l.status.reportParked(parked)
		}
		for _, p := range parked {
			if p.Retry {
				l.retryRequested <- p.OrderID
				return
			}
		}
		l.retryRequested <- ""
	})
}

func (l *leadership) onRetryRequest(ctx context.Context, orderID string) {
	if orderID == "" {
		l.retrying = false
		return
	}
	q := l.inflight.queue(orderID)
	if q.parkedFrom == 0 {
		q.parkedFrom = 1 // another relay parked it: later messages wait behind the parked ones
	}
	q.redeliver = true
	l.advance(ctx, q)
}

// redeliver publishes an order's parked messages one after the other. Its queue is busy meanwhile, so that the order's
// newer messages wait behind them. nil means that none is parked any more.
func (l *leadership) redeliver(ctx context.Context, orderID string) error {
	log, store := l.options.Logger, l.options.Parking
	var messages []ports.Message
	if err := l.options.retry(ctx, "read parked messages", func() (err error) {
		messages, err = store.Messages(ctx, orderID)
		return err
	}); err != nil {
		return err
	}
	for _, m := range messages {
		err := l.publishAndWait(ctx, m)
		if errors.Is(err, ports.ErrRefused) {
			log.ErrorContext(ports.WithTraceParent(ctx, m.TraceParent), "the broker refuses a parked message again",
				"order", orderID, "version", m.Version, "message", m.ID, "err", err)
			if failed := store.Refused(ctx, orderID, err.Error()); failed != nil {
				return fmt.Errorf("keep order %s parked: %w", orderID, failed)
			}
		}
		if err != nil {
			return err
		}
		l.status.redelivered.Add(1)
		if err := l.options.retry(ctx, "forget parked message "+m.ID, func() error {
			return store.Unpark(ctx, m)
		}); err != nil {
			return err
		}
	}
	log.Info("a parked order has been sent again", "order", orderID, "messages", len(messages))
	return nil
}

// publishAndWait publishes a message until the broker has it or refuses it.
func (l *leadership) publishAndWait(ctx context.Context, m ports.Message) error {
	return l.options.retry(ctx, "publish parked message "+m.ID, func() error {
		answer := make(chan error, 1)
		l.options.Publisher.Publish(ctx, m, func(err error) {
			l.status.countAnswer(err)
			answer <- err
		})
		select {
		case err := <-answer:
			if errors.Is(err, ports.ErrRefused) {
				return backoff.Permanent(err)
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}
