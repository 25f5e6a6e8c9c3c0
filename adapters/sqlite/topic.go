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
	insert, log := statement{before: insertIntoTopic, row: `(?, ?, ?, ?, ?, ?)`}, make([]logged, len(messages))
	for i, m := range messages {
		insert.add(messageColumns(m)...)
		log[i].Message = stored(m)
	}
	err := s.db.writer.do(ctx, insert.size, func(t *tx) error {
		err := insert.write(t)
		for i := range log {
			log[i].seq = t.inserted - int64(len(log)-1-i) // in one transaction they have no gaps
		}
		t.topic = append(t.topic, log...)
		return err
	})
	if err != nil {
		return fmt.Errorf("append %d messages to the topic: %w", len(messages), err)
	}
	return nil
}

const (
	insertIntoTopic = `INSERT INTO topic (order_id, version, type, payload, occurred_at, traceparent) VALUES `
	selectFromTopic = `SELECT seq, order_id, version, type, payload, occurred_at, traceparent FROM topic
		WHERE seq > ? ORDER BY seq LIMIT ?`
)

func (s *Topic) Read(ctx context.Context, after int64, limit int) (messages []ports.Message, last int64, err error) {
	page, err := s.db.nextMessages(ctx, &s.db.topic, selectFromTopic, after, max(limit, 1))
	if err != nil {
		return nil, 0, fmt.Errorf("read topic: %w", err)
	}
	messages = make([]ports.Message, len(page))
	for i, m := range page {
		messages[i], last = m.Message, m.seq
	}
	return messages, last, nil
}

func (s *Topic) Begin(ctx context.Context) (id string, before int64, err error) {
	err = s.db.queryRow(ctx, `SELECT id, coalesce((SELECT min(seq) - 1 FROM topic),
		(SELECT seq FROM sqlite_sequence WHERE name = 'topic'), 0) FROM topic_id`, nil, &id, &before)
	if err != nil {
		return "", 0, fmt.Errorf("read the topic's beginning: %w", err)
	}
	return id, before, nil
}

func (s *Topic) End(ctx context.Context) (end int64, err error) {
	if err := s.db.queryRow(ctx, `SELECT coalesce(max(seq), 0) FROM topic`, nil, &end); err != nil {
		return 0, fmt.Errorf("read the topic's end: %w", err)
	}
	return end, nil
}

// Delete deletes the messages up to an offset, as the retention of a broker does. Who has not read them never gets them.
func (s *Topic) Delete(ctx context.Context, upTo int64) error {
	err := s.db.writer.do(ctx, 0, func(t *tx) error {
		_, err := t.exec(`DELETE FROM topic WHERE seq <= ?`, upTo)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete the topic's messages up to %d: %w", upTo, err)
	}
	s.db.topic.forget()
	return nil
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
