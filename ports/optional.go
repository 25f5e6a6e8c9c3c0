package ports

import (
	"context"
	"time"

	"hexorders/core/order"
)

// These ports are optional: a store may leave them out, and the service works without.

// IdempotencyStore reads the results that Save has stored under idempotency keys. While a result is stored under a key, a
// Save with that key fails with ErrDuplicateRequest and commits nothing.
type IdempotencyStore interface {
	// StoredResult returns the result under a key. It is stored for ResultsKept after the Save, by the clock of the
	// store; then the key is free again. Errors: ErrNotFound, ErrUnavailable.
	StoredResult(ctx context.Context, key string) (StoredResult, error)
}

// History reads the messages that saves of one order have committed.
type History interface {
	// Messages returns an order's messages with versions greater than after, in version order, at most limit, which is 1
	// or more. An order without messages is no error. Every successful Save is in it, but the oldest messages may be
	// deleted once they were published. Error: ErrUnavailable.
	Messages(ctx context.Context, orderID string, after, limit int) ([]Message, error)
}

// Trimmer deletes old messages from an outbox. A store that needs its old messages leaves it out.
type Trimmer interface {
	// Trim deletes messages that lie behind the checkpoint and occurred before a time, the oldest first, in steps that do
	// not block saves. It may leave the newest of them to a later call. It returns how many it has deleted, also with an
	// error. Errors: ErrUnavailable.
	Trim(ctx context.Context, before time.Time) (deleted int, err error)
}

// LeaseHolder is a Lease that says who has it, for operators: a relay that has died gives no sign by itself.
type LeaseHolder interface {
	// Holder returns the owner that holds the lease at the moment, by the clock of the store; "" when none does. Error:
	// ErrUnavailable.
	Holder(ctx context.Context) (owner string, err error)
}

// OrderScanner reads a whole store order by order, for those who compare it with what was made of it. A page may end
// before its limit, once it has MaxPageBytes; only an empty page says that there is no more. Both scans sort ids by their
// bytes. What was committed before the first page and stays is in exactly one page.
type OrderScanner interface {
	// ScanOrders returns the orders with ids greater than after, at most limit, which is 1 or more. Error: ErrUnavailable.
	ScanOrders(ctx context.Context, after string, limit int) ([]ScannedOrder, error)
	// ScanMessages returns the messages of all orders that follow a message, sorted by order and version, at most limit,
	// which is 1 or more. Nothing needs to be stored under after. What a Trimmer has deleted is left out. Error:
	// ErrUnavailable.
	ScanMessages(ctx context.Context, after EventRef, limit int) ([]Message, error)
}

// ScannedOrder is what Get returns for the order with this id: one of the two.
type ScannedOrder struct {
	ID    string
	Order *order.Order
	Err   error // that stored data is not an order
}
