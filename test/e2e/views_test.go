package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/test/checker"
)

// hasShare is what a process with the role views says when it gets something to do.
const hasShare = "partitions were assigned to this consumer"

// Each event takes effect once, whatever happens to the processes that feed the views: these are what the topic adds up to.
// How often a buyer's orders were counted is where an effect that came twice, or not at all, would be seen for good.
func TestTheViewsAreWhatTheTopicAddsUpToHoweverOftenTheirProcessesAreKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	api := w.serve("api and relay", "--roles", "api,relay")
	addrs := []string{w.newAddr(), w.newAddr()}
	start := func(n int) *process {
		return w.serveAt([]string{"one feeder", "other feeder"}[n], addrs[n], "--roles", "views")
	}
	feeders := []*process{start(0), start(1)}
	k := startKilling(w, 2000*scale, 32, min(1+scale, 10))
	for k.more() {
		victim := k.stage % 2
		feeders[victim].says(hasShare, patience)
		k.untilMidStage(api)
		feeders[victim].kill()
		feeders[victim] = start(victim)
	}
	k.finish(api)

	reader := w.serve("api", "--roles", "api")
	w.viewsAre(reader)
	for _, p := range feeders {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
	}
	views := w.viewsAre(reader) // and nothing came behind it
	if len(views.Summaries) < k.load.orders || len(views.Timeline) < k.load.orders*commands {
		t.Errorf("the views have %d orders and %d events, want at least %d and %d", len(views.Summaries), len(views.Timeline),
			k.load.orders, k.load.orders*commands)
	}
}

// An event that cannot be applied stops its order and no other, and so does a gap until it closes. An operator sees both.
func TestAnEventThatCannotBeAppliedParksItsOrderOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	w.createTopic("1000000")
	p := w.serve("serve", "--roles", "api,views")
	publish := func(id string, version int, kind string) {
		t.Helper()
		data := ""
		if version == 1 {
			data = `,"buyerId":"9999","items":[{"productId":"1111","amount":3}]`
		}
		record := newRecord(id, version, kind, data, time.Now())
		record.Topic = w.source.Topic
		if err := w.kafka.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	shows := func(id string, version int) {
		t.Helper()
		eventually(t, patience, fmt.Sprintf("the list has version %d of order %s", version, id), func() bool {
			a, err := w.client().do(t.Context(), "GET", "/orders", "")
			return err == nil && regexp.MustCompile(fmt.Sprintf(`"id":"%s"[^}]*}[^}]*"version":%d,`, id, version)).Match(a.body)
		})
	}
	parked := func(want ...string) {
		t.Helper()
		list := ""
		eventually(t, patience, fmt.Sprintf("the orders %v are parked", want), func() bool {
			list = w.command("views", "parked")
			return !slices.ContainsFunc([]string{"good", "poisoned", "early"}, func(id string) bool {
				return strings.Contains(list, id) != slices.Contains(want, id)
			})
		})
	}
	publish("poisoned", 1, "OrderCreated")
	publish("poisoned", 2, "OrderEaten")
	publish("poisoned", 3, "OrderPaid")
	publish("early", 1, "OrderCreated")
	publish("early", 3, "OrderPaid")
	publish("good", 1, "OrderCreated")
	publish("good", 2, "OrderPaid")
	shows("good", 2)
	shows("poisoned", 1)
	shows("early", 1)
	parked("poisoned", "early")
	eventually(t, patience, "the metrics know of both", func() bool {
		return p.scrape().value("hexorders_view_parked_orders") == 2 && p.scrape().value("hexorders_view_parked_messages") == 3
	})

	publish("early", 2, "OrderSubmitted")
	shows("early", 3)
	parked("poisoned")
	said, code := ends(t, exec.Command(program, "views", "retry", "poisoned"), w.env)
	if code == 0 || !strings.Contains(said, "OrderEaten") {
		t.Errorf("`hexorders views retry` of an order that is as wrong as before: exit code %d, %q, want another and the reason", code, said)
	}
	w.command("views", "rebuild")
	parked("poisoned")
	publish("good", 1, "OrderCreated")
	publish("good-too", 1, "OrderCreated")
	shows("good-too", 1)
	shows("good", 2)
	shows("poisoned", 1)
	shows("early", 3)
}

// viewsAre waits until the views that a service serves have everything, and compares them with what the topic adds up to.
func (w *world) viewsAre(p *process) checker.Views {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	h, err := w.reader.Read(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return viewsOf(w.t, p, h.Topic)
}

func viewsOf(t testing.TB, p *process, topic []checker.Record) checker.Views {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience+time.Duration(len(topic)/500)*time.Second)
	defer cancel()
	if err := checker.AwaitViews(ctx, "http://"+p.addr, topic); err != nil {
		t.Fatal(err)
	}
	views, err := checker.ReadViews(ctx, "http://"+p.addr, topic)
	if err != nil {
		t.Fatal(err)
	}
	if violations := checker.CheckViews(topic, views); len(violations) > 0 {
		t.Errorf("the views are not what the topic adds up to: %d times, as in %v", len(violations), violations[:min(3, len(violations))])
	}
	return views
}
