package readside

import (
	"context"
	"errors"
)

// RebuildProgress is how far a rebuild is, in messages.
type RebuildProgress struct {
	Done, Total int64 // dealt with, by this call and those before it, and all there are; an estimate
	Messages    int64 // delivered to this call
}

var (
	// ErrBehind says that a rebuilt read model was not swapped in, because it is behind the live one with some orders:
	// messages are no longer in the topic, or cannot be applied any more. The shadow stays as it is.
	ErrBehind = errors.New("the rebuilt read model is behind the live one")
	// ErrNoTopic says that there is nothing to rebuild from.
	ErrNoTopic = errors.New("the topic does not exist, so the read model cannot be rebuilt from it")
	// ErrNotReplayable says that the broker does not keep its messages.
	ErrNotReplayable = errors.New("the broker does not deliver old messages again, so the read model cannot be rebuilt from it")
)

// Rebuild makes the whole read model again from the first message, in a generation beside the live one, and swaps it in
// once it has applied everything there is. The live one is read and fed meanwhile. The next call goes on from where one
// that was stopped or killed has come to; to begin again, discard the shadow first. Memory is bounded, however long the
// topic.
//
// report is called after each batch, on one goroutine. Rebuild returns nil once the rebuilt read model is live, ctx's
// error when ctx ends before, ErrBehind, ErrNoTopic or ErrNotReplayable; no other error ends it. It joins no group, so
// that no engine gets less.
func Rebuild(ctx context.Context, o Options, report func(RebuildProgress)) error { panic("not yet") }
