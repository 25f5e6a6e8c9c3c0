package relay

import (
	"context"
	"time"
)

// trim deletes messages that are older than the retention, aside from the loop and as long as it takes. Whether they are
// published the outbox knows from the checkpoint, so a term that is over can do no harm.
func (t *term) trim(ctx context.Context) error {
	if t.Trimmer == nil || t.Retention <= 0 {
		return nil
	}
	for pause(ctx, t.TrimEvery) == nil {
		deleted, err := t.Trimmer.Trim(ctx, time.Now().Add(-t.Retention))
		if deleted > 0 {
			t.Logger.Debug("old messages were deleted from the outbox", "messages", deleted, "olderThan", t.Retention)
		}
		if err != nil && ctx.Err() == nil {
			t.Logger.Warn("old messages could not be deleted from the outbox; trying again", "err", err)
		}
	}
	return nil
}
