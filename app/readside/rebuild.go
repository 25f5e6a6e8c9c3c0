package readside

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// RebuildProgress is how far a rebuild is, in messages.
type RebuildProgress struct {
	Done, Total int64 // dealt with, by this call and those before it, and all there are; an estimate
	Messages    int64 // delivered to this call
}

var (
	// ErrBehind says that a rebuilt read model was not swapped in, because it is behind the live one with some orders:
	// messages are no longer in the topic, or cannot be applied any more. The shadow stays as it is.
	ErrBehind = errors.New("the rebuilt read model is behind the live one")
	// ErrIncomplete says that the rebuilt read model would lack events for ever, and which.
	ErrIncomplete = errors.New("the topic does not have all events")
	// ErrNoTopic says that there is nothing to rebuild from.
	ErrNoTopic = errors.New("the topic does not exist, so the read model cannot be rebuilt from it")
	// ErrNotReplayable says that the broker does not keep its messages.
	ErrNotReplayable = errors.New("the broker does not deliver old messages again, so the read model cannot be rebuilt from it")
)

// Rebuild makes the whole read model again from the first message, in a generation beside the live one, and swaps it in
// once it has applied everything there is. The live one is read and fed meanwhile. The next call goes on from where one
// that was stopped or killed has come to; to begin again, discard the shadow first. Memory is bounded, however long the
// topic.
//
// report is called after each batch, on one goroutine. Rebuild returns nil once the rebuilt read model is live, ctx's
// error when ctx ends before, ErrBehind, ErrIncomplete, ErrNoTopic or ErrNotReplayable; no other error ends it. It joins no
// group, so that no engine gets less.
func Rebuild(ctx context.Context, o Options, report func(RebuildProgress)) error {
	topic, ok := o.Subscriber.(ports.Replayable)
	_, ends := o.Subscriber.(ports.TopicEnd)
	if !ok || o.FromStore && (!ends || o.Orders == nil) {
		return ErrNotReplayable
	}
	r := &rebuild{Engine: New(o), topic: topic, report: report}
	waits := r.newBackoff()
	return r.retry(ctx, waits, func() error {
		err := r.build(ctx, waits.Reset)
		if errors.Is(err, ErrBehind) || errors.Is(err, ErrIncomplete) || errors.Is(err, ErrNoTopic) {
			return backoff.Permanent(err)
		}
		return err
	}, func(err error, wait time.Duration) {
		r.options.Logger.Warn("the rebuild was interrupted; going on", "wait", wait, "err", err)
	})
}

type rebuild struct {
	*Engine
	topic    ports.Replayable
	report   func(RebuildProgress)
	shadow   ports.Generation // Number 0 before the first
	messages int64
}

var errCaughtUp = errors.New("the shadow includes everything there is")

// build feeds the shadow until it includes everything, and swaps it in. nil means that it is live.
func (r *rebuild) build(ctx context.Context, worked func()) (err error) {
	if r.shadow.Number != 0 {
		// Another rebuild of the same shadow, or a Swap whose response was lost, may have been faster.
		live, err := r.options.Store.Live(ctx)
		if err != nil || live.Number >= r.shadow.Number {
			return err
		}
	}
	if r.shadow, err = r.options.Store.Shadow(ctx); err != nil {
		return err
	}
	if err := r.feedFromStore(ctx); err != nil {
		return err
	}
	if err := r.feed(ctx, worked); err != nil {
		return err
	}
	if err := r.prove(ctx, worked); err != nil {
		return err
	}
	r.options.Logger.Info("the read model was rebuilt", "generation", r.shadow.Number, "messages", r.messages)
	return r.options.Store.Swap(ctx, r.shadow)
}

// feed returns nil once every shard has been read to its end.
func (r *rebuild) feed(ctx context.Context, worked func()) error {
	all, err := r.topic.Ahead(ctx, nil)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return ErrNoTopic
	}
	places, err := r.options.Store.Places(ctx, r.shadow)
	if err != nil {
		return err
	}
	ahead, err := r.topic.Ahead(ctx, places)
	if err != nil {
		return err
	}
	p := RebuildProgress{Done: max(0, sum(all)-sum(ahead)), Total: sum(all)}
	c := newConsumer(r.Engine, r.shadow, r.current)
	err = r.topic.Replay(ctx, c.resume, func(ctx context.Context, b ports.Batch) error {
		if len(b.Gaps) > 0 {
			return r.refuse(ctx, b.Gaps[0], len(places) > 0)
		}
		if err := c.take(ctx, b); err != nil {
			return err
		}
		worked()
		for _, p := range b.CaughtUp {
			delete(all, p.Shard)
		}
		p.Done += int64(len(b.Messages))
		if p.Total = max(p.Total, p.Done); len(all) == 0 {
			p.Done = p.Total
		}
		r.messages += int64(len(b.Messages))
		p.Messages = r.messages
		r.report(p)
		if len(all) == 0 {
			return errCaughtUp
		}
		return nil
	})
	switch {
	case errors.Is(err, errCaughtUp):
		return nil
	case err == nil:
		return errEnded
	}
	return err
}

// current is the shadow, unless it has been swapped in or discarded.
func (r *rebuild) current(ctx context.Context) (ports.Generation, error) {
	live, err := r.options.Store.Live(ctx)
	if err != nil || live.Number >= r.shadow.Number {
		return live, err
	}
	return r.options.Store.Shadow(ctx)
}

func sum(messages map[string]int64) (total int64) {
	for _, n := range messages {
		total += n
	}
	return total
}
