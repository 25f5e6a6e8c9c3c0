// Package prometheus shows Prometheus what the service does. It is handed what it watches, as functions and as ports
// that it wraps, so nobody who is watched knows of it. docs/operate.md says what each metric means.
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

// Metrics are those of one process.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger
	requests *prometheus.HistogramVec
	saves    *prometheus.CounterVec
	commits  prometheus.Histogram
}

// New makes the metrics that every process has. nil means slog.Default().
func New(log *slog.Logger) *Metrics {
	if log == nil {
		log = slog.Default()
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		log:      log,
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hexorders_http_request_duration_seconds",
			Help:    "Time from a request's header to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "status"}),
		saves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hexorders_saves_total",
			Help: "Saves of an order, by what became of them.",
		}, []string{"result"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "hexorders_commit_saves",
			Help:    "Saves that were committed together, in one transaction of MongoDB.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(), m.requests, m.saves, m.commits,
	)
	return m
}

// Handler answers a scrape. Part of the metrics is better than none, so what cannot be read is logged and left out.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// Requests is asked once for each route, and the function that it returns is called after each request. The labels
// must come from a bounded set: a route's pattern, never a path.
func (m *Metrics) Requests(method, route string) func(status int, took time.Duration) {
	ofRoute := m.requests.MustCurryWith(prometheus.Labels{"method": method, "route": route})
	var byStatus [600]atomic.Pointer[prometheus.Observer] // looked up once each; 0 is for what is no status
	return func(status int, took time.Duration) {
		if status < 100 || status >= len(byStatus) {
			status = 0
		}
		known := byStatus[status].Load()
		if known == nil {
			label := "invalid"
			if status > 0 {
				label = strconv.Itoa(status)
			}
			observer := ofRoute.WithLabelValues(label)
			known = &observer
			byStatus[status].Store(known)
		}
		(*known).Observe(took.Seconds())
	}
}

// Committed is told how many saves were committed together.
func (m *Metrics) Committed(saves int) { m.commits.Observe(float64(saves)) }

// Orders counts the saves of a store.
func (m *Metrics) Orders(store ports.OrderStore) ports.OrderStore {
	return &orders{
		OrderStore:  store,
		committed:   m.saves.WithLabelValues("committed"),
		conflict:    m.saves.WithLabelValues("conflict"),
		repeated:    m.saves.WithLabelValues("repeated"),
		unavailable: m.saves.WithLabelValues("unavailable"),
		interrupted: m.saves.WithLabelValues("interrupted"),
		failed:      m.saves.WithLabelValues("failed"),
	}
}

type orders struct {
	ports.OrderStore
	committed, conflict, repeated, unavailable, interrupted, failed prometheus.Counter
}

func (s *orders) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	err := s.OrderStore.Save(ctx, o, key)
	switch {
	case err == nil:
		s.committed.Inc()
	case errors.Is(err, ports.ErrConflict):
		s.conflict.Inc()
	case errors.Is(err, ports.ErrDuplicateRequest):
		s.repeated.Inc()
	case errors.Is(err, ports.ErrUnavailable):
		s.unavailable.Inc()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded): // the client left, or its time was up
		s.interrupted.Inc()
	default:
		s.failed.Inc()
	}
	return err
}
