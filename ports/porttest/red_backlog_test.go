package porttest_test

import (
	"context"
	"testing"
	"time"

	"hexorders/adapters/memory"
	"hexorders/ports/porttest"
)

func TestBacklogSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("Backlog"), backlogFlaws, func() porttest.Storage { return openBacklog(sound)() })
}

var backlogFlaws = []flaw[porttest.Storage]{
	{"counts one too many", openBacklog(func(b *memory.Outbox, ctx context.Context) (int, time.Time, error) {
		messages, oldest, err := b.Unread(ctx)
		return messages + 1, oldest, err
	}), []string{
		"what a first Tail has not handed out is unread",
		"what was committed after the last emit is unread",
		"a resumed Tail has handed out what was before its position",
	}},
	{"says that the oldest is new", openBacklog(func(b *memory.Outbox, ctx context.Context) (int, time.Time, error) {
		messages, _, err := b.Unread(ctx)
		return messages, time.Now(), err
	}), []string{
		"what a first Tail has not handed out is unread",
		"what was committed after the last emit is unread",
		"a resumed Tail has handed out what was before its position",
	}},
	{"ignores a cancelled context", openBacklog(func(b *memory.Outbox, ctx context.Context) (int, time.Time, error) {
		return b.Unread(context.WithoutCancel(ctx))
	}), []string{"a cancelled context ends every call"}},
}

type unread func(*memory.Outbox, context.Context) (int, time.Time, error)

func sound(b *memory.Outbox, ctx context.Context) (int, time.Time, error) { return b.Unread(ctx) }

func openBacklog(answer unread) func() porttest.Storage {
	return func() porttest.Storage {
		s := memory.NewStore()
		return porttest.Storage{Orders: s, Outbox: flawedBacklog{memory.NewOutbox(s), answer}}
	}
}

type flawedBacklog struct {
	*memory.Outbox
	answer unread
}

func (b flawedBacklog) Unread(ctx context.Context) (int, time.Time, error) {
	return b.answer(b.Outbox, ctx)
}
