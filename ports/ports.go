// Package ports is the border of the core: what the outside may ask of it (driving), and what it asks of the outside
// (driven). Adapters implement or call these interfaces; package porttest holds every implementation to the promises
// in the comments. The values that cross the border stand in values.go.
package ports

import (
	"context"
	"time"

	"hexorders/core/order"
)

// Orders is the driving port: all that a client can do. Every command answers with the order as it then stands.
//
// Errors: the sentinels of core/order when a rule refuses; ErrNotFound; ErrVersionMismatch when the caller named a
// version and the order has another; ErrConflict when others kept changing the order at the same moment;
// ErrUnavailable when the store cannot be reached. After an error nothing has changed, with one exception: after
// ErrUnavailable the command may have been carried out, for the answer may be what was lost.
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
	// At is the order as it was at a version. Errors also: ErrNoSuchVersion when it never was at that version;
	// ErrHistoryDeleted when what happened before is not kept any more; ErrNoHistory when the store does not tell.
	At(ctx context.Context, id string, version int) (*order.Order, error)
	// Events tells what has happened to an order, from the first change on. Errors also: ErrBadCursor; ErrNoHistory
	// when the store does not tell.
	Events(ctx context.Context, id string, page Page) (EventPage, error)
}

// OrderStore keeps orders. One Save is one transaction is one aggregate.
type OrderStore interface {
	// Get returns a fresh copy: changing it changes nothing in the store. Errors: ErrNotFound, ErrUnavailable.
	Get(ctx context.Context, id string) (*order.Order, error)
	// Save commits the order's state, one message for each of its changes, in their order, and the result under the
	// idempotency key if there is one: all or none. Then it marks the order as committed. An order without changes is left alone. Errors: ErrConflict when the order is no
	// longer as it was loaded (or its id is taken); ErrUnavailable when the outcome is not known or the store is
	// down. After an error the changes are still in the order.
	Save(ctx context.Context, o *order.Order, key IdempotencyKey) error
}

// IdempotencyStore reads what Save has stored under idempotency keys. While a result is stored under a key, a Save with
// that key fails with ErrDuplicateRequest and commits nothing. A store without this port ignores the key of a Save.
type IdempotencyStore interface {
	// StoredResult returns the result under a key. It is stored for ResultsKept after the Save, by the store's clock;
	// then the key is free again. Errors: ErrNotFound, ErrUnavailable.
	StoredResult(ctx context.Context, key string) (StoredResult, error)
}

// History tells what saves have done to one order.
type History interface {
	// Messages are an order's messages with versions greater than after, in version order, at most limit, which is 1
	// or more. An order without any is no error. Every answered Save is in it, but the oldest messages may be deleted
	// once they were published. Error: ErrUnavailable.
	Messages(ctx context.Context, orderID string, after, limit int) ([]Message, error)
}

// Outbox is the log that committed saves leave behind. It has two promises: every committed message is in it, and an
// order's messages come in version order.
type Outbox interface {
	// Position is the last checkpoint, "" before the first.
	Position(ctx context.Context) (Position, error)
	// Tail hands every message after a position to emit, "" meaning from the first message on, then follows the log
	// until ctx ends or something breaks; it always returns an error. Calls of emit come one at a time. The position
	// given with a message means: this one and all that came before it. A message may be repeated after a resumed
	// Tail, never left out. Whatever emit returns other than nil ends Tail with that error.
	Tail(ctx context.Context, after Position, emit func(Message, Position) error) error
	// Checkpoint makes a position the one to resume from. term is the lease's: once a later term has made a
	// checkpoint, an earlier one gets ErrFenced, so that a relay that lost its lease cannot turn the clock back.
	Checkpoint(ctx context.Context, term int64, p Position) error
}

// Backlog is what an outbox may know besides, for those who watch it.
type Backlog interface {
	// Unread estimates how many committed messages Tail has not handed out, and says when the oldest of them occurred,
	// zero when there is none or that is not known. Before the first Tail it may be an error.
	Unread(ctx context.Context) (messages int, oldest time.Time, err error)
}

// Trimmer makes an outbox shorter. A store that cannot do without its old messages goes without it.
type Trimmer interface {
	// Trim deletes messages that lie behind the checkpoint and occurred before a time, the oldest first, in steps that
	// saves need not wait for. It may leave the newest of them to a later call. It returns how many it has deleted, also
	// with an error. Errors: ErrUnavailable.
	Trim(ctx context.Context, before time.Time) (deleted int, err error)
}

// Parking holds the messages that the broker refused for good, and the later messages of the same orders, until an
// operator sends them again.
type Parking interface {
	// Park keeps a message. Parking it again changes nothing but the reason.
	Park(ctx context.Context, m Message, reason string) error
	// Parked lists the orders that have parked messages, by order id.
	Parked(ctx context.Context) ([]ParkedOrder, error)
	// Messages returns an order's parked messages in version order; none is no error.
	Messages(ctx context.Context, orderID string) ([]Message, error)
	// Retry asks the relay to send an order's parked messages again. Error: ErrNotFound when it has none.
	Retry(ctx context.Context, orderID string) error
	// Unpark forgets a message that the broker has now. One that is not parked is no error.
	Unpark(ctx context.Context, m Message) error
	// Refused ends a retry that failed: the order stays parked, for this reason.
	Refused(ctx context.Context, orderID, reason string) error
}

// Publisher hands messages to the broker.
type Publisher interface {
	// Publish sends a message and returns without waiting for the broker, though it may wait while the broker takes
	// nothing. done is called exactly once, on any goroutine: with nil only when the broker has the message for
	// good; with ErrRefused when it never will take this message; with another error when it is worth another try.
	// Messages of one order published one after the other's done(nil) stand in that order at the broker.
	Publish(ctx context.Context, m Message, done func(error))
	// Close waits a bounded time for what was published, then gives up: every done has been called when it returns.
	// What is published later gets an error, and closing again does nothing.
	Close() error
}

// Topic is the log behind the in-process broker: what a broker's own servers would keep. Offsets grow, with or without
// gaps; 0 is before the first message.
type Topic interface {
	// Append adds messages at the end, all or none, in their order. Errors: ErrUnavailable.
	Append(ctx context.Context, messages []Message) error
	// Read returns at most limit messages after an offset, and the offset of the last of them. It waits until there
	// is at least one, or ctx ends; what another process appends is seen within a second.
	Read(ctx context.Context, after int64, limit int) (messages []Message, last int64, err error)
	// End is the offset of the newest message, 0 when there is none.
	End(ctx context.Context) (int64, error)
	// Committed is how far a subscriber has come, 0 for one that never committed.
	Committed(ctx context.Context, subscriber string) (int64, error)
	// Commit remembers how far a subscriber has come.
	Commit(ctx context.Context, subscriber string, offset int64) error
}

// Lease lets one of several relays work at a time.
type Lease interface {
	// Acquire takes or renews the lease for an owner, for ttl from now by the keeper's clock. The term grows whenever
	// the owner changes and stays when it does not. Error: ErrLeaseHeld while it is another's.
	Acquire(ctx context.Context, owner string, ttl time.Duration) (term int64, err error)
	// Release gives the lease back at once; not holding it is no error.
	Release(ctx context.Context, owner string) error
}
