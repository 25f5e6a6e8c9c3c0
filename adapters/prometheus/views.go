package prometheus

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexorders/ports"
)

// WatchViews adds what the consumer of this process says of itself. status is called during a scrape.
func (m *Metrics) WatchViews(status func() ports.ViewsStatus) { m.registry.MustRegister(views{status}) }

type views struct{ status func() ports.ViewsStatus }

var (
	viewApplied        = viewDesc("applied_total", "Events that took effect in the views.")
	viewDuplicates     = viewDesc("duplicates_total", "Duplicate events that were skipped.")
	viewBuffered       = viewDesc("buffered_total", "Events that were buffered, for a missing earlier one or for an operator.")
	viewConflicts      = viewDesc("conflicts_total", "Batches that another consumer of the views committed first; each is read again.")
	viewErrors         = viewDesc("errors_total", "Failed attempts to read or commit a batch; each is retried.")
	viewForked         = viewDesc("forked_total", "Orders that were parked because a version came with two different contents.")
	viewForeign        = viewDesc("foreign_total", "Unrecognised messages in the topic: not order events, and skipped.")
	viewParkedOrders   = viewDesc("parked_orders", "Orders with buffered events, because one cannot be applied or is missing.")
	viewParkedMessages = viewDesc("parked_messages", "Events of the parked orders.")
	viewAge            = viewDesc("age_seconds", "Time since the views last included every event.")
	viewIncomplete     = prometheus.NewDesc("hexorders_view_incomplete",
		"1 when events are missing in the views for ever, for this reason; else 0.", []string{"reason"}, nil)
)

func viewDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("hexorders_view_"+name, help, nil, nil)
}

func (v views) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		viewApplied, viewDuplicates, viewBuffered, viewConflicts, viewErrors, viewForked, viewForeign, viewParkedOrders,
		viewParkedMessages,
	} {
		to <- d
	}
}

func (v views) Collect(to chan<- prometheus.Metric) {
	s := v.status()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
		to <- prometheus.MustNewConstMetric(d, kind, value)
	}
	send(viewApplied, prometheus.CounterValue, float64(s.Applied))
	send(viewDuplicates, prometheus.CounterValue, float64(s.Duplicates))
	send(viewBuffered, prometheus.CounterValue, float64(s.Buffered))
	send(viewConflicts, prometheus.CounterValue, float64(s.Conflicts))
	send(viewErrors, prometheus.CounterValue, float64(s.Failed))
	send(viewForked, prometheus.CounterValue, float64(s.Forked))
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

// WatchFreshness adds the age of the views. The store reports it, because a consumer knows only its own share.
func (m *Metrics) WatchFreshness(freshness func(ctx context.Context, orderID string) (ports.Freshness, error)) {
	m.registry.MustRegister(&viewsAge{freshness: freshness})
}

type viewsAge struct {
	freshness func(ctx context.Context, orderID string) (ports.Freshness, error)

	mu    sync.Mutex
	asked time.Time
	known ports.Freshness
	err   error
}

func (v *viewsAge) Describe(to chan<- *prometheus.Desc) { to <- viewAge; to <- viewIncomplete }

// Collect leaves out an age that is unknown: no process fills the views, events are missing, or the store does not answer.
func (v *viewsAge) Collect(to chan<- prometheus.Metric) {
	f, err := v.current()
	if err != nil {
		return
	}
	if age, known := f.Age(); known {
		to <- prometheus.MustNewConstMetric(viewAge, prometheus.GaugeValue, age.Seconds())
	}
	for _, reason := range ports.GapReasons {
		value := 0.0
		if f.Incomplete == reason {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(viewIncomplete, prometheus.GaugeValue, value, string(reason))
	}
}

// current asks the store every unreadEvery at most.
func (v *viewsAge) current() (ports.Freshness, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asked.IsZero() || time.Since(v.asked) >= unreadEvery {
		ctx, cancel := context.WithTimeout(context.Background(), unreadTimeout)
		defer cancel()
		v.known, v.err = v.freshness(ctx, "")
		v.asked = time.Now()
	}
	return v.known, v.err
}
