package e2e

import (
	"context"
	"testing"

	"hexorders/test/checker"
)

// hasShare is what a process with the role projections says when it gets something to do.
const hasShare = "partitions were assigned to this consumer"

// Each event takes effect once, whatever happens to those who project: the views are what the topic adds up to. How often a
// buyer's orders were counted is where an effect that came twice, or not at all, would be seen for good.
func TestTheViewsAreWhatTheTopicAddsUpToHoweverOftenTheirProcessesAreKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	api := w.serve("api and relay", "--roles", "api,relay")
	addrs := []string{w.newAddr(), w.newAddr()}
	start := func(n int) *process {
		return w.serveAt([]string{"one projector", "other projector"}[n], addrs[n], "--roles", "projections")
	}
	projectors := []*process{start(0), start(1)}
	k := startKilling(w, 2000*scale, 32, min(1+scale, 10))
	for k.more() {
		victim := k.stage % 2
		projectors[victim].says(hasShare, patience)
		k.untilMidStage(api)
		projectors[victim].kill()
		projectors[victim] = start(victim)
	}
	k.finish(api)

	w.viewsAre()
	for _, p := range projectors {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
	}
	views := w.viewsAre() // and nothing came behind it
	if len(views.Summaries) < k.load.orders || len(views.Timeline) < k.load.orders*commands {
		t.Errorf("the views have %d orders and %d events, want at least %d and %d", len(views.Summaries), len(views.Timeline),
			k.load.orders, k.load.orders*commands)
	}
}

// viewsAre waits until the views have everything, and compares them with what the topic adds up to.
func (w *world) viewsAre() checker.Views {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	h, err := w.reader.Read(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.reader.AwaitViews(ctx, h.Topic); err != nil {
		w.t.Fatal(err)
	}
	views, err := w.reader.ReadViews(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, violation := range checker.CheckViews(h.Topic, views) {
		w.t.Errorf("the views are not what the topic adds up to: %s", violation)
	}
	return views
}
