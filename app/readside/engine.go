package readside

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/core/order"
	"hexorders/ports"
)

// Engine feeds the read model with the events of the topic. Any number of them may run, in as many processes: they share
// the topic's shards.
//
// Guarantees: an event takes effect once in every view, however often it is delivered. An order's events take effect in
// version order: one that comes too early is buffered until those before it have come. A message that cannot be applied
// parks its order: it and the order's later messages are buffered until an operator retries them, and the other orders
// go on. No error ends the engine.
type Engine struct {
	options Options
	status  status
	warned  int // the generation that warnOfViews has spoken of
}

// Options wire an engine. Subscriber, Store and Decode are required; zero values of the rest mean the defaults.
type Options struct {
	Views      []View // All
	Subscriber ports.Subscriber
	Store      ports.ReadModelStore
	Decode     func(ports.Message) (order.Event, error) // reads a message of the published language

	// Only for Rebuild: what it compares the rebuilt read model with, nil for nothing, and what the broker has refused.
	Orders  ports.OrderScanner
	Parking ports.Parking
	// FromStore lets Rebuild read the events from Orders instead of the topic.
	FromStore bool

	Group      string           // the consumer group: "hexorders.views"
	Tries      int              // how often to try a message that cannot be applied before its order is parked: 3
	TryAgain   time.Duration    // the pause before the second try, which is doubled before each further one: 20 ms
	MaxBackoff time.Duration    // the longest pause while the store or the broker is away: 5 s
	LookEvery  time.Duration    // how often to look whether the read model was replaced by a rebuild: 1 s
	Remember   int              // orders whose progress need not be read again, which bounds the memory: 10,000
	Now        func() time.Time // time.Now
	Logger     *slog.Logger     // slog.Default()
}

// New makes an engine that does nothing before Run. Parked and Retry work without Run, and without a Subscriber.
func New(o Options) *Engine {
	if o.Views == nil {
		o.Views = All
	}
	o.Group = cmp.Or(o.Group, "hexorders.views")
	o.Tries = cmp.Or(max(o.Tries, 0), 3)
	o.TryAgain = cmp.Or(max(o.TryAgain, 0), 20*time.Millisecond)
	o.MaxBackoff = cmp.Or(max(o.MaxBackoff, 0), 5*time.Second)
	o.LookEvery = cmp.Or(max(o.LookEvery, 0), time.Second)
	o.Remember = cmp.Or(max(o.Remember, 0), 10_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return &Engine{options: o}
}

// Run feeds the live read model until ctx ends, and returns nil. Nothing is lost by a stop at any moment: what was not
// committed is delivered again.
func (e *Engine) Run(ctx context.Context) error {
	waits := e.newBackoff()
	_ = e.retry(ctx, waits, func() error { return e.follow(ctx, waits.Reset) }, func(err error, wait time.Duration) {
		e.status.failed.Add(1)
		e.options.Logger.Warn("the topic cannot be read; trying again", "wait", wait, "err", err)
	})
	return nil
}

var errEnded = errors.New("the subscription ended without a reason")

// follow feeds what is the live generation, until something breaks.
func (e *Engine) follow(ctx context.Context, worked func()) error {
	for {
		generation, err := e.options.Store.Live(ctx)
		if err != nil {
			return err
		}
		e.warnOfViews(generation)
		e.status.generation.Store(int64(generation.Number))
		c := newConsumer(e, generation, e.options.Store.Live)
		err = e.options.Subscriber.Subscribe(ctx, e.options.Group, c.resume, func(ctx context.Context, b ports.Batch) error {
			err := c.take(ctx, b)
			if err == nil {
				worked()
			}
			return err
		})
		if err == nil {
			return errEnded
		}
		if !errors.Is(err, errReplaced) {
			return err
		}
		e.options.Logger.Info("the read model is read again from where it is now", "err", err)
	}
}

// warnOfViews says, once for each generation, which views are not fed: those that the generation lacks or has in another
// shape, and those that a later version of the program has made.
func (e *Engine) warnOfViews(g ports.Generation) {
	if e.warned == g.Number {
		return
	}
	e.warned = g.Number
	for _, v := range e.options.Views {
		if !slices.Contains(g.Views, v.Name) {
			e.options.Logger.Warn("a view is not built yet, or has changed since: run `hexorders views rebuild`", "view", v.Name)
		}
	}
	for _, name := range g.Views {
		if !slices.ContainsFunc(e.options.Views, func(v View) bool { return v.Name == name }) {
			e.options.Logger.Warn("a view belongs to a later version of the program and gets no events from this one; "+
				"run `hexorders views rebuild` with that version", "view", name)
		}
	}
}

// retry calls try until it succeeds, fails with a backoff.Permanent error, or ctx ends. The error is then that one, or
// the cause of ctx's end.
func (e *Engine) retry(ctx context.Context, waits backoff.BackOff, try func() error, failed backoff.Notify) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, try() },
		backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(0), backoff.WithNotify(failed))
	return err
}

func (e *Engine) newBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = min(50*time.Millisecond, e.options.MaxBackoff)
	b.MaxInterval = e.options.MaxBackoff
	b.Multiplier = 2
	return b
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
