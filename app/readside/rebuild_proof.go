package readside

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"hexorders/ports"
)

// What a rebuild proves before its read model is read. A first reader may leave this file out.

var errStale = errors.New("the shadow was begun from another topic, or lacks events; it is begun again")

// refuse ends a rebuild from a topic that has a gap. A shadow that was begun before may have one that the topic has not.
func (r *rebuild) refuse(ctx context.Context, gap ports.Gap, begun bool) error {
	if begun && !r.options.FromStore {
		return errors.Join(errStale, r.options.Store.Discard(ctx))
	}
	return fmt.Errorf("%w: %s", ErrIncomplete, gap.Detail)
}

const (
	settleEvery = time.Second // until what is on its way has come
	settleTries = 10
)

// prove finds out whether the shadow may be read: it is not behind the live read model, no order begins later than its
// first version, and every order of the store is there, as far as it was when it was looked at.
func (r *rebuild) prove(ctx context.Context, worked func()) error {
	if err := r.beginnings(ctx); err != nil {
		return err
	}
	if err := r.compare(ctx); err != nil {
		return err
	}
	missing, err := r.missingOrders(ctx)
	for try := 0; err == nil && len(missing) > 0 && try < settleTries; try++ {
		if err = pause(ctx, settleEvery); err == nil {
			err = r.feed(ctx, worked)
		}
		if err == nil {
			err = r.dropFound(ctx, missing)
		}
	}
	if err != nil || len(missing) == 0 {
		return err
	}
	for id, version := range missing {
		return fmt.Errorf("%w: of %d orders of the store it lacks events, such as version %d of order %s: they were deleted there, or no "+
			"relay has published them (`hexorders outbox status`)", ErrIncomplete, len(missing), version, id)
	}
	return nil
}

// missingOrders are orders of the store that the shadow is behind with, each with its version: at most MaxBatch.
func (r *rebuild) missingOrders(ctx context.Context) (map[string]int, error) {
	missing := map[string]int{}
	if r.options.Orders == nil {
		return missing, nil
	}
	refused := map[string]bool{}
	if r.options.Parking != nil {
		parked, err := r.options.Parking.Parked(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range parked {
			refused[o.OrderID] = true
		}
	}
	for after := ""; len(missing) < ports.MaxBatch; {
		orders, err := r.options.Orders.ScanOrders(ctx, after, ports.MaxBatch)
		if err != nil || len(orders) == 0 {
			return missing, err
		}
		page := map[string]int{}
		for _, o := range orders {
			if after = o.ID; o.Err == nil && !refused[o.ID] {
				page[o.ID] = o.Order.Version()
			}
		}
		if err := r.dropFound(ctx, page); err != nil {
			return nil, err
		}
		maps.Copy(missing, page)
	}
	return missing, nil
}

// dropFound drops the orders that the shadow has in this version, or has parked: compare looks at those.
func (r *rebuild) dropFound(ctx context.Context, orders map[string]int) error {
	found, err := r.options.Store.Load(ctx, r.shadow, slices.Collect(maps.Keys(orders)))
	for id, p := range found {
		if p.Version >= orders[id] || p.Buffered > 0 {
			delete(orders, id)
		}
	}
	return err
}

// beginnings looks for orders whose first events are missing. From a topic that is an error. From the store it is a gap of
// the rebuilt read model: the store has deleted old events.
func (r *rebuild) beginnings(ctx context.Context) error {
	parked, err := r.options.Store.Parked(ctx, r.shadow)
	if err != nil {
		return err
	}
	parked = slices.DeleteFunc(parked, func(o ports.ParkedOrder) bool { return o.Reason != missing(1) })
	if len(parked) == 0 {
		return nil
	}
	detail := fmt.Sprintf("%d orders begin later than version 1, such as order %s with version %d", len(parked), parked[0].OrderID,
		parked[0].First)
	if !r.options.FromStore {
		return fmt.Errorf("%w: %s", ErrIncomplete, detail)
	}
	places, err := r.options.Store.Places(ctx, r.shadow)
	if err != nil {
		return err
	}
	at := places[0] // there is one: feed has read a shard at least
	return r.options.Store.Commit(ctx, r.shadow, ports.Change{
		Places: []ports.PlaceChange{{Shard: at.Shard, From: at.Next, To: at.Next}},
		Gaps:   []ports.Gap{{Place: at, Reason: ports.GapHistory, Detail: "in the store " + detail}},
	})
}

// feedFromStore feeds a new shadow with all messages of the store, unless the topic is what it is to be rebuilt from. It
// goes on from where the topic ended before: all that is in front of that was committed before it was published.
func (r *rebuild) feedFromStore(ctx context.Context) error {
	if !r.options.FromStore {
		return nil
	}
	if err := r.options.Store.Discard(ctx); err != nil {
		return err
	}
	var err error
	if r.shadow, err = r.options.Store.Shadow(ctx); err != nil {
		return err
	}
	newest, err := r.topic.(ports.TopicEnd).Newest(ctx)
	if err != nil {
		return err
	}
	var begin ports.Change
	for _, p := range newest {
		begin.Places = append(begin.Places, ports.PlaceChange{Shard: p.Shard, To: p.Next})
	}
	if err := r.options.Store.Commit(ctx, r.shadow, begin); err != nil {
		return err
	}
	c, after := newConsumer(r.Engine, r.shadow, r.current), ports.EventRef{}
	for {
		messages, err := r.options.Orders.ScanMessages(ctx, after, ports.MaxBatch)
		if err != nil || len(messages) == 0 {
			return err
		}
		t := taking{at: r.options.Now(), careful: true}
		for _, m := range messages {
			t.batch.Messages = append(t.batch.Messages, ports.Delivery{Message: m})
			after = ports.EventRef{OrderID: m.OrderID, Version: m.Version}
		}
		b, err := c.compute(ctx, &t)
		if err != nil {
			return err
		}
		change := b.change()
		if err := r.options.Store.Commit(ctx, r.shadow, change); err != nil {
			return err
		}
		c.committed(b, change)
		r.messages += int64(len(messages))
		r.report(RebuildProgress{Done: r.messages, Total: r.messages, Messages: r.messages})
	}
}

// compare looks at the orders with which the shadow waits: the live read model must not be further with them.
func (r *rebuild) compare(ctx context.Context) error {
	live, err := r.options.Store.Live(ctx)
	if err != nil {
		return err
	}
	parked, err := r.options.Store.Parked(ctx, r.shadow)
	if err != nil {
		return err
	}
	behind, example := 0, ""
	for chunk := range slices.Chunk(parked, ports.MaxBatch) {
		var ids []string
		for _, o := range chunk {
			ids = append(ids, o.OrderID)
		}
		were, err := r.options.Store.Load(ctx, live, ids)
		if err != nil {
			return err
		}
		are, err := r.options.Store.Load(ctx, r.shadow, ids)
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
