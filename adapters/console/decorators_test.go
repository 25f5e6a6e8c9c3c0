package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/app/readside"
	"hexorders/app/relay"
	"hexorders/core/order"
	"hexorders/ports"
)

// house is a whole service over the memory store, with a decorator before each port.
type house struct {
	t      *testing.T
	feed   *Feed
	orders ports.Orders
	views  ports.Views
	relay  *relay.Relay
	engine *readside.Engine
	ports  Adapters
	// timeout is what the server gives a request; 0: all the time there is, because a machine may be busy.
	timeout time.Duration
}

func build(t *testing.T) *house {
	f, store := NewFeed(), memory.NewStore()
	topic := memory.NewTopic()
	h := &house{t: t, feed: f, ports: Adapters{
		OrderStore: store, Outbox: memory.NewOutbox(store), Parking: memory.NewParking(),
		ReadModelStore: memory.NewReadModel(readside.Tables(readside.All)),
		Publisher:      inproc.NewBroker(topic), Subscriber: inproc.NewSubscriber(topic),
	}}
	h.orders = Orders(app.NewOrders(OrderStore(store, f), app.OrdersOptions{
		NewID: func() string { return uuid.Must(uuid.NewV7()).String() }, History: store, Decode: eventjson.Event,
	}), f)
	h.views = Views(readside.NewQueries(h.ports.ReadModelStore, readside.QueriesOptions{Wait: time.Minute}), f)
	return h
}

// work starts the relay and the engine of the views.
func (h *house) work() {
	h.relay = relay.New(relay.Options{Outbox: Outbox(h.ports.Outbox, h.feed), Publisher: Publisher(h.ports.Publisher, h.feed),
		Parking: Parking(h.ports.Parking, h.feed), Lease: memory.NewLease(), Owner: "this test"})
	h.engine = readside.New(readside.Options{Subscriber: Subscriber(h.ports.Subscriber, h.feed),
		Store: ReadModelStore(h.ports.ReadModelStore, h.feed), Decode: eventjson.Event})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.relay.Run(ctx) }) // returns nil
	running.Go(func() { _ = h.engine.Run(ctx) })
	h.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (h *house) create() *order.Order {
	h.t.Helper()
	o, err := h.orders.Create(h.t.Context(), "ada", []order.Item{{Product: "1111", Amount: 3}}, ports.IdempotencyKey{})
	if err != nil {
		h.t.Fatal(err)
	}
	return o
}

// steps are those of an order, as "Port Method version".
func (h *house) steps(id string) (found []string) {
	for _, s := range h.feed.all(h.t) {
		if s.Order == id {
			found = append(found, fmt.Sprintf("%s %s %d", s.Port, s.Method, s.Version))
		}
	}
	return found
}

