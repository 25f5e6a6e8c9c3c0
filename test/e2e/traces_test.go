package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/test/otlp"
)

// One trace goes from the request through three processes, MongoDB and Kafka to the read model, and a message that is
// published twice stays in it.
func TestATraceGoesFromTheRequestToTheReadModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	var receiver otlp.Receiver
	server := httptest.NewServer(&receiver)
	t.Cleanup(server.Close)
	w.env["OTEL_EXPORTER_OTLP_ENDPOINT"], w.env["OTEL_BSP_SCHEDULE_DELAY"] = server.URL, "50"
	api := w.serve("api", "--roles", "api")
	relay := w.serveAt("relay", w.newAddr(), "--roles", "relay")
	w.serveAt("views", w.newAddr(), "--roles", "views")

	a, err := w.client().do(t.Context(), http.MethodPost, "/orders", `{"buyerId":"ada","items":[{"productId":"1111","amount":3}]}`)
	if err != nil || a.status != http.StatusCreated {
		t.Fatalf("POST /orders: answer %s, error %v", a, err)
	}
	o, err := a.order()
	if err != nil {
		t.Fatal(err)
	}
	var trace []otlp.Span
	processed := func(times int) func() bool {
		return func() bool {
			trace = traceOf(receiver.Spans(), o.ID)
			// Each process sends its spans by itself, in no order. These are the last ones of each.
			return count(trace, "POST /orders") == 1 && count(trace, "send ") == times && count(trace, "process ") == times
		}
	}
	eventually(t, patience, "the order's trace ends in the read model", processed(1))
	topic := w.source.Topic
	for _, want := range []string{
		"hexorders-api POST /orders < nothing", "hexorders-api Orders.Create < POST /orders",
		"hexorders-api OrderStore.Save < Orders.Create", "hexorders-api transaction < OrderStore.Save",
		"hexorders-api insert orders < transaction", "hexorders-api insert outbox < transaction",
		"hexorders-api commitTransaction < transaction",
		"hexorders-relay send " + topic + " < OrderStore.Save",
		"hexorders-views process " + topic + " < send " + topic,
		"hexorders-views update views < process " + topic, "hexorders-views commitTransaction < update views",
	} {
		if all := tree(trace); !slices.Contains(all, want) {
			t.Errorf("no span %q is in the trace\n%s", want, strings.Join(all, "\n"))
		}
	}
	for _, s := range receiver.Spans() {
		for name, value := range s.Attributes {
			if strings.Contains(value, "ada") || strings.Contains(value, "1111") {
				t.Errorf("%s has the attribute %s=%s: a value of the order", s.Name, name, value)
			}
		}
	}
	if line := accessLine(t, api); line["trace"] != trace[0].Trace || line["span"] != spanOf(trace, "POST /orders").ID {
		t.Errorf("the log says trace %v and span %v, want those of the request", line["trace"], line["span"])
	}

	// Without its checkpoint the relay begins at the first message, as after a crash.
	if code := relay.stop(); code != 0 {
		t.Fatalf("exit code of the relay is %d", code)
	}
	if _, err := w.mongo.Database(w.source.Database).Collection("relay").DeleteMany(t.Context(), bson.D{}); err != nil {
		t.Fatal(err)
	}
	w.serveAt("relay again", w.newAddr(), "--roles", "relay")
	eventually(t, patience, "the message that came again is in the same trace", processed(2))
	for _, s := range receiver.Spans() {
		if s.Trace != trace[0].Trace && (s.Service != "hexorders-api" || !strings.HasPrefix(s.Name, "GET ")) {
			t.Errorf("%s %s is in another trace, %s", s.Service, s.Name, s.Trace)
		}
	}
}

// traceOf are the spans of the trace in which the order was created.
func traceOf(spans []otlp.Span, order string) []otlp.Span {
	created := slices.IndexFunc(spans, func(s otlp.Span) bool {
		return s.Name == "Orders.Create" && s.Attributes["hexorders.order.id"] == order
	})
	if created < 0 {
		return nil
	}
	trace := spans[created].Trace
	return slices.DeleteFunc(spans, func(s otlp.Span) bool { return s.Trace != trace })
}

func count(spans []otlp.Span, prefix string) (n int) {
	for _, s := range spans {
		if strings.HasPrefix(s.Name, prefix) {
			n++
		}
	}
	return n
}

func spanOf(spans []otlp.Span, name string) otlp.Span {
	return spans[slices.IndexFunc(spans, func(s otlp.Span) bool { return s.Name == name })]
}

// tree are spans as "service name < name of the parent".
func tree(spans []otlp.Span) (all []string) {
	names := map[string]string{"": "nothing"}
	for _, s := range spans {
		names[s.ID] = s.Name
	}
	for _, s := range spans {
		all = append(all, fmt.Sprintf("%s %s < %s", s.Service, s.Name, names[s.Parent]))
	}
	return all
}

// accessLine is the line of the log about POST /orders.
func accessLine(t *testing.T, p *process) (line map[string]any) {
	t.Helper()
	for text := range strings.Lines(p.output.String()) {
		if err := json.Unmarshal([]byte(text), &line); err == nil && line["msg"] == "request" && line["method"] == http.MethodPost {
			return line
		}
		clear(line)
	}
	t.Fatal("the log has no line about POST /orders")
	return nil
}
