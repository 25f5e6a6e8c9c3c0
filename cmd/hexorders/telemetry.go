package main

import (
	"context"
	"runtime/debug"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"

	"hexorders/adapters/console"
	"hexorders/adapters/telemetry"
)

// openTelemetry starts the traces, when there is an endpoint or a console to show them.
func (s *Service) openTelemetry(ctx context.Context) (err error) {
	o := telemetry.Options{Version: version(), Logger: s.log}
	if s.spans != nil {
		o.Spans = func(span telemetry.Span) { s.spans.Add(console.Span(span)) }
	}
	s.telemetry, err = telemetry.Start(ctx, o)
	return err
}

func closeTelemetry(t *telemetry.Telemetry) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	t.Close(ctx)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

// watch is what the program sees of a store's transactions and commands. The zero value sees nothing.
type watch struct {
	around   func(ctx context.Context, saves []context.Context, commit func(context.Context) error) error // a transaction of saves
	ended    func(callers []context.Context, began time.Time, err error)                                  // after any transaction
	commands *event.CommandMonitor
}

// watch counts the saves of transactions and makes spans of these.
func (s *Service) watch() watch {
	w := watch{commands: s.telemetry.Commands()}
	w.around = func(ctx context.Context, saves []context.Context, commit func(context.Context) error) error {
		err := telemetry.Batch(ctx, "transaction", saves, commit)
		if err == nil {
			s.metrics.Committed(len(saves))
		}
		return err
	}
	if s.telemetry != nil {
		w.ended = func(callers []context.Context, began time.Time, err error) {
			telemetry.Batched("transaction", callers, began, err)
		}
	}
	return w
}

// topic is how spans call where events go.
func (c *Config) topic() telemetry.Topic {
	if c.Broker.topic != nil {
		return telemetry.Topic{System: c.Broker.name, Name: c.Broker.topic(c)}
	}
	return telemetry.Topic{System: c.Broker.name, Name: "topic"}
}
