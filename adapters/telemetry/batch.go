package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Batch calls do in a span that is linked to the spans of all that do works for. It is a child of the first of them, whose
// trace so shows what a batch consists of. Without a recorded one there is no span.
func Batch(ctx context.Context, name string, callers []context.Context, do func(context.Context) error) error {
	return (*Tracer)(nil).batch(ctx, name, callers, do)
}

// Batched makes the span of a batch that has ended.
func Batched(name string, callers []context.Context, began time.Time, err error) {
	_, span := (*Tracer)(nil).startBatch(context.Background(), name, callers, trace.WithTimestamp(began))
	end(span, err)
}

func (t *Tracer) batch(ctx context.Context, name string, callers []context.Context, do func(context.Context) error) error {
	ctx, span := t.startBatch(ctx, name, callers)
	err := do(ctx)
	end(span, err)
	return err
}

// startBatch begins a trace, with a tracer, when the links lead to other processes only.
func (t *Tracer) startBatch(
	ctx context.Context, name string, callers []context.Context, options ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	var first trace.Span
	var links []trace.Link
	for _, caller := range callers {
		span := trace.SpanFromContext(caller)
		if first == nil && span.IsRecording() {
			first = span
		}
		if span.SpanContext().IsSampled() {
			links = append(links, trace.Link{SpanContext: span.SpanContext()})
		}
	}
	options = append(options, trace.WithLinks(links...))
	switch {
	case first != nil:
		return child(trace.ContextWithSpan(ctx, first), name, options...)
	case t != nil && len(links) > 0:
		return t.Start(ctx, name, options...)
	}
	return ctx, trace.SpanFromContext(context.Background()) // which does nothing
}

// child starts a span below the one in ctx, of the same role.
func child(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(scope).Start(ctx, name, options...)
}

func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
