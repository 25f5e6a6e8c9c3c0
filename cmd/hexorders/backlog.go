package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hexorders/ports"
)

// Whether anybody publishes: a relay that has died gives no sign by itself, and orders are taken without one.

// backlogOldAfter is long beside the five seconds or so in which another relay takes over.
const backlogOldAfter = 10 * time.Second

// publishing says who publishes, and since when a message waits although nobody does.
type publishing struct {
	known   bool          // the store can say who holds the lease
	holder  string        // "" when no relay does
	waiting ports.Message // the first one after the checkpoint, if it is old and there is no holder
}

// stuck says what is wrong, nil if nothing is.
func (p publishing) stuck() error {
	if p.waiting.ID == "" {
		return nil
	}
	return fmt.Errorf("nobody publishes: no relay holds the lease, and event %s has waited since %s: start a process with the role relay",
		p.waiting.ID, p.waiting.OccurredAt.UTC().Format(time.RFC3339))
}

func whoPublishes(ctx context.Context, s *storage) (p publishing, err error) {
	lease, ok := s.lease.(ports.LeaseHolder)
	if !ok {
		return p, nil
	}
	p.known = true
	if p.holder, err = lease.Holder(ctx); err != nil || p.holder != "" {
		return p, err
	}
	first, err := firstWaiting(ctx, s.outbox)
	if err == nil && time.Since(first.OccurredAt) > backlogOldAfter {
		p.waiting = first
	}
	return p, err
}

// firstWaiting is the first message after the checkpoint, an empty one if none comes within a second.
func firstWaiting(ctx context.Context, outbox ports.Outbox) (first ports.Message, err error) {
	checkpoint, err := outbox.Position(ctx)
	if err != nil {
		return first, err
	}
	found := errors.New("found")
	reading, cancel := context.WithCancel(ctx) // without a deadline, which MongoDB's driver compares with how long it may wait
	defer cancel()
	defer time.AfterFunc(time.Second, cancel).Stop()
	err = outbox.Tail(reading, checkpoint, func(m ports.Message, _ ports.Position) error {
		first = m
		return found
	})
	if errors.Is(err, found) || reading.Err() != nil && ctx.Err() == nil {
		err = nil
	}
	return first, err
}

// checkRelay is doctor's line. Serving works without a relay.
func checkRelay(ctx context.Context, c *Config, s *storage) finding {
	f := finding{what: "relay", note: true, good: "in the process that serves"}
	if !c.Store.shared {
		return f
	}
	reading, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	p, err := whoPublishes(reading, s)
	switch {
	case err != nil:
		f.err = err
	case !p.known:
		f.good = "the store does not say who publishes"
	case p.holder != "":
		f.good = p.holder + " holds the lease and publishes"
	default:
		f.good, f.err = "no relay holds the lease, and no event has waited for long", p.stuck()
	}
	return f
}
