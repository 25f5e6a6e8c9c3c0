package inproc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	after, known, err := begin(ctx, resume)
	if err == nil && !known {
		after, err = s.log.Committed(ctx, group)
	}
	if err != nil {
		return err
	}
	return s.follow(ctx, after, handle, func(last int64) error {
		// Also when ctx has ended meanwhile: what was handled counts.
		return s.log.Commit(context.WithoutCancel(ctx), group, last)
	})
}

// Replay implements ports.Replayable. A nil resume knows nothing.
func (s *Subscriber) Replay(ctx context.Context, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	after, _, err := begin(ctx, resume)
	if err != nil {
		return err
	}
	return s.follow(ctx, after, handle, func(int64) error { return nil })
}

// Ahead implements ports.Replayable. It counts offsets, and not all of them may have a message.
func (s *Subscriber) Ahead(ctx context.Context, from []ports.Place) (map[string]int64, error) {
	after, _, err := offsetIn(from)
	if err != nil {
		return nil, err
	}
	end, err := s.log.End(ctx)
	if err != nil || end <= after {
		return map[string]int64{"": 0}, err
	}
	_, first, err := s.log.Read(ctx, after, 1) // older ones may have been dropped
	return map[string]int64{"": end - first + 1}, err
}

// Newest returns the place after the newest message, for a replay of what comes.
func (s *Subscriber) Newest(ctx context.Context) ([]ports.Place, error) {
	end, err := s.log.End(ctx)
	return []ports.Place{placeAt(end)}, err
}

func (s *Subscriber) turn(group string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns[group] == nil {
		s.turns[group] = make(chan struct{}, 1)
	}
	return s.turns[group]
}

// begin asks resume for the offset to go on from.
func begin(ctx context.Context, resume ports.Resume) (after int64, known bool, err error) {
	if resume == nil {
		return 0, false, ctx.Err()
	}
	places, err := resume(ctx, []string{""})
	if err != nil {
		return 0, false, fmt.Errorf("load the place to resume from: %w", err)
	}
	return offsetIn(places)
}

// offsetIn parses the place of the only shard.
func offsetIn(places []ports.Place) (offset int64, known bool, err error) {
	for _, p := range places {
		if p.Next != "" {
			offset, err = strconv.ParseInt(p.Next, 10, 64)
		}
		if p.Shard != "" || err != nil || offset < 0 {
			return 0, false, fmt.Errorf("the place %q of shard %q is of another broker, not of the in-process one", p.Next, p.Shard)
		}
		known = true
	}
	return offset, known, nil
}

func placeAt(offset int64) ports.Place { return ports.Place{Next: strconv.FormatInt(offset, 10)} }

// follow hands what comes after an offset to handle, and then commits it.
func (s *Subscriber) follow(ctx context.Context, after int64, handle func(context.Context, ports.Batch) error,
	commit func(last int64) error) error {
	for first, busy := true, false; ; first = false {
		if busy {
			if err := s.linger(ctx, after); err != nil {
				return err
			}
		}
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
		if last != after {
			if err := commit(last); err != nil {
				return err
			}
		}
		after, busy = last, len(batch.Messages) >= busyFrom
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
func (s *Subscriber) read(ctx context.Context, after int64, first bool) (batch ports.Batch, last int64, err error) {
	if first {
		if end, err := s.log.End(ctx); err != nil || end <= after {
			return ports.Batch{CaughtUp: []string{""}}, after, err
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
		batch.Messages = append(batch.Messages, ports.Delivery{Message: m, Place: placeAt(next)})
	}
	end, err := s.log.End(ctx)
	if err != nil {
		return ports.Batch{}, 0, err
	}
	if end <= last {
		batch.CaughtUp = []string{""}
	}
	return batch, last, nil
}
