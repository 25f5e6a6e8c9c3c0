package relay

import (
	"context"
	"errors"
	"time"

	"hexorders/ports"
)

// lastCheckpointTimeout bounds the checkpoint at the end of a leadership. A checkpoint that is under way at that moment
// gets half of it.
const lastCheckpointTimeout = time.Second

type saveResult struct {
	position ports.Position
	err      error
}

// save starts saving a checkpoint of everything done so far, one at a time. It may go on for half a second after the
// end of ctx: a request that is cancelled may still reach the store after the last checkpoint and set it back.
func (l *leadership) save(ctx context.Context) {
	position := l.inflight.doneUpTo
	if l.saving || position == l.checkpoint {
		return
	}
	l.saving = true
	l.calls.Go(func() {
		saving, cancel := outlive(ctx, lastCheckpointTimeout/2)
		defer cancel()
		l.saved <- saveResult{position, l.options.Outbox.Checkpoint(saving, l.term, position)}
	})
}

// onSaved returns ErrFenced when a later leadership has saved a checkpoint: then this one is over.
func (l *leadership) onSaved(s saveResult) error {
	l.saving = false
	switch {
	case s.err == nil:
		l.checkpoint = s.position
	case errors.Is(s.err, ports.ErrFenced):
		return s.err
	case !errors.Is(s.err, context.Canceled):
		l.options.Logger.Warn("relay could not save its checkpoint; trying again", "err", s.err)
	}
	return nil
}

// saveLast saves the checkpoint of a leadership that is over, also when ctx has ended. ErrFenced is no news then.
func (l *leadership) saveLast(ctx context.Context) {
	if l.inflight == nil || l.inflight.doneUpTo == l.checkpoint {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCheckpointTimeout)
	defer cancel()
	err := l.options.Outbox.Checkpoint(last, l.term, l.inflight.doneUpTo)
	if err != nil && !errors.Is(err, ports.ErrFenced) {
		l.options.Logger.Warn("relay could not save its last checkpoint; a few messages will be sent again", "err", err)
	}
}
