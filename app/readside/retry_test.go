package readside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/app/readside"
	"hexorders/ports"
)

func TestAPoisonedMessageParksOnlyItsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		bad, good := basket(t, "bad", "b", 5), basket(t, "good", "b", 5)
		reason := errPoison
		r.poison = func(m ports.Message) error {
			if m.ID == "bad/3" {
				return reason
			}
			return nil
		}
		e, stop := r.start()
		for i := range 4 {
			r.topic.add(bad[i], good[i])
		}
		r.awaitEnd(t)
		r.topic.add(bad[4], good[4])
		r.awaitEnd(t)
		time.Sleep(3 * time.Second)
		if s := e.Status(); s.ParkedOrders != 1 || s.ParkedMessages != 3 || s.Parked != 1 || s.Buffered != 3 {
			t.Errorf("status %+v, want an order parked with 3 messages", s)
		}
		stop()
		r.wantFold(t, append(slices.Clone(bad[:2]), good...))
		wantParked(t, e, "bad from 3: 3, nobody understands this")

		reason = errors.New("still bad")
		began := time.Now()
		err := e.Retry(t.Context(), "bad")
		const says = "order bad is parked again at version 3"
		if took := time.Since(began); !errors.Is(err, reason) || !strings.Contains(err.Error(), says) || took > 0 {
			t.Errorf("a retry that fails: error %v after %s, want at once that %s, and why", err, took, says)
		}
		wantParked(t, e, "bad from 3: 3, still bad")
		if err := e.Retry(t.Context(), "good"); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("retry of an order without buffered messages: error %v, want ErrNotFound", err)
		}

		reason = nil
		if err := e.Retry(t.Context(), "bad"); err != nil {
			t.Errorf("retry: %v", err)
		}
		wantParked(t, e)
		r.wantFold(t, append(bad, good...))
	})
}

// Retry runs in another process than the engine, which goes on as if it had done it itself.
func TestAnEngineGoesOnAfterARetryElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		messages := basket(t, "o", "b", 6)
		var cured atomic.Bool
		r.poison = func(m ports.Message) error {
			if m.Version == 2 && !cured.Load() {
				return errPoison
			}
			return nil
		}
		e, _ := r.start()
		r.topic.add(messages[:4]...)
		r.awaitEnd(t)
		wantParked(t, e, "o from 2: 3, nobody understands this")
		cured.Store(true)
		if err := readside.New(r.options()).Retry(t.Context(), "o"); err != nil {
			t.Fatal(err)
		}
		r.topic.add(messages[4:]...)
		r.awaitEnd(t)
		wantParked(t, e)
		r.wantFold(t, messages)
	})
}

// A message that cannot be applied once may be the next moment: it is tried three times, after 20 ms and after 40 ms, by
// half more or less.
func TestAMessageThatFailsIsTriedThreeTimes(t *testing.T) {
	t.Parallel()
	for failing, parked := range map[int][]string{2: nil, 3: {"o from 2: 2, nobody understands this"}} {
		t.Run(fmt.Sprint(failing, " failures"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(1, 10))
				var tries []time.Time
				r.poison = func(m ports.Message) error {
					if m.Version != 2 {
						return nil
					}
					if tries = append(tries, time.Now()); len(tries) <= failing {
						return errPoison
					}
					return nil
				}
				e, _ := r.start()
				r.topic.add(basket(t, "o", "b", 3)...)
				r.awaitEnd(t)
				wantParked(t, e, parked...)
				if len(tries) != 3 || tries[1].Sub(tries[0]) < 10*time.Millisecond || tries[2].Sub(tries[1]) < 20*time.Millisecond {
					t.Errorf("tried at %v, want three times with growing pauses", tries)
				}
			})
		})
	}
}

func TestAMissingMessageIsWaitedForAndNeverJumpedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		var log bytes.Buffer
		options := r.options()
		options.Logger = slog.New(slog.NewTextHandler(&log, nil))
		e := readside.New(options)
		stop := r.run(e)
		defer stop()
		a, b := basket(t, "a", "buyer", 5), basket(t, "b", "buyer", 2)
		r.topic.add(a[0], a[2], a[3])
		r.topic.add(b...)
		r.awaitEnd(t)
		r.wantFold(t, append(slices.Clone(a[:1]), b...))
		wantParked(t, e, "a from 3: 2, version 2 has not come")
		if err := e.Retry(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "version 2 has not come") {
			t.Errorf("retry over a gap: error %v, want that version 2 has not come", err)
		}
		r.topic.add(a[4], a[3], a[1])
		r.awaitEnd(t)
		stop()
		r.wantFold(t, append(a, b...))
		wantParked(t, e)
		if s := e.Status(); s.Applied != 7 || s.Buffered != 2 || s.Duplicates != 1 || s.Parked != 0 {
			t.Errorf("status %+v, want 7 applied, 2 buffered, 1 duplicate, none parked", s)
		}
		for _, want := range []string{
			`level=WARN msg="a message is missing; the order's later messages are buffered until it has come" order=a version=2 buffered=2`,
			`level=INFO msg="the buffered messages of an order were applied" order=a version=5`,
		} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("the log has\n%s\nwant once %s", log.String(), want)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 2 { // nothing of order b, nor of a while it waits
			t.Errorf("the log has %d lines, want 2:\n%s", n, log.String())
		}
	})
}

