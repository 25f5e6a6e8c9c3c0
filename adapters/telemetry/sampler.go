package telemetry

import (
	lru "github.com/hashicorp/golang-lru/v2"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"hexorders/ports"
)

// With an endpoint, OTEL_TRACES_SAMPLER says which traces are recorded. Without one only the console of this process shows
// them: few records some commands, so that what is seldom looked at costs nothing.
type few struct{ traces *rate.Limiter }

const (
	tracesASecond = 10
	tracesAtOnce  = 20
)

func newFew() *few { return &few{rate.NewLimiter(tracesASecond, tracesAtOnce)} }

func (f *few) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	record := false
	switch {
	case parent.IsValid() && !parent.IsRemote():
		record = parent.IsSampled()
	case p.Name != "GET" && p.Name != "HEAD":
		record = f.traces.Allow()
	}
	result := sdk.SamplingResult{Decision: sdk.Drop, Tracestate: parent.TraceState()}
	if record {
		result.Decision = sdk.RecordAndSample
	}
	return result
}

func (f *few) Description() string { return "some commands, for the console" }

// carrier takes a trace from one role to the next: in the messages, or, when only the console shows it, beside them, by their
// ids. Others read the messages, and must find no trace there that they cannot see.
type carrier struct {
	beside *lru.Cache[string, trace.SpanContext] // nil: in the messages
}

const carriedBeside = 4096 // messages

func newCarrier(inMessages bool) carrier {
	if inMessages {
		return carrier{}
	}
	beside, _ := lru.New[string, trace.SpanContext](carriedBeside) // fails only for a size below 1
	return carrier{beside}
}

// give lets a message carry a span on.
func (c carrier) give(m *ports.Message, span trace.Span) {
	if c.beside == nil {
		m.TraceParent = traceParent(span)
	} else {
		c.beside.Add(m.ID, span.SpanContext())
	}
}

// cause is the span that a message carries.
func (c carrier) cause(m ports.Message) trace.SpanContext {
	if c.beside == nil {
		return parse(m.TraceParent)
	}
	cause, _ := c.beside.Get(m.ID) // not valid when there is none
	return cause
}
