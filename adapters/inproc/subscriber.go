package inproc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hexorders/ports"
)

// idleAfter is how long a subscriber waits for a message before it says that there is none.
const idleAfter = time.Second

// Subscriber implements ports.Subscriber. The topic is one partition, 0, so one member of a group works at a time and the
// others wait for it to leave. It knows only the members that subscribe through it: a member in
// another process gets every message too.
type Subscriber struct {
	log Log

	mu    sync.Mutex
	turns map[string]chan struct{} // by group; holds one while a member works
}

var _ ports.Subscriber = (*Subscriber)(nil)

func NewSubscriber(log Log) *Subscriber {
	return &Subscriber{log: log, turns: make(map[string]chan struct{})}
}

// Subscribe implements ports.Subscriber. A nil resume knows nothing.
func (s *Subscriber) Subscribe(ctx context.Context, group string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	if group != "" {
		turn := s.turn(group)
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	after, err := s.begin(ctx, group, resume)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		batch, last, err := s.read(ctx, after, first)
		if err != nil {
			return err
		}
		if len(batch.Messages) == 0 && len(batch.CaughtUp) == 0 {
			continue
		}
		if err := handle(ctx, batch); err != nil {
			return err
		}
		if last == after || group == "" {
			after = last
			continue
		}
		// Also when ctx has ended meanwhile: what was handled counts.
		if err := s.log.Commit(context.WithoutCancel(ctx), group, last); err != nil {
			return err
		}
		after = last
	}
}

func (s *Subscriber) turn(group string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns[group] == nil {
		s.turns[group] = make(chan struct{}, 1)
	}
	return s.turns[group]
}

func (s *Subscriber) begin(ctx context.Context, group string, resume ports.Resume) (after int64, err error) {
	if resume != nil {
		known, err := resume(ctx, []int{0})
		if err != nil {
			return 0, fmt.Errorf("read the position to resume from: %w", err)
		}
		if after, ok := known[0]; ok {
			return after, nil
		}
	}
	if group == "" {
		return 0, ctx.Err()
	}
	return s.log.Committed(ctx, group)
}

// read waits for messages, for idleAfter at most; at the beginning not at all when there are none.
func (s *Subscriber) read(ctx context.Context, after int64, first bool) (batch ports.Batch, last int64, err error) {
	end, err := s.log.End(ctx)
	if err != nil {
		return ports.Batch{}, 0, err
	}
	if first && end <= after {
		return ports.Batch{CaughtUp: []int{0}}, after, nil
	}
	waiting, cancel := context.WithTimeout(ctx, idleAfter)
	defer cancel()
	messages, last, err := s.log.Read(waiting, after, ports.MaxBatch)
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		last = after
	default:
		return ports.Batch{}, 0, err
	}
	for i, m := range messages {
		// Only the last one's offset is known. Where there are gaps between them this is lower than a message's own: a
		// reader that goes on from it gets that message again, and misses none.
		next := after + int64(i) + 1
		if i == len(messages)-1 {
			next = last
		}
		batch.Messages = append(batch.Messages, ports.Delivery{Message: m, Next: next})
	}
	if end, err = s.log.End(ctx); err != nil {
		return ports.Batch{}, 0, err
	}
	if end <= last {
		batch.CaughtUp = []int{0}
	}
	return batch, last, nil
}

// Ends implements ports.Subscriber.
func (s *Subscriber) Ends(ctx context.Context) (map[int]int64, error) {
	end, err := s.log.End(ctx)
	if err != nil {
		return nil, err
	}
	return map[int]int64{0: end}, nil
}
