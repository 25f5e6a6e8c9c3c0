package memory

import (
	"context"
	"maps"
	"slices"

	"hexorders/ports"
)

func (r *ReadModel) Gaps(ctx context.Context, g ports.Generation) (gaps []ports.Gap, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.read(g).gaps
	for _, shard := range slices.Sorted(maps.Keys(from)) {
		gaps = append(gaps, from[shard])
	}
	return gaps, ctx.Err()
}
