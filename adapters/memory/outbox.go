package memory

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// Outbox is a ports.Outbox: the log that a Store's saves leave behind. A position is how many messages of the log
// have been read. All outboxes of one store share the checkpoint, which stands in the store.
type Outbox struct {
	store  *Store
	handed atomic.Int64 // how many messages of the log Tail has handed out
}

func NewOutbox(s *Store) *Outbox { return &Outbox{store: s} }

func (b *Outbox) Position(ctx context.Context) (ports.Position, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("outbox position: %w", err)
	}
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return b.store.position, nil
}

func (b *Outbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("outbox checkpoint: %w", err)
	}
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if term < b.store.term {
		return fmt.Errorf("outbox checkpoint in term %d, the last was in term %d: %w", term, b.store.term, ports.ErrFenced)
	}
	b.store.position, b.store.term = p, term
	return nil
}

func (b *Outbox) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	read, err := parsePosition(after)
	if err != nil {
		return err
	}
	b.handed.Store(int64(read))
	for {
		messages, grown, err := b.store.since(read)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if ctx.Err() != nil {
				break
			}
			read++
			if err := emit(m, ports.Position(strconv.Itoa(read))); err != nil {
				return err
			}
			b.handed.Store(int64(read))
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("tail outbox: %w", err)
		}
		select {
		case <-grown:
		case <-ctx.Done():
		}
	}
}

// Unread counts the messages that Tail has not handed out yet, and says when the first of them occurred.
func (b *Outbox) Unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return 0, time.Time{}, fmt.Errorf("count unread messages: %w", err)
	}
	unread, _, err := b.store.since(int(b.handed.Load()))
	if err != nil || len(unread) == 0 {
		return 0, time.Time{}, err
	}
	return len(unread), unread[0].OccurredAt, nil
}

// since returns the log after the first n messages, and a channel that is closed when more has come. The slice stays
// as it is while the log grows behind it.
func (s *Store) since(n int) (messages []ports.Message, grown <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > len(s.log) {
		return nil, nil, fmt.Errorf("outbox position %d is beyond the %d messages there are", n, len(s.log))
	}
	return s.log[n:], s.grown, nil
}

func parsePosition(p ports.Position) (read int, err error) {
	if p == "" {
		return 0, nil
	}
	if read, err = strconv.Atoi(string(p)); err != nil || read < 0 {
		return 0, fmt.Errorf("outbox position %q is not one of this outbox", p)
	}
	return read, nil
}
