package app_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/app"
	"hexorders/ports"
)

// lives are some orders' messages, and their number.
func lives(t testing.TB, orders int) (messages []ports.Message) {
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range orders {
		messages = append(messages, history(t, chance, fmt.Sprint("order-", i), fmt.Sprint("buyer-", i%7))...)
	}
	return messages
}

func (r *reading) liveNumber(view ports.View) int {
	live, err := r.views.Live(context.Background(), view)
	if err != nil {
		r.t.Fatal(err)
	}
	return live.Number
}

// The view is read and fed while it is built anew, and the swap changes nothing but the generation: what comes later
// reaches the new one.
func TestAReplayBuildsTheSameViewBesideTheLiveOne(t *testing.T) {
	t.Parallel()
	for _, view := range ports.AllViews {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(3, 10))
				messages := lives(t, 100)
				half := len(messages) / 2
				r.topic.add(messages[:half]...)
				p, _ := r.startView(view)
				r.awaitEnd(t, view)

				var last app.ReplayProgress
				err := app.Replay(t.Context(), r.options(view), func(p app.ReplayProgress) {
					if p.Done < last.Done || p.Done > p.Total || p.Messages <= last.Messages && p.Done != last.Done {
						t.Errorf("progress went from %+v to %+v", last, p)
					}
					last = p
					if r.liveNumber(view) != 1 {
						t.Error("the shadow is read before it is whole")
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if want := (app.ReplayProgress{Done: int64(half), Total: int64(half), Messages: int64(half)}); last != want {
					t.Errorf("the last progress was %+v, want %+v", last, want)
				}
				if n := r.liveNumber(view); n != 2 {
					t.Errorf("generation %d is live, want 2", n)
				}
				r.wantFold(t, messages[:half], view)

				r.topic.add(messages[half:]...)
				r.awaitEnd(t, view)
				r.wantFold(t, messages, view)
				if s := p.Status(); s.Generation != 2 {
					t.Errorf("the projection feeds generation %d, want 2", s.Generation)
				}
			})
		})
	}
}

// A shadow has not had what the live view had: whether messages come before, during or after the swap, none is left out.
func TestASwapLeavesNothingOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 60)
		options := r.options(ports.BuyerActivity)
		stop := r.start(app.NewProjection(options), app.NewProjection(options))
		defer stop()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, m := range messages {
				r.topic.add(m)
				time.Sleep(100 * time.Millisecond)
			}
		}()
		for range 5 {
			if err := app.Replay(t.Context(), r.options(ports.BuyerActivity), func(app.ReplayProgress) {}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1500 * time.Millisecond)
		}
		<-sent
		r.awaitEnd(t, ports.BuyerActivity)
		r.wantFold(t, messages, ports.BuyerActivity)
		if n := r.liveNumber(ports.BuyerActivity); n != 6 {
			t.Errorf("generation %d is live, want 6", n)
		}
	})
}

// A killed replay has committed what it has committed, and the next one reads nothing twice but the batch in flight.
func TestAReplayThatWasKilledGoesOnFromThere(t *testing.T) {
	t.Parallel()
	for _, view := range ports.AllViews {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(3, 10))
				messages := lives(t, 100)
				r.topic.add(messages...)
				ctx, kill := context.WithCancel(t.Context())
				err := app.Replay(ctx, r.options(view), func(p app.ReplayProgress) {
					if p.Done*10 >= p.Total*4 {
						kill()
					}
				})
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("error %v, want the context's", err)
				}
				first := r.topic.delivered
				if first < len(messages)*4/10 || first > len(messages)*4/10+20 {
					t.Errorf("it was killed after %d messages of %d, want 40 %%", first, len(messages))
				}
				if n := r.liveNumber(view); n != 1 {
					t.Errorf("generation %d is live, want 1", n)
				}
				if err := app.Replay(t.Context(), r.options(view), func(app.ReplayProgress) {}); err != nil {
					t.Fatal(err)
				}
				if more := r.topic.delivered - len(messages); more > 10 {
					t.Errorf("%d messages were read twice, want at most a batch of 10", more)
				}
				r.wantFold(t, messages, view)
			})
		})
	}
}

func TestAReplayAgainstBadDeliveriesAndABadStore(t *testing.T) {
	t.Parallel()
	for _, view := range ports.AllViews {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(3, 10))
				messages := lives(t, 100)
				r.topic.add(messages...)
				r.topic.chaos, r.inbox.chaos = rand.New(rand.NewPCG(3, 4)), rand.New(rand.NewPCG(5, 6))
				if err := app.Replay(t.Context(), r.options(view), func(app.ReplayProgress) {}); err != nil {
					t.Fatal(err)
				}
				r.wantFold(t, messages, view)
			})
		})
	}
}

// Both build the same shadow, and one of them swaps it in; the other finds its work done and begins no third.
func TestTwoReplaysAtOnceBuildOneView(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 100)
		r.topic.add(messages...)
		ended := make(chan error)
		for range 2 {
			go func() {
				ended <- app.Replay(t.Context(), r.options(ports.BuyerActivity), func(app.ReplayProgress) { time.Sleep(time.Millisecond) })
			}()
		}
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
		if n := r.liveNumber(ports.BuyerActivity); n != 2 {
			t.Errorf("generation %d is live, want 2", n)
		}
		r.wantFold(t, messages, ports.BuyerActivity)
	})
}

// lostAnswer swaps, and says that it may not have.
type lostAnswer struct{ ports.Generations }