func TestABufferedMessageThatComesAgainIsBufferedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		r.poison = func(m ports.Message) error {
			if m.Version == 2 {
				return errPoison
			}
			return nil
		}
		messages := basket(t, "o", "b", 5)
		e, stop := r.start()
		r.topic.add(messages...)
		r.awaitEnd(t)
		time.Sleep(24 * time.Hour)
		r.topic.add(messages...)
		r.awaitEnd(t)
		stop()
		wantParked(t, e, "o from 2: 4, nobody understands this")
		if s := e.Status(); s.Buffered != 4 || s.Duplicates != 5 || s.Parked != 1 {
			t.Errorf("status %+v, want 4 buffered, 5 duplicates, 1 parked", s)
		}
		r.poison = nil
		if err := e.Retry(t.Context(), "o"); err != nil {
			t.Error(err)
		}
		r.wantFold(t, messages)
	})
}

// A parked order that gets message after message must not load the earlier ones each time.
func TestAParkedOrderCostsNoMoreTheMoreMessagesItHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		r.poison = func(m ports.Message) error {
			if m.Version == 2 {
				return errPoison
			}
			return nil
		}
		store := &witnessed{ReadModelStore: r.model}
		options := r.options()
		options.Store = store
		e := readside.New(options)
		defer r.run(e)()
		messages := basket(t, "o", "b", 1000)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		looks := store.looks
		r.topic.add(messages...)
		r.awaitEnd(t)
		wantParked(t, e, "o from 2: 999, nobody understands this")
		if len(store.commits) < 100 || store.loads > 0 {
			t.Errorf("%d commits loaded the buffered messages %d times, want 100 and never", len(store.commits), store.loads)
		}
		if looks = store.looks - looks; looks > 2 { // of 100 batches that came at once
			t.Errorf("%d looks at the parked orders within a second, want two at most", looks)
		}
		for _, c := range store.commits {
			for _, m := range c.Buffer {
				if m.Version > 2 && m.Reason != "an earlier message of this order is parked" {
					t.Errorf("version %d is buffered because %s, want because of an earlier message", m.Version, m.Reason)
				}
			}
		}
		r.topic.add(messages[500:510]...)
		r.awaitEnd(t)
		if store.loads != 1 {
			t.Errorf("a batch of duplicates loaded the buffered messages %d times, want once", store.loads)
		}
		r.topic.add(messages[0]) // which was applied
		r.awaitEnd(t)
		if store.loads != 1 {
			t.Errorf("a duplicate of an applied message loaded the buffered messages %d times, want never", store.loads-1)
		}
		if s := e.Status(); s.Buffered != 999 || s.Duplicates != 11 {
			t.Errorf("status %+v, want 999 buffered and 11 duplicates", s)
		}
	})
}

// What is buffered behind a gap may be poisoned itself: the order is parked when the gap closes, for that reason.
func TestABufferedMessageMayTurnOutToBePoisoned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		r.poison = func(m ports.Message) error {
			if m.Version == 3 {
				return errPoison
			}
			return nil
		}
		messages := basket(t, "o", "b", 4)
		e, _ := r.start()
		r.topic.add(messages[0], messages[2], messages[3])
		r.awaitEnd(t)
		wantParked(t, e, "o from 3: 2, version 2 has not come")
		r.topic.add(messages[1])
		r.awaitEnd(t)
		wantParked(t, e, "o from 3: 2, nobody understands this")
		r.wantFold(t, messages[:2])
	})
}

