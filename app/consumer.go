package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"hexorders/ports"
)

// errReplaced ends a subscription, which has come from somewhere else than where the view goes on.
var errReplaced = errors.New("the view was replaced")

// consumer feeds one generation of a view. What it remembers of the store is a guess that each Commit proves: when another
// consumer has changed it meanwhile, it forgets all, reads again, and works the batch out anew.
type consumer struct {
	*Projection
	generation ports.Generation
	current    func(context.Context) (ports.Generation, error) // the generation to feed
	looked     time.Time                                       // when current was last asked
	orders     *lru.Cache[string, known]                       // seen lately, by id
	asOf       map[int]time.Time                               // by partition, as far as this consumer has committed it

	mu        sync.Mutex    // a subscriber may ask where to resume while it delivers
	positions map[int]int64 // of the view, and at least so far has this subscription read
	doubted   bool          // they have to be read again
}

func newConsumer(p *Projection, g ports.Generation, current func(context.Context) (ports.Generation, error)) *consumer {
	orders, _ := lru.New[string, known](p.Remember) // fails only for a size below 1
	return &consumer{
		Projection: p, generation: g, current: current, looked: time.Now(),
		orders: orders, asOf: map[int]time.Time{}, positions: map[int]int64{}, doubted: true,
	}
}

// resume is the view's answer to a subscriber. It knows every partition: one that the view has nothing of begins at 0,
// wherever the group came to on behalf of another generation.
func (c *consumer) resume(ctx context.Context, partitions []int) (map[int]int64, error) {
	positions, err := c.Inbox.Positions(ctx, c.generation)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	from := make(map[int]int64, len(partitions))
	for _, p := range partitions {
		from[p] = positions[p]
		c.positions[p] = positions[p]
	}
	return from, nil
}

// take makes a batch take effect, however long that takes. Its only errors are the end of ctx and errReplaced.
func (c *consumer) take(ctx context.Context, b ports.Batch) error {
	at := c.Now()
	waits := newBackoff(c.MaxBackoff)
	for lost := 0; ; {
		err := c.try(ctx, b, at, lost > 0)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errReplaced):
			return err
		case errors.Is(err, ports.ErrConflict):
			lost++
			c.conflicts.Add(1)
			c.Logger.Debug("another consumer was faster; reading again", "attempt", lost, "err", err)
			c.forget()
			if lost == 1 {
				continue
			}
		default:
			c.failed.Add(1)
			c.Logger.Warn("a batch could not be committed; trying again", "messages", len(b.Messages), "err", err)
		}
		if err := pause(ctx, waits.NextBackOff()); err != nil {
			return err
		}
	}
}

// try makes one transaction of a batch. With careful it believes nothing but what it has read.
func (c *consumer) try(ctx context.Context, b ports.Batch, at time.Time, careful bool) error {
	if err := c.look(ctx); err != nil {
		return err
	}
	positions, err := c.knownPositions(ctx)
	if err != nil {
		return err
	}
	messages := make([]ports.Message, len(b.Messages))
	for i, d := range b.Messages {
		messages[i] = d.Message
	}
	w, err := c.workOut(ctx, messages, careful)
	if err != nil {
		return err
	}
	change := w.change()
	change.Positions = c.moves(b, positions, at)
	if len(change.Positions) > 0 || len(change.Marks) > 0 {
		if err := c.Inbox.Commit(ctx, c.generation, change); err != nil {
			return err
		}
	}
	c.committed(w, change)
	return nil
}

// look ends the subscription of a generation that another one has replaced.
func (c *consumer) look(ctx context.Context) error {
	if time.Since(c.looked) < c.LookEvery {
		return nil
	}
	generation, err := c.current(ctx)
	if err != nil {
		return err
	}
	if generation != c.generation {
		return errReplaced
	}
	parked, err := c.Inbox.Parked(ctx, c.generation)
	if err != nil {
		return err
	}
	c.parkedNow(parked)
	c.looked = time.Now()
	return nil
}

// knownPositions are the view's. They only grow, unless the view was dropped or restored from a backup: then what was read
// since has to be read again.
func (c *consumer) knownPositions(ctx context.Context) (map[int]int64, error) {
	c.mu.Lock()
	known, doubted := maps.Clone(c.positions), c.doubted
	c.mu.Unlock()
	if !doubted {
		return known, nil
	}
	positions, err := c.Inbox.Positions(ctx, c.generation)
	if err != nil {
		return nil, err
	}
	for p, at := range known {
		if positions[p] < at {
			return nil, errReplaced
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.positions, positions)
	c.doubted = false
	return maps.Clone(c.positions), nil
}

// moves are the partitions' new positions. They never go back: what lies before a position has been dealt with, also
// when it is delivered again. Neither does AsOf, as far as this consumer knows.
func (c *consumer) moves(b ports.Batch, positions map[int]int64, at time.Time) []ports.PositionChange {
	var moves []ports.PositionChange
	index := make(map[int]int, len(b.CaughtUp))
	move := func(partition int) *ports.PositionChange {
		i, ok := index[partition]
		if !ok {
			i = len(moves)
			index[partition] = i
			from := positions[partition]
			moves = append(moves, ports.PositionChange{Partition: partition, From: from, To: from})
		}
		return &moves[i]
	}
	for _, d := range b.Messages {
		if m := move(d.Partition); d.Next > m.To {
			m.To, m.AsOf = d.Next, d.OccurredAt
			if at.Before(m.AsOf) { // by another machine's clock
				m.AsOf = at
			}
		}
	}
	for _, p := range b.CaughtUp {
		move(p).AsOf = at
	}
	for i, m := range moves {
		moves[i].AsOf = later(m.AsOf, c.asOf[m.Partition])
	}
	return slices.DeleteFunc(moves, func(m ports.PositionChange) bool {
		return m.To == m.From && !slices.Contains(b.CaughtUp, m.Partition) // only repeats
	})
}

// committed remembers what a batch has become.
func (c *consumer) committed(w *work, change ports.Change) {
	c.mu.Lock()
	for _, m := range change.Positions {
		c.positions[m.Partition] = m.To
		c.asOf[m.Partition] = m.AsOf
	}
	c.mu.Unlock()
	for _, o := range w.orders {
		c.orders.Add(o.mark.OrderID, known{o.mark, o.summary})
	}
	c.count(w, change)
	c.report(w)
}

func (c *consumer) forget() {
	c.orders.Purge()
	c.looked = time.Time{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubted = true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// known is what is remembered of an order that was seen lately.
type known struct {
	mark    ports.Mark
	summary ports.Summary
}

func newBackoff(longest time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = min(50*time.Millisecond, longest)
	b.MaxInterval = longest
	b.Multiplier = 2
	return b
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
