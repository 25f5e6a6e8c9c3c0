package relay

import (
	"context"
	"errors"
	"time"

	"hexorders/ports"
)

type checkpoint struct {
	position ports.Position
	err      error
}

// save makes a checkpoint aside, one at a time, of everything settled so far. The end of the term does not break it off,
// for half a second: what is broken off may still reach the store, after the term's last checkpoint, and take that back.
func (t *term) save(ctx context.Context) {
	position := t.flow.position
	if t.saving || position == t.last {
		return
	}
	t.saving = true
	t.aside.Go(func() {
		steady, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(lastCheckpointTimeout/2, cancel) })()
		t.saved <- checkpoint{position, t.Outbox.Checkpoint(steady, t.number, position)}
	})
}

// lastCheckpointTimeout is for the checkpoint at the end of the term; half of it for one that is under way then.
const lastCheckpointTimeout = time.Second

func (t *term) onSaved(s checkpoint) error {
	t.saving = false
	switch {
	case s.err == nil:
		t.last = s.position
	case errors.Is(s.err, ports.ErrFenced):
		return s.err
	case !errors.Is(s.err, context.Canceled):
		t.Logger.Warn("relay could not save its checkpoint; trying again", "err", s.err)
	}
	return nil
}
