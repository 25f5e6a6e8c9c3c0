package telemetry

import (
	"context"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"hexorders/core/order"
	"hexorders/ports"
)

// A decorator stands before a port and makes a span of each call that belongs to a recorded trace. The ports do not know
// (ADR 6). Without a tracer a decorator is the port itself.

// Requests makes a span of each request, the first of its trace or the child of the client's. The handler has to put the
// route into Request.Pattern. What is asked by machines and by the console makes none.
func Requests(next http.Handler, t *Tracer) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first, _, _ := strings.Cut(r.URL.Path[min(1, len(r.URL.Path)):], "/"); slices.Contains(unwatched, first) {
			next.ServeHTTP(w, r)
			return
		}
		ctx := r.Context()
		if sent := r.Header["Traceparent"]; len(sent) == 1 {
			ctx = trace.ContextWithSpanContext(ctx, parse(sent[0]))
		}
		method := semconv.HTTPRequestMethodKey.String(r.Method)
		name := r.Method
		if !slices.Contains(methods, r.Method) { // a client could invent any number of them
			name, method = "HTTP", semconv.HTTPRequestMethodOther
		}
		ctx, span := t.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
		if !span.IsRecording() {
			next.ServeHTTP(w, r)
			return
		}
		defer span.End()
		answer := &recorder{w, http.StatusOK}
		r = r.WithContext(ctx)
		if t.beside == nil {
			r.Header = maps.Clone(r.Header)
			r.Header["Traceparent"] = []string{traceParent(span)} // from here on the trace goes the way of a client's
		}
		next.ServeHTTP(answer, r)
		span.SetAttributes(method, semconv.URLScheme("http"), semconv.URLPath(r.URL.Path), semconv.HTTPResponseStatusCode(answer.status))
		if r.Pattern != "" {
			route := template(r.Pattern)
			span.SetName(name + " " + route)
			span.SetAttributes(semconv.HTTPRoute(route))
		}
		if answer.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(answer.status))
		}
	})
}

var (
	unwatched = []string{"livez", "readyz", "metrics", "console", "docs", "openapi.yaml"}
	methods   = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
)

// template writes Gin's /orders/:id as /orders/{id}.
func template(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Orders makes a span of each command. A query is a request and what it reads.
func Orders(next ports.Orders, t *Tracer) ports.Orders {
	if t == nil {
		return next
	}
	return &orders{next}
}

type orders struct{ ports.Orders }

func (d *orders) Create(
	ctx context.Context, buyer string, items []order.Item, key ports.IdempotencyKey,
) (*order.Order, error) {
	return command(ctx, "Create", func(ctx context.Context) (*order.Order, error) { return d.Orders.Create(ctx, buyer, items, key) })
}

func (d *orders) AddItem(ctx context.Context, at ports.Target, product string, amount int) (*order.Order, error) {
	return command(ctx, "AddItem", func(ctx context.Context) (*order.Order, error) { return d.Orders.AddItem(ctx, at, product, amount) })
}

func (d *orders) ChangeAmount(ctx context.Context, at ports.Target, product string, amount int) (*order.Order, error) {
	return command(ctx, "ChangeAmount", func(ctx context.Context) (*order.Order, error) {
		return d.Orders.ChangeAmount(ctx, at, product, amount)
	})
}

func (d *orders) RemoveItem(ctx context.Context, at ports.Target, product string) (*order.Order, error) {
	return command(ctx, "RemoveItem", func(ctx context.Context) (*order.Order, error) { return d.Orders.RemoveItem(ctx, at, product) })
}

func (d *orders) Submit(ctx context.Context, at ports.Target) (*order.Order, error) {
	return command(ctx, "Submit", func(ctx context.Context) (*order.Order, error) { return d.Orders.Submit(ctx, at) })
}

func (d *orders) Pay(ctx context.Context, at ports.Target) (*order.Order, error) {
	return command(ctx, "Pay", func(ctx context.Context) (*order.Order, error) { return d.Orders.Pay(ctx, at) })
}

func (d *orders) Cancel(ctx context.Context, at ports.Target, by order.CancelledBy, reason string) (*order.Order, error) {
	return command(ctx, "Cancel", func(ctx context.Context) (*order.Order, error) { return d.Orders.Cancel(ctx, at, by, reason) })
}

func command(ctx context.Context, name string, call func(context.Context) (*order.Order, error)) (*order.Order, error) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return call(ctx)
	}
	ctx, span := child(ctx, "Orders."+name)
	o, err := call(ctx)
	if err == nil {
		span.SetAttributes(orderID.String(o.ID()))
	}
	end(span, err)
	return o, err
}

// OrderStore makes a span of each save, until it is committed. The save's messages carry it to the relay.
func OrderStore(next ports.OrderStore, system string, t *Tracer) ports.OrderStore {
	if t == nil {
		return next
	}
	return &orderStore{next, semconv.DBSystemNameKey.String(system), t}
}

