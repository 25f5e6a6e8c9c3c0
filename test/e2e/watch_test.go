package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// watch follows a topic and remembers when each message was seen first.
type watch struct {
	t     testing.TB
	mu    sync.Mutex
	first map[string]time.Time // by ce_id
}

func (w *world) watch() *watch {
	w.t.Helper()
	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(w.source.Brokers, ",")...),
		kgo.ConsumeTopics(w.source.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		w.t.Fatal(err)
	}
	following := &watch{t: w.t, first: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			consumer.PollFetches(ctx).EachRecord(following.see)
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		<-ended
		consumer.Close()
	})
	return following
}

func (w *watch) see(r *kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range r.Headers {
		if id := string(h.Value); h.Key == "ce_id" && w.first[id].IsZero() {
			w.first[id] = time.Now()
		}
	}
}

// sees waits for a message and returns when it was seen.
func (w *watch) sees(id string, timeout time.Duration) time.Time {
	w.t.Helper()
	var at time.Time
	eventually(w.t, timeout, "message "+id+" is in the topic", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		at = w.first[id]
		return !at.IsZero()
	})
	return at
}

func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.first)
}
