package readside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/core/order"
	"hexorders/ports"
)

// Remember bounds the number of cached orders, and their size is bounded too.
func TestALargeOrderIsNotRemembered(t *testing.T) {
	model := memory.NewReadModel(Tables(All))
	live, err := model.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := New(Options{Store: model, Decode: eventjson.Event, Remember: 2})
	c := newConsumer(e, live, model.Live)
	for i, lines := range []int{1, 200, 1} {
		var items []order.Item
		for n := range lines {
			items = append(items, order.Item{Product: fmt.Sprint("product-", n), Amount: 1})
		}
		o, err := order.New(fmt.Sprint("order-", i), "b", items, noon)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := eventjson.Messages(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.take(t.Context(), ports.Batch{Messages: []ports.Delivery{{Message: messages[0]}}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(c.orders.Keys()); got != "[order-0 order-2]" {
		t.Errorf("remembered are %s, want order-0 and order-2: order-1 is large", got)
	}
}

// ended is a subscriber that breaks its promise to return an error.
type ended struct{ calls int }

func (s *ended) Subscribe(context.Context, string, ports.Resume, func(context.Context, ports.Batch) error) error {
	s.calls++
	return nil
}

func (s *ended) Replay(context.Context, ports.Resume, func(context.Context, ports.Batch) error) error {
	s.calls++
	return nil
}

func (s *ended) Ahead(context.Context, []ports.Place) (map[string]int64, error) {
	return map[string]int64{"s": 1}, nil
}

// A subscription that ends without an error is no reason to stop, and a rebuild must not take it for the end of the topic.
func TestASubscriptionThatEndsWithoutAnErrorIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := memory.NewReadModel(Tables(All))
		subscriber := &ended{}
		o := Options{Subscriber: subscriber, Store: model, Decode: eventjson.Event, Logger: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		e := New(o)
		if err := e.Run(ctx); err != nil || subscriber.calls < 5 || e.Status().Failed < 5 {
			t.Errorf("Run = %v after %d subscriptions, status %+v, want nil and several failures", err, subscriber.calls, e.Status())
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := Rebuild(ctx, o, func(RebuildProgress) {})
		if live, _ := model.Live(t.Context()); !errors.Is(err, context.DeadlineExceeded) || live.Number != 1 {
			t.Errorf("Rebuild = %v, generation %d is live, want the context's error and 1", err, live.Number)
		}
	})
}
