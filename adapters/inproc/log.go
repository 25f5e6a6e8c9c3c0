package inproc

import (
	"context"

	"hexorders/ports"
)

// Log keeps the broker's messages, as a broker's own servers would. A store implements it without importing this package,
// and package logtest holds it to these promises. Offsets grow, with or without gaps; 0 is before the first message.
type Log interface {
	// Append adds messages at the end, all or none, in their order. Errors: ErrUnavailable.
	Append(ctx context.Context, messages []ports.Message) error
	// Read returns at most limit messages after an offset, and the offset of the last of them. It waits until there
	// is at least one, or ctx ends; what another process appends is seen within a second.
	Read(ctx context.Context, after int64, limit int) (messages []ports.Message, last int64, err error)
	// Begin returns an id, which no other log has, and the offset before the oldest message that was not deleted.
	Begin(ctx context.Context) (id string, before int64, err error)
	// End returns the offset of the newest message, 0 when there is none.
	End(ctx context.Context) (int64, error)
	// Committed returns the offset that a subscriber last committed, 0 before its first Commit.
	Committed(ctx context.Context, subscriber string) (int64, error)
	// Commit stores how far a subscriber has read.
	Commit(ctx context.Context, subscriber string, offset int64) error
}
