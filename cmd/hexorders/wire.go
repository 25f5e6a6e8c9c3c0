package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/httpapi"
	"hexorders/adapters/inproc"
	"hexorders/adapters/kafka"
	"hexorders/adapters/memory"
	"hexorders/adapters/mongodb"
	"hexorders/adapters/prometheus"
	"hexorders/adapters/sqlite"
	"hexorders/app"
	"hexorders/app/relay"
	"hexorders/ports"
)

// This page is the hexagon's outside put together: which adapter stands behind which port. Nothing else in the program
// knows. To swap an adapter, add a case.

// storage is what one store brings.
type storage struct {
	orders      ports.OrderStore
	idempotency ports.IdempotencyStore // nil: commands with an Idempotency-Key are refused
	history     ports.History          // nil: nobody is told what has happened to an order
	outbox      ports.Outbox
	backlog     ports.Backlog // nil: nobody is told how far the relay is behind
	parking     ports.Parking
	lease       ports.Lease
	topic       ports.Topic // for the in-process broker
	views       viewStore
	ready       func(context.Context) error // nil when it can be reached
	close       func(context.Context) error
}

// viewStore is what a store brings for the views: as they are written, read and built anew.
type viewStore interface {
	ports.Inbox
	ports.OrderViews
	ports.Generations
}

// openStorage connects a store, which calls committed after each transaction with the number of saves in it, if it can.
func openStorage(ctx context.Context, c *Config, log *slog.Logger, committed func(saves int)) (*storage, error) {
	switch c.Store {
	case "sqlite":
		db, err := sqlite.Open(ctx, c.SQLite.Path)
		if err != nil {
			return nil, fmt.Errorf("%w (HEXORDERS_SQLITE_PATH)", err)
		}
		store, outbox := sqlite.NewStore(db), sqlite.NewOutbox(db)
		return &storage{
			orders: store, idempotency: store, history: store, outbox: outbox, backlog: outbox, parking: sqlite.NewParking(db),
			lease: sqlite.NewLease(db, "relay"), topic: sqlite.NewTopic(db), views: sqlite.NewViews(db),
			ready: db.Ping,
			close: func(context.Context) error { return db.Close() },
		}, nil
	case "memory":
		store := memory.NewStore()
		outbox := memory.NewOutbox(store)
		return &storage{
			orders: store, idempotency: store, history: store, outbox: outbox, backlog: outbox, parking: memory.NewParking(),
			lease: memory.NewLease(), topic: memory.NewTopic(), views: memory.NewViews(),
			ready: func(context.Context) error { return nil },
			close: func(context.Context) error { return nil },
		}, nil
	case "mongodb", "mongodb-events":
		db, err := mongodb.Connect(ctx, c.MongoDB.URI, c.MongoDB.Database)
		if err != nil {
			return nil, err
		}
		maxBatch, _ := strconv.Atoi(c.MongoDB.MaxBatch) // check has seen that it is a number
		options, outboxOptions := mongodb.Options{MaxBatch: maxBatch, Committed: committed}, mongodb.OutboxOptions{Logger: log}
		s := &storage{
			parking: mongodb.NewParking(db),
			lease:   mongodb.NewLease(db, "relay"),
			topic:   mongodb.NewTopic(db),
			views:   mongodb.NewViews(db, mongodb.ViewsOptions{}),
			ready:   func(ctx context.Context) error { return db.Client().Ping(ctx, nil) }, // of the primary
		}
		var closeStore func(context.Context) error
		if c.Store == "mongodb" {
			store, outbox := mongodb.NewStore(db, options), mongodb.NewOutbox(db, outboxOptions)
			s.orders, s.idempotency, s.history, s.outbox, s.backlog, closeStore = store, store, store, outbox, outbox, store.Close
		} else {
			store, log := mongodb.NewEventStore(db, options), mongodb.NewEventLog(db, outboxOptions)
			s.orders, s.idempotency, s.history, s.outbox, s.backlog, closeStore = store, store, store, log, log, store.Close
		}
		s.close = func(ctx context.Context) error { return errors.Join(closeStore(ctx), db.Client().Disconnect(ctx)) }
		return s, nil
	}
	return nil, fmt.Errorf("no store is called %q", c.Store)
}

// unread is what the backlog says. Without one its error leaves the lag out of the metrics.
func (s *storage) unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	if s.backlog == nil {
		return 0, time.Time{}, errors.ErrUnsupported
	}
	return s.backlog.Unread(ctx)
}

