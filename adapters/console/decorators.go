package console

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// A decorator stands before a port and reports its calls to the feed. The ports do not know, and behave as they do
// without it (ADR 6). Without a feed a decorator is the port itself.

// Requests reports the commands of clients. Reads pass by: the pages read as well.
func Requests(next http.Handler, f *Feed) http.Handler {
	if f == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, isOrder := strings.CutPrefix(r.URL.EscapedPath(), "/orders")
		if r.Method == http.MethodGet || r.Method == http.MethodHead || !isOrder {
			next.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		answer := &recorder{ResponseWriter: w}
		body := &copier{ReadCloser: r.Body}
		r.Body = body
		next.ServeHTTP(answer, r)
		segment, _, _ := strings.Cut(strings.Trim(path, "/"), "/")
		if segment == "" {
			segment = strings.TrimPrefix(w.Header().Get("Location"), "/orders/")
		}
		id, _ := url.PathUnescape(segment) // "" is no order's id
		if !f.shows(atHTTP, id, start) {
			return
		}
		version, _ := strconv.Atoi(strings.Trim(w.Header().Get("ETag"), `"`))
		var err error
		if answer.status >= 400 {
			err = httpError(answer.status)
		}
		f.step(atHTTP, Step{
			Method: r.Method + " " + r.URL.Path, Order: id, Version: version, Message: wire(body.start.Bytes()),
		}, start, err)
	})
}

type httpError int

func (e httpError) Error() string { return strconv.Itoa(int(e)) + " " + http.StatusText(int(e)) }

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

// copier remembers what of a body was read, as far as it is shown.
type copier struct {
	io.ReadCloser
	start bytes.Buffer
}

func (c *copier) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.start.Write(p[:max(0, min(n, longestMessage+1-c.start.Len()))])
	return n, err
}

// Orders reports commands. Queries pass by.
func Orders(next ports.Orders, f *Feed) ports.Orders {
	if f == nil {
		return next
	}
	return &orders{next, f}
}

type orders struct {
	ports.Orders
	feed *Feed
}

// inCommand marks the loads that belong to a command. Those of queries are not reported: the pages make some as well.
func inCommand(ctx context.Context) context.Context { return context.WithValue(ctx, command{}, true) }

type command struct{}

