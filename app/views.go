package app

import (
	"context"
	"time"

	"hexorders/ports"
)

// Views answers questions from the views. How fresh an answer is has been read before the answer itself, so that it is
// never fresher in word than in fact.
type Views struct {
	views ports.OrderViews
	ViewsOptions
}

// ViewsOptions tune the answers; zero values mean the defaults.
type ViewsOptions struct {
	Wait     time.Duration // how long an answer waits at most for the event that it has to know of: 1 s
	AskEvery time.Duration // how often to look whether it has come: 20 ms
}

var _ ports.Views = (*Views)(nil)

func NewViews(views ports.OrderViews, o ViewsOptions) *Views {
	if o.Wait <= 0 {
		o.Wait = time.Second
	}
	if o.AskEvery <= 0 {
		o.AskEvery = 20 * time.Millisecond
	}
	return &Views{views, o}
}

func (v *Views) Summaries(ctx context.Context, q ports.SummaryQuery, known ports.EventRef) (ports.SummaryPage, error) {
	freshness, err := v.await(ctx, ports.OrderSummary, known)
	if err != nil {
		return ports.SummaryPage{}, err
	}
	list, next, err := v.views.Summaries(ctx, q)
	return ports.SummaryPage{Summaries: list, Next: next, Freshness: freshness}, err
}

func (v *Views) Activity(ctx context.Context, buyer string, known ports.EventRef) (ports.Activity, ports.Freshness, error) {
	freshness, err := v.await(ctx, ports.BuyerActivity, known)
	if err != nil {
		return ports.Activity{}, ports.Freshness{}, err
	}
	activity, err := v.views.Activity(ctx, buyer)
	return activity, freshness, err
}

func (v *Views) Timeline(ctx context.Context, orderID string, page ports.Page, known ports.EventRef) (ports.TimelinePage, error) {
	if known.OrderID == "" {
		known.OrderID = orderID // to say how far the view is with it
	}
	freshness, err := v.await(ctx, ports.OrderTimeline, known)
	if err != nil {
		return ports.TimelinePage{}, err
	}
	entries, next, err := v.views.Timeline(ctx, orderID, page)
	return ports.TimelinePage{Entries: entries, Next: next, Freshness: freshness}, err
}

// await waits until the view knows an event, and says how fresh the view then is, or is when the time is up.
func (v *Views) await(ctx context.Context, view ports.View, known ports.EventRef) (ports.Freshness, error) {
	deadline := time.Now().Add(v.Wait)
	for {
		freshness, err := v.views.Freshness(ctx, view, known.OrderID)
		if err != nil || freshness.Version >= known.Version || !time.Now().Before(deadline) {
			return freshness, err
		}
		if err := pause(ctx, v.AskEvery); err != nil {
			return ports.Freshness{}, err
		}
	}
}
