package telemetry

import (
	"context"
	"net"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/event"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Commands makes a span of every MongoDB command that belongs to a recorded trace. It takes the names of command and
// collection, and no values. nil watches nothing.
func (t *Telemetry) Commands() *event.CommandMonitor {
	if t == nil {
		return nil
	}
	var running sync.Map // spans, by the driver's number of the request
	finish := func(request int64, err error) {
		if span, ok := running.LoadAndDelete(request); ok {
			end(span.(trace.Span), err)
		}
	}
	return &event.CommandMonitor{
		Started: func(ctx context.Context, e *event.CommandStartedEvent) {
			if !trace.SpanFromContext(ctx).IsRecording() {
				return
			}
			name := e.CommandName
			collection, ok := e.Command.Lookup(name).StringValueOK()
			if !ok {
				collection, ok = e.Command.Lookup("collection").StringValueOK() // of getMore
			}
			if ok {
				name += " " + collection
			}
			_, span := child(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
			address, _, _ := strings.Cut(e.ConnectionID, "[") // "127.0.0.1:27017[-5]"
			host, _, _ := net.SplitHostPort(address)
			span.SetAttributes(semconv.DBSystemNameMongoDB, semconv.DBNamespace(e.DatabaseName),
				semconv.DBOperationName(e.CommandName), semconv.DBCollectionName(collection), semconv.ServerAddress(host))
			running.Store(e.RequestID, span)
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { finish(e.RequestID, nil) },
		Failed:    func(_ context.Context, e *event.CommandFailedEvent) { finish(e.RequestID, e.Failure) },
	}
}
