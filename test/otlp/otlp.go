// Package otlp is a receiver of traces for tests: OTLP over HTTP, as Jaeger or a collector takes them.
package otlp

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as it came. Ids are in hexadecimal digits.
type Span struct {
	Service, Name     string
	Trace, ID, Parent string
	Links             []Link
	Kind              trace.Span_SpanKind
	Failed            bool
	Attributes        map[string]string // texts and numbers only
}

// Link names a span of any trace.
type Link struct{ Trace, ID string }

// Receiver keeps what it gets. The zero value is ready.
type Receiver struct {
	mu       sync.Mutex
	spans    []Span
	Requests []http.Header // of each request; to be read when nothing is sent any more
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body := request.Body
	var err error
	if request.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	content, err := io.ReadAll(body)
	var export collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(content, &export)
	}
	if err != nil || request.URL.Path != "/v1/traces" {
		http.Error(w, "this takes OTLP at /v1/traces only", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Requests = append(r.Requests, request.Header)
	for _, of := range export.ResourceSpans {
		service := texts(of.GetResource().GetAttributes())["service.name"]
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, read(service, s))
			}
		}
	}
}

// Spans are those that have come.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

func read(service string, s *trace.Span) Span {
	span := Span{
		Service: service, Name: s.Name, Kind: s.Kind, Attributes: texts(s.Attributes),
		Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		Failed: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
	}
	for _, link := range s.Links {
		span.Links = append(span.Links, Link{hex.EncodeToString(link.TraceId), hex.EncodeToString(link.SpanId)})
	}
	return span
}

func texts(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		switch value := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			all[a.Key] = value.StringValue
		case *common.AnyValue_IntValue:
			all[a.Key] = strconv.FormatInt(value.IntValue, 10)
		}
	}
	return all
}
