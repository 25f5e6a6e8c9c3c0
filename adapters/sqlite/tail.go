package sqlite

import (
	"context"
	"strconv"
	"sync"
	"time"

	"hexorders/ports"
)

// logged is a message and its seq, in the outbox or in the topic.
type logged struct {
	seq int64
	ports.Message
}

// stored is a message as a reader gets it from a table.
func stored(m ports.Message) ports.Message {
	m.ID = m.OrderID + "/" + strconv.Itoa(m.Version)
	m.OccurredAt = m.OccurredAt.UTC().Truncate(time.Millisecond)
	return m
}

// tail has the newest messages of a log in memory, those that this process has written. A reader that has caught up takes
// them from here: a query for them costs more than everything else that it does with them.
type tail struct {
	mu       sync.Mutex
	messages []logged // without a gap between their seqs
	bytes    int
	grown    chan struct{} // closed when there are more
}

const (
	tailMessages = 1024
	tailBytes    = 4 << 20
)

// grow takes in what was committed, in the order of commits. Messages of another process in between make a gap: then the
// ones before it leave.
func (l *tail) grow(messages []logged) {
	if len(messages) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.messages); n > 0 && l.messages[n-1].seq+1 != messages[0].seq {
		l.messages, l.bytes = nil, 0
	}
	for _, m := range messages {
		l.bytes += len(m.Payload)
	}
	l.messages = append(l.messages, messages...)
	for len(l.messages) > tailMessages || l.bytes > tailBytes {
		l.bytes -= len(l.messages[0].Payload)
		l.messages = l.messages[1:]
	}
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// forget leaves out everything, because the table has lost some of it.
func (l *tail) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages, l.bytes = nil, 0
}

// after returns messages after a seq, none if the next one is not in memory. The channel is closed when there are more.
func (l *tail) after(seq int64, limit int) (page []logged, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	if n := len(l.messages); n > 0 && seq >= l.messages[0].seq-1 && seq < l.messages[n-1].seq {
		page = l.messages[seq-l.messages[0].seq+1:]
		page = page[:min(len(page), limit):min(len(page), limit)]
	}
	return page, l.grown
}

// pollEvery is how late the commits of another process are seen. A waiting caller repeats its query, which takes about
// 30 µs. PRAGMA data_version takes 10 µs, but its answer is valid only on one and the same connection.
const pollEvery = 50 * time.Millisecond

// nextMessages waits until there are messages after a seq, and returns at most limit of them. The query reads them from
// the table of the log.
func (db *DB) nextMessages(ctx context.Context, l *tail, query string, seq int64, limit int) ([]logged, error) {
	for {
		page, grown := l.after(seq, limit)
		if len(page) > 0 {
			return page, ctx.Err()
		}
		page, err := db.messagesAfter(ctx, query, seq, limit)
		if err != nil || len(page) > 0 {
			return page, err
		}
		poll := time.NewTimer(pollEvery)
		select {
		case <-grown:
		case <-poll.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
		poll.Stop()
		if err != nil {
			return nil, err
		}
	}
}
