package browser

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/adapters/console"
	"hexorders/adapters/httpapi"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/app/readside"
)

// within serves a console in this process, so that a test can say which spans there are.
func within(t *testing.T, spans *console.Spans) *service {
	t.Helper()
	store, feed := memory.NewStore(), console.NewFeed()
	tables := memory.NewReadModel(readside.Tables(readside.All))
	server := httptest.NewServer(httpapi.New(httpapi.Options{
		Orders: app.NewOrders(store, app.OrdersOptions{NewID: func() string { return "order-1" }, History: store}),
		Views:  readside.NewQueries(tables, readside.QueriesOptions{}),
		Console: console.New(console.Options{Feed: feed, Spans: spans, Roles: []string{"api", "relay", "views"}, Ports: console.Adapters{
			OrderStore: store, Outbox: memory.NewOutbox(store), Parking: memory.NewParking(), ReadModelStore: tables,
		}}),
	}))
	t.Cleanup(func() {
		feed.Close()
		server.Close()
	})
	return &service{t: t, url: server.URL}
}

// traced are the spans of an order on its way through three services.
func traced(spans *console.Spans, start time.Time) {
	add := func(id, parent, service, name string, from, to float64, failed bool) {
		at := func(ms float64) time.Time { return start.Add(time.Duration(ms * float64(time.Millisecond))) }
		spans.Add(console.Span{Trace: "0af7651916cd43dd8448eb211c80319c", ID: id, Parent: parent, Service: service, Name: name,
			Start: at(from), End: at(to), Failed: failed, Order: "order-1"})
	}
	add("1", "", "hexorders-api", "POST /orders", 0, 30, false)
	add("2", "1", "hexorders-api", "Save", 5, 7.25, false)
	add("3", "1", "hexorders-relay", "send orders.events", 31, 35, true)
	add("4", "1", "hexorders-relay", "send orders.events", 60, 62, false)
	add("5", "4", "hexorders-views", "process orders.events", 64, 90, false)
}

func TestTheMapShowsWhoCallsWhom(t *testing.T) {
	t.Parallel()
	spans, chromium := &console.Spans{}, open(t)
	s := within(t, spans)
	p := show(chromium, s, "/console/#/map", look{})
	p.waits("there is nothing yet", `document.getElementById('services').innerText.startsWith('No span of one service')`)
	traced(spans, time.Now())
	p.waits("the map is drawn", `document.querySelectorAll('svg.map .box').length === 3`)
	want := [][]string{
		{"hexorders-api", "hexorders-relay", "2", "1", "4 ms"}, {"hexorders-relay", "hexorders-views", "1", "0", "26 ms"},
	}
	if got := p.cells("#services table"); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the table says %q, want %q", got, want)
	}
	if red := value[int](p, `document.querySelectorAll('svg.map .failed path').length`); red != 1 {
		t.Errorf("%d arrows have errors, want 1", red)
	}

	s.create("ada")
	p.goTo("#/order/order-1")
	p.waits("the trace is drawn as bars", `[...document.querySelectorAll('.bars')].at(-1)?.children.length === 5`)
	if trace := value[string](p, `[...document.querySelectorAll('#story h4')].at(-1).innerText`); trace[:8] != "0af76519" {
		t.Errorf("the trace is %q", trace)
	}
	bar := value[string](p, `[...document.querySelectorAll('.bars')].at(-1).children[1].innerText`)
	if want := "+5 ms · 2.25 ms"; !strings.Contains(bar, want) {
		t.Errorf("the bar of Save says %q, want %q", bar, want)
	}
	p.close()

	p = show(chromium, within(t, nil), "/console/#/map", look{})
	p.waits("without traces the page says so", `document.getElementById('services').innerText.startsWith('There are no traces')`)
}

func TestTheSpansOfARunningServiceAreShown(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	o := s.create("ada")
	s.inViews(o)
	p := show(open(t), s, "/console/#/map", look{})
	p.waits("the map is drawn", `document.querySelectorAll('svg.map .box').length === 3`)
	var arrows []string
	for _, row := range p.cells("#services table") {
		arrows = append(arrows, strings.Join(row[:4], " "))
	}
	want := []string{"hexorders-api hexorders-relay 1 0", "hexorders-relay hexorders-views 1 0"}
	if !slices.Equal(arrows, want) {
		t.Errorf("the table says %q, want %q", arrows, want)
	}
	p.goTo("#/order/" + o.ID)
	const names = `[...document.querySelectorAll('.bars')].at(-1)?.innerText ?? ''`
	p.waits("the trace ends in the views", names+`.includes('update views')`)
	bars := value[string](p, names)
	for _, name := range []string{"POST /orders", "Orders.Create", "OrderStore.Save", "transaction", "send topic", "process topic"} {
		if !strings.Contains(bars, name) {
			t.Errorf("no bar is called %q:\n%s", name, bars)
		}
	}
	p.close()
}
