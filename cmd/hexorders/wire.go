package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"

	"hexorders/adapters/console"
	"hexorders/adapters/eventjson"
	"hexorders/adapters/httpapi"
	"hexorders/adapters/prometheus"
	"hexorders/adapters/telemetry"
	"hexorders/app"
	"hexorders/app/readside"
	"hexorders/app/relay"
	"hexorders/ports"
)

// The application put together: its use cases between the HTTP API, a store and a broker. stores.go and brokers.go say
// which adapters there are.

func newAPI(
	c *Config, s *storage, ready func(context.Context) error, hurry func() bool, metrics *prometheus.Metrics,
	feed *console.Feed, tracer *telemetry.Tracer, log *slog.Logger,
) httpapi.Options {
	store := telemetry.OrderStore(console.OrderStore(metrics.Orders(savesOf(s)), feed), c.Store.name, tracer)
	return httpapi.Options{
		Orders: telemetry.Orders(console.Orders(app.NewOrders(store, app.OrdersOptions{
			Now: time.Now, NewID: newID, Decode: eventjson.Event,
			Idempotency: part[ports.IdempotencyStore](s), // nil: commands with an Idempotency-Key are refused
			History:     part[ports.History](s),          // nil: the events of an order cannot be asked for

			MaxCommands: c.HTTP.MaxCommands,
		}), feed), tracer),
		Views:  console.Views(readside.NewQueries(s.views, readside.QueriesOptions{Wait: c.Views.Wait, Hurry: hurry}), feed),
		Ready:  ready,
		Logger: log,

		Metrics: metrics.Handler(),
		Observe: metrics.Requests,
		Shed:    metrics.Shed,
		Crowded: crowded,

		RequireIfMatch: c.HTTP.RequireIfMatch,
		CORSOrigins:    c.HTTP.CORSOrigins,
		Hosts:          c.HTTP.Hosts,
		Rate:           c.HTTP.Rate,
		Burst:          c.HTTP.Burst,
	}
}

func newRelay(c *Config, s *storage, publisher ports.Publisher, feed *console.Feed, log *slog.Logger) *relay.Relay {
	return relay.New(relay.Options{
		Outbox: console.Outbox(s.outbox, feed), Publisher: console.Publisher(publisher, feed),
		Parking: console.Parking(s.parking, feed), Lease: s.lease,
		Trimmer:   part[ports.Trimmer](s), // nil: published messages are kept for ever
		Retention: c.Outbox.Retention, Owner: owner(), DrainTimeout: drainTimeout, Logger: log,
	})
}

func engineOptions(c *Config, s *storage, subscriber ports.Subscriber, log *slog.Logger) readside.Options {
	return readside.Options{Subscriber: subscriber, Store: s.views, Decode: eventjson.Event, Group: c.group(), Logger: log}
}

// group is the name of the consumer group. All members of a group must read the same topic and fill the same read model,
// because each member gets only a share of the events.
func (c *Config) group() string {
	var own string
	switch {
	case c.Store.group != nil:
		own = c.Store.group(c)
	case c.Store.volatile:
		own = uuid.NewString()
	default:
		own = fileID(companionPath(c))
	}
	topic := c.Kafka.Topic // also where the topic is in the store: its groups have always been called so
	if c.Broker.topic != nil {
		topic = c.Broker.topic(c)
	}
	return "hexorders." + topic + "." + own + ".views"
}

// newID makes ids that grow with time, as lists of orders need them.
func newID() string { return uuid.Must(uuid.NewV7()).String() } // fails only without a source of randomness

// owner names this process among all that may ever hold the lease. Host and process id are there for people.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), uuid.NewString()[:8])
}
