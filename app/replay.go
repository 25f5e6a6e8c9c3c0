package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hexorders/ports"
)

// ReplayProgress is how far a replay is.
type ReplayProgress struct {
	Done, Total int64 // offsets dealt with, by this call and those before it, and all there are at the moment
	Messages    int64 // delivered to this call
}

// ErrBehind says that a view was built anew and not swapped in, because it knows less of some orders than the live one:
// messages are no longer in the topic, or cannot be applied any more. The shadow is kept.
var ErrBehind = errors.New("the view that was built anew is behind the live one")

// Replay builds a view anew from the first event, in a generation beside the live one, and swaps it in once it knows
// everything there is. The live generation is read and fed meanwhile. The next call goes on from where one that was
// stopped or killed left off; to begin anew, discard the shadow first. Memory is bounded, however long the topic.
//
// report is called after each batch, on one goroutine. Replay returns nil once the view is swapped, ctx's error when ctx
// ends before, and ErrBehind; no other error ends it. It needs no group, so that no projection gets less.
func Replay(ctx context.Context, o ProjectionOptions, report func(ReplayProgress)) error {
	r := &replay{Projection: NewProjection(o), report: report}
	waits := newBackoff(r.MaxBackoff)
	for {
		err := r.build(ctx, waits.Reset)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrBehind) {
			return err
		}
		wait := waits.NextBackOff()
		r.Logger.Warn("the replay was interrupted; going on", "wait", wait, "err", err)
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

type replay struct {
	*Projection
	report   func(ReplayProgress)
	shadow   ports.Generation
	messages int64
}

var errCaughtUp = errors.New("the shadow knows everything there is")

// build feeds the shadow until it knows everything, and swaps it in. nil means that it is live.
func (r *replay) build(ctx context.Context, worked func()) (err error) {
	if r.shadow != (ports.Generation{}) {
		// Another replay of the same shadow, or a Swap whose answer was lost, may have been faster.
		live, err := r.Generations.Live(ctx, r.View)
		if err != nil || live.Number >= r.shadow.Number {
			return err
		}
	}
	if r.shadow, err = r.Generations.Shadow(ctx, r.View); err != nil {
		return err
	}
	c := newConsumer(r.Projection, r.shadow, r.current)
	missing, err := r.Subscriber.Ends(ctx)
	if err != nil {
		return err
	}
	total := sum(missing)
	err = r.Subscriber.Subscribe(ctx, "", c.resume, func(ctx context.Context, b ports.Batch) error {
		if err := c.take(ctx, b); err != nil {
			return err
		}
		worked()
		positions, err := c.knownPositions(ctx)
		if err != nil {
			return err
		}
		r.messages += int64(len(b.Messages))
		done := sum(positions)
		total = max(total, done)
		r.report(ReplayProgress{done, total, r.messages})
		for _, p := range b.CaughtUp {
			delete(missing, p)
		}
		if len(missing) == 0 {
			return errCaughtUp
		}
		return nil
	})
	if !errors.Is(err, errCaughtUp) {
		return err
	}
	if err := r.compare(ctx); err != nil {
		return err
	}
	r.Logger.Info("the view was built anew", "generation", r.shadow.Number, "messages", r.messages)
	return r.Generations.Swap(ctx, r.shadow)
}

// compare looks at the orders of which the shadow keeps messages back: the live view must not be further with them.
func (r *replay) compare(ctx context.Context) error {
	live, err := r.Generations.Live(ctx, r.View)
	if err != nil {
		return err
	}
	parked, err := r.Inbox.Parked(ctx, r.shadow)
	if err != nil {
		return err
	}
	behind, example := 0, ""
	for chunk := range slices.Chunk(parked, ports.MaxBatch) {
		var ids []string
		for _, o := range chunk {
			ids = append(ids, o.OrderID)
		}
		were, _, err := r.Inbox.Load(ctx, live, ids)
		if err != nil {
			return err
		}
		are, _, err := r.Inbox.Load(ctx, r.shadow, ids)
		if err != nil {
			return err
		}
		for _, o := range chunk {
			if are[o.OrderID].Version < were[o.OrderID].Version {
				behind++
				example = fmt.Sprintf("order %s at version %d: %s", o.OrderID, o.First, o.Reason)
			}
		}
	}
	if behind > 0 {
		return fmt.Errorf("%w with %d of the orders, such as %s", ErrBehind, behind, example)
	}
	return nil
}

// current is the shadow, unless it has been swapped in or discarded.
func (r *replay) current(ctx context.Context) (ports.Generation, error) {
	live, err := r.Generations.Live(ctx, r.View)
	if err != nil || live.Number >= r.shadow.Number {
		return live, err
	}
	return r.Generations.Shadow(ctx, r.View)
}

func sum(offsets map[int]int64) (total int64) {
	for _, offset := range offsets {
		total += offset
	}
	return total
}