func (h *house) want(id string, want ...string) {
	h.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		got := h.steps(id)
		missing := ""
		for _, step := range want {
			if !slices.Contains(got, step) {
				missing = step
			}
		}
		if missing == "" && len(got) == len(want) {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("the feed has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestACommandIsSeenAtEveryPort(t *testing.T) {
	h := build(t)
	h.work()
	o := h.create()
	if _, err := h.orders.Pay(t.Context(), ports.Target{ID: o.ID()}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.views.Row(t.Context(), "order-summary", o.ID(), ports.EventRef{OrderID: o.ID(), Version: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.orders.Get(t.Context(), o.ID()); err != nil { // a query, and not reported
		t.Fatal(err)
	}
	want := []string{
		"OrderStore Save 1", "Orders Create 1", "Outbox Tail 1", "Publisher Publish 1", "Subscriber Subscribe 1",
		"OrderStore Get 2", "OrderStore Save 2", "Orders Pay 2", "Outbox Tail 2", "Publisher Publish 2", "Subscriber Subscribe 2",
		"ReadModelStore Commit 2", "Views Row order-summary 2",
	}
	if slices.Contains(h.steps(o.ID()), "ReadModelStore Commit 1") { // both events may be committed together
		want = append(want, "ReadModelStore Commit 1")
	}
	h.want(o.ID(), want...)
	for _, s := range h.feed.all(t) {
		published := strings.Contains(string(s.Message), `"orderId":"`+o.ID()+`","version":`)
		if carries := s.Type != ""; carries != published || carries && !strings.HasPrefix(s.Type, "Order") {
			t.Errorf("%s %s has an event of type %q and carries %s", s.Port, s.Method, s.Type, s.Message)
		}
		if s.Took < 0 || s.Start == 0 || s.Error != "" {
			t.Errorf("the step %+v", s)
		}
	}
}

func TestEveryCommandIsReportedWithItsArguments(t *testing.T) {
	h := build(t)
	o := h.create()
	at := ports.Target{ID: o.ID()}
	for _, command := range []func() (*order.Order, error){
		func() (*order.Order, error) { return h.orders.AddItem(t.Context(), at, "2222", 8) },
		func() (*order.Order, error) { return h.orders.ChangeAmount(t.Context(), at, "2222", 9) },
		func() (*order.Order, error) { return h.orders.RemoveItem(t.Context(), at, "2222") },
		func() (*order.Order, error) { return h.orders.Submit(t.Context(), at) },
		func() (*order.Order, error) { return h.orders.Cancel(t.Context(), at, order.ByBuyer, "too late") },
	} {
		if _, err := command(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.orders.Pay(t.Context(), at); !errors.Is(err, order.ErrAlreadyCancelled) {
		t.Fatalf("a cancelled order is paid: %v", err)
	}
	var got []string
	for _, s := range h.feed.all(t) {
		if s.Port == "Orders" {
			got = append(got, fmt.Sprint(s.Version, " ", s.Method, " ", string(s.Message), s.Error))
		}
	}
	want := []string{
		`1 Create {"buyer":"ada","items":[{"product":"1111","amount":3}]}`, `2 AddItem {"product":"2222","amount":8}`,
		`3 ChangeAmount {"product":"2222","amount":9}`, `4 RemoveItem {"product":"2222"}`, `5 Submit {}`,
		`6 Cancel {"by":"buyer","reason":"too late"}`, `0 Pay {}` + order.ErrAlreadyCancelled.Error(),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestParkedMessagesAreReported(t *testing.T) {
	h := build(t)
	parking := Parking(h.ports.Parking, h.feed)
	m := ports.Message{ID: "o/1", OrderID: "o", Version: 1, Type: "OrderCreated", Payload: []byte(`{}`)}
	if err := parking.Park(t.Context(), m, "too large"); err != nil {
		t.Fatal(err)
	}
	if err := parking.Unpark(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	change := ports.Change{Progress: []ports.ProgressChange{{Progress: ports.Progress{OrderID: "o", Parked: "unknown"}}}}
	store := ReadModelStore(h.ports.ReadModelStore, h.feed)
	live, err := store.Live(t.Context())
	if err == nil {
		err = store.Commit(t.Context(), live, change)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.want("o", "Parking Park 1", "Parking Unpark 1", "ReadModelStore Commit 0")
	if steps := h.feed.all(t); steps[0].Error != "too large" || steps[2].Error != "unknown" {
		t.Errorf("the steps say %q and %q, want why it is parked", steps[0].Error, steps[2].Error)
	}
}

func TestARequestIsReportedWithItsBodyAndItsOutcome(t *testing.T) {
	f := NewFeed()
	h := Requests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == "bad" {
			w.WriteHeader(http.StatusConflict)
			return
		}
		w.Header().Set("Location", "/orders/o%2F1")
		w.Header().Set("ETag", `"7"`)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	}), f)
	for _, request := range [][3]string{
		{"GET", "/orders/o", ""}, {"POST", "/elsewhere", "{}"}, {"POST", "/orders", `{"a":1}`}, {"POST", "/orders/o%2F1/pay", "bad"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(request[0], request[1], strings.NewReader(request[2])))
		if request[1] == "/orders" && (w.Code != http.StatusCreated || w.Body.String() != request[2]) {
			t.Errorf("the answer became %d %q", w.Code, w.Body)
		}
	}
	var got []string
	for _, s := range f.all(t) {
		got = append(got, fmt.Sprintf("%s %s: %s %d %s %s", s.Port, s.Method, s.Order, s.Version, s.Message, s.Error))
	}
	want := "HTTP POST /orders: o/1 7 {\"a\":1} \nHTTP POST /orders/o/1/pay: o/1 0 \"bad\" 409 Conflict"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

// Without a feed nothing stands before a port.
func TestOffADecoratorIsThePortItself(t *testing.T) {
	h := build(t)
	api := http.NewServeMux()
	for name, same := range map[string]bool{
		"Requests": Requests(api, nil) == http.Handler(api), "Orders": Orders(h.orders, nil) == h.orders,
		"OrderStore": OrderStore(h.ports.OrderStore, nil) == h.ports.OrderStore,
		"Outbox":     Outbox(h.ports.Outbox, nil) == h.ports.Outbox, "Publisher": Publisher(h.ports.Publisher, nil) == h.ports.Publisher,
		"Parking":        Parking(h.ports.Parking, nil) == h.ports.Parking,
		"Subscriber":     Subscriber(h.ports.Subscriber, nil) == h.ports.Subscriber,
		"ReadModelStore": ReadModelStore(h.ports.ReadModelStore, nil) == h.ports.ReadModelStore, "Views": Views(h.views, nil) == h.views,
	} {
		if !same {
			t.Errorf("%s is decorated", name)
		}
	}
}
