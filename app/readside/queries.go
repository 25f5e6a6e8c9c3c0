package readside

import (
	"cmp"
	"context"
	"time"

	"hexorders/ports"
)

// Queries answers questions from the read model. How fresh an answer is has been read before the answer itself, so that
// it is never fresher in word than in fact.
type Queries struct {
	model   ports.ReadModel
	options QueriesOptions
}

// QueriesOptions tune the answers; zero values mean the defaults.
type QueriesOptions struct {
	Wait     time.Duration // how long an answer waits at most for the required version: 1 s
	AskEvery time.Duration // how often to look whether it was applied: 20 ms
	Hurry    func() bool   // reports that no answer may wait any more, because the process stops; nil: never
}

var _ ports.Views = (*Queries)(nil)

func NewQueries(m ports.ReadModel, o QueriesOptions) *Queries {
	o.Wait = cmp.Or(max(o.Wait, 0), time.Second)
	o.AskEvery = cmp.Or(max(o.AskEvery, 0), 20*time.Millisecond)
	if o.Hurry == nil {
		o.Hurry = func() bool { return false }
	}
	return &Queries{m, o}
}

func (q *Queries) Row(ctx context.Context, view, key string, required ports.EventRef) (ports.Row, ports.Freshness, error) {
	freshness, err := q.await(ctx, required)
	if err != nil {
		return ports.Row{}, ports.Freshness{}, err
	}
	row, err := q.model.Row(ctx, view, key)
	return row, freshness, err
}

func (q *Queries) List(ctx context.Context, query ports.Query, required ports.EventRef) (ports.RowPage, ports.Freshness, error) {
	freshness, err := q.await(ctx, required)
	if err != nil {
		return ports.RowPage{}, ports.Freshness{}, err
	}
	page, err := q.model.List(ctx, query)
	return page, freshness, err
}

// await waits until the read model includes an event. It returns how fresh it then is, or is when the time is up
// or the process stops.
func (q *Queries) await(ctx context.Context, required ports.EventRef) (ports.Freshness, error) {
	deadline := time.Now().Add(q.options.Wait)
	for {
		freshness, err := q.model.Freshness(ctx, required.OrderID)
		if err != nil || freshness.Version >= required.Version || !time.Now().Before(deadline) || q.options.Hurry() {
			return freshness, err
		}
		if err := pause(ctx, q.options.AskEvery); err != nil {
			return ports.Freshness{}, err
		}
	}
}
