package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/test/otlp"
)

const (
	clientsTrace = "0af7651916cd43dd8448eb211c80319c"
	sent         = "00-" + clientsTrace + "-b7ad6b7169203331-01"
)

// receive starts a receiver and sets the variables for it; all others of the standard are unset.
func receive(t *testing.T, variables ...string) *otlp.Receiver {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, value)
			_ = os.Unsetenv(name) // fails for no name that was set
		}
	}
	r := &otlp.Receiver{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	return r
}

func start(t *testing.T, o Options) *Telemetry {
	t.Helper()
	telemetry, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return telemetry
}

// house is the way of an order from its request to a handler of batches.
type house struct {
	api     http.Handler
	store   *memory.Store
	last    string // the traceparent of the last request
	publish func(ports.Message)
	deliver func(...ports.Message)
	close   func()
}

type nobody struct{ ports.Subscriber }

func build(t testing.TB, telemetry *Telemetry) *house {
	api, relay, views := telemetry.Role("api"), telemetry.Role("relay"), telemetry.Role("views")
	n := 0
	store := memory.NewStore()
	orders := Orders(app.NewOrders(OrderStore(store, "memory", api), app.OrdersOptions{
		NewID: func() string { n++; return fmt.Sprintf("o%d", n) },
	}), api)
	topic := memory.NewTopic()
	at := Topic{"kafka", "orders.events"}
	publisher := Publisher(inproc.NewBroker(topic), at, relay)
	h := &house{store: store}
	*h = house{
		store: store,
		api: Requests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := ports.WithTraceParent(r.Context(), r.Header.Get("Traceparent")) // as httpapi does
			h.last = r.Header.Get("Traceparent")
			switch {
			case r.Method == "POST" && r.URL.Path == "/orders":
				r.Pattern = "/orders"
				if _, err := orders.Create(ctx, "ada", []order.Item{{Product: "1", Amount: 1}}, ports.IdempotencyKey{}); err != nil {
					t.Error(err)
				}
				w.WriteHeader(http.StatusCreated)
			case strings.HasSuffix(r.URL.Path, "/pay"):
				r.Pattern = "/orders/:id/pay"
				_, err := orders.Pay(ctx, ports.Target{ID: "unknown"})
				if !errors.Is(err, ports.ErrNotFound) {
					t.Error(err)
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}), api),
		publish: func(m ports.Message) {
			answer := make(chan error, 1)
			publisher.Publish(t.Context(), m, func(err error) { answer <- err })
			if err := <-answer; err != nil {
				t.Error(err)
			}
		},
		deliver: func(m ...ports.Message) {
			b := ports.Batch{}
			for _, m := range m {
				b.Messages = append(b.Messages, ports.Delivery{Message: m})
			}
			s := Subscriber(subscription{b}, at, views)
			_ = s.Subscribe(t.Context(), "group", nil, func(ctx context.Context, _ ports.Batch) error {
				_, span := child(ctx, "insert rows")
				span.End()
				return nil
			})
		},
		close: func() { telemetry.Close(context.WithoutCancel(t.Context())) },
	}
	return h
}

// subscription delivers one batch.
type subscription struct{ batch ports.Batch }

func (s subscription) Subscribe(
	ctx context.Context, _ string, _ ports.Resume, handle func(context.Context, ports.Batch) error,
) error {
	return handle(ctx, s.batch)
}

func (h *house) request(method, path string, header ...string) {
	r := httptest.NewRequest(method, path, nil)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	h.api.ServeHTTP(httptest.NewRecorder(), r)
}

func message(traceParent string, occurred time.Time) ports.Message {
	return ports.Message{
		ID: "o1/1", OrderID: "o1", Version: 1, Type: "OrderCreated", Payload: []byte(`{}`), OccurredAt: occurred, TraceParent: traceParent,
	}
}

