package memory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// Outbox is a ports.Outbox and its ports.Trimmer: the log that a Store's saves leave behind. A position is how many
// messages of the log have been read, the trimmed ones included. All outboxes of one store share the checkpoint, which
// stands in the store.
type Outbox struct {
	store  *Store
	handed atomic.Int64 // how many messages of the log Tail has handed out
}

var (
	_ ports.Outbox  = (*Outbox)(nil)
	_ ports.Trimmer = (*Outbox)(nil)
)

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
		messages, from, grown, err := b.store.since(read)
		if err != nil {
			return err
		}
		read = from
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
	unread, _, _, err := b.store.since(int(b.handed.Load()))
	if err != nil || len(unread) == 0 {
		return 0, time.Time{}, err
	}
	return len(unread), unread[0].OccurredAt, nil
}

// since returns the log after the first n messages, or as much of it as was not trimmed, how many messages come before
// that, and a channel that is closed when more has come. The slice stays as it is while the log changes.
func (s *Store) since(n int) (messages []ports.Message, from int, grown <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.cut + len(s.log); n > all {
		return nil, 0, nil, fmt.Errorf("outbox position %d is beyond the %d messages there are", n, all)
	}
	from = max(n, s.cut)
	return s.log[from-s.cut:], from, s.grown, nil
}

// Trim stops at the first message that is too young.
func (b *Outbox) Trim(ctx context.Context, before time.Time) (deleted int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("trim outbox: %w", err)
	}
	s := b.store
	s.mu.Lock()
	defer s.mu.Unlock()
	published, err := parsePosition(s.position)
	if err != nil {
		return 0, fmt.Errorf("trim outbox: %w", err)
	}
	for s.cut+deleted < published && s.log[deleted].OccurredAt.Before(before) {
		deleted++
	}
	s.log, s.cut = slices.Clone(s.log[deleted:]), s.cut+deleted
	return deleted, nil
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
