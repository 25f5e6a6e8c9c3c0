package memory

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"hexorders/ports"
)

// Views are the ports.OrderViews, with the ports.Inbox that fills them and their ports.Generations: see inbox.go and
// generations.go. A question looks at every order there is, and the inbox only grows: fine for tests and lessons.
type Views struct {
	mu          sync.Mutex
	generations map[ports.View]*generations

	failCommit error // what every commit fails with; for tests of what a failed commit leaves behind
}

// generation is one copy of one view, with what its consumer has received. Each view uses the maps that it needs.
type generation struct {
	positions map[int]ports.PositionChange // the last one of each partition
	received  map[string]time.Time         // by message id
	marks     map[string]ports.Mark
	held      map[string]heldMessage // by message id

	summaries map[string]ports.Summary
	activity  map[string]ports.Activity
	timeline  map[string]map[int]ports.TimelineEntry // by order and version
}

var (
	_ ports.OrderViews  = (*Views)(nil)
	_ ports.Inbox       = (*Views)(nil)
	_ ports.Generations = (*Views)(nil)
)

func NewViews() *Views { return &Views{generations: map[ports.View]*generations{}} }

func (v *Views) Summaries(ctx context.Context, q ports.SummaryQuery) (list []ports.Summary, next string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", fmt.Errorf("list orders of buyer %q: %w", q.Buyer, err)
	}
	sort := cmp.Or(q.Sort, ports.OldestFirst)
	name := []string{string(ports.OrderSummary), q.Buyer, string(q.Status), string(sort)}
	after, err := parseViewCursor(q.Page.Cursor, name)
	if err != nil {
		return nil, "", err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.live(ports.OrderSummary).summaries {
		if s.Buyer == q.Buyer && (q.Status == "" || s.Status == q.Status) && (after == nil || placeOf(s, sort).compare(*after) > 0) {
			list = append(list, copyOf(s))
		}
	}
	slices.SortFunc(list, func(a, b ports.Summary) int { return placeOf(a, sort).compare(placeOf(b, sort)) })
	if size := q.Page.Size(); len(list) > size {
		list = list[:size]
		next = viewCursor(name, placeOf(list[size-1], sort))
	}
	return list, next, nil
}

func (v *Views) Activity(ctx context.Context, buyer string) (ports.Activity, error) {
	if err := ctx.Err(); err != nil {
		return ports.Activity{}, fmt.Errorf("activity of buyer %q: %w", buyer, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	activity := v.live(ports.BuyerActivity).activity[buyer]
	activity.Buyer = buyer
	return activity, nil
}

func (v *Views) Timeline(ctx context.Context, orderID string, page ports.Page) (list []ports.TimelineEntry, next string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", fmt.Errorf("timeline of order %q: %w", orderID, err)
	}
	name := []string{string(ports.OrderTimeline), orderID}
	after, err := parseViewCursor(page.Cursor, name)
	if err != nil {
		return nil, "", err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	entries := v.live(ports.OrderTimeline).timeline[orderID]
	for _, version := range slices.Sorted(maps.Keys(entries)) {
		if after == nil || int64(version) > after.value {
			list = append(list, entries[version])
		}
	}
	if size := page.Size(); len(list) > size {
		list = list[:size]
		next = viewCursor(name, place{value: int64(list[size-1].Version)})
	}
	return list, next, nil
}

func (v *Views) Freshness(ctx context.Context, view ports.View, orderID string) (ports.Freshness, error) {
	if err := ctx.Err(); err != nil {
		return ports.Freshness{}, fmt.Errorf("freshness of %s: %w", view, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	g := v.live(view)
	f := ports.Freshness{Version: g.marks[orderID].Version}
	first := true
	for _, p := range g.positions {
		if first || p.AsOf.Before(f.AsOf) {
			f.AsOf = p.AsOf
		}
		first = false
	}
	return f, nil
}

// copyOf shares nothing with the original.
func copyOf(s ports.Summary) ports.Summary {
	s.Items = slices.Clone(s.Items)
	return s
}

// place is where something stands in a list: by a value, and by id among those of the same value.
type place struct {
	value int64
	id    string
	down  bool // the list is a falling one
}

func placeOf(s ports.Summary, sort ports.SummarySort) place {
	p := place{id: s.OrderID, down: sort != ports.OldestFirst}
	switch sort {
	case ports.LastChanged:
		p.value = s.UpdatedAt.UnixMilli()
	case ports.LargestAmount:
		p.value = int64(s.TotalAmount)
	}
	return p
}

func (p place) compare(other place) int {
	c := cmp.Or(cmp.Compare(p.value, other.value), cmp.Compare(p.id, other.id))
	if p.down {
		return -c
	}
	return c
}

// viewCursor names a list and the place where its page ended. It is good for no other list: there the place would mean
// something else.
func viewCursor(list []string, p place) string {
	text, _ := json.Marshal(append(slices.Clone(list), strconv.FormatInt(p.value, 10), p.id)) // strings always can be
	return base64.RawURLEncoding.EncodeToString(text)
}

// parseViewCursor returns nil for the first page.
func parseViewCursor(cursor string, list []string) (*place, error) {
	if cursor == "" {
		return nil, nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(cursor)
	var parts []string
	_ = json.Unmarshal(text, &parts)
	if len(parts) == len(list)+2 {
		value, _ := strconv.ParseInt(parts[len(list)], 10, 64)
		// As with the other cursors, only what encodes to the same text was given out.
		if p := (place{value: value, id: parts[len(list)+1]}); viewCursor(list, p) == cursor {
			return &p, nil
		}
	}
	return nil, fmt.Errorf("cursor %q: %w", cursor, ports.ErrBadCursor)
}
