// Package prometheus exports the service's metrics. cmd passes it the functions and ports that it observes, so the
// observed packages do not depend on it. docs/operate.md explains each metric.
//
// Read prometheus.go (requests and saves), relay.go, then views.go.
package prometheus

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hexorders/core/order"
	"hexorders/ports"
)

// Metrics are the metrics of one process.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger
	requests *prometheus.HistogramVec
	shed     *prometheus.CounterVec
	saves    *prometheus.CounterVec
	commits  prometheus.Histogram
}

// New makes the metrics that every process has. A nil log means slog.Default().
func New(log *slog.Logger) *Metrics {
	if log == nil {
		log = slog.Default()
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		log:      log,
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hexorders_http_request_duration_seconds",
			Help:    "Time from receiving a request's header to the end of its response.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "status"}),
		shed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hexorders_http_shed_total",
			Help: "Requests that were refused for overload, by the code of their problem.",
		}, []string{"code"}),
		saves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hexorders_saves_total",
			Help: "Saves of an order, by result.",
		}, []string{"result"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "hexorders_commit_saves",
			Help:    "Saves committed together in one MongoDB transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
	}
	for _, code := range []string{"overloaded", "too-many-connections"} {
		m.shed.WithLabelValues(code) // 0 from the start: a counter that is born at 1 does not seem to have grown
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(), m.requests, m.shed, m.saves, m.commits,
	)
	return m
}

// Handler answers a scrape. A metric that cannot be read is logged and left out; the others are still served.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// WatchReady adds whether the process is ready. ready is what /readyz asks, and is called during a scrape.
func (m *Metrics) WatchReady(ready func(context.Context) error) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hexorders_ready",
		Help: "1 when /readyz answers 200, 0 when it answers 503.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), unreadTimeout)
		defer cancel()
		if ready(ctx) != nil {
			return 0
		}
		return 1
	}))
}

// Requests is called once for each route. The function that it returns is called after each request. Label values must
// come from a bounded set: a route's pattern, never a path.
func (m *Metrics) Requests(method, route string) func(status int, took time.Duration) {
	ofRoute := m.requests.MustCurryWith(prometheus.Labels{"method": method, "route": route})
	var byStatus [600]atomic.Pointer[prometheus.Observer] // each is looked up once; 0 is for an invalid status
	return func(status int, took time.Duration) {
		if status < 100 || status >= len(byStatus) {
			status = 0
		}
		cached := byStatus[status].Load()
		if cached == nil {
			label := "invalid"
			if status > 0 {
				label = strconv.Itoa(status)
			}
			observer := ofRoute.WithLabelValues(label)
			cached = &observer
			byStatus[status].Store(cached)
		}
		(*cached).Observe(took.Seconds())
	}
}

// Shed counts a request that was refused for overload.
func (m *Metrics) Shed(code string) { m.shed.WithLabelValues(code).Inc() }

// Committed records how many saves were committed together.
func (m *Metrics) Committed(saves int) { m.commits.Observe(float64(saves)) }

// Orders wraps a store and counts its saves.
func (m *Metrics) Orders(store ports.OrderStore) ports.OrderStore {
	return &orders{
		OrderStore:  store,
		committed:   m.saves.WithLabelValues("committed"),
		conflict:    m.saves.WithLabelValues("conflict"),
		duplicate:   m.saves.WithLabelValues("duplicate"),
		unavailable: m.saves.WithLabelValues("unavailable"),
		interrupted: m.saves.WithLabelValues("interrupted"),
		failed:      m.saves.WithLabelValues("failed"),
	}
}

type orders struct {
	ports.OrderStore
	committed, conflict, duplicate, unavailable, interrupted, failed prometheus.Counter
}

func (s *orders) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	err := s.OrderStore.Save(ctx, o, key)
	switch {
	case err == nil:
		s.committed.Inc()
	case errors.Is(err, ports.ErrConflict):
		s.conflict.Inc()
	case errors.Is(err, ports.ErrDuplicateRequest):
		s.duplicate.Inc()
	case errors.Is(err, ports.ErrUnavailable):
		s.unavailable.Inc()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded): // the client disconnected, or the request timed out
		s.interrupted.Inc()
	default:
		s.failed.Inc()
	}
	return err
}
