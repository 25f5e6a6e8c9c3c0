package order_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"hexorders/core/order"
)

// The life of an order: a basket that is filled, submitted and paid. Every time is passed in, for the core reads no
// clock.
func Example() {
	at := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

	o, err := order.New("order-1", "buyer-9999", []order.Item{{Product: "1111", Amount: 3}}, at)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.Status(), o.Items(), "version", o.Version())

	if err := o.AddItem("2222", 8, at.Add(1*time.Minute)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.Status(), o.Items(), "version", o.Version())

	if err := o.Submit(at.Add(2 * time.Minute)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.Status(), o.Items(), "version", o.Version())

	if err := o.Pay(at.Add(3 * time.Minute)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.Status(), o.Items(), "version", o.Version())
	// Output:
	// pending [{1111 3}] version 1
	// pending [{1111 3} {2222 8}] version 2
	// submitted [{1111 3} {2222 8}] version 3
	// paid [{1111 3} {2222 8}] version 4
}

// A command that a rule refuses says which rule, and changes nothing. An InputError also names the field to correct.
func Example_refused() {
	at := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

	o, err := order.New("order-1", "buyer-9999", nil, at)
	if err != nil {
		log.Fatal(err)
	}

	if err := o.Pay(at); errors.Is(err, order.ErrEmpty) {
		fmt.Println("cannot be paid yet:", err)
	}
	var input *order.InputError
	if err := o.AddItem("1111", 0, at); errors.As(err, &input) && errors.Is(err, order.ErrInvalidAmount) {
		fmt.Println("please correct the", input.Field)
	}
	fmt.Println(o.Status(), "version", o.Version())
	// Output:
	// cannot be paid yet: order has no items
	// please correct the amount
	// pending version 1
}

// Changes are the events that wait to be saved. A store commits them together with the order, then calls Committed.
func ExampleOrder_Changes() {
	at := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

	o, err := order.New("order-1", "buyer-9999", []order.Item{{Product: "1111", Amount: 3}}, at)
	if err != nil {
		log.Fatal(err)
	}
	if err := o.Pay(at.Add(time.Minute)); err != nil {
		log.Fatal(err)
	}
	for _, event := range o.Changes() {
		switch e := event.(type) {
		case order.Created:
			fmt.Println("created by", e.Buyer, "with", e.Items)
		case order.Paid:
			fmt.Println("paid at", e.At.Format(time.TimeOnly))
		}
	}

	o.Committed()
	fmt.Println(len(o.Changes()), "changes left, version", o.Version())
	// Output:
	// created by buyer-9999 with [{1111 3}]
	// paid at 12:01:00
	// 0 changes left, version 2
}

// What happened to an order is enough to make it again.
func ExampleReplay() {
	at := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

	o, err := order.Replay([]order.Event{
		order.Created{ID: "order-1", Buyer: "buyer-9999", Items: []order.Item{{Product: "1111", Amount: 3}}, At: at},
		order.ItemAdded{Product: "1111", Amount: 2, At: at.Add(time.Minute)},
		order.Cancelled{By: order.ByBuyer, Reason: "changed my mind", At: at.Add(time.Hour)},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.ID(), o.Status(), o.Items(), "version", o.Version())
	fmt.Println(o.AddItem("2222", 1, at.Add(2*time.Hour)))
	// Output:
	// order-1 cancelled [{1111 5}] version 3
	// order is already cancelled
}
