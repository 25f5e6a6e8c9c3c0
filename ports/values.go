package ports

import (
	"context"
	"time"

	"hexorders/core/order"
)

// Target names the order that a command is for.
type Target struct {
	ID      string
	Version int            // the version the caller has seen; 0 means any
	Key     IdempotencyKey // of the command; the zero value for none
}

// Page asks for part of a list.
type Page struct {
	Limit  int    // at most this many; below 1 means DefaultPageLimit, above MaxPageLimit means MaxPageLimit
	Cursor string // where the page before ended; "" for the first
}

const (
	DefaultPageLimit = 50
	MaxPageLimit     = 200
)

// Size is the limit, clamped to 1..MaxPageLimit.
func (p Page) Size() int {
	if p.Limit < 1 {
		return DefaultPageLimit
	}
	return min(p.Limit, MaxPageLimit)
}

// EventPage is part of an order's history.
type EventPage struct {
	Messages []Message // in version order
	Next     string    // the cursor of the following page, "" after the last
	Version  int       // the order's
	Complete bool      // no event of this page has been deleted
}

// Message is a committed event on its way to the broker, in the published language.
type Message struct {
	ID          string // "<order id>/<version>", never used again
	Type        string // "OrderCreated"
	OrderID     string
	Version     int    // of the order once this event was applied: 1, 2, 3, ... without a gap
	Payload     []byte // JSON; never changed after the message was made
	OccurredAt  time.Time
	TraceParent string // W3C trace context of the request that caused it, "" when it had none
}

// Position is a place in the outbox. Only the outbox that made it can read it.
type Position string

// ParkedOrder tells an operator about an order with parked messages.
type ParkedOrder struct {
	OrderID  string
	First    int // version of the first parked message
	Messages int
	Reason   string    // why the first of them is parked
	Since    time.Time // when the first of them was parked
	Retry    bool      // an operator has asked for another try
}

// ResultsKept is how long a store keeps the result of a command with an idempotency key.
const ResultsKept = 24 * time.Hour

// IdempotencyKey marks a command that its client may send again. The zero value is no key.
type IdempotencyKey struct {
	Value       string // chosen by the client, a new one for each command
	Fingerprint string // of what the command asks for: equal for equal commands, different for different ones
}

// StoredResult is the result of a command with an idempotency key.
type StoredResult struct {
	Key   IdempotencyKey
	Order *order.Order // as the command left it; a copy of the caller's own
}

// RelayStatus describes a relay at one moment. The totals count since the process began.
type RelayStatus struct {
	Leading          bool      // it holds the lease; without it the next four say nothing
	InFlight         int       // messages read from the outbox that are neither acknowledged nor parked
	OldestInFlightAt time.Time // when the oldest of them occurred; zero when there is none
	ParkedOrders     int       // when it last looked, about a second ago
	ParkedMessages   int

	Published   int64 // acknowledged by the broker, repeats included
	Redelivered int64 // of these, parked messages that were sent again
	Failed      int64 // tries that the broker did not take, each followed by another
	Refused     int64 // tries that the broker refused permanently
}

type traceParentKey struct{}

// WithTraceParent makes the messages that are saved under ctx carry a W3C traceparent.
func WithTraceParent(ctx context.Context, traceParent string) context.Context {
	return context.WithValue(ctx, traceParentKey{}, traceParent)
}

// TraceParent returns what WithTraceParent stored, or "".
func TraceParent(ctx context.Context) string {
	traceParent, _ := ctx.Value(traceParentKey{}).(string)
	return traceParent
}
