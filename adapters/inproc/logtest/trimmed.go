package logtest

import (
	"context"

	"hexorders/adapters/inproc"
	"hexorders/ports"
)

// Trimmed is a log whose first messages were deleted, as a retention does it.
type Trimmed struct {
	inproc.Log
	Before int64 // how many
}

func (l *Trimmed) Begin(ctx context.Context) (string, int64, error) {
	id, _, err := l.Log.Begin(ctx)
	return id, l.Before, err
}

func (l *Trimmed) Read(ctx context.Context, after int64, limit int) ([]ports.Message, int64, error) {
	return l.Log.Read(ctx, max(after, l.Before), limit)
}
