package app_test

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

	"hexorders/app"
	"hexorders/ports"
)

// wantParked compares what is kept back: "order from first: messages, reason".
func wantParked(t *testing.T, p *app.Projection, want ...string) {
	t.Helper()
	parked, err := p.Parked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range parked {
		got = append(got, fmt.Sprintf("%s from %d: %d, %s", o.OrderID, o.First, o.Messages, o.Reason))
	}
	if !slices.Equal(got, want) {
		t.Errorf("kept back:\n got %q\nwant %q", got, want)
	}
}

func TestAPoisonedMessageParksOnlyItsOrder(t *testing.T) {
	t.Parallel()
	for _, view := range ports.AllViews {
		t.Run(string(view), func(t *testing.T) {
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
				p, stop := r.startView(view)
				for i := range 4 {
					r.topic.add(bad[i], good[i])
				}
				r.awaitEnd(t, view)
				r.topic.add(bad[4], good[4])
				r.awaitEnd(t, view)
				stop()
				r.wantFold(t, append(slices.Clone(bad[:2]), good...), view)
				wantParked(t, p, "bad from 3: 3, nobody understands this")

				reason = errors.New("still bad")
				if err := p.Retry(t.Context(), "bad"); !errors.Is(err, reason) {
					t.Errorf("a retry that fails: error %v, want what is wrong now", err)
				}
				wantParked(t, p, "bad from 3: 3, still bad")
				if err := p.Retry(t.Context(), "good"); !errors.Is(err, ports.ErrNotFound) {
					t.Errorf("retry of an order that nothing is kept back of: error %v, want ErrNotFound", err)
				}

				reason = nil
				if err := p.Retry(t.Context(), "bad"); err != nil {
					t.Errorf("retry: %v", err)
				}
				wantParked(t, p)
				r.wantFold(t, append(bad, good...), view)
			})
		})
	}
}

// The one who retries is another process than the one who projects, which goes on as if it had done it itself.
func TestAProjectionGoesOnAfterARetryElsewhere(t *testing.T) {
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
		p, _ := r.startView(ports.BuyerActivity)
		r.topic.add(messages[:4]...)
		r.awaitEnd(t, ports.BuyerActivity)
		wantParked(t, p, "o from 2: 3, nobody understands this")
		cured.Store(true)
		if err := app.NewProjection(r.options(ports.BuyerActivity)).Retry(t.Context(), "o"); err != nil {
			t.Fatal(err)
		}
		r.topic.add(messages[4:]...)
		r.awaitEnd(t, ports.BuyerActivity)
		wantParked(t, p)
		r.wantFold(t, messages, ports.BuyerActivity)
	})
}

// A message that cannot be applied once may be the next moment.
func TestAMessageThatFailsIsTriedAFewTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		failing := 2
		r.poison = func(m ports.Message) error {
			if m.Version == 2 && failing > 0 {
				failing--
				return errPoison
			}
			return nil
		}
		p, _ := r.startView(ports.OrderSummary)
		messages := basket(t, "o", "b", 3)
		r.topic.add(messages...)
		r.awaitEnd(t, ports.OrderSummary)
		r.wantFold(t, messages, ports.OrderSummary)
		wantParked(t, p)
	})
}

func TestAMissingMessageIsWaitedForAndNeverJumpedOver(t *testing.T) {
	t.Parallel()
	for _, view := range ports.AllViews {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(1, 10))
				var log bytes.Buffer
				options := r.options(view)
				options.Logger = slog.New(slog.NewTextHandler(&log, nil))
				p := app.NewProjection(options)
				stop := r.start(p)
				defer stop()
				a, b := basket(t, "a", "buyer", 5), basket(t, "b", "buyer", 2)
				r.topic.add(a[0], a[2], a[3])
				r.topic.add(b...)
				r.awaitEnd(t, view)
				r.wantFold(t, append(slices.Clone(a[:1]), b...), view)
				wantParked(t, p, "a from 3: 2, version 2 has not come")
				if err := p.Retry(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "version 2 has not come") {
					t.Errorf("retry over a gap: error %v, want that version 2 has not come", err)
				}
				r.topic.add(a[4], a[3], a[1])
				r.awaitEnd(t, view)
				stop()
				r.wantFold(t, append(a, b...), view)
				wantParked(t, p)
				if s := p.Status(); s.Applied != 7 || s.Held != 2 || s.Repeats != 1 || s.Parked != 0 {
					t.Errorf("status %+v, want 7 applied, 2 held, 1 repeat, none parked", s)
				}
				if said := log.String(); strings.Count(said, "a message is missing") != 1 || !strings.Contains(said, "order=a version=2") {
					t.Errorf("the log has\n%s\nwant one line on version 2 of order a", said)
				}
			})
		})
	}
}

