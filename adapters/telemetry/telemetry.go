// Package telemetry makes traces: one from a request through the outbox, the relay and the broker to the views. Spans go to
// a receiver of OTLP over HTTP and to the console. It is the only package that knows OpenTelemetry.
//
// Read telemetry.go (where spans go), sampler.go (which traces there are), decorators.go (what stands before the ports),
// batch.go (transactions and batches), mongodb.go (commands).
package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Options are what the program around it decides. All else are the standard's variables, OTEL_*.
type Options struct {
	Spans   func(Span) // gets every finished span and must not wait; nil: nothing gets them
	Version string     // of the program
	Logger  *slog.Logger
}

// Span is a finished span.
type Span struct {
	Trace   string
	ID      string
	Parent  string   // "" for the first of a trace
	Links   []string // the ids of spans that a batch has brought together
	Service string
	Name    string
	Start   time.Time
	End     time.Time
	Failed  bool
	Order   string // the id of the order that it is about; "" for none or many
}

// Telemetry makes the spans of one process. nil makes none.
type Telemetry struct {
	log        *slog.Logger
	version    string
	carrier    carrier
	options    []sdk.TracerProviderOption
	processors []sdk.SpanProcessor
	warned     atomic.Int64 // Unix nanoseconds
}

// Tracer makes the spans of one role. nil makes none: what it would stand before then stays as it is.
type Tracer struct {
	trace.Tracer
	carrier
}

// Endpoint is where spans go; "" is nowhere.
func Endpoint() string {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return ""
	}
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
}

// Check says what is wrong with the settings. OpenTelemetry itself would use a default instead, and hardly say so.
func Check() error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		text := os.Getenv(name)
		if at, err := url.Parse(text); text != "" && (err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https") {
			return fmt.Errorf("%s: want a URL such as http://127.0.0.1:4318", name)
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if text := os.Getenv(name); text != "" && text != "http/protobuf" {
			return fmt.Errorf("%s=%s: want http/protobuf, the only one that is built in", name, text)
		}
	}
	name := os.Getenv("OTEL_TRACES_SAMPLER")
	if !slices.Contains(samplers, name) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER=%s: want one of %q", name, samplers[1:])
	}
	text := os.Getenv("OTEL_TRACES_SAMPLER_ARG")
	if share, err := strconv.ParseFloat(text, 64); text != "" && (err != nil || share < 0 || share > 1) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG=%s: want a number from 0 to 1", text)
	}
	return nil
}

var samplers = []string{
	"", "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
}

// Ping sends the receiver a request without spans.
func Ping(ctx context.Context) error {
	client := otlptracehttp.NewClient(otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))
	if err := client.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = client.Stop(ctx) }() // it has nothing left to send
	return client.UploadTraces(ctx, nil)
}

// Start begins to make spans when there is an endpoint or o.Spans; else it returns nil. A receiver that does not answer is no
// error: its spans are lost, with a warning a minute, and nothing waits for it.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{log: cmp.Or(o.Logger, slog.Default()), version: o.Version}
	if Endpoint() != "" {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(t.lost))
		exporter, err := otlptrace.New(ctx, otlptracehttp.NewClient())
		if err != nil {
			return nil, err
		}
		t.processors = append(t.processors, sdk.NewBatchSpanProcessor(exporter))
	}
	if o.Spans != nil {
		if len(t.processors) == 0 {
			t.options, t.carrier = append(t.options, sdk.WithSampler(newFew())), newCarrier(false)
		}
		t.processors = append(t.processors, &handOver{o.Spans})
	}
	if len(t.processors) == 0 {
		return nil, nil
	}
	return t, nil
}

// Role is the tracer of a role, which spans name as a service of its own.
func (t *Telemetry) Role(role string) *Tracer {
	if t == nil {
		return nil
	}
	// An error is about a wrong OTEL_RESOURCE_ATTRIBUTES; what could be read is used.
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithFromEnv(), resource.WithAttributes(
		semconv.ServiceName(cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), "hexorders")+"-"+role), semconv.ServiceVersion(t.version)))
	if err != nil {
		t.log.Warn("what OTEL_RESOURCE_ATTRIBUTES says is not all used", "err", err)
	}
	options := append(slices.Clone(t.options), sdk.WithResource(about))
	for _, p := range t.processors {
		options = append(options, sdk.WithSpanProcessor(p))
	}
	return &Tracer{sdk.NewTracerProvider(options...).Tracer(scope), t.carrier}
}

const scope = "hexorders"

// Close sends the spans that are left, until ctx ends.
func (t *Telemetry) Close(ctx context.Context) {
	if t == nil {
		return
	}
	for _, p := range t.processors {
		if err := p.Shutdown(ctx); err != nil {
			t.lost(err)
		}
	}
}

// lost warns, at most once a minute.
func (t *Telemetry) lost(err error) {
	now, last := time.Now().UnixNano(), t.warned.Load()
	if now-last > int64(time.Minute) && t.warned.CompareAndSwap(last, now) {
		t.log.Warn("spans are lost: their receiver does not take them", "endpoint", Endpoint(), "err", err)
	}
}

// handOver passes finished spans on.
type handOver struct{ to func(Span) }

func (*handOver) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (*handOver) Shutdown(context.Context) error             { return nil }
func (*handOver) ForceFlush(context.Context) error           { return nil }

func (h *handOver) OnEnd(s sdk.ReadOnlySpan) {
	span := Span{
		Trace: s.SpanContext().TraceID().String(), ID: s.SpanContext().SpanID().String(), Name: s.Name(),
		Start: s.StartTime(), End: s.EndTime(), Failed: s.Status().Code == codes.Error,
	}
	if s.Parent().IsValid() {
		span.Parent = s.Parent().SpanID().String()
	}
	for _, link := range s.Links() {
		span.Links = append(span.Links, link.SpanContext.SpanID().String())
	}
	for _, a := range s.Attributes() {
		if a.Key == orderID {
			span.Order = a.Value.AsString()
		}
	}
	if name, ok := s.Resource().Set().Value(semconv.ServiceNameKey); ok {
		span.Service = name.AsString()
	}
	h.to(span)
}

const orderID attribute.Key = "hexorders.order.id"
