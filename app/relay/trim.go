package relay

import (
	"context"
	"time"
)

// trim deletes messages older than the retention until ctx ends, beside the loop and for as long as a deletion takes.
// The outbox knows from its checkpoint which messages are published, so a leadership that is over does no harm.
func (l *leadership) trim(ctx context.Context) error {
	o := &l.options
	if o.Trimmer == nil || o.Retention <= 0 {
		return nil
	}
	for pause(ctx, o.TrimEvery) == nil {
		deleted, err := o.Trimmer.Trim(ctx, time.Now().Add(-o.Retention))
		if deleted > 0 {
			o.Logger.Debug("old messages were deleted from the outbox", "messages", deleted, "olderThan", o.Retention)
		}
		if err != nil && ctx.Err() == nil {
			o.Logger.Warn("old messages could not be deleted from the outbox; trying again", "err", err)
		}
	}
	return nil
}
