package app_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/app/relay"
	"hexorders/core/order"
	"hexorders/ports"
)

// The whole service wired by hand: a store, a broker, the use cases between them, and the relay that carries what was
// committed from the one to the other. To swap an adapter, change the line that makes it.
func Example() {
	store, topic := memory.NewStore(), memory.NewTopic()
	broker := inproc.NewBroker(topic)
	orders := app.NewOrders(store, app.OrdersOptions{
		NewID: func() string { return "order-1" },
		Now:   func() time.Time { return time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC) },
	})
	r := relay.New(relay.Options{
		Outbox: memory.NewOutbox(store), Publisher: broker, Parking: memory.NewParking(), Lease: memory.NewLease(),
		Owner: "example", Logger: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(context.Background())
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return r.Run(ctx) })

	o, err := orders.Create(ctx, "buyer-9999", []order.Item{{Product: "1111", Amount: 3}}, ports.IdempotencyKey{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := orders.Pay(ctx, ports.Target{ID: o.ID()}); err != nil {
		log.Fatal(err)
	}
	_ = inproc.NewSubscriber(topic).Subscribe(ctx, "example", nil, func(_ context.Context, b ports.Batch) error {
		for _, m := range b.Messages {
			fmt.Println(m.Type, string(m.Payload))
			if m.Type == "OrderPaid" {
				stop() // ends Subscribe and the relay
			}
		}
		return nil
	})
	fmt.Println("stopped:", running.Wait(), broker.Close())
	// Output:
	// OrderCreated {"orderId":"order-1","version":1,"occurredAt":"2026-03-02T12:00:00Z","buyerId":"buyer-9999","items":[{"productId":"1111","amount":3}]}
	// OrderPaid {"orderId":"order-1","version":2,"occurredAt":"2026-03-02T12:00:00Z"}
	// stopped: <nil> <nil>
}

// The reading side wired by hand: a projection that follows the topic, and the views that it keeps up to date. A question
// may name an event that its answer has to know of.
func Example_views() {
	topic, store := memory.NewTopic(), memory.NewViews()
	projection := app.NewProjection(app.ProjectionOptions{
		View: ports.OrderTimeline, Subscriber: inproc.NewSubscriber(topic), Inbox: store, Generations: store, Decode: eventjson.Event,
	})
	views := app.NewViews(store, app.ViewsOptions{Wait: 2 * time.Minute})
	ctx, stop := context.WithCancel(context.Background())
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return projection.Run(ctx) })

	at := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	o, err := order.New("order-1", "buyer-9999", []order.Item{{Product: "1111", Amount: 3}}, at)
	if err := errors.Join(err, o.AddItem("2222", 8, at.Add(time.Minute)), o.Pay(at.Add(time.Hour))); err != nil {
		log.Fatal(err)
	}
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	again := append(messages, messages...) // whatever is delivered twice takes effect once
	if err := topic.Append(ctx, again); err != nil {
		log.Fatal(err)
	}
	page, err := views.Timeline(ctx, "order-1", ports.Page{}, ports.EventRef{OrderID: "order-1", Version: 3})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range page.Entries {
		fmt.Println(e.At.Format(time.TimeOnly), e.Text)
	}
	stop()
	fmt.Println("stopped:", running.Wait())
	// Output:
	// 12:00:00 created for buyer buyer-9999, with 1 item
	// 12:01:00 8 × 2222 added
	// 13:00:00 paid
	// stopped: <nil>
}
