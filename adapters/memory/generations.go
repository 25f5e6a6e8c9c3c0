package memory

import (
	"context"
	"fmt"
	"time"

	"hexorders/ports"
)

// generations are the copies of a view, by number.
type generations struct {
	copies map[int]*generation
	live   int
	shadow int // 0 when there is none
	newest int // also once it was discarded: no number is given twice
}

func (v *Views) Live(ctx context.Context, view ports.View) (ports.Generation, error) {
	if err := ctx.Err(); err != nil {
		return ports.Generation{}, fmt.Errorf("live generation of %s: %w", view, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return ports.Generation{View: view, Number: v.of(view).live}, nil
}

func (v *Views) Shadow(ctx context.Context, view ports.View) (ports.Generation, error) {
	if err := ctx.Err(); err != nil {
		return ports.Generation{}, fmt.Errorf("shadow of %s: %w", view, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.of(view)
	if all.shadow == 0 {
		all.newest++
		all.shadow = all.newest
		all.copies[all.shadow] = newGeneration()
	}
	return ports.Generation{View: view, Number: all.shadow}, nil
}

func (v *Views) Swap(ctx context.Context, shadow ports.Generation) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("swap %s in: %w", shadow, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.of(shadow.View)
	if all.shadow == 0 || shadow.Number != all.shadow {
		return fmt.Errorf("swap %s in: %w", shadow, ports.ErrConflict)
	}
	delete(all.copies, all.live)
	all.live, all.shadow = all.shadow, 0
	return nil
}

func (v *Views) Discard(ctx context.Context, view ports.View) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("discard the shadow of %s: %w", view, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.of(view)
	delete(all.copies, all.shadow)
	all.shadow = 0
	return nil
}

func newGeneration() *generation {
	return &generation{
		positions: map[int]ports.PositionChange{}, received: map[string]time.Time{}, marks: map[string]ports.Mark{},
		held: map[string]heldMessage{}, summaries: map[string]ports.Summary{}, activity: map[string]ports.Activity{},
		timeline: map[string]map[int]ports.TimelineEntry{},
	}
}

// The next three need the lock to be held.

// of are the generations of a view, which begin with an empty one.
func (v *Views) of(view ports.View) *generations {
	if v.generations[view] == nil {
		v.generations[view] = &generations{live: 1, newest: 1, copies: map[int]*generation{1: newGeneration()}}
	}
	return v.generations[view]
}

func (v *Views) live(view ports.View) *generation { return v.of(view).copies[v.of(view).live] }

// read is nothing at all for a generation that is neither live nor the shadow: it is not there any more, or not yet.
func (v *Views) read(g ports.Generation) *generation {
	if c := v.of(g.View).copies[g.Number]; c != nil {
		return c
	}
	return &generation{}
}
