package relay_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app/relay"
	"hexorders/ports"
)

// left are the messages that the outbox still holds.
func (w *world) left() (ids []string) {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	go func() {
		synctest.Wait()
		cancel()
	}()
	_ = w.outbox.Tail(ctx, "", func(m ports.Message, _ ports.Position) error {
		ids = append(ids, m.ID)
		return nil
	})
	return ids
}

func (w *world) trimming(owner string, retention time.Duration) (relay.Options, *trimmer) {
	options := w.options(owner)
	trimmer := &trimmer{Outbox: w.outbox}
	options.Trimmer, options.Retention = trimmer, retention
	return options, trimmer
}

// trimmer remembers when it was called.
type trimmer struct {
	*memory.Outbox
	mu     sync.Mutex
	calls  []time.Time
	broken bool
}

func (o *trimmer) Trim(ctx context.Context, before time.Time) (int, error) {
	o.mu.Lock()
	o.calls = append(o.calls, time.Now())
	broken := o.broken
	o.mu.Unlock()
	if broken {
		return 0, ports.ErrUnavailable
	}
	return o.Outbox.Trim(ctx, before)
}

func (o *trimmer) called() []time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

func TestRelayDeletesWhatWasPublishedAndIsOlderThanTheRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options, trimmer := w.trimming("a", time.Hour)
		stop := w.start(options)
		defer stop()
		w.save("old", 2)
		time.Sleep(40 * time.Minute)
		w.save("young", 1)
		time.Sleep(19 * time.Minute)
		if got := w.left(); len(got) != 3 {
			t.Errorf("before the retention is over %v are left, want all three", got)
		}
		time.Sleep(3 * time.Minute)
		if got := w.left(); !slices.Equal(got, []string{"young/1"}) {
			t.Errorf("after the retention %v are left, want young/1", got)
		}
		w.wantLog("old/1", "old/2", "young/1")
		if calls := trimmer.called(); len(calls) < 61 || calls[1].Sub(calls[0]) != time.Minute {
			t.Errorf("Trim was called at %v, want once a minute", calls)
		}
	})
}

func TestRelayDeletesNothingThatTheBrokerDoesNotHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(m ports.Message) error {
			if m.OrderID == "first" {
				return nil
			}
			return errDown
		}
		options, _ := w.trimming("a", time.Minute)
		stop := w.start(options)
		defer stop()
		w.save("first", 1)
		w.save("second", 2)
		w.save("third", 1)
		time.Sleep(time.Hour)
		if got := w.left(); !slices.Equal(got, []string{"second/1", "second/2", "third/1"}) {
			t.Errorf("during the outage %v are left, want what is not published", got)
		}
		w.broker.behave(nil)
		time.Sleep(time.Hour)
		w.wantAll(map[string]int{"first": 1, "second": 2, "third": 1}, 0)
		if got := w.left(); len(got) > 0 {
			t.Errorf("once published and old, %v are left, want none", got)
		}
	})
}

func TestOnlyTheRelayThatHoldsTheLeaseDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options, working := w.trimming("a", time.Minute)
		stop := w.start(options)
		defer stop()
		synctest.Wait()
		options, standby := w.trimming("b", time.Minute)
		stopStandby := w.start(options)
		defer stopStandby()
		time.Sleep(time.Minute)
		if calls := len(working.called()); calls < 9 {
			t.Errorf("the leading relay called Trim %d times, want once in a tenth of the retention", calls)
		}
		if calls := standby.called(); len(calls) > 0 {
			t.Errorf("the relay that stands by called Trim at %v", calls)
		}
		stop()
		ended := len(working.called())
		time.Sleep(time.Minute)
		if calls := len(working.called()); calls != ended {
			t.Errorf("Trim was called %d times after the relay had stopped", calls-ended)
		}
		if len(standby.called()) == 0 {
			t.Error("the relay that took over did not call Trim")
		}
	})
}

func TestARelayWithoutARetentionKeepsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options, trimmer := w.trimming("a", 0)
		stop := w.start(options)
		defer stop()
		w.save("order", 1)
		time.Sleep(time.Hour)
		if calls := trimmer.called(); len(calls) > 0 {
			t.Errorf("Trim was called at %v", calls)
		}
	})
}

func TestRelayGoesOnDeletingAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options, trimmer := w.trimming("a", time.Minute)
		kept := &lines{}
		options.Logger = slog.New(slog.NewTextHandler(kept, &slog.HandlerOptions{Level: slog.LevelDebug}))
		trimmer.broken = true
		stop := w.start(options)
		defer stop()
		w.save("order", 2)
		time.Sleep(time.Hour + time.Second) // between two tries
		tries := len(trimmer.called())
		kept.want(t, map[string]int{notDeleted: tries, deleted: 0})
		w.save("later", 1)
		synctest.Wait()
		w.wantLog("order/1", "order/2", "later/1")
		trimmer.mu.Lock()
		trimmer.broken = false
		trimmer.mu.Unlock()
		time.Sleep(10 * time.Second)
		if got := w.left(); !slices.Equal(got, []string{"later/1"}) {
			t.Errorf("%v are left, want later/1", got)
		}
		kept.want(t, map[string]int{notDeleted: tries, deleted: 1})
	})
}
