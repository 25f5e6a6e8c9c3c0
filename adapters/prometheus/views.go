package prometheus

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexorders/ports"
)

// WatchProjection adds a projection's metrics to those of the process. status is called during a scrape.
func (m *Metrics) WatchProjection(status func() ports.ProjectionStatus) {
	prometheus.WrapRegistererWith(prometheus.Labels{"view": string(status().View)}, m.registry).MustRegister(projection{status})
}

type projection struct{ status func() ports.ProjectionStatus }

var (
	viewApplied        = viewDesc("applied_total", "Events that took effect in the view.")
	viewRepeats        = viewDesc("repeats_total", "Duplicate events that were skipped.")
	viewHeld           = viewDesc("held_total", "Events that were held, for a missing earlier one or for an operator.")
	viewConflicts      = viewDesc("conflicts_total", "Batches that another consumer of the view committed first; each is read again.")
	viewErrors         = viewDesc("errors_total", "Failed attempts to read or commit a batch; each is retried.")
	viewForeign        = viewDesc("foreign_total", "Unrecognised messages in the topic: not order events, and skipped.")
	viewParkedOrders   = viewDesc("parked_orders", "Orders whose events the view holds, because one cannot be applied or is missing.")
	viewParkedMessages = viewDesc("parked_messages", "Events of the parked orders.")
	viewAge            = prometheus.NewDesc("hexorders_view_age_seconds",
		"Time since the view last included every event.", []string{"view"}, nil)
)

func viewDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("hexorders_view_"+name, help, nil, nil)
}

func (p projection) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		viewApplied, viewRepeats, viewHeld, viewConflicts, viewErrors, viewForeign, viewParkedOrders, viewParkedMessages,
	} {
		to <- d
	}
}

func (p projection) Collect(to chan<- prometheus.Metric) {
	s := p.status()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
		to <- prometheus.MustNewConstMetric(d, kind, value)
	}
	send(viewApplied, prometheus.CounterValue, float64(s.Applied))
	send(viewRepeats, prometheus.CounterValue, float64(s.Repeats))
	send(viewHeld, prometheus.CounterValue, float64(s.Held))
	send(viewConflicts, prometheus.CounterValue, float64(s.Conflicts))
	send(viewErrors, prometheus.CounterValue, float64(s.Failed))
	send(viewForeign, prometheus.CounterValue, float64(s.Foreign))
	if s.Generation == 0 {
		return // it has not read anything yet
	}
	send(viewParkedOrders, prometheus.GaugeValue, float64(s.ParkedOrders))
	send(viewParkedMessages, prometheus.GaugeValue, float64(s.ParkedMessages))
}

// WatchStalls adds how many of the broker's consumers were replaced because they got nothing though there was something.
func (m *Metrics) WatchStalls(stalls func() int64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "hexorders_consumer_stalls_total",
		Help: "Consumers that were replaced because they got no more records of a partition that had some.",
	}, func() float64 { return float64(stalls()) }))
}

// WatchViews adds the age of the views. The store reports it, because a projection knows only its own partitions.
func (m *Metrics) WatchViews(freshness func(context.Context, ports.View, string) (ports.Freshness, error)) {
	m.registry.MustRegister(&views{freshness: freshness})
}

type views struct {
	freshness func(context.Context, ports.View, string) (ports.Freshness, error)

	mu    sync.Mutex
	asked time.Time
	asOf  map[ports.View]time.Time
}

func (v *views) Describe(to chan<- *prometheus.Desc) { to <- viewAge }

// Collect leaves out a view whose age is unknown: it is not filled, or the store does not answer.
func (v *views) Collect(to chan<- prometheus.Metric) {
	for view, asOf := range v.ages() {
		age := max(0, time.Since(asOf).Seconds()) // the clock of the process that fills it may run ahead
		to <- prometheus.MustNewConstMetric(viewAge, prometheus.GaugeValue, age, string(view))
	}
}

func (v *views) ages() map[ports.View]time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.asked.IsZero() && time.Since(v.asked) < unreadEvery {
		return v.asOf
	}
	ctx, cancel := context.WithTimeout(context.Background(), unreadTimeout)
	defer cancel()
	asOf := map[ports.View]time.Time{}
	for _, view := range ports.AllViews {
		if f, err := v.freshness(ctx, view, ""); err == nil && !f.AsOf.IsZero() {
			asOf[view] = f.AsOf
		}
	}
	v.asked, v.asOf = time.Now(), asOf
	return asOf
}
