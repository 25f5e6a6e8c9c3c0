package porttest

import (
	"context"
	"errors"
	"fmt"

	"hexorders/core/order"
	"hexorders/ports"
)

// Stub is embedded by a store that is being written: it has every method of ports.OrderStore and ports.Outbox, so that
// the store compiles from the first minute. A method that is not written yet says which check to read.
type Stub struct{}

var (
	_ ports.OrderStore = Stub{}
	_ ports.Outbox     = Stub{}
	_ ports.Publisher  = PublisherStub{}
)

func (Stub) Get(context.Context, string) (*order.Order, error) {
	return nil, notWritten("Get", "OrderStore", orderStoreChecks, "an order reads back as it was saved")
}

func (Stub) Save(context.Context, *order.Order, ports.IdempotencyKey) error {
	return notWritten("Save", "OrderStore", orderStoreChecks, "an order reads back as it was saved")
}

func (Stub) Position(context.Context) (ports.Position, error) {
	return "", notWritten("Position", "Outbox", outboxChecks, "before the first checkpoint the position is empty")
}

func (Stub) Checkpoint(context.Context, int64, ports.Position) error {
	return notWritten("Checkpoint", "Outbox", outboxChecks, "the position is the last checkpoint")
}

func (Stub) Tail(context.Context, ports.Position, func(ports.Message, ports.Position) error) error {
	return notWritten("Tail", "Outbox", outboxChecks, "what was committed before the first Tail is emitted")
}

// PublisherStub is the same for a ports.Publisher.
type PublisherStub struct{}

func (PublisherStub) Publish(_ context.Context, _ ports.Message, done func(error)) {
	done(notWritten("Publish", "Publisher", publisherChecks, "an acknowledged message is at the broker, whole"))
}

func (PublisherStub) Close() error { return nil }

// notWritten names the check that asks for a method first.
func notWritten[F any](method, suite string, checks []check[F], asks string) error {
	for _, c := range number(checks) {
		if c.name == asks {
			return fmt.Errorf("not written yet: %s: see check %s/%s", method, suite, c.title)
		}
	}
	return errors.New("not written yet: " + method)
}
