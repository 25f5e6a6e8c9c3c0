package inproc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"hexorders/ports"
)

const (
	// idleAfter is how long a subscriber waits for a message before it says that there is none.
	idleAfter = time.Second
	// lingerFor is how long after a batch the next one may begin while messages keep coming, so that it is worth a
	// transaction. A batch of worthIt messages does not wait, nor does one after a batch of fewer than busyFrom.
	lingerFor = 25 * time.Millisecond
	worthIt   = 500
	busyFrom  = 4
)

// Subscriber implements ports.Subscriber and ports.Replayable. The topic is one shard, "", so one member of a group works
// at a time and the others wait for it to leave. It knows only the members that subscribe through it: a member in
// another process gets every message too. A place is an offset of the Log.
type Subscriber struct {
	log Log

	mu    sync.Mutex
	turns map[string]chan struct{} // by group; holds one while a member works
}

var (
	_ ports.Subscriber = (*Subscriber)(nil)
	_ ports.Replayable = (*Subscriber)(nil)
)

// errNoGroup is the error of Subscribe without a group.
var errNoGroup = errors.New("a subscription needs a group; Replay reads without one")

func NewSubscriber(log Log) *Subscriber {
	return &Subscriber{log: log, turns: make(map[string]chan struct{})}
}

// Subscribe implements ports.Subscriber. A nil resume knows nothing.
func (s *Subscriber) Subscribe(ctx context.Context, group string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	if group == "" {
		return errNoGroup
	}
	turn := s.turn(group)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	committed, err := s.log.Committed(ctx, group)
	if err != nil {
		return err
	}
	return s.follow(ctx, resume, committed, handle, func(last int64) error {
		// Also when ctx has ended meanwhile: what was handled counts.
		return s.log.Commit(context.WithoutCancel(ctx), group, last)
	})
}

// Replay implements ports.Replayable. A nil resume knows nothing.
func (s *Subscriber) Replay(ctx context.Context, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	return s.follow(ctx, resume, 0, handle, func(int64) error { return nil })
}

// Ahead implements ports.Replayable. It counts offsets, and not all of them may have a message.
func (s *Subscriber) Ahead(ctx context.Context, from []ports.Place) (map[string]int64, error) {
	topic, err := s.topic(ctx)
	if err != nil {
		return nil, err
	}
	after, _, err := topic.Resume(from)
	if err != nil || topic.End <= after {
		return map[string]int64{"": 0}, err
	}
	_, first, err := s.log.Read(ctx, after, 1)
	return map[string]int64{"": topic.End - first + 1}, err
}

// Newest implements ports.TopicEnd.
func (s *Subscriber) Newest(ctx context.Context) ([]ports.Place, error) {
	topic, err := s.topic(ctx)
	return []ports.Place{topic.At(topic.End)}, err
}

// topic is what the log has now.
func (s *Subscriber) topic(ctx context.Context) (ports.ShardRange, error) {
	id, before, err := s.log.Begin(ctx)
	if err != nil {
		return ports.ShardRange{}, err
	}
	end, err := s.log.End(ctx)
	return ports.ShardRange{Log: "inproc/" + id, First: before, End: max(end, before)}, err
}

func (s *Subscriber) turn(group string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns[group] == nil {
		s.turns[group] = make(chan struct{}, 1)
	}
	return s.turns[group]
}

// begin asks resume for the place to go on from. Without one that is where the group came to.
func (s *Subscriber) begin(
	ctx context.Context, resume ports.Resume, committed int64,
) (topic ports.ShardRange, places []ports.Place, err error) {
	if resume != nil {
		if places, err = resume(ctx, []string{""}); err != nil {
			return topic, nil, fmt.Errorf("load the place to resume from: %w", err)
		}
	}
	topic, err = s.topic(ctx)
	if committed > 0 && !slices.ContainsFunc(places, func(p ports.Place) bool { return p.Shard == "" }) {
		places = append(slices.Clone(places), topic.At(committed))
	}
	return topic, places, err
}

// follow hands what comes after a place to handle, and then commits it.
func (s *Subscriber) follow(ctx context.Context, resume ports.Resume, committed int64, handle func(context.Context, ports.Batch) error,
	commit func(last int64) error) error {
	topic, places, err := s.begin(ctx, resume, committed)
	if err != nil {
		return err
	}
	after, gap, err := topic.Resume(places)
	if err != nil {
		return err
	}
	for first, busy := true, false; ; first = false {
		if busy {
			if err := s.linger(ctx, after); err != nil {
				return err
			}
		}
		batch, last, err := s.read(ctx, topic, after, first)
		if err != nil {
			return err
		}
		if last-after > int64(len(batch.Messages)) { // offsets without a message, or messages that were deleted meanwhile
			if topic, err = s.topic(ctx); err == nil && gap == nil {
				_, gap, err = topic.Resume([]ports.Place{topic.At(after)})
			}
			if err != nil {
				return err
			}
		}
		if gap != nil {
			batch.Gaps = []ports.Gap{*gap}
		}
		if len(batch.Messages) == 0 && len(batch.CaughtUp) == 0 && gap == nil {
			continue
		}
		if err := handle(ctx, batch); err != nil {
			return err
		}
		if last != after {
			if err := commit(last); err != nil {
				return err
			}
		}
		after, gap, busy = last, nil, len(batch.Messages) >= busyFrom
	}
}

// linger waits for lingerFor, unless there is enough for a batch already.
func (s *Subscriber) linger(ctx context.Context, after int64) error {
	if end, err := s.log.End(ctx); err != nil || end-after >= worthIt {
		return err
	}
	wait := time.NewTimer(lingerFor)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read waits for messages, for idleAfter at most; at the beginning not at all when there are none.
func (s *Subscriber) read(ctx context.Context, topic ports.ShardRange, after int64, first bool) (batch ports.Batch, last int64, err error) {
	if first {
		if end, err := s.log.End(ctx); err != nil || end <= after {
			return ports.Batch{CaughtUp: []ports.Place{topic.At(after)}}, after, err
		}
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
		batch.Messages = append(batch.Messages, ports.Delivery{Message: m, Place: topic.At(next)})
	}
	end, err := s.log.End(ctx)
	if err != nil {
		return ports.Batch{}, 0, err
	}
	if end <= last {
		batch.CaughtUp = []ports.Place{topic.At(last)}
	}
	return batch, last, nil
}
