package ports

import (
	"context"
	"time"
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