// tree writes spans as "service name < name of the parent".
func tree(spans []otlp.Span) (lines []string) {
	names := map[string]string{"": "nothing"}
	for _, s := range spans {
		names[s.ID] = s.Name
	}
	for _, s := range spans {
		parent, known := names[s.Parent]
		if !known {
			parent = "another"
		}
		lines = append(lines, s.Service+" "+s.Name+" < "+parent)
	}
	slices.Sort(lines)
	return lines
}

func wantTree(t *testing.T, r *otlp.Receiver, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := tree(r.Spans()); !slices.Equal(got, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestARequestAndItsCommandAreSpans(t *testing.T) {
	r := receive(t, "OTEL_EXPORTER_OTLP_HEADERS=x-key=secret", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test")
	h := build(t, start(t, Options{}))
	h.request("POST", "/orders")
	h.request("POST", "/orders/unknown/pay", "Traceparent: "+sent)
	h.request("GET", "/livez")
	h.request("MAKE-UP", "/console")
	h.request("MAKE-UP", "/nothing")
	h.close()
	wantTree(t, r,
		"hexorders-api POST /orders < nothing", "hexorders-api Orders.Create < POST /orders",
		"hexorders-api OrderStore.Save < Orders.Create",
		"hexorders-api POST /orders/{id}/pay < another", "hexorders-api Orders.Pay < POST /orders/{id}/pay",
		"hexorders-api HTTP < nothing")
	for _, s := range r.Spans() {
		if strings.HasSuffix(s.Name, "ay") != (s.Trace == clientsTrace) || s.Failed != (s.Trace == clientsTrace) {
			t.Errorf("%s is in the trace %s, failed %v; want the client's trace, and failures, for the payment", s.Name, s.Trace, s.Failed)
		}
		a := s.Attributes
		if s.Name == "POST /orders/{id}/pay" && (a["http.request.method"] != "POST" || a["http.route"] != "/orders/{id}/pay" ||
			a["url.path"] != "/orders/unknown/pay" || a["http.response.status_code"] != "503") {
			t.Errorf("the request's attributes are %v", a)
		}
		if s.Name == "OrderStore.Save" && (s.Attributes["hexorders.order.id"] != "o1" || s.Attributes["db.system.name"] != "memory") {
			t.Errorf("the save's attributes are %v", s.Attributes)
		}
	}
	if len(r.Requests) == 0 || r.Requests[0].Get("X-Key") != "secret" {
		t.Errorf("%d requests came, without the header", len(r.Requests))
	}
}

func TestAMessageCarriesItsTraceToTheViews(t *testing.T) {
	r := receive(t)
	h := build(t, start(t, Options{}))
	h.publish(message(sent, time.Now()))
	h.publish(message("", time.Now()))
	h.publish(message(strings.TrimSuffix(sent, "01")+"00", time.Now())) // the client does not record it
	h.close()
	wantTree(t, r, "hexorders-relay send orders.events < another")
}

func TestABatchHasLinksAndItsMessagesStayInTheirTraces(t *testing.T) {
	r := receive(t)
	h := build(t, start(t, Options{}))
	other := strings.ReplaceAll(sent, "0af7", "1af7")
	h.deliver(message(sent, time.Now()), message(other, time.Now()), message("", time.Now()))
	h.deliver(message(sent, time.Now())) // again
	h.close()
	wantTree(t, r,
		"hexorders-views process orders.events < another", "hexorders-views process orders.events < another",
		"hexorders-views update views < process orders.events", "hexorders-views insert rows < update views",
		"hexorders-views process orders.events < another", "hexorders-views update views < process orders.events",
		"hexorders-views insert rows < update views")
	traces := map[string]int{}
	for _, s := range r.Spans() {
		if s.Name == "process orders.events" {
			traces[s.Trace]++
		}
		if s.Name == "update views" && len(s.Links) == 1 && s.Links[0].ID != s.Parent {
			t.Errorf("the batch of one has the links %v, want its message %s", s.Links, s.Parent)
		}
	}
	if len(traces) != 2 || traces[clientsTrace] != 2 {
		t.Errorf("messages by trace: %v, want 2 in %s and 1 in another", traces, clientsTrace)
	}
}

func TestAnOldEventIsALink(t *testing.T) {
	r := receive(t)
	h := build(t, start(t, Options{}))
	h.deliver(message(sent, time.Now().Add(-2*time.Hour)))
	h.close()
	wantTree(t, r, "hexorders-views update views < nothing", "hexorders-views insert rows < update views")
	for _, s := range r.Spans() {
		if s.Trace == clientsTrace || s.Name == "update views" && (len(s.Links) != 1 || s.Links[0].Trace != clientsTrace) {
			t.Errorf("%s is in the trace %s, with links %v", s.Name, s.Trace, s.Links)
		}
	}
}

func TestTheSamplerIsTheStandards(t *testing.T) {
	r := receive(t, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0", "OTEL_SERVICE_NAME=shop")
	var traced []string
	telemetry := start(t, Options{})
	api := Requests(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		traced = append(traced, r.Header.Get("Traceparent"))
	}), telemetry.Role("api"))
	for _, header := range []string{"", sent, strings.TrimSuffix(sent, "01") + "00"} {
		request := httptest.NewRequest("GET", "/orders", nil)
		request.Header.Set("Traceparent", header)
		api.ServeHTTP(httptest.NewRecorder(), request)
	}
	telemetry.Close(t.Context())
	wantTree(t, r, "shop-api GET < another")
	if traced[0] != "" || !strings.HasPrefix(traced[1], "00-"+clientsTrace) || traced[1] == sent || traced[2] == sent || traced[2] == "" {
		t.Errorf("the handler sees the traces %q", traced)
	}
}

// Only for the console: some commands, no queries. What others read stays as it is.
func TestWithoutAnEndpointTheConsoleGetsSomeTraces(t *testing.T) {
	receive(t, "OTEL_EXPORTER_OTLP_ENDPOINT=")
	var spans []Span
	h := build(t, start(t, Options{Spans: func(s Span) { spans = append(spans, s) }}))
	for range tracesAtOnce {
		h.request("GET", "/orders")
		h.request("POST", "/orders")
		h.request("POST", "/orders", "Traceparent: "+sent)
	}
	roots := map[string]bool{}
	for _, s := range spans {
		if s.Name == "POST /orders" {
			roots[s.ID] = true
		}
		if s.Name == "OrderStore.Save" && (s.Order == "" || s.Service != "hexorders-api" || s.End.Before(s.Start)) {
			t.Errorf("the save is %+v", s)
		}
	}
	if n := len(roots); n < tracesAtOnce || n > tracesAtOnce+tracesASecond || len(spans) != 3*n {
		t.Errorf("%d spans of %d of %d commands are recorded, want 3 of each of about %d", len(spans), n, 2*tracesAtOnce, tracesAtOnce)
	}
	history, err := h.store.Messages(t.Context(), "o1", 0, 10)
	if err != nil || len(history) != 1 || history[0].TraceParent != "" {
		t.Fatalf("the first order's messages are %+v (%v)", history, err)
	}
	others, err := h.store.Messages(t.Context(), "o2", 0, 10)
	if err != nil || len(others) != 1 || others[0].TraceParent != sent {
		t.Errorf("the second order's messages are %+v (%v), want the client's trace %s", others, err, sent)
	}
	recorded := spans
	h.publish(history[0])
	unknown := message(sent, time.Now())
	unknown.ID = "unknown/1"
	h.publish(unknown)
	h.deliver(history[0])
	got := spans[len(recorded):]
	if len(got) != 4 || got[0].Name != "send orders.events" || got[3].Name != "process orders.events" || got[3].Parent != got[0].ID {
		t.Fatalf("of two messages the spans are %+v, want those of the first", got)
	}
	for _, s := range got {
		if s.Trace != recorded[0].Trace {
			t.Errorf("%s %s is not in the trace of the first order", s.Service, s.Name)
		}
	}
}

func TestWithoutEndpointAndConsoleNothingIsTraced(t *testing.T) {
	receive(t, "OTEL_EXPORTER_OTLP_ENDPOINT=")
	if telemetry := start(t, Options{}); telemetry != nil {
		t.Error("it is on")
	}
	receive(t, "OTEL_SDK_DISABLED=true")
	if telemetry := start(t, Options{}); telemetry != nil {
		t.Error("it is on, though it is disabled")
	}
	var off *Telemetry
	off.Close(t.Context())
	api, store, mux := off.Role("api"), memory.NewStore(), http.NewServeMux()
	broker, subscriber := inproc.NewBroker(memory.NewTopic()), nobody{}
	use := app.NewOrders(store, app.OrdersOptions{})
	if api != nil || Requests(mux, api) != http.Handler(mux) || Orders(use, api) != ports.Orders(use) ||
		OrderStore(store, "", api) != ports.OrderStore(store) || Publisher(broker, Topic{}, api) != ports.Publisher(broker) ||
		Subscriber(subscriber, Topic{}, api) != ports.Subscriber(subscriber) || off.Commands() != nil {
		t.Error("something is decorated")
	}
}

func TestWrongSettingsAreSaid(t *testing.T) {
	for _, setting := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=ftp://a", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_TRACES_SAMPLER=sometimes", "OTEL_TRACES_SAMPLER_ARG=2", "OTEL_TRACES_SAMPLER_ARG=x",
	} {
		t.Run(setting, func(t *testing.T) {
			receive(t, setting)
			name, _, _ := strings.Cut(setting, "=")
			if err := Check(); err == nil || !strings.HasPrefix(err.Error(), name) {
				t.Errorf("error %v, want one about %s", err, name)
			}
		})
	}
}

// A receiver that hangs costs the service nothing, the stop no more than its time, and the log one line.
func TestAReceiverThatHangsIsNotWaitedFor(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-hang
	}))
	defer server.Close()
	defer close(hang)
	receive(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "OTEL_BSP_SCHEDULE_DELAY=10", "OTEL_BSP_EXPORT_TIMEOUT=50",
		"OTEL_BSP_MAX_QUEUE_SIZE=10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=10")
	var log strings.Builder
	telemetry := start(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	api := Requests(http.NotFoundHandler(), telemetry.Role("api"))
	began := time.Now()
	for range 5000 {
		api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/orders", nil))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("5000 requests took %s", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began = time.Now()
	telemetry.Close(ctx)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %s", took)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "spans are lost") {
		t.Errorf("the log has\n%s\nwant one warning", log.String())
	}
	if err := Ping(ctx); err == nil {
		t.Error("Ping says that the receiver answers")
	}
}

func TestPingAsksTheReceiver(t *testing.T) {
	r := receive(t)
	if err := Ping(t.Context()); err != nil || len(r.Requests) != 1 {
		t.Errorf("error %v, %d requests, want none and one", err, len(r.Requests))
	}
}

func TestATraceParentIsReadAsTheStandardSays(t *testing.T) {
	for text, valid := range map[string]bool{
		sent: true, "01" + sent[2:] + "-later": true, sent + "-x": false, "ff" + sent[2:]: false, "": false, sent[:54]: false,
		strings.ReplaceAll(sent, "-", "_"): false, strings.Replace(sent, "0af7", "xaf7", 1): false,
		"00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01": false,
	} {
		if got := parse(text); got.IsValid() != valid {
			t.Errorf("%q: valid %v, want %v", text, got.IsValid(), valid)
		}
	}
	if got := parse(sent); got.TraceID().String() != clientsTrace || got.SpanID().String() != "b7ad6b7169203331" || !got.IsSampled() {
		t.Errorf("%s became %v", sent, got)
	}
}
