package readside

import (
	"cmp"
	"context"
	"log/slog"
	"time"

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
}

// Options wire an engine. Subscriber, Store and Decode are required; zero values of the rest mean the defaults.
type Options struct {
	Views      []View // All
	Subscriber ports.Subscriber
	Store      ports.ReadModelStore
	Decode     func(ports.Message) (order.Event, error) // reads a message of the published language

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
func (e *Engine) Run(ctx context.Context) error { panic("not yet") }

// Parked lists the orders that have buffered messages, by order id: those that are parked, and those that wait for a
// missing message.
func (e *Engine) Parked(ctx context.Context) ([]ports.ParkedOrder, error) { panic("not yet") }

// Retry applies an order's buffered messages, as far as it goes. It may be called in any process, whether or not an
// engine runs. nil means that nothing is buffered any more. Errors: ErrNotFound when nothing was; what is wrong with the
// order when something still is; ErrConflict when engines kept changing the order at the same moment; ErrUnavailable.
func (e *Engine) Retry(ctx context.Context, orderID string) error { panic("not yet") }
