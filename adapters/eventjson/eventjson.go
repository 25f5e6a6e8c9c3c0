// Package eventjson is the published language: the JSON form of an order's events outside this process. Stores write
// it to the outbox, brokers carry it, consumers read it. Its names and fields are a promise to other programs; the
// types in core/order may change independently. docs/adr/0011 says how the language itself may change; upcast.go reads
// old events.
package eventjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// AggregateType is the type of the aggregate that the events belong to.
const AggregateType = "order"

// ErrUnknownType means that this version of the program does not know the type of a message.
var ErrUnknownType = errors.New("unknown event type")

// envelope is part of every payload, so that a reader without headers can still identify the event.
type envelope struct {
	OrderID    string    `json:"orderId"`
	Version    int       `json:"version"`
	OccurredAt time.Time `json:"occurredAt"`
	Schema     int       `json:"schema,omitzero"` // of the type's payload; omitted means 1
}

type item struct {
	ProductID string `json:"productId"`
	Amount    int    `json:"amount"`
}

type basket struct {
	envelope
	BuyerID string `json:"buyerId"`
	Items   []item `json:"items"`
}

type itemAmount struct {
	envelope
	item
}

type itemRemoved struct {
	envelope
	ProductID string `json:"productId"`
}

type cancelled struct {
	envelope
	By     string `json:"by"`
	Reason string `json:"reason"`
}

func (e *envelope) head() *envelope { return e }

// decoders has a decoder of the newest schema for each type name; it also returns the payload's own schema. encode is its
// inverse; a test keeps them consistent.
var decoders = map[string]func(payload []byte) (event order.Event, schema int, err error){
	"OrderCreated": decoder(func(p basket) order.Event {
		return order.Created{ID: p.OrderID, Buyer: p.BuyerID, Items: items(p.Items), At: p.OccurredAt}
	}),
	"OrderItemAdded": decoder(func(p itemAmount) order.Event {
		return order.ItemAdded{Product: p.ProductID, Amount: p.Amount, At: p.OccurredAt}
	}),
	"OrderAmountChanged": decoder(func(p itemAmount) order.Event {
		return order.AmountChanged{Product: p.ProductID, Amount: p.Amount, At: p.OccurredAt}
	}),
	"OrderItemRemoved": decoder(func(p itemRemoved) order.Event {
		return order.ItemRemoved{Product: p.ProductID, At: p.OccurredAt}
	}),
	"OrderSubmitted": decoder(func(p basket) order.Event {
		return order.Submitted{Buyer: p.BuyerID, Items: items(p.Items), At: p.OccurredAt}
	}),
	"OrderPaid": decoder(func(p envelope) order.Event {
		return order.Paid{At: p.OccurredAt}
	}),
	"OrderCancelled": decoder(func(p cancelled) order.Event {
		return order.Cancelled{By: order.CancelledBy(p.By), Reason: p.Reason, At: p.OccurredAt}
	}),
}

func encode(id string, version int, event order.Event) (typeName string, payload any) {
	head := envelope{OrderID: id, Version: version, OccurredAt: event.OccurredAt()}
	switch e := event.(type) {
	case order.Created:
		return "OrderCreated", basket{head, e.Buyer, lines(e.Items)}
	case order.ItemAdded:
		return "OrderItemAdded", itemAmount{head, item{e.Product, e.Amount}}
	case order.AmountChanged:
		return "OrderAmountChanged", itemAmount{head, item{e.Product, e.Amount}}
	case order.ItemRemoved:
		return "OrderItemRemoved", itemRemoved{head, e.Product}
	case order.Submitted:
		return "OrderSubmitted", basket{head, e.Buyer, lines(e.Items)}
	case order.Paid:
		return "OrderPaid", head
	case order.Cancelled:
		head.Schema = 2
		return "OrderCancelled", cancelled{head, string(e.By), e.Reason}
	}
	return "", nil
}

// Messages returns an order's uncommitted changes as messages, in version order, with the trace parent of ctx. A store
// calls it in Save.
func Messages(ctx context.Context, o *order.Order) ([]ports.Message, error) {
	changes := o.Changes()
	messages := make([]ports.Message, 0, len(changes))
	committed := o.Version() - len(changes)
	for i, event := range changes {
		version := committed + i + 1
		typeName, body := encode(o.ID(), version, event)
		if typeName == "" {
			return nil, fmt.Errorf("event %T: %w", event, ErrUnknownType)
		}
		payload, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", typeName, err)
		}
		messages = append(messages, ports.Message{
			ID:          o.ID() + "/" + strconv.Itoa(version),
			Type:        typeName,
			OrderID:     o.ID(),
			Version:     version,
			Payload:     payload,
			OccurredAt:  event.OccurredAt(),
			TraceParent: ports.TraceParent(ctx),
		})
	}
	return messages, nil
}

// Event decodes a message of any known schema. It ignores unknown fields. Errors: ErrUnknownType, ErrNewerSchema, or
// an error of the JSON decoder.
func Event(m ports.Message) (order.Event, error) {
	decode, ok := decoders[m.Type]
	if !ok {
		return nil, fmt.Errorf("message %s of type %q: %w", m.ID, m.Type, ErrUnknownType)
	}
	// Nearly all events have the newest schema, and those are parsed once.
	event, schema, err := decode(m.Payload)
	if err == nil && schema == newestSchema(m.Type) {
		return event, nil
	}
	payload, err := upcast(m.Type, m.Payload)
	if err == nil {
		event, _, err = decode(payload)
	}
	if err != nil {
		return nil, fmt.Errorf("message %s of type %s: %w", m.ID, m.Type, err)
	}
	return event, nil
}

func decoder[P any, Pointer interface {
	*P
	head() *envelope
}](toEvent func(P) order.Event) func([]byte) (order.Event, int, error) {
	return func(payload []byte) (order.Event, int, error) {
		p := Pointer(new(P))
		p.head().Schema = 1
		if err := json.Unmarshal(payload, &p); err != nil {
			return nil, 0, err
		}
		if p == nil {
			return nil, 0, errors.New("the payload is null")
		}
		return toEvent(*p), p.head().Schema, nil
	}
}

func lines(from []order.Item) []item {
	to := make([]item, len(from)) // never nil: "items" is [] in JSON, not null
	for i, line := range from {
		to[i] = item{line.Product, line.Amount}
	}
	return to
}

func items(from []item) []order.Item {
	var to []order.Item
	for _, line := range from {
		to = append(to, order.Item{Product: line.ProductID, Amount: line.Amount})
	}
	return to
}
