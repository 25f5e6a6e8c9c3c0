package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hexorders/ports"
)

type heldMessage struct {
	ports.HeldMessage
	since time.Time
}

func (v *Views) Positions(ctx context.Context, g ports.Generation) (map[int]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("positions of %s: %w", g, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	positions := map[int]int64{}
	for partition, p := range v.read(g).positions {
		positions[partition] = p.To
	}
	return positions, nil
}

func (v *Views) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Mark, map[string]ports.Summary, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("load %d orders of %s: %w", len(orderIDs), g, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	marks, summaries, from := map[string]ports.Mark{}, map[string]ports.Summary{}, v.read(g)
	for _, id := range orderIDs {
		if m, ok := from.marks[id]; ok {
			marks[id] = m
		}
		if s, ok := from.summaries[id]; ok {
			summaries[id] = copyOf(s)
		}
	}
	return marks, summaries, nil
}

func (v *Views) Received(ctx context.Context, g ports.Generation, messageIDs []string) (map[string]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("look for %d messages in the inbox of %s: %w", len(messageIDs), g, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	received, from := map[string]bool{}, v.read(g)
	for _, id := range messageIDs {
		if from.has(id) {
			received[id] = true
		}
	}
	return received, nil
}

func (v *Views) Held(ctx context.Context, g ports.Generation, orderID string) (messages []ports.Message, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("held messages of order %q in %s: %w", orderID, g, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.read(g).heldInOrder() {
		if m.OrderID == orderID {
			messages = append(messages, m.Message)
		}
	}
	return messages, nil
}

func (v *Views) Parked(ctx context.Context, g ports.Generation) (list []ports.ParkedOrder, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list parked orders of %s: %w", g, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.read(g).heldInOrder() {
		if len(list) == 0 || list[len(list)-1].OrderID != m.OrderID {
			list = append(list, ports.ParkedOrder{OrderID: m.OrderID, First: m.Version, Reason: m.Reason, Since: m.since})
		}
		list[len(list)-1].Messages++
	}
	return list, nil
}

// Commit is a transaction: under one lock everything still is as the change says, and then all is written.
func (v *Views) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit to %s: %w", g, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	to := v.of(g.View).copies[g.Number]
	if to == nil || !to.allows(c) {
		return fmt.Errorf("commit to %s: %w", g, ports.ErrConflict)
	}
	if v.failCommit != nil {
		return fmt.Errorf("commit to %s: %w", g, v.failCommit)
	}
	to.apply(c, time.Now())
	return nil
}

func (g *generation) allows(c ports.Change) bool {
	for _, p := range c.Positions {
		if g.positions[p.Partition].To != p.From {
			return false
		}
	}
	for _, id := range c.Received {
		if g.has(id) {
			return false
		}
	}
	for _, m := range c.Marks {
		if was := g.marks[m.OrderID]; was.Version != m.Was || was.Held != m.WasHeld {
			return false
		}
	}
	return true
}

func (g *generation) apply(c ports.Change, now time.Time) {
	for _, p := range c.Positions {
		g.positions[p.Partition] = p
	}
	for _, id := range c.Received {
		g.received[id] = now
	}
	for _, m := range c.Marks {
		g.marks[m.OrderID] = m.Mark
	}
	for _, m := range c.Hold {
		held, again := g.held[m.ID]
		if !again {
			held = heldMessage{m, now}
			held.Payload = slices.Clone(m.Payload)
		}
		held.Reason = m.Reason
		g.held[m.ID] = held
	}
	for _, id := range c.Release {
		delete(g.held, id)
	}
	for _, s := range c.Summaries {
		g.summaries[s.OrderID] = copyOf(s)
	}
	for _, change := range c.Activity {
		a := g.activity[change.Buyer]
		a.Pending += change.Pending
		a.Submitted += change.Submitted
		a.Paid += change.Paid
		a.Cancelled += change.Cancelled
		if change.LastAt.After(a.LastAt) {
			a.LastAt = change.LastAt
		}
		g.activity[change.Buyer] = a
	}
	for _, e := range c.Timeline {
		if g.timeline[e.OrderID] == nil {
			g.timeline[e.OrderID] = map[int]ports.TimelineEntry{}
		}
		g.timeline[e.OrderID][e.Version] = e
	}
}

// has tells whether a message is in the inbox. One that was there for long enough is forgotten.
func (g *generation) has(messageID string) bool {
	at, received := g.received[messageID]
	if received && time.Since(at) > ports.InboxKept {
		delete(g.received, messageID)
		return false
	}
	return received
}

// heldInOrder are all messages that are kept back, by order and version.
func (g *generation) heldInOrder() []heldMessage {
	var all []heldMessage
	for _, m := range g.held {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b heldMessage) int {
		return cmp.Or(strings.Compare(a.OrderID, b.OrderID), cmp.Compare(a.Version, b.Version), strings.Compare(a.ID, b.ID))
	})
	return all
}
