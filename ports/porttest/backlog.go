package porttest

import (
	"context"
	"testing"
	"time"
)

// backlog is what an outbox may offer to a metric besides the port. Unread estimates how many committed messages Tail has
// not handed out, and says when the oldest of them occurred; zero when there is none or that is not known. Before the
// first Tail it may be an error.
type backlog interface {
	Unread(ctx context.Context) (messages int, oldest time.Time, err error)
}

var backlogChecks = []check[storage]{
	{"what a first Tail has not handed out is unread", func(t testing.TB, s storage) {
		save(t, s, newOrder(t, orderID(1), 2))
		save(t, s, newOrder(t, orderID(2), 6))
		f := follow(t, s, "")
		wantUnread(t, s, 8, 0)
		f.take(t, 5)
		wantUnread(t, s, 3, 3)
		f.take(t, 3)
		wantUnread(t, s, 0, 0)
	}, "count the messages after the last one that emit took"},
	{"what was committed after the last emit is unread", func(t testing.TB, s storage) {
		f := follow(t, s, "")
		save(t, s, newOrder(t, orderID(1), 1))
		f.next(t)
		wantUnread(t, s, 0, 0)
		o := load(t, s, orderID(1))
		change(t, o, 5)
		save(t, s, o)
		wantUnread(t, s, 5, 1)
		f.take(t, 5)
		wantUnread(t, s, 0, 0)
	}, "count the messages after the last one that emit took"},
	{"a resumed Tail has handed out what was before its position", func(t testing.TB, s storage) {
		f := follow(t, s, "")
		save(t, s, newOrder(t, orderID(1), 6))
		third := f.take(t, 3)[2]
		f.stop(t)
		f = follow(t, s, third.at)
		f.next(t)
		wantUnread(t, s, 2, 4)
	}, "a Tail begins to count at its own position"},
	{"a cancelled context ends every call", func(t testing.TB, s storage) {
		save(t, s, newOrder(t, orderID(1), 1))
		follow(t, s, "").next(t)
		wantCancelled(t, "Unread", func(ctx context.Context) error {
			_, _, err := s.Backlog.Unread(ctx)
			return err
		})
	}, "pass ctx on to every call, and return ctx.Err() as it is"},
}

// wantUnread waits until that many messages are unread: a message counts as handed out a moment after it was taken. The
// oldest of them, if it is known, is from so many seconds after the first of its order.
func wantUnread(t testing.TB, s storage, want, second int) {
	t.Helper()
	var got int
	var oldest time.Time
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var err error
		if got, oldest, err = s.Backlog.Unread(bounded(t)); err == nil && got == want {
			break
		}
	}
	if got != want {
		t.Fatalf("unread: got %d messages, want %d", got, want)
	}
	wanted := morning.Add(time.Duration(second) * time.Second)
	if !oldest.IsZero() && (want == 0 || !sameTime(oldest, wanted)) {
		t.Errorf("the oldest of %d unread messages is from %s, want %s", want, oldest, wanted)
	}
}
