package app_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

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
