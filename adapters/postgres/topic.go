package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"hexorders/ports"
)

// Topic is an inproc.Log: the log behind the in-process broker, and how far its subscribers have come. An offset is a seq
// of a table like the outbox, and as reliable.
type Topic struct{ db *DB }

func NewTopic(db *DB) *Topic { return &Topic{db} }

func (s *Topic) Append(ctx context.Context, messages []ports.Message) error {
	if len(messages) == 0 {
		return ctx.Err()
	}
	statements := &pgx.Batch{}
	s.db.lock(statements, s.db.topic)
	statements.Queue(insertIntoTopic, columnsOf(messages)...)
	s.db.topic.notify(statements)
	bounded, cancel := context.WithTimeout(ctx, s.db.options.Timeout)
	defer cancel()
	if err := s.db.together(bounded, statements); err != nil {
		return fail(ctx, fmt.Sprintf("append %d messages to the topic", len(messages)), err)
	}
	s.db.topic.wake()
	return nil
}

const insertIntoTopic = `INSERT INTO topic (` + messageColumns + `)
	SELECT ` + messageColumns + ` FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
	WITH ORDINALITY AS m (` + messageColumns + `, n) ORDER BY n`

func (s *Topic) Read(ctx context.Context, after int64, limit int) (messages []ports.Message, last int64, err error) {
	page, err := s.db.nextMessages(ctx, s.db.topic, after, max(limit, 1))
	if err != nil {
		return nil, 0, fail(ctx, "read topic", err)
	}
	return withoutSeqs(page), page[len(page)-1].seq, nil
}

// Begin returns the offset before the oldest message. Where all were deleted, that is the last one that the sequence gave.
func (s *Topic) Begin(ctx context.Context) (id string, before int64, err error) {
	err = s.db.queryRow(ctx, `SELECT id, coalesce((SELECT min(seq) - 1 FROM topic), `+lastOfTopic+`) FROM topic_id`, nil, &id, &before)
	return id, before, fail(ctx, "read the topic's beginning", err)
}

const lastOfTopic = `(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM topic_seq_seq)`

func (s *Topic) End(ctx context.Context) (end int64, err error) {
	err = s.db.queryRow(ctx, `SELECT coalesce(max(seq), 0) FROM topic`, nil, &end)
	return end, fail(ctx, "read the topic's end", err)
}

// Delete deletes the messages up to an offset, as the retention of a broker does. Who has not read them never gets them.
func (s *Topic) Delete(ctx context.Context, upTo int64) error {
	_, err := s.db.exec(ctx, `DELETE FROM topic WHERE seq <= $1`, upTo)
	return fail(ctx, fmt.Sprintf("delete the topic's messages up to %d", upTo), err)
}

func (s *Topic) Committed(ctx context.Context, subscriber string) (offset int64, err error) {
	err = s.db.queryRow(ctx, `SELECT position FROM subscribers WHERE name = $1`, []any{subscriber}, &offset)
	if errors.Is(err, ports.ErrNotFound) {
		return 0, nil
	}
	return offset, fail(ctx, fmt.Sprintf("read the position of subscriber %q", subscriber), err)
}

func (s *Topic) Commit(ctx context.Context, subscriber string, offset int64) error {
	_, err := s.db.exec(ctx, `INSERT INTO subscribers (name, position) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET position = excluded.position`, subscriber, offset)
	return fail(ctx, fmt.Sprintf("store the position of subscriber %q", subscriber), err)
}