type orderStore struct {
	ports.OrderStore
	system attribute.KeyValue
	tracer *Tracer
}

func (d *orderStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return d.OrderStore.Save(ctx, o, key)
	}
	ctx, span := child(ctx, "OrderStore.Save")
	span.SetAttributes(d.system, orderID.String(o.ID()))
	var carried ports.Message
	for i := range o.Changes() {
		carried.ID = o.ID() + "/" + strconv.Itoa(o.Version()-i)
		d.tracer.give(&carried, span)
	}
	if carried.TraceParent != "" {
		ctx = ports.WithTraceParent(ctx, carried.TraceParent)
	}
	err := d.OrderStore.Save(ctx, o, key)
	end(span, err)
	return err
}

// Topic is where messages go, as spans call it.
type Topic struct{ System, Name string }

func (at Topic) attributes(name string, operation attribute.KeyValue, m ports.Message) trace.SpanStartEventOption {
	return trace.WithAttributes(semconv.MessagingSystemKey.String(at.System), semconv.MessagingDestinationName(at.Name),
		operation, semconv.MessagingOperationName(name), semconv.MessagingMessageID(m.ID), orderID.String(m.OrderID))
}

// Publisher makes a span of each message, until the broker has answered: a child of the save's. The message carries it on.
func Publisher(next ports.Publisher, at Topic, t *Tracer) ports.Publisher {
	if t == nil {
		return next
	}
	return &publisher{next, at, t}
}

type publisher struct {
	ports.Publisher
	at     Topic
	tracer *Tracer
}

func (d *publisher) Publish(ctx context.Context, m ports.Message, done func(error)) {
	if cause := d.tracer.cause(m); cause.IsSampled() {
		_, span := d.tracer.Start(trace.ContextWithSpanContext(ctx, cause), "send "+d.at.Name,
			trace.WithSpanKind(trace.SpanKindProducer), d.at.attributes("send", semconv.MessagingOperationTypeSend, m))
		if span.IsRecording() {
			d.tracer.give(&m, span)
			answered := done
			done = func(err error) {
				end(span, err)
				answered(err)
			}
		}
	}
	d.Publisher.Publish(ctx, m, done)
}

// Subscriber makes a span of each message, a child of the publisher's, and one of their batch. A message that is delivered
// again makes another span of the same trace. An old one makes none: its trace ended long ago, and its batch has a link to it.
func Subscriber(next ports.Subscriber, at Topic, t *Tracer) ports.Subscriber {
	if t == nil {
		return next
	}
	return &subscriber{next, at, t}
}

type subscriber struct {
	ports.Subscriber
	at     Topic
	tracer *Tracer
}

// old is the age from which on an event is no part of its trace any more.
const old = time.Hour

func (d *subscriber) Subscribe(
	ctx context.Context, group string, resume ports.Resume, handle func(context.Context, ports.Batch) error,
) error {
	return d.Subscriber.Subscribe(ctx, group, resume, func(ctx context.Context, b ports.Batch) error {
		var causes []context.Context
		var spans []trace.Span
		for _, m := range b.Messages {
			cause := d.tracer.cause(m.Message)
			if !cause.IsSampled() {
				continue
			}
			caused := trace.ContextWithSpanContext(ctx, cause)
			if time.Since(m.OccurredAt) < old {
				var span trace.Span
				caused, span = d.tracer.Start(caused, "process "+d.at.Name, trace.WithSpanKind(trace.SpanKindConsumer),
					d.at.attributes("process", semconv.MessagingOperationTypeProcess, m.Message),
					trace.WithAttributes(semconv.MessagingConsumerGroupName(group)))
				spans = append(spans, span)
			}
			causes = append(causes, caused)
		}
		err := d.tracer.batch(ctx, "update views", causes, func(ctx context.Context) error { return handle(ctx, b) })
		for _, span := range spans {
			end(span, err)
		}
		return err
	})
}

// parse reads a traceparent (W3C Trace Context, 3.2). What is not well-formed is not valid and not sampled.
func parse(text string) trace.SpanContext {
	var c trace.SpanContextConfig
	var flags [1]byte
	if len(text) < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' || text[:2] == "ff" || text[:2] == "00" && len(text) > 55 {
		return trace.SpanContext{}
	}
	for _, field := range []struct {
		to   []byte
		from string
	}{{c.TraceID[:], text[3:35]}, {c.SpanID[:], text[36:52]}, {flags[:], text[53:55]}} {
		if _, err := hex.Decode(field.to, []byte(field.from)); err != nil {
			return trace.SpanContext{}
		}
	}
	c.TraceFlags, c.Remote = trace.TraceFlags(flags[0]), true
	return trace.NewSpanContext(c)
}

func traceParent(span trace.Span) string {
	c := span.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}
