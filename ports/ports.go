package ports

import (
	"context"
	"time"

	"hexorders/core/order"
)

// Orders is the driving port: all that a client can do. A command returns the order as it is afterwards.
//
// Errors: the sentinels of core/order when a rule rejects the command; ErrNotFound; ErrVersionMismatch when the Target
// names another version than the order has; ErrConflict when others kept changing the order at the same moment;
// ErrUnavailable when the store cannot be reached. After an error nothing has changed, with one exception: after
// ErrUnavailable the command may have been carried out, because the response itself may have got lost.
//
// A command with an idempotency key can be sent again: for ResultsKept after it was carried out, it gets the result of
// the first time. Errors: ErrDuplicateRequest while the first is in progress; ErrKeyReused when the key belongs to
// another command; ErrIdempotencyUnsupported when the store keeps no results.
type Orders interface {
	Create(ctx context.Context, buyer string, items []order.Item, key IdempotencyKey) (*order.Order, error)
	AddItem(ctx context.Context, at Target, product string, amount int) (*order.Order, error)
	ChangeAmount(ctx context.Context, at Target, product string, amount int) (*order.Order, error)
	RemoveItem(ctx context.Context, at Target, product string) (*order.Order, error)
	Submit(ctx context.Context, at Target) (*order.Order, error)
	Pay(ctx context.Context, at Target) (*order.Order, error)
	Cancel(ctx context.Context, at Target, by order.CancelledBy, reason string) (*order.Order, error)
	Get(ctx context.Context, id string) (*order.Order, error)
	// At returns the order as it was at a version. Errors also: ErrNoSuchVersion when it never had that version;
	// ErrHistoryDeleted when older events were deleted; ErrNoHistory when the store keeps no history.
	At(ctx context.Context, id string, version int) (*order.Order, error)
	// Events lists an order's events from the first on. Errors also: ErrBadCursor; ErrNoHistory as above.
	Events(ctx context.Context, id string, page Page) (EventPage, error)
}

// OrderStore keeps orders. One Save is one transaction on one aggregate.
type OrderStore interface {
	// Get returns a fresh copy: changing it changes nothing in the store. Errors: ErrNotFound, ErrUnavailable.
	Get(ctx context.Context, id string) (*order.Order, error)
	// Save commits three things, all or none: the order's state, one message for each of its changes in their order,
	// and the result under the idempotency key, if there is one and the store is an IdempotencyStore. Then it marks the
	// order as committed. An order without changes is not saved. Errors: ErrConflict when the stored order has another
	// version than the loaded one had, or a new order's id is taken; ErrUnavailable when the outcome is unknown or the
	// store is down. After an error the order still has its changes.
	Save(ctx context.Context, o *order.Order, key IdempotencyKey) error
}

// Outbox is the log of messages that committed saves leave behind. It promises two things: every committed message is in
// it, and an order's messages come in version order.
type Outbox interface {
	// Position returns the last checkpoint, "" before the first.
	Position(ctx context.Context) (Position, error)
	// Tail hands every message after a position to emit ("" means from the first message on), then follows the log until
	// ctx ends or an error occurs; it always returns an error. It calls emit for one message at a time. The position
	// that comes with a message stands for this message and all before it. A resumed Tail may repeat a message and never
	// leaves one out. An error of emit ends Tail with that error.
	Tail(ctx context.Context, after Position, emit func(Message, Position) error) error
	// Checkpoint stores the position to resume from. term is the lease's, a fencing token: after a checkpoint of a later
	// term, an earlier term gets ErrFenced, so that a relay that lost its lease cannot move the checkpoint back.
	Checkpoint(ctx context.Context, term int64, p Position) error
}

// Publisher hands messages to the broker.
type Publisher interface {
	// Publish sends a message and returns without waiting for its acknowledgement; it may wait while the broker takes
	// nothing. It calls done exactly once, on any goroutine: with nil only when the broker has the message permanently;
	// with ErrRefused when the broker will never take it; with another error when another try may succeed. If the second
	// of two messages of an order is published after the first one's done(nil), the broker has them in that order.
	Publish(ctx context.Context, m Message, done func(error))
	// Close waits a bounded time for published messages, then gives up: when it returns, every done has been called.
	// A later Publish fails, and a second Close does nothing.
	Close() error
}

// Parking holds the messages that the broker refuses permanently, and the later messages of the same orders, until an
// operator sends them again.
type Parking interface {
	// Park keeps a message. Parking it again changes only the reason.
	Park(ctx context.Context, m Message, reason string) error
	// Parked lists the orders that have parked messages, by order id.
	Parked(ctx context.Context) ([]ParkedOrder, error)
	// Messages returns an order's parked messages in version order; none is no error.
	Messages(ctx context.Context, orderID string) ([]Message, error)
	// Retry asks the relay to send an order's parked messages again. Error: ErrNotFound when it has none.
	Retry(ctx context.Context, orderID string) error
	// Unpark removes a message that the broker now has. One that is not parked is no error.
	Unpark(ctx context.Context, m Message) error
	// Refused ends a retry that failed: the order stays parked, for this reason.
	Refused(ctx context.Context, orderID, reason string) error
}

// Lease lets one of several relays work at a time.
type Lease interface {
	// Acquire takes or renews the lease for an owner, for ttl from now by the clock of the store. The term grows with
	// each new owner and stays when the same owner renews. Error: ErrLeaseHeld while another owner has it.
	Acquire(ctx context.Context, owner string, ttl time.Duration) (term int64, err error)
	// Release gives the lease back at once; an owner that does not hold it gets no error.
	Release(ctx context.Context, owner string) error
}