// openBroker returns where events go, and a check that says what is wrong with it at the moment.
func openBroker(c *Config, s *storage, log *slog.Logger) (publisher ports.Publisher, check func(context.Context) error, err error) {
	switch c.Broker {
	case "inproc":
		return inproc.NewBroker(s.topic), func(context.Context) error { return nil }, nil
	case "kafka":
		options := kafka.Options{Brokers: c.Kafka.Brokers, Topic: c.Kafka.Topic, Logger: log, FlushTimeout: flushTimeout}
		publisher, err := kafka.NewPublisher(options)
		if err != nil {
			return nil, nil, err
		}
		return publisher, func(ctx context.Context) error {
			if err := kafka.Ping(ctx, options); !errors.Is(err, kafka.ErrNoTopic) { // the publisher creates it
				return err
			}
			return nil
		}, nil
	}
	return nil, nil, fmt.Errorf("no broker is called %q", c.Broker)
}

// openSubscriber returns where events come back from.
func openSubscriber(c *Config, s *storage, log *slog.Logger) (ports.Subscriber, error) {
	switch c.Broker {
	case "inproc":
		return inproc.NewSubscriber(s.topic), nil
	case "kafka":
		return kafka.NewSubscriber(kafka.Options{Brokers: c.Kafka.Brokers, Topic: c.Kafka.Topic, Logger: log})
	}
	return nil, fmt.Errorf("no broker is called %q", c.Broker)
}

func projection(c *Config, s *storage, subscriber ports.Subscriber, view ports.View, log *slog.Logger) app.ProjectionOptions {
	return app.ProjectionOptions{
		View: view, Subscriber: subscriber, Inbox: s.views, Generations: s.views, Decode: eventjson.Event,
		Group: c.group(), Logger: log,
	}
}

// group is what the names of the consumer groups begin with. Its members must have the same topic and the same views,
// because each of them gets a share of the events only.
func (c *Config) group() string {
	name := "hexorders." + c.Kafka.Topic + "."
	if c.Store == "memory" {
		return name + uuid.NewString()
	}
	if c.Store == "sqlite" {
		host, _ := os.Hostname()
		file := fnv.New64a()
		_, _ = fmt.Fprintf(file, "%s:%s", host, absolute(c.SQLite.Path)) // a hash takes everything
		return fmt.Sprintf("%s%x", name, file.Sum64())
	}
	return name + c.MongoDB.Database
}

func newAPI(c *Config, s *storage, ready func(context.Context) error, metrics *prometheus.Metrics, log *slog.Logger) httpapi.Options {
	rate, _ := strconv.ParseFloat(c.HTTP.Rate, 64) // check has seen to these
	burst, _ := strconv.Atoi(c.HTTP.Burst)
	wait, _ := time.ParseDuration(c.Views.Wait)
	return httpapi.Options{
		Orders: app.NewOrders(metrics.Orders(s.orders), app.OrdersOptions{Now: time.Now, NewID: newID, Idempotency: s.idempotency, History: s.history, Decode: eventjson.Event}),
		Views:  app.NewViews(s.views, app.ViewsOptions{Wait: wait}),
		Ready:  ready,
		Logger: log,

		Metrics: metrics.Handler(),
		Observe: metrics.Requests,

		RequireIfMatch: c.HTTP.RequireIfMatch == "true",
		CORSOrigins:    splitList(c.HTTP.CORS.Origins),
		Rate:           rate,
		Burst:          burst,
	}
}

func newRelay(c *Config, s *storage, publisher ports.Publisher, log *slog.Logger) *relay.Relay {
	trimmer, _ := s.outbox.(ports.Trimmer)                 // without one everything is kept
	retention, _ := time.ParseDuration(c.Outbox.Retention) // check has seen that it is one
	return relay.New(relay.Options{
		Outbox: s.outbox, Publisher: publisher, Parking: s.parking, Lease: s.lease,
		Trimmer: trimmer, Retention: retention, Owner: owner(), DrainTimeout: drainTimeout, Logger: log,
	})
}

// newID makes ids that grow with time, as lists of orders need them.
func newID() string { return uuid.Must(uuid.NewV7()).String() } // fails only without a source of randomness

// owner names this process among all that may ever hold the lease; host and process are for whoever reads it.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), uuid.NewString()[:8])
}
