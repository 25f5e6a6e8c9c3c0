package app

import (
	"context"
	"errors"
	"fmt"

	"hexorders/ports"
)

// Parked lists the orders of which the view keeps messages back, by order id: those that are parked, and those that wait
// for a missing message.
func (p *Projection) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	live, err := p.Generations.Live(ctx, p.View)
	if err != nil {
		return nil, err
	}
	return p.Inbox.Parked(ctx, live)
}

// Retry applies what the view keeps back of an order, as far as it goes. It may be called in any process, whether or not
// a projection runs. nil means that nothing is kept back any more. Errors: ErrNotFound when nothing was; what is wrong
// with the order when some of it still is; ErrConflict when projections kept changing the order at the same moment.
func (p *Projection) Retry(ctx context.Context, orderID string) error {
	const attempts = 10
	for attempt := 1; ; attempt++ {
		err := p.retry(ctx, orderID)
		if !errors.Is(err, ports.ErrConflict) || attempt == attempts {
			return err
		}
	}
}

func (p *Projection) retry(ctx context.Context, orderID string) error {
	live, err := p.Generations.Live(ctx, p.View)
	if err != nil {
		return err
	}
	marks, summaries, err := p.Inbox.Load(ctx, live, []string{orderID})
	if err != nil {
		return err
	}
	held, err := p.Inbox.Held(ctx, live, orderID)
	if err != nil {
		return err
	}
	if len(held) == 0 {
		return fmt.Errorf("%s keeps nothing back of order %s: %w", p.View, orderID, ports.ErrNotFound)
	}
	w := newWork(p.View, p.Decode, 1)
	w.know(orderID, known{marks[orderID], summaries[orderID]})
	o := w.orders[orderID]
	o.await(held)
	o.mark.Parked = ""
	w.touch(o)
	w.release(o)
	if err := p.Inbox.Commit(ctx, live, w.change()); err != nil {
		return err
	}
	switch {
	case o.mark.Parked != "":
		return fmt.Errorf("order %s is parked again at version %d: %w", orderID, o.mark.Version+1, w.failures[0].err)
	case len(o.waiting) > 0:
		return fmt.Errorf("order %s still waits: version %d has not come", orderID, o.mark.Version+1)
	}
	return nil
}

// report says what an operator has to know of a batch that was committed.
func (c *consumer) report(w *work) {
	for _, f := range w.failures {
		c.Logger.Error("a message cannot be applied; its order is parked until `hexorders consumers retry`",
			"order", f.message.OrderID, "version", f.message.Version, "message", f.message.ID, "err", f.err)
	}
	for _, o := range w.touched {
		switch {
		case o.mark.Parked == "" && o.mark.Held > 0 && o.was.Held == 0:
			c.Logger.Warn("a message is missing; the order's later messages are held until it has come",
				"order", o.mark.OrderID, "version", o.mark.Version+1, "held", o.mark.Held)
		case o.mark.Held == 0 && o.was.Held > 0:
			c.Logger.Info("what was held of an order has taken effect", "order", o.mark.OrderID, "version", o.mark.Version)
		}
	}
	if w.foreign > 0 {
		c.Logger.Error("messages that name no order and version, or another than their id does, are passed over", "messages", w.foreign)
	}
}
