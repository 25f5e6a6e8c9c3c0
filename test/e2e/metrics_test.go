package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
)

// What /metrics says is what happened: to the clients, in MongoDB and in Kafka.
func TestTheMetricsSayWhatHappened(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	w.createTopic("4096")
	p := w.serve("serve")
	p.says(holdsLease, takeOverLimit)
	o := &operator{t: t, client: w.client()}

	placed, commands := 0, 0
	for range 20 {
		id := o.order(`{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`)
		o.does(id, "items", `{"productId":"2222","amount":1}`)
		o.does(id, "pay", ``)
		o.isRefused(id, "pay", http.StatusConflict)
		placed, commands = placed+1, commands+3
	}
	refused := o.order(`{"buyerId":"9999","items":[` + lines(150) + `]}`)
	o.does(refused, "pay", ``)
	hot := o.order(`{"buyerId":"9999"}`)
	placed, commands = placed+2, commands+3
	for _, path := range []string{"/nothing", "/nothing/else", "/orders/" + hot + "/nothing"} {
		if a, err := o.client.do(t.Context(), "GET", path, ""); err != nil || a.status != http.StatusNotFound {
			t.Fatalf("GET %s: answer %v, error %v", path, a, err)
		}
	}
	// In one process commands on one order wait for each other. So two processes change one order until a save of the first
	// was too late at least once.
	rivalAddr := w.newAddr()
	rival := w.serveAt("rival", rivalAddr, "--roles", "api")
	var added, tooLate, addedByRival atomic.Int64
	eventually(t, patience, "a save meets a conflict", func() bool {
		var together errgroup.Group
		for n := range 8 {
			together.Go(func() error {
				client, took := o.client, &added
				if n%2 == 1 {
					client, took = newClient(rivalAddr), &addedByRival
				}
				a, err := client.do(t.Context(), "POST", "/orders/"+hot+"/items", `{"productId":"1111","amount":1}`)
				switch {
				case err == nil && a.status == http.StatusOK:
					took.Add(1)
				case err == nil && a.status == http.StatusConflict:
					if n%2 == 0 {
						tooLate.Add(1)
					}
				default:
					return fmt.Errorf("add to the hot order: answer %v, error %w", a, err)
				}
				return nil
			})
		}
		if err := together.Wait(); err != nil {
			t.Fatal(err)
		}
		return p.scrape().value("hexorders_saves_total", "result", "conflict") > 0
	})
	commands += int(added.Load())
	if code := rival.stop(); code != 0 {
		t.Errorf("exit code of the rival after SIGTERM is %d, want 0", code)
	}

	w.complete()
	_, report := w.judge(0, nil)
	if all := commands + int(addedByRival.Load()); report.Records+report.Parked != all {
		t.Fatalf("%d messages are in the topic and %d are parked, want %d together", report.Records, report.Parked, all)
	}
	eventually(t, patience, "the metrics know of the parked order, and of no lag", func() bool {
		m := p.scrape()
		return m.value("hexorders_relay_parked_messages") == 2 && m.has("hexorders_relay_lag_messages") &&
			m.value("hexorders_relay_lag_messages") == 0 && m.value("hexorders_relay_lag_seconds") == 0
	})
	eventually(t, patience, "the metrics know that the views have every event", func() bool {
		return p.scrape().value("hexorders_view_applied_total") >= float64(report.Records)
	})
	m := p.scrape()
	m.want(report.Records, "hexorders_view_applied_total")
	m.want(0, "hexorders_view_parked_orders")
	m.want(0, "hexorders_view_errors_total")
	m.want(commands, "hexorders_saves_total", "result", "committed")
	m.want(0, "hexorders_saves_total", "result", "failed")
	m.want(0, "hexorders_saves_total", "result", "unavailable")
	m.want(commands, "hexorders_commit_saves") // the histogram's sum: every save was in a batch
	m.want(report.Records, "hexorders_relay_published_total")
	m.want(1, "hexorders_relay_refused_total")
	m.want(1, "hexorders_relay_parked_orders")
	m.want(1, "hexorders_relay_lease_held")
	m.wantRequests(placed, "POST", "/orders", "201")
	m.wantRequests(20, "POST", "/orders/:id/pay", "409")
	m.wantRequests(21, "POST", "/orders/:id/pay", "200")
	m.wantRequests(20+int(added.Load()), "POST", "/orders/:id/items", "200")
	m.wantRequests(int(tooLate.Load()), "POST", "/orders/:id/items", "409")
	m.wantRequests(3, "other", "other", "404")
	m.lint()

	standby := w.serveAt("standby", w.newAddr(), "--roles", "relay")
	standby.says("another relay holds the lease", takeOverLimit)
	beside := standby.scrape()
	beside.want(0, "hexorders_relay_lease_held")
	for _, name := range []string{"hexorders_relay_lag_messages", "hexorders_relay_lag_seconds", "hexorders_relay_parked_orders"} {
		if beside.has(name) {
			t.Errorf("a relay that stands by says %s", name)
		}
	}
	beside.lint()

	w.setMaxMessageBytes("1048588")
	w.command("outbox", "retry", refused)
	eventually(t, patience, "the metrics know that nothing is parked any more", func() bool {
		return p.scrape().value("hexorders_relay_parked_orders") == 0
	})
	m = p.scrape()
	m.want(2, "hexorders_relay_redelivered_total")
	m.want(commands+int(addedByRival.Load()), "hexorders_relay_published_total")
	m.want(0, "hexorders_relay_parked_messages")
}

