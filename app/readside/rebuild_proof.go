package readside

import (
	"context"
	"fmt"
	"slices"

	"hexorders/ports"
)

// What a rebuild proves before its read model is read. A first reader may leave this file out.

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
