package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
)

// changes wakes those who wait for more in a log, the outbox or the topic. What this process has committed wakes them at
// once. What others have committed comes by NOTIFY, on a connection that does nothing but LISTEN. A poll finds the rest:
// what was committed while that connection was down, and everything where a pooler between swallows notifications.
type changes struct {
	table   string
	take    string // the statement that takes the lock of those who add to the log; a measurement has others
	lock    int64  // its number
	channel string // of the notifications
	own     string // marks those of this handle, which has no use for them
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
}

// pollEvery is how late the commits of other processes are seen without notifications.
const pollEvery = 500 * time.Millisecond

// newChanges makes the channel's name of a number: names are cut off at 63 bytes, which a schema's name can have already.
func newChanges(schema, table string) *changes {
	key := lockKey(schema, table)
	return &changes{
		table: table, take: `SELECT pg_advisory_xact_lock($1)`, lock: key,
		channel: fmt.Sprintf("hexorders_%x", uint64(key)), own: rand.Text(), changed: make(chan struct{}),
	}
}

// next is closed at the next change. It must be asked for before reading: a change in between is then not missed.
func (c *changes) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *changes) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// notify tells other processes, once the transaction is committed.
func (c *changes) notify(in *pgx.Batch) { in.Queue(`SELECT pg_notify($1, $2)`, c.channel, c.own) }

// wait returns at a change, after pollEvery, or when ctx ends, with its error.
func wait(ctx context.Context, changed <-chan struct{}) error {
	poll := time.NewTimer(pollEvery)
	defer poll.Stop()
	select {
	case <-changed:
	case <-poll.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// listen hands on notifications until ctx ends. While the server cannot be reached it tries again; the poll serves until
// then.
func (db *DB) listen(ctx context.Context, config *pgx.ConnConfig) {
	_, _ = backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, db.listenOnce(ctx, config) },
		backoff.WithBackOff(backoff.NewConstantBackOff(pollEvery)), backoff.WithMaxElapsedTime(0))
}

func (db *DB) listenOnce(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	logs := map[string]*changes{db.outbox.channel: db.outbox, db.topic.channel: db.topic}
	for name := range logs {
		if _, err := conn.Exec(ctx, `LISTEN `+pgx.Identifier{name}.Sanitize()); err != nil {
			return err
		}
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if log := logs[n.Channel]; log != nil && n.Payload != log.own {
			log.wake()
		}
	}
}
