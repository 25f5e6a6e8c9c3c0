package memory

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"

	"hexorders/ports"
)

// TopicKept is how many messages a topic in memory holds. Older ones are dropped: a process that runs for months must
// not grow for months.
const TopicKept = 100_000

// Topic is an inproc.Log that lives as long as the process. A reader that asks for a dropped message gets the
// oldest one that is left.
type Topic struct {
	id        string
	mu        sync.Mutex
	messages  []ports.Message
	end       int64         // offset of the newest message; the oldest has end-len(messages)+1
	grown     chan struct{} // closed, and replaced, when the topic grows
	committed map[string]int64
}

func NewTopic() *Topic {
	return &Topic{id: rand.Text(), grown: make(chan struct{}), committed: make(map[string]int64)}
}

func (t *Topic) Append(ctx context.Context, messages []ports.Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append %d messages: %w", len(messages), err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages = append(t.messages, messages...)
	t.end += int64(len(messages))
	// It drops only once a tenth is too much, so that the messages are copied seldom and not at each call.
	if len(t.messages) > TopicKept+TopicKept/10 {
		t.messages = slices.Clone(t.messages[len(t.messages)-TopicKept:])
	}
	close(t.grown)
	t.grown = make(chan struct{})
	return nil
}

func (t *Topic) Read(ctx context.Context, after int64, limit int) ([]ports.Message, int64, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, 0, fmt.Errorf("read the topic: %w", err)
		}
		messages, last, grown := t.page(after, max(limit, 1))
		if len(messages) > 0 {
			return messages, last, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
		}
	}
}

func (t *Topic) page(after int64, limit int) (messages []ports.Message, last int64, grown <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dropped := t.end - int64(len(t.messages))
	from := min(max(after-dropped, 0), int64(len(t.messages)))
	to := min(from+int64(limit), int64(len(t.messages)))
	return slices.Clone(t.messages[from:to]), dropped + to, t.grown
}

func (t *Topic) Begin(ctx context.Context) (id string, first int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.id, t.end - int64(len(t.messages)), ctx.Err()
}

func (t *Topic) End(ctx context.Context) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end, ctx.Err()
}

func (t *Topic) Committed(ctx context.Context, subscriber string) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.committed[subscriber], ctx.Err()
}

func (t *Topic) Commit(ctx context.Context, subscriber string, offset int64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit the position of %s: %w", subscriber, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.committed[subscriber] = offset
	return nil
}