// An order that is parked may have very many messages held: which of the new ones are among them the inbox knows, until it
// has forgotten; then the messages themselves do not let one in twice.
func TestAHeldMessageThatComesAgainIsHeldOnce(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]time.Duration{"at once": 0, "when the inbox has forgotten it": ports.InboxKept + time.Hour} {
		t.Run(name, func(t *testing.T) {
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
				p, stop := r.startView(ports.OrderTimeline)
				r.topic.add(messages...)
				r.awaitEnd(t, ports.OrderTimeline)
				time.Sleep(later)
				r.topic.add(messages...)
				r.awaitEnd(t, ports.OrderTimeline)
				stop()
				wantParked(t, p, "o from 2: 4, nobody understands this")
				if s := p.Status(); later == 0 && (s.Held != 4 || s.Repeats != 5 || s.Parked != 1) {
					t.Errorf("status %+v, want 4 held, 5 repeats, 1 parked", s)
				}
				r.poison = nil
				if err := p.Retry(t.Context(), "o"); err != nil {
					t.Error(err)
				}
				r.wantFold(t, messages, ports.OrderTimeline)
			})
		})
	}
}

// What is held behind a gap may be poisoned itself: the order is parked when the gap closes, for that reason.
func TestWhatWasHeldMayTurnOutToBePoisoned(t *testing.T) {
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
		p, _ := r.startView(ports.OrderSummary)
		r.topic.add(messages[0], messages[2], messages[3])
		r.awaitEnd(t, ports.OrderSummary)
		wantParked(t, p, "o from 3: 2, version 2 has not come")
		r.topic.add(messages[1])
		r.awaitEnd(t, ports.OrderSummary)
		wantParked(t, p, "o from 3: 2, nobody understands this")
		r.wantFold(t, messages[:2], ports.OrderSummary)
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
		p, _ := r.startView(ports.OrderSummary)
		r.awaitEnd(t, ports.OrderSummary)
		if took := time.Since(began); took > time.Second {
			t.Errorf("500 orders were parked within %s, want a second", took)
		}
		if s := p.Status(); s.Parked != 500 {
			t.Errorf("%d orders were parked, want 500", s.Parked)
		}
	})
}

// A retry and a projection at the same moment: one of them is first, and nothing takes effect twice.
func TestARetryBesideAProjectionTakesEffectOnce(t *testing.T) {
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
		p, _ := r.startView(ports.BuyerActivity)
		r.topic.add(messages[:10]...)
		r.awaitEnd(t, ports.BuyerActivity)
		cured.Store(true)
		retries := make(chan error, 3)
		for range cap(retries) {
			go func() { retries <- app.NewProjection(r.options(ports.BuyerActivity)).Retry(context.Background(), "o") }()
		}
		r.topic.add(messages[10:]...)
		r.awaitEnd(t, ports.BuyerActivity)
		for range cap(retries) {
			if err := <-retries; err != nil && !errors.Is(err, ports.ErrNotFound) && !errors.Is(err, ports.ErrConflict) {
				t.Errorf("retry: %v", err)
			}
		}
		if err := p.Retry(t.Context(), "o"); err != nil && !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("the last retry: %v", err)
		}
		r.wantFold(t, messages, ports.BuyerActivity)
		wantParked(t, p)
	})
}