// arguments are those of a command, besides the order that it is for.
type arguments struct {
	Buyer   string     `json:"buyer,omitempty"`
	Items   []argument `json:"items,omitempty"`
	Product string     `json:"product,omitempty"`
	Amount  int        `json:"amount,omitempty"`
	By      string     `json:"by,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}

type argument struct {
	Product string `json:"product"`
	Amount  int    `json:"amount"`
}

func (d *orders) Create(
	ctx context.Context, buyer string, items []order.Item, key ports.IdempotencyKey,
) (*order.Order, error) {
	start := time.Now()
	o, err := d.Orders.Create(inCommand(ctx), buyer, items, key)
	a := arguments{Buyer: buyer, Items: make([]argument, len(items))}
	for i, item := range items {
		a.Items[i] = argument(item)
	}
	d.report("Create", "", a, start, o, err)
	return o, err
}

func (d *orders) AddItem(ctx context.Context, at ports.Target, product string, amount int) (*order.Order, error) {
	start := time.Now()
	o, err := d.Orders.AddItem(inCommand(ctx), at, product, amount)
	d.report("AddItem", at.ID, arguments{Product: product, Amount: amount}, start, o, err)
	return o, err
}

func (d *orders) ChangeAmount(ctx context.Context, at ports.Target, product string, amount int) (*order.Order, error) {
	start := time.Now()
	o, err := d.Orders.ChangeAmount(inCommand(ctx), at, product, amount)
	d.report("ChangeAmount", at.ID, arguments{Product: product, Amount: amount}, start, o, err)
	return o, err
}

func (d *orders) RemoveItem(ctx context.Context, at ports.Target, product string) (*order.Order, error) {
	start := time.Now()
	o, err := d.Orders.RemoveItem(inCommand(ctx), at, product)
	d.report("RemoveItem", at.ID, arguments{Product: product}, start, o, err)
	return o, err
}

func (d *orders) Submit(ctx context.Context, at ports.Target) (*order.Order, error) {
	start := time.Now()
	o, err := d.Orders.Submit(inCommand(ctx), at)
	d.report("Submit", at.ID, arguments{}, start, o, err)
	return o, err
}

func (d *orders) Pay(ctx context.Context, at ports.Target) (*order.Order, error) {
	start := time.Now()
	o, err := d.Orders.Pay(inCommand(ctx), at)
	d.report("Pay", at.ID, arguments{}, start, o, err)
	return o, err
}

func (d *orders) Cancel(ctx context.Context, at ports.Target, by order.CancelledBy, reason string) (*order.Order, error) {
	start := time.Now()
	o, err := d.Orders.Cancel(inCommand(ctx), at, by, reason)
	d.report("Cancel", at.ID, arguments{By: string(by), Reason: reason}, start, o, err)
	return o, err
}

func (d *orders) report(method, id string, a arguments, start time.Time, o *order.Order, err error) {
	s := Step{Method: method, Order: id}
	if err == nil {
		s.Order, s.Version = o.ID(), o.Version()
	}
	if d.feed.shows(atOrders, s.Order, start) {
		text, _ := json.Marshal(a) // strings and numbers always encode
		s.Message = wire(text)
		d.feed.step(atOrders, s, start, err)
	}
}

// OrderStore reports the loads and saves of commands.
func OrderStore(next ports.OrderStore, f *Feed) ports.OrderStore {
	if f == nil {
		return next
	}
	return &orderStore{next, f}
}

type orderStore struct {
	ports.OrderStore
	feed *Feed
}

// Get reports the version that the command is about to make.
func (d *orderStore) Get(ctx context.Context, id string) (*order.Order, error) {
	start := time.Now()
	o, err := d.OrderStore.Get(ctx, id)
	if ctx.Value(command{}) != nil && d.feed.shows(atOrderStore, id, start) {
		s := Step{Method: "Get", Order: id}
		if err == nil {
			s.Version = o.Version() + 1
		}
		d.feed.step(atOrderStore, s, start, err)
	}
	return o, err
}

func (d *orderStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	start := time.Now()
	if !d.feed.shows(atOrderStore, o.ID(), start) {
		return d.OrderStore.Save(ctx, o, key)
	}
	s := Step{Method: "Save", Order: o.ID(), Version: o.Version()}
	if messages, err := eventjson.Messages(ctx, o); err == nil && len(messages) > 0 { // a Save forgets the changes
		last := messages[len(messages)-1]
		s.Type, s.Message = last.Type, wire(last.Payload)
	}
	err := d.OrderStore.Save(ctx, o, key)
	d.feed.step(atOrderStore, s, start, err)
	return err
}

// Outbox reports the messages that it hands out.
func Outbox(next ports.Outbox, f *Feed) ports.Outbox {
	if f == nil {
		return next
	}
	return &outbox{next, f}
}

type outbox struct {
	ports.Outbox
	feed *Feed
}

func (d *outbox) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	return d.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		start := time.Now()
		err := emit(m, p)
		if d.feed.shows(atOutbox, m.OrderID, start) {
			d.feed.step(atOutbox, of("Tail", m), start, err)
		}
		return err
	})
}

func of(method string, m ports.Message) Step {
	return Step{Method: method, Type: m.Type, Order: m.OrderID, Version: m.Version, Message: wire(m.Payload)}
}

// Publisher reports messages, until the broker has answered.
func Publisher(next ports.Publisher, f *Feed) ports.Publisher {
	if f == nil {
		return next
	}
	return &publisher{next, f}
}

type publisher struct {
	ports.Publisher
	feed *Feed
}

func (d *publisher) Publish(ctx context.Context, m ports.Message, done func(error)) {
	start := time.Now()
	if d.feed.shows(atPublisher, m.OrderID, start) {
		answered := done
		done = func(err error) {
			d.feed.step(atPublisher, of("Publish", m), start, err)
			answered(err)
		}
	}
	d.Publisher.Publish(ctx, m, done)
}

// Parking reports messages that are parked, and those that the broker has in the end.
func Parking(next ports.Parking, f *Feed) ports.Parking {
	if f == nil {
		return next
	}
	return &parking{next, f}
}

type parking struct {
	ports.Parking
	feed *Feed
}

func (d *parking) Park(ctx context.Context, m ports.Message, reason string) error {
	start := time.Now()
	err := d.Parking.Park(ctx, m, reason)
	if d.feed.shows(atParking, m.OrderID, start) {
		s := of("Park", m)
		s.Error = reason
		d.feed.step(atParking, s, start, err)
	}
	return err
}

func (d *parking) Unpark(ctx context.Context, m ports.Message) error {
	start := time.Now()
	err := d.Parking.Unpark(ctx, m)
	if d.feed.shows(atParking, m.OrderID, start) {
		d.feed.step(atParking, of("Unpark", m), start, err)
	}
	return err
}

// Subscriber reports the messages that it delivers.
func Subscriber(next ports.Subscriber, f *Feed) ports.Subscriber {
	if f == nil {
		return next
	}
	return &subscriber{next, f}
}

type subscriber struct {
	ports.Subscriber
	feed *Feed
}

func (d *subscriber) Subscribe(
	ctx context.Context, group string, resume ports.Resume, handle func(context.Context, ports.Batch) error,
) error {
	return d.Subscriber.Subscribe(ctx, group, resume, func(ctx context.Context, b ports.Batch) error {
		start := time.Now()
		err := handle(ctx, b)
		for _, m := range b.Messages {
			if d.feed.shows(atSubscriber, m.OrderID, start) {
				s := of("Subscribe", m.Message)
				s.Batch = len(b.Messages)
				d.feed.step(atSubscriber, s, start, err)
			}
		}
		return err
	})
}

// ReadModelStore reports what commits make of the orders.
func ReadModelStore(next ports.ReadModelStore, f *Feed) ports.ReadModelStore {
	if f == nil {
		return next
	}
	return &readModel{next, f}
}

type readModel struct {
	ports.ReadModelStore
	feed *Feed
}

func (d *readModel) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	start := time.Now()
	err := d.ReadModelStore.Commit(ctx, g, c)
	for _, p := range c.Progress {
		if d.feed.shows(atReadModel, p.OrderID, start) {
			s := Step{Method: "Commit", Order: p.OrderID, Version: p.Version, Batch: len(c.Progress), Message: wire(p.State)}
			s.Error = p.Parked
			d.feed.step(atReadModel, s, start, err)
		}
	}
	return err
}

// Views reports the questions that name an order.
func Views(next ports.Views, f *Feed) ports.Views {
	if f == nil {
		return next
	}
	return &views{next, f}
}

type views struct {
	ports.Views
	feed *Feed
}

func (d *views) Row(
	ctx context.Context, view, key string, required ports.EventRef,
) (ports.Row, ports.Freshness, error) {
	start := time.Now()
	row, freshness, err := d.Views.Row(ctx, view, key, required)
	d.report("Row "+view, required, freshness, row.Body, start, err)
	return row, freshness, err
}

func (d *views) List(
	ctx context.Context, q ports.Query, required ports.EventRef,
) (ports.RowPage, ports.Freshness, error) {
	start := time.Now()
	page, freshness, err := d.Views.List(ctx, q, required)
	var body []byte
	if len(page.Rows) > 0 {
		body = page.Rows[0].Body
	}
	d.report("List "+q.View, required, freshness, body, start, err)
	return page, freshness, err
}

func (d *views) report(
	method string, required ports.EventRef, f ports.Freshness, body []byte, start time.Time, err error,
) {
	if required.OrderID != "" && d.feed.shows(atViews, required.OrderID, start) {
		s := Step{Method: method, Order: required.OrderID, Version: f.Version, Message: wire(body)}
		d.feed.step(atViews, s, start, err)
	}
}
