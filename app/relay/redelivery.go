package relay

import (
	"context"
	"errors"
	"fmt"

	"hexorders/ports"
)

// park moves the head of a lane out of the way, and does not give up: until it is parked it holds the checkpoint back.
func (t *term) park(ctx context.Context, l *lane, reason string) {
	l.busy = true
	m := l.head.message
	t.startAside(l, parking, func() error {
		return t.persist(ctx, "park message "+m.ID, func(ctx context.Context) error {
			return t.Parking.Park(ctx, m, reason)
		})
	})
}

// lookForRetry asks the store whether an operator has sent a parked order on its way; one order at a time.
func (t *term) lookForRetry(ctx context.Context) {
	if t.looking {
		return
	}
	t.looking = true
	t.aside.Go(func() {
		parked, err := t.Parking.Parked(ctx)
		if err != nil && ctx.Err() == nil {
			t.Logger.Warn("relay could not look for parked orders to send again", "err", err)
		}
		if err == nil {
			t.parked(parked)
		}
		for _, p := range parked {
			if p.Retry {
				t.found <- p.OrderID
				return
			}
		}
		t.found <- ""
	})
}

func (t *term) onRetry(ctx context.Context, orderID string) {
	if orderID == "" {
		t.looking = false
		return
	}
	l := t.flow.lane(orderID)
	if l.parkedFrom == 0 {
		l.parkedFrom = 1 // parked by another relay: keep later messages behind the parked ones
	}
	l.redeliver = true
	t.next(ctx, l)
}

// redeliver publishes an order's parked messages one after the other. Its lane is busy meanwhile, so that newer
// messages of the order wait behind them. nil means that none is parked any more.
func (t *term) redeliver(ctx context.Context, orderID string) error {
	var messages []ports.Message
	if err := t.persist(ctx, "read parked messages", func(ctx context.Context) (err error) {
		messages, err = t.Parking.Messages(ctx, orderID)
		return err
	}); err != nil {
		return err
	}
	for _, m := range messages {
		err := t.persistUnlessRefused(ctx, m)
		if errors.Is(err, ports.ErrRefused) {
			t.Logger.Error("the broker refuses a parked message again", "order", orderID, "version", m.Version, "message", m.ID, "err", err)
			if failed := t.Parking.Refused(ctx, orderID, err.Error()); failed != nil {
				return fmt.Errorf("keep order %s parked: %w", orderID, failed)
			}
		}
		if err != nil {
			return err
		}
		t.redelivered.Add(1)
		if err := t.persist(ctx, "forget parked message "+m.ID, func(ctx context.Context) error {
			return t.Parking.Unpark(ctx, m)
		}); err != nil {
			return err
		}
	}
	t.Logger.Info("a parked order has been sent again", "order", orderID, "messages", len(messages))
	return nil
}

// persistUnlessRefused publishes a message and waits for the broker, as often as it takes.
func (t *term) persistUnlessRefused(ctx context.Context, m ports.Message) (refused error) {
	err := t.persist(ctx, "publish parked message "+m.ID, func(ctx context.Context) error {
		answer := make(chan error, 1)
		t.Publisher.Publish(ctx, m, func(err error) {
			t.answered(err)
			answer <- err
		})
		select {
		case err := <-answer:
			if errors.Is(err, ports.ErrRefused) {
				refused = err
				return nil
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return err
	}
	return refused
}
