package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hexorders/ports"
)

// ReadModel is a ports.ReadModelStore; see also generations.go and rows.go.
type ReadModel struct {
	tables map[string]ports.Table // of the program, by name
	shapes ports.Shapes           // theirs
	*data
}

// generation is one copy of the read model.
type generation struct {
	views    map[string]rows
	shapes   ports.Shapes                 // of the views
	places   map[string]ports.PlaceChange // the last one of each shard
	gaps     map[string]ports.Gap         // also
	progress map[string]ports.Progress
	buffered map[ports.EventRef]bufferedMessage
}

type bufferedMessage struct {
	ports.BufferedMessage
	since time.Time
}

var _ ports.ReadModelStore = (*ReadModel)(nil)

func (r *ReadModel) Row(ctx context.Context, view, key string) (ports.Row, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isBuilt(view) {
		return ports.Row{}, fmt.Errorf("row %q of %s: %w", key, view, ports.ErrNotBuilt)
	}
	return r.copies[r.live].views[view].get(key), ctx.Err()
}

func (r *ReadModel) List(ctx context.Context, q ports.Query) (ports.RowPage, error) {
	if _, found := r.tables[q.View].IndexFor(q); !found {
		return ports.RowPage{}, fmt.Errorf("list %s: no index serves %+v", q.View, q)
	}
	after, err := q.After()
	if err != nil {
		return ports.RowPage{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isBuilt(q.View) {
		return ports.RowPage{}, fmt.Errorf("list %s: %w", q.View, ports.ErrNotBuilt)
	}
	return r.copies[r.live].views[q.View].list(q, after), ctx.Err()
}

// isBuilt needs the lock to be held.
func (r *ReadModel) isBuilt(view string) bool { return slices.Contains(r.describe(r.live).Views, view) }

func (r *ReadModel) Freshness(ctx context.Context, orderID string) (ports.Freshness, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := r.copies[r.live]
	f := ports.Freshness{Version: live.progress[orderID].Version}
	for i, p := range slices.Collect(maps.Values(live.places)) {
		if i == 0 || p.AsOf.Before(f.AsOf) {
			f.AsOf = p.AsOf
		}
	}
	for _, gap := range live.gaps {
		f.AsOf, f.Incomplete = time.Time{}, gap.Reason
	}
	return f, ctx.Err()
}

func (r *ReadModel) Places(ctx context.Context, g ports.Generation) (places []ports.Place, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.read(g).places
	for _, shard := range slices.Sorted(maps.Keys(from)) {
		places = append(places, ports.Place{Shard: shard, Next: from[shard].To})
	}
	return places, ctx.Err()
}

func (r *ReadModel) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Progress, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	loaded, from := map[string]ports.Progress{}, r.read(g).progress
	for _, id := range orderIDs {
		if p, received := from[id]; received {
			p.State = slices.Clone(p.State)
			loaded[id] = p
		}
	}
	return loaded, ctx.Err()
}

func (r *ReadModel) Buffered(ctx context.Context, g ports.Generation, orderID string) (messages []ports.Message, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.read(g).inOrder() {
		if b.OrderID == orderID {
			b.Payload = slices.Clone(b.Payload)
			messages = append(messages, b.Message)
		}
	}
	return messages, ctx.Err()
}

func (r *ReadModel) Parked(ctx context.Context, g ports.Generation) (list []ports.ParkedOrder, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.read(g).inOrder() {
		if len(list) == 0 || list[len(list)-1].OrderID != b.OrderID {
			list = append(list, ports.ParkedOrder{OrderID: b.OrderID, First: b.Version, Reason: b.Reason, Since: b.since})
		}
		list[len(list)-1].Messages++
	}
	return list, ctx.Err()
}

// inOrder are all buffered messages, by order and version.
func (g *generation) inOrder() []bufferedMessage {
	return slices.SortedFunc(maps.Values(g.buffered), func(a, b bufferedMessage) int {
		return cmp.Or(strings.Compare(a.OrderID, b.OrderID), cmp.Compare(a.Version, b.Version))
	})
}

// Commit is a transaction: under one lock everything still is as the change says, and then all is written.
func (r *ReadModel) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.copies[g.Number]
	if to == nil || !to.allows(c) {
		return fmt.Errorf("commit to generation %d: %w", g.Number, ports.ErrConflict)
	}
	if err := cmp.Or(ctx.Err(), r.failCommit); err != nil {
		return fmt.Errorf("commit to generation %d: %w", g.Number, err)
	}
	to.apply(c, time.Now())
	return nil
}

func (g *generation) allows(c ports.Change) bool {
	for _, p := range c.Places {
		if g.places[p.Shard].To != p.From {
			return false
		}
	}
	for _, p := range c.Progress {
		if was := g.progress[p.OrderID]; was.Version != p.WasVersion || was.Buffered != p.WasBuffered {
			return false
		}
	}
	for view, changes := range c.Rows {
		for _, row := range changes.Insert {
			if _, found := g.views[view].find(row.Key); found {
				return false
			}
		}
	}
	return true
}

func (g *generation) apply(c ports.Change, now time.Time) {
	for _, p := range c.Places {
		g.places[p.Shard] = p
	}
	for _, gap := range c.Gaps {
		gap.Place.Next = ""
		g.gaps[gap.Place.Shard] = gap
	}
	for _, p := range c.Progress {
		p.State = slices.Clone(p.State)
		g.progress[p.OrderID] = p.Progress
	}
	for _, b := range c.Buffer {
		message := ports.EventRef{OrderID: b.OrderID, Version: b.Version}
		buffered, again := g.buffered[message]
		if !again {
			buffered = bufferedMessage{b, now}
			buffered.Payload = slices.Clone(b.Payload)
		}
		buffered.Reason = b.Reason
		g.buffered[message] = buffered
	}
	for _, message := range c.Release {
		delete(g.buffered, message)
	}
	for view, changes := range c.Rows {
		g.views[view] = g.views[view].change(changes)
	}
}