// What is left after a retry may wait for another reason.
func TestARetryUpToAGapLeavesTheOrderWaitingForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		reason := errPoison
		r.poison = func(m ports.Message) error {
			if m.Version == 2 {
				return reason
			}
			return nil
		}
		messages := basket(t, "o", "b", 5)
		e, stop := r.start()
		r.topic.add(messages[0], messages[1], messages[2], messages[4])
		r.awaitEnd(t)
		stop()
		wantParked(t, e, "o from 2: 3, nobody understands this")
		reason = nil
		if err := e.Retry(t.Context(), "o"); err == nil || !strings.Contains(err.Error(), "version 4 has not come") {
			t.Errorf("retry: error %v, want that version 4 has not come", err)
		}
		wantParked(t, e, "o from 5: 1, version 4 has not come")
		r.wantFold(t, messages[:3])
	})
}

func TestManyPoisonedOrdersCostNoMoreTimeThanOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 1000))
		r.poison = func(ports.Message) error { return errPoison }
		for i := range 500 {
			r.topic.add(basket(t, fmt.Sprint("order-", i), "b", 1)...)
		}
		began := time.Now()
		e, _ := r.start()
		r.awaitEnd(t)
		if took := time.Since(began); took > time.Second {
			t.Errorf("500 orders were parked within %s, want a second", took)
		}
		if s := e.Status(); s.Parked != 500 {
			t.Errorf("%d orders were parked, want 500", s.Parked)
		}
	})
}

// A retry and an engine at the same moment: one of them is first, and nothing takes effect twice.
func TestARetryBesideAnEngineTakesEffectOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 1))
		var cured atomic.Bool
		r.poison = func(m ports.Message) error {
			if m.Version == 2 && !cured.Load() {
				return errPoison
			}
			return nil
		}
		messages := basket(t, "o", "b", 150)
		e, _ := r.start()
		r.topic.add(messages[:10]...)
		r.awaitEnd(t)
		cured.Store(true)
		retries := make(chan error, 3)
		for range cap(retries) {
			go func() { retries <- readside.New(r.options()).Retry(context.Background(), "o") }()
		}
		r.topic.add(messages[10:]...)
		r.awaitEnd(t)
		for range cap(retries) {
			if err := <-retries; err != nil && !errors.Is(err, ports.ErrNotFound) && !errors.Is(err, ports.ErrConflict) {
				t.Errorf("retry: %v", err)
			}
		}
		if err := e.Retry(t.Context(), "o"); err != nil && !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("the last retry: %v", err)
		}
		r.wantFold(t, messages)
		wantParked(t, e)
	})
}

// conflicting is a store in which another process is faster, so many times.
type conflicting struct {
	ports.ReadModelStore
	times *int
}

func (s conflicting) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	if *s.times--; *s.times >= 0 {
		return ports.ErrConflict
	}
	return s.ReadModelStore.Commit(ctx, g, c)
}

func TestARetryGivesUpWhenOthersKeepChangingTheOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		r.poison = func(ports.Message) error { return errPoison }
		_, stop := r.start()
		r.topic.add(basket(t, "o", "b", 1)...)
		r.awaitEnd(t)
		stop()
		options, times := r.options(), 100
		options.Store = conflicting{r.model, &times}
		began := time.Now()
		err := readside.New(options).Retry(t.Context(), "o")
		took := time.Since(began)
		if tries := 100 - times; !errors.Is(err, ports.ErrConflict) || tries != 10 || took < 70*time.Millisecond || took > 2*time.Second {
			t.Errorf("error %v after %d tries and %s, want ErrConflict after 10 tries with pauses, within 2 s", err, tries, took)
		}
		times = 3
		if err := readside.New(options).Retry(t.Context(), "o"); !errors.Is(err, errPoison) {
			t.Errorf("after three conflicts: error %v, want what is wrong with the order", err)
		}
	})
}

// A progress record that cannot be read is wrong with one order and must not stop the others.
func TestAnOrderWhoseStateCannotBeReadIsParked(t *testing.T) {
	t.Parallel()
	for state, reason := range map[string]string{
		"?":             "read the state of version 1: invalid character '?' looking for beginning of value",
		`{"version":7}`: "the state of version 1 is that of version 7",
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(1, 10))
				live, err := r.model.Live(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				broken := ports.Progress{OrderID: "bad", Version: 1, Newest: 1, State: []byte(state)}
				change := ports.Change{Progress: []ports.ProgressChange{{Progress: broken}}}
				if err := r.model.Commit(t.Context(), live, change); err != nil {
					t.Fatal(err)
				}
				e, _ := r.start()
				good := basket(t, "good", "b", 3)
				r.topic.add(basket(t, "bad", "b", 2)...)
				r.topic.add(good...)
				r.awaitEnd(t)
				r.wantFold(t, good)
				wantParked(t, e, "bad from 2: 1, "+reason)
			})
		})
	}
}