func (g lostAnswer) Swap(ctx context.Context, shadow ports.Generation) error {
	return errors.Join(g.Generations.Swap(ctx, shadow), ports.ErrUnavailable)
}

func TestASwapWhoseAnswerIsLostIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		messages := lives(t, 10)
		r.topic.add(messages...)
		options := r.options(ports.OrderSummary)
		options.Generations = lostAnswer{r.views}
		if err := app.Replay(t.Context(), options, func(app.ReplayProgress) {}); err != nil {
			t.Fatal(err)
		}
		if n := r.liveNumber(ports.OrderSummary); n != 2 {
			t.Errorf("generation %d is live, want 2", n)
		}
		r.wantFold(t, messages, ports.OrderSummary)
	})
}

// Somebody throws the shadow away in the middle: what is swapped in is whole all the same.
func TestAReplayWhoseShadowIsDiscardedBeginsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 100)
		r.topic.add(messages...)
		discarded := false
		err := app.Replay(t.Context(), r.options(ports.OrderTimeline), func(p app.ReplayProgress) {
			if !discarded && p.Done*2 > p.Total {
				discarded = true
				if err := r.views.Discard(t.Context(), ports.OrderTimeline); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil || !discarded {
			t.Fatalf("error %v, discarded %v", err, discarded)
		}
		r.wantFold(t, messages, ports.OrderTimeline)
	})
}

// What the topic no longer has, or nobody can read any more, is in the live view all the same: a replay must not lose it.
// A message that the live view could not apply either is no reason to stay with that.
func TestAReplayDoesNotMakeAViewWorse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		var poison atomic.Pointer[string]
		r.poison = func(m ports.Message) error {
			if p := poison.Load(); m.ID == "bad/2" || p != nil && m.ID == *p {
				return errPoison
			}
			return nil
		}
		messages := append(basket(t, "bad", "b", 3), basket(t, "good", "b", 3)...)
		r.topic.add(messages...)
		_, stop := r.startView(ports.OrderSummary)
		r.awaitEnd(t, ports.OrderSummary)
		stop()
		worse := "good/2"
		poison.Store(&worse)
		err := app.Replay(t.Context(), r.options(ports.OrderSummary), func(app.ReplayProgress) {})
		if !errors.Is(err, app.ErrBehind) || !strings.Contains(err.Error(),
			"with 1 of the orders, such as order good at version 2: nobody understands this") {
			t.Errorf("error %v, want ErrBehind and order good", err)
		}
		if n := r.liveNumber(ports.OrderSummary); n != 1 {
			t.Errorf("generation %d is live, want 1", n)
		}
		poison.Store(nil)
		err = r.views.Discard(t.Context(), ports.OrderSummary)
		if err := errors.Join(err, app.Replay(t.Context(), r.options(ports.OrderSummary), func(app.ReplayProgress) {})); err != nil {
			t.Fatal(err)
		}
		r.wantFold(t, append(slices.Clone(messages[:1]), messages[3:]...), ports.OrderSummary)
		wantParked(t, app.NewProjection(r.options(ports.OrderSummary)), "bad from 2: 2, nobody understands this")
	})
}

func TestAReplayOfAnEmptyTopicIsAnEmptyView(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		if err := app.Replay(t.Context(), r.options(ports.OrderSummary), func(app.ReplayProgress) {}); err != nil {
			t.Fatal(err)
		}
		if n := r.liveNumber(ports.OrderSummary); n != 2 {
			t.Errorf("generation %d is live, want 2", n)
		}
	})
}

// Views that nobody writes to any more: a projection may still hold positions of the generation that was swapped out.
func TestAProjectionThatWasAsleepDuringASwapWritesNothingOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(2, 5))
		messages := lives(t, 40)
		r.topic.add(messages[:20]...)
		var asleep atomic.Bool
		wake := make(chan struct{})
		r.inbox.fail = func() (before, after error) { return nil, nil }
		options := r.options(ports.BuyerActivity)
		options.Inbox = sleepy{r.inbox, &asleep, wake}
		p := app.NewProjection(options)
		defer r.start(p)()
		r.awaitEnd(t, ports.BuyerActivity)
		asleep.Store(true)
		r.topic.add(messages[20:]...) // it has a batch of these in its hands when the view is swapped
		synctest.Wait()
		if err := app.Replay(t.Context(), r.options(ports.BuyerActivity), func(app.ReplayProgress) {}); err != nil {
			t.Fatal(err)
		}
		before, err := r.views.Positions(t.Context(), ports.Generation{View: ports.BuyerActivity, Number: 2})
		asleep.Store(false)
		close(wake)
		time.Sleep(5 * time.Second)
		after, err2 := r.views.Positions(t.Context(), ports.Generation{View: ports.BuyerActivity, Number: 2})
		if errors.Join(err, err2) != nil || !maps.Equal(before, after) {
			t.Errorf("positions %v, then %v, errors %v, %v", before, after, err, err2)
		}
		r.wantFold(t, messages, ports.BuyerActivity)
		if s := p.Status(); s.Conflicts == 0 || s.Generation != 2 {
			t.Errorf("status %+v, want a conflict, and generation 2", s)
		}
	})
}

// sleepy is the inbox of a process that is stopped in the middle of a commit.
type sleepy struct {
	ports.Inbox
	asleep *atomic.Bool
	wake   chan struct{}
}

func (s sleepy) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	if s.asleep.Load() {
		<-s.wake
	}
	return s.Inbox.Commit(ctx, g, c)
}