func (o *operator) isRefused(id, command string, status int) {
	o.t.Helper()
	a, err := o.client.do(o.t.Context(), "POST", "/orders/"+id+"/"+command, "")
	if err != nil || a.status != status {
		o.t.Fatalf("POST /orders/%s/%s: answer %.500s, error %v, want %d", id, command, a, err, status)
	}
}

// metrics are what a process said of itself at one moment.
type metrics struct {
	t        testing.TB
	text     []byte
	families map[string]*dto.MetricFamily
}

func (p *process) scrape() metrics {
	p.t.Helper()
	c := newClient(p.addr)
	defer c.http.CloseIdleConnections()
	a, err := c.do(p.t.Context(), "GET", "/metrics", "")
	if err != nil || a.status != http.StatusOK {
		p.t.Fatalf("GET /metrics of %s: answer %.500s, error %v", p.name, a, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(a.body))
	if err != nil {
		p.t.Fatalf("metrics of %s: %v", p.name, err)
	}
	return metrics{p.t, a.body, families}
}

func (m metrics) has(name string) bool { return m.families[name] != nil }

// value adds up the series of a metric that have these labels: a counter's or gauge's value, a histogram's sum.
func (m metrics) value(name string, labels ...string) (sum float64) {
	for _, series := range m.with(name, labels) {
		sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() + series.GetHistogram().GetSampleSum()
	}
	return sum
}

func (m metrics) with(name string, labels []string) (found []*dto.Metric) {
	for _, series := range m.families[name].GetMetric() {
		has := map[string]string{}
		for _, label := range series.GetLabel() {
			has[label.GetName()] = label.GetValue()
		}
		fits := true
		for i := 0; i < len(labels); i += 2 {
			fits = fits && has[labels[i]] == labels[i+1]
		}
		if fits {
			found = append(found, series)
		}
	}
	return found
}

func (m metrics) want(want int, name string, labels ...string) {
	m.t.Helper()
	if len(m.with(name, labels)) == 0 {
		m.t.Errorf("there is no %s %v", name, labels)
	} else if got := m.value(name, labels...); got != float64(want) {
		m.t.Errorf("%s %v is %v, want %d", name, labels, got, want)
	}
}

func (m metrics) wantRequests(want int, method, route, status string) {
	m.t.Helper()
	got := uint64(0)
	for _, series := range m.with("hexorders_http_request_duration_seconds", []string{"method", method, "route", route, "status", status}) {
		got += series.GetHistogram().GetSampleCount()
	}
	if got != uint64(want) {
		m.t.Errorf("%s %s was answered with %s %d times, want %d", method, route, status, got, want)
	}
}

// lint asks Prometheus' own linter, which knows the conventions.
func (m metrics) lint() {
	m.t.Helper()
	problems, err := promlint.New(bytes.NewReader(m.text)).Lint()
	if err != nil || len(problems) > 0 {
		m.t.Errorf("promlint finds %v, error %v", problems, err)
	}
}
