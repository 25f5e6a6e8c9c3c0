package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// Projection keeps a view up to date with the topic. Any number of them may run, in as many processes: they share the
// topic's partitions.
//
// Guarantees: a message takes effect once, however often it is delivered. An order's messages take effect in version
// order: one that comes too early is held until those before it have come. A message that cannot be applied parks its
// order: it and the order's later messages are held until an operator sends them again, and the other orders flow on.
// No error ends a projection.
type Projection struct {
	ProjectionOptions
	projectionStatus
}

// ProjectionOptions wire a projection. The first five are required; zero values of the rest mean the defaults.
type ProjectionOptions struct {
	View        ports.View
	Subscriber  ports.Subscriber
	Inbox       ports.Inbox
	Generations ports.Generations
	Decode      func(ports.Message) (order.Event, error) // reads a message of the published language

	Group      string           // the consumer group is this and the view, "hexorders.order-summary": "hexorders"
	Tries      int              // how often to try a message that cannot be applied before its order is parked: 3
	TryAgain   time.Duration    // the pause before the second try, which is doubled before each further one: 20 ms
	MaxBackoff time.Duration    // the longest pause while the store or the broker is away: 5 s
	LookEvery  time.Duration    // how often to look whether the view was replaced by a replay: 1 s
	Remember   int              // orders whose marks need not be read again, which bounds the memory: 10,000
	Now        func() time.Time // time.Now
	Logger     *slog.Logger     // slog.Default()
}

func NewProjection(o ProjectionOptions) *Projection {
	if o.Group == "" {
		o.Group = "hexorders"
	}
	if o.Tries <= 0 {
		o.Tries = 3
	}
	if o.TryAgain <= 0 {
		o.TryAgain = 20 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 5 * time.Second
	}
	if o.LookEvery <= 0 {
		o.LookEvery = time.Second
	}
	if o.Remember <= 0 {
		o.Remember = 10_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = o.Logger.With("view", string(o.View))
	return &Projection{ProjectionOptions: o}
}

// Run projects until ctx ends, and returns nil. Nothing is lost by a stop at any moment: what was not committed is
// delivered again.
func (p *Projection) Run(ctx context.Context) error {
	waits := newBackoff(p.MaxBackoff)
	for {
		err := p.follow(ctx, waits.Reset)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errReplaced) {
			p.Logger.Info("the view was replaced; its projection goes on with what is there now")
			continue
		}
		wait := waits.NextBackOff()
		p.failed.Add(1)
		p.Logger.Warn("the topic cannot be read; trying again", "wait", wait, "err", err)
		if pause(ctx, wait) != nil {
			return nil
		}
	}
}

// follow feeds the live generation until something breaks or another one is live.
func (p *Projection) follow(ctx context.Context, worked func()) error {
	live := func(ctx context.Context) (ports.Generation, error) { return p.Generations.Live(ctx, p.View) }
	generation, err := live(ctx)
	if err != nil {
		return err
	}
	p.generation.Store(int64(generation.Number))
	c := newConsumer(p, generation, live)
	return p.Subscriber.Subscribe(ctx, p.Group+"."+string(p.View), c.resume, func(ctx context.Context, b ports.Batch) error {
		if err := c.take(ctx, b); err != nil {
			return err
		}
		worked()
		return nil
	})
}
