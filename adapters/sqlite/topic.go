package sqlite

import (
	"context"
	"errors"
	"fmt"

	"hexorders/ports"
)

// Topic is an inproc.Log: the log behind the in-process broker, and how far its subscribers have come. An offset is
// the seq of a table like the outbox, and as reliable.
type Topic struct{ db *DB }

func NewTopic(db *DB) *Topic { return &Topic{db} }

func (s *Topic) Append(ctx context.Context, messages []ports.Message) error {
	if len(messages) == 0 {
		return ctx.Err()
	}
	log, size := make([][]any, len(messages)), 0
	for i, m := range messages {
		log[i] = messageColumns(m)
		size += len(m.Payload)
	}
	err := s.db.writer.do(ctx, size, func(t *tx) error {
		for _, columns := range log {
			if _, err := t.exec(`INSERT INTO topic (order_id, version, type, payload, occurred_at, traceparent)
				VALUES (?, ?, ?, ?, ?, ?)`, columns...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("append %d messages to the topic: %w", len(messages), err)
	}
	return nil
}

func (s *Topic) Read(ctx context.Context, after int64, limit int) (messages []ports.Message, last int64, err error) {
	for {
		committed := s.db.commits.next()
		page, err := s.db.messagesAfter(ctx, `SELECT seq, order_id, version, type, payload, occurred_at, traceparent
			FROM topic WHERE seq > ? ORDER BY seq LIMIT ?`, after, max(limit, 1))
		if err != nil {
			return nil, 0, fmt.Errorf("read topic: %w", err)
		}
		if len(page) > 0 {
			messages = make([]ports.Message, len(page))
			for i, m := range page {
				messages[i], last = m.Message, m.seq
			}
			return messages, last, nil
		}
		if err := s.db.awaitCommit(ctx, committed); err != nil {
			return nil, 0, fmt.Errorf("read topic: %w", err)
		}
	}
}

func (s *Topic) End(ctx context.Context) (end int64, err error) {
	if err := s.db.queryRow(ctx, `SELECT coalesce(max(seq), 0) FROM topic`, nil, &end); err != nil {
		return 0, fmt.Errorf("read the topic's end: %w", err)
	}
	return end, nil
}

func (s *Topic) Committed(ctx context.Context, subscriber string) (offset int64, err error) {
	err = s.db.queryRow(ctx, `SELECT position FROM subscribers WHERE name = ?`, []any{subscriber}, &offset)
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return 0, fmt.Errorf("read the position of subscriber %q: %w", subscriber, err)
	}
	return offset, nil
}

func (s *Topic) Commit(ctx context.Context, subscriber string, offset int64) error {
	err := s.db.writer.do(ctx, 0, func(t *tx) error {
		_, err := t.exec(`INSERT INTO subscribers (name, position) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET position = excluded.position`, subscriber, offset)
		return err
	})
	if err != nil {
		return fmt.Errorf("store the position of subscriber %q: %w", subscriber, err)
	}
	return nil
}
