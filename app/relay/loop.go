package relay

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

type delivery struct {
	message  ports.Message
	position ports.Position
}

// result reports the end of a call or a pause that an order queue was busy with.
type result struct {
	queue *orderQueue
	of    operation
	err   error
}

type operation int

const (
	publishing operation = iota
	parking
	waiting // the pause after a failed try
	redelivering
)

// loop relays until leading ends. After stop it takes no new message and ends once nothing is in flight: a message left
// there would be a gap, and the next start would publish everything behind the gap again.
func (l *leadership) loop(leading context.Context, stop <-chan struct{}) error {
	checkpoints := time.NewTicker(l.options.CheckpointEvery)
	defer checkpoints.Stop()
	retries := time.NewTicker(l.options.RetryEvery)
	defer retries.Stop()
	for stop != nil || !l.idle() {
		if l.leaseRanOut() {
			return errLeaseRanOut // a process that was suspended finds out here, before it publishes anything
		}
		incoming := l.incoming
		if stop == nil || l.inflight.full() {
			incoming = nil // the reader waits, and with it the store: this bounds the memory
		}
		select {
		case d := <-incoming:
			q := l.inflight.add(d.message, d.position)
			l.status.reportInFlight(l.inflight) // now, because advance may wait for the broker
			l.advance(leading, q)
		case r := <-l.results:
			l.onResult(leading, r)
		case <-checkpoints.C:
			l.save(leading)
		case s := <-l.saved:
			if err := l.onSaved(s); err != nil {
				return err
			}
		case <-retries.C:
			l.findRetryRequest(leading)
		case orderID := <-l.retryRequested:
			l.onRetryRequest(leading, orderID)
		case <-stop:
			stop = nil
		case <-leading.Done():
			if n := l.inflight.len(); stop == nil && n > 0 {
				l.options.Logger.Warn("relay stops before the broker has everything; the next start sends the rest again",
					"messages", n)
			}
			return nil
		}
	}
	return nil
}

// idle reports that every message read is done and no result is pending.
func (l *leadership) idle() bool { return l.inflight.len() == 0 && l.pending == 0 }

// advance starts the next step of an order, unless one is under way.
func (l *leadership) advance(ctx context.Context, q *orderQueue) {
	switch {
	case q.busy:
	case q.redeliver:
		q.redeliver = false
		l.start(q, redelivering, func() error { return l.redeliver(ctx, q.orderID) })
	case q.head == nil:
		l.inflight.drop(q)
	case q.parkedFrom > 0 && q.head.message.Version >= q.parkedFrom:
		l.park(ctx, q, "an earlier message of this order is parked")
	default:
		q.busy = true
		l.pending++
		l.options.Publisher.Publish(ctx, q.head.message, func(err error) {
			l.status.countAnswer(err)
			l.results <- result{q, publishing, err} // never waits: a queue has one result at a time
		})
	}
}

// start makes one slow call for an order in a goroutine of its own.
func (l *leadership) start(q *orderQueue, of operation, call func() error) {
	q.busy = true
	l.pending++
	l.calls.Go(func() { l.results <- result{q, of, call()} })
}

// onResult records how a step of an order ended, then starts the next one.
func (l *leadership) onResult(ctx context.Context, r result) {
	q := r.queue
	q.busy = false
	if r.of != waiting {
		l.pending--
	}
	switch {
	case r.of == waiting:
	case r.of == redelivering:
		l.retrying = false
		if r.err == nil {
			q.parkedFrom = 0
		}
	case r.err == nil:
		l.markDone(q, r.of)
	case r.of == publishing && errors.Is(r.err, ports.ErrRefused):
		m := q.head.message
		l.options.Logger.ErrorContext(ports.WithTraceParent(ctx, m.TraceParent),
			"the broker refuses a message permanently; its order is parked until `hexorders outbox retry "+m.OrderID+"`",
			"order", m.OrderID, "version", m.Version, "message", m.ID, "err", r.err)
		q.parkedFrom = m.Version
		l.park(ctx, q, r.err.Error())
		return
	case r.of == publishing && ctx.Err() == nil:
		l.retryLater(ctx, q, r.err)
		return
	default:
		return // the leadership is over; messages that are not done stay in the outbox
	}
	l.advance(ctx, q)
}

func (l *leadership) markDone(q *orderQueue, how operation) {
	q.backoff = nil
	l.inflight.markDone(q)
	l.status.reportInFlight(l.inflight)
	if how == publishing && l.brokerDown {
		l.brokerDown = false
		l.options.Logger.Info("the broker takes messages again")
	}
}

// retryLater publishes the head of a queue again after a pause. backoff.Retry does not fit here: it would publish from
// a goroutine of its own, and only loop may decide what an order does next.
func (l *leadership) retryLater(ctx context.Context, q *orderQueue, err error) {
	if !l.brokerDown {
		l.brokerDown = true
		l.options.Logger.Warn("the broker does not take messages; trying again until it does",
			"order", q.orderID, "message", q.head.message.ID, "err", err)
	}
	if q.backoff == nil {
		q.backoff = l.options.newBackoff()
	}
	q.busy = true
	wait := q.backoff.NextBackOff()
	l.calls.Go(func() {
		if pause(ctx, wait) == nil {
			l.results <- result{q, waiting, nil}
		}
	})
}

var errTailEnded = errors.New("the outbox ended its tail without an error")

// read follows the outbox until ctx ends. It resumes a broken tail after the last message that loop has received.
func (l *leadership) read(ctx context.Context, after ports.Position) error {
	waits := l.options.newBackoff()
	_, _ = backoff.Retry(ctx, func() (struct{}, error) {
		err := l.options.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
			select {
			case l.incoming <- delivery{m, p}:
				after = p
				waits.Reset()
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		return struct{}{}, cmp.Or(err, errTailEnded)
	}, backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, wait time.Duration) {
		l.options.Logger.Warn("outbox cannot be read; trying again", "wait", wait, "err", err)
	}))
	return nil
}
