package memory

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"hexorders/ports"
)

// data is what all handles of one read model share: its generations, by number.
type data struct {
	mu     sync.Mutex
	copies map[int]*generation
	live   int
	shadow int // 0 when there is none
	newest int // also once it was discarded: no number is used again

	failCommit error // what every commit fails with; for tests of what a failed commit leaves behind
}

// NewReadModel makes an empty read model with these tables.
func NewReadModel(tables []ports.Table) *ReadModel {
	r := (&ReadModel{data: &data{copies: map[int]*generation{}}}).Again(tables)
	r.live = r.begin()
	return r
}

// Again is another handle of the same read model: that of a process whose program has these tables.
func (r *ReadModel) Again(tables []ports.Table) *ReadModel {
	byName := map[string]ports.Table{}
	for _, t := range tables {
		byName[t.Name] = t
	}
	return &ReadModel{tables: byName, shapes: ports.ShapesOf(tables), data: r.data}
}

func (r *ReadModel) Live(ctx context.Context) (ports.Generation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.describe(r.live), ctx.Err()
}

func (r *ReadModel) Shadow(ctx context.Context) (ports.Generation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return ports.Generation{}, fmt.Errorf("shadow generation: %w", err)
	}
	if r.shadow != 0 && !maps.Equal(r.copies[r.shadow].shapes, r.shapes) {
		r.discard()
	}
	if r.shadow == 0 {
		r.shadow = r.begin()
	}
	return r.describe(r.shadow), nil
}

func (r *ReadModel) Swap(ctx context.Context, shadow ports.Generation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("swap generation %d in: %w", shadow.Number, err)
	}
	if r.shadow == 0 || shadow.Number != r.shadow {
		return fmt.Errorf("swap generation %d in: %w", shadow.Number, ports.ErrConflict)
	}
	delete(r.copies, r.live)
	r.live, r.shadow = r.shadow, 0
	return nil
}

func (r *ReadModel) Discard(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("discard the shadow: %w", err)
	}
	r.discard()
	return nil
}

// The next four need the lock to be held.

// begin makes an empty generation with all tables of the program.
func (r *ReadModel) begin() int {
	r.newest++
	g := &generation{
		views: map[string]rows{}, shapes: r.shapes, places: map[string]ports.PlaceChange{}, gaps: map[string]ports.Gap{},
		progress: map[string]ports.Progress{}, buffered: map[ports.EventRef]bufferedMessage{},
	}
	r.copies[r.newest] = g
	return r.newest
}

func (r *ReadModel) discard() {
	delete(r.copies, r.shadow)
	r.shadow = 0
}

func (r *ReadModel) describe(number int) ports.Generation {
	return ports.Generation{Number: number, Views: r.copies[number].shapes.Usable(r.shapes)}
}

// read is an empty generation for one that is neither live nor the shadow: it is not there any more, or not yet.
func (r *ReadModel) read(g ports.Generation) *generation {
	if c := r.copies[g.Number]; c != nil {
		return c
	}
	return &generation{}
}
