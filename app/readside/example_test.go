package readside_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"golang.org/x/sync/errgroup"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

// The reading side wired by hand: an engine that follows the topic, and questions to the read model that it keeps up to
// date. A question may name an event that its answer has to include.
func Example() {
	topic, store := memory.NewTopic(), memory.NewReadModel(readside.Tables(readside.All))
	engine := readside.New(readside.Options{Subscriber: inproc.NewSubscriber(topic), Store: store, Decode: eventjson.Event})
	queries := readside.NewQueries(store, readside.QueriesOptions{Wait: 2 * time.Minute})
	ctx, stop := context.WithCancel(context.Background())
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return engine.Run(ctx) })

	at := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	o, err := order.New("order-1", "buyer-9999", []order.Item{{Product: "1111", Amount: 3}}, at)
	if err := errors.Join(err, o.AddItem("2222", 8, at.Add(time.Minute)), o.Pay(at.Add(time.Hour))); err != nil {
		log.Fatal(err)
	}
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	again := append(messages, messages...) // a message that is delivered twice takes effect once
	if err := topic.Append(ctx, again); err != nil {
		log.Fatal(err)
	}
	paid := ports.EventRef{OrderID: "order-1", Version: 3}
	timeline, _, err := queries.List(ctx, ports.Query{View: "timeline", Prefix: readside.TimelinePrefix("order-1")}, paid)
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range timeline.Rows {
		fmt.Println(string(row.Body))
	}
	activity, _, err := queries.Row(ctx, "buyer-activity", "buyer-9999", paid)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("pending", activity.Counter("pending"), "paid", activity.Counter("paid"))
	stop()
	fmt.Println("stopped:", running.Wait())
	// Output:
	// {"version":1,"type":"OrderCreated","occurredAt":"2026-03-02T12:00:00.000Z","text":"created for buyer buyer-9999, with 1 item"}
	// {"version":2,"type":"OrderItemAdded","occurredAt":"2026-03-02T12:01:00.000Z","text":"8 × 2222 added"}
	// {"version":3,"type":"OrderPaid","occurredAt":"2026-03-02T13:00:00.000Z","text":"paid"}
	// pending 0 paid 1
	// stopped: <nil>
}
