package prometheus

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hexorders/ports"
)

// Relay observes a relay. Both functions are called during a scrape only.
type Relay struct {
	Status func() ports.RelayStatus
	// Unread estimates how many committed messages the outbox has not given to the relay yet, and when the oldest of
	// them occurred; the zero time when there is none.
	Unread func(context.Context) (messages int, oldest time.Time, err error)
}

// Watch adds a relay's metrics to those of the process.
func (m *Metrics) Watch(r Relay) { m.registry.MustRegister(&relay{Relay: r}) }

const (
	unreadEvery   = 5 * time.Second // the shortest interval between two calls of Unread, even with more frequent scrapes
	unreadTimeout = 2 * time.Second // well below the 10 s after which Prometheus cancels a scrape
)

// relay is the collector of a relay's metrics. Values that a relay knows only while it holds the lease are left out
// while another process holds it; stale values would stay beside the other's for ever.
type relay struct {
	Relay

	mu       sync.Mutex
	asked    time.Time
	messages int
	oldest   time.Time
	err      error
}

var (
	leaseHeld   = desc("lease_held", "1 when this process holds the lease and publishes, 0 when it stands by.")
	lagMessages = desc("lag_messages", "Committed messages that are neither acknowledged by the broker nor parked; an estimate.")
	lagSeconds  = desc("lag_seconds",
		"Age of the oldest message that is neither acknowledged by the broker nor parked; 0 when there is none.")
	parkedOrders   = desc("parked_orders", "Orders that wait for an operator because the broker refused one of their messages.")
	parkedMessages = desc("parked_messages", "Messages of the parked orders.")
	published      = desc("published_total", "Messages that the broker acknowledged, duplicates included.")
	redelivered    = desc("redelivered_total", "Parked messages that were sent again and acknowledged.")
	publishErrors  = desc("publish_errors_total", "Failed attempts to publish; each is retried.")
	refused        = desc("refused_total", "Attempts to publish that the broker refused permanently.")
)

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("hexorders_relay_"+name, help, nil, nil)
}

func (r *relay) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		leaseHeld, lagMessages, lagSeconds, parkedOrders, parkedMessages, published, redelivered, publishErrors, refused,
	} {
		to <- d
	}
}

func (r *relay) Collect(to chan<- prometheus.Metric) {
	s := r.Status()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64) {
		to <- prometheus.MustNewConstMetric(d, kind, value)
	}
	send(published, prometheus.CounterValue, float64(s.Published))
	send(redelivered, prometheus.CounterValue, float64(s.Redelivered))
	send(publishErrors, prometheus.CounterValue, float64(s.Failed))
	send(refused, prometheus.CounterValue, float64(s.Refused))
	if !s.Leading {
		send(leaseHeld, prometheus.GaugeValue, 0)
		return
	}
	send(leaseHeld, prometheus.GaugeValue, 1)
	send(parkedOrders, prometheus.GaugeValue, float64(s.ParkedOrders))
	send(parkedMessages, prometheus.GaugeValue, float64(s.ParkedMessages))
	messages, oldest, err := r.unread()
	if err != nil {
		return // a lag without the unread messages would be wrong
	}
	if oldest.IsZero() || !s.OldestInFlightAt.IsZero() && s.OldestInFlightAt.Before(oldest) {
		oldest = s.OldestInFlightAt
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, time.Since(oldest).Seconds()) // the clock of the process that saved it may run ahead
	}
	send(lagMessages, prometheus.GaugeValue, float64(s.InFlight+messages))
	send(lagSeconds, prometheus.GaugeValue, age)
}

func (r *relay) unread() (messages int, oldest time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() || time.Since(r.asked) >= unreadEvery {
		ctx, cancel := context.WithTimeout(context.Background(), unreadTimeout)
		defer cancel()
		r.messages, r.oldest, r.err = r.Unread(ctx)
		r.asked = time.Now()
	}
	return r.messages, r.oldest, r.err
}
