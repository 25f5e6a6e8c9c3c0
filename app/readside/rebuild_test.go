package readside_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/ports"
)

func silently(readside.RebuildProgress) {}

func (r *reading) rebuild() {
	r.t.Helper()
	if err := readside.Rebuild(context.Background(), r.options(), silently); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reading) wantLive(number int) {
	r.t.Helper()
	live, err := r.model.Live(context.Background())
	if err != nil || live.Number != number {
		r.t.Errorf("generation %d is live, error %v, want %d", live.Number, err, number)
	}
}

// The read model is read and fed while it is rebuilt, and the swap changes nothing but the generation: what comes later
// reaches the new one.
func TestARebuildMakesTheSameRowsBesideTheLiveOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 100)
		half := len(messages) / 2
		r.topic.add(messages[:half]...)
		e, _ := r.start()
		r.awaitEnd(t)

		var last readside.RebuildProgress
		var log bytes.Buffer
		options := r.options()
		options.Logger = slog.New(slog.NewTextHandler(&log, nil))
		err := readside.Rebuild(t.Context(), options, func(p readside.RebuildProgress) {
			time.Sleep(time.Second) // it looks at the generations meanwhile
			if p.Done < last.Done || p.Done > p.Total || p.Messages <= last.Messages && p.Done != last.Done {
				t.Errorf("progress went from %+v to %+v", last, p)
			}
			last = p
			r.wantLive(1) // a shadow is not read before it is whole
		})
		if err != nil {
			t.Fatal(err)
		}
		if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "the read model was rebuilt") {
			t.Errorf("the log has\n%s\nwant nothing but that the read model was rebuilt", said)
		}
		if n := int64(half); last != (readside.RebuildProgress{Done: n, Total: n, Messages: n}) {
			t.Errorf("the last progress was %+v, want %d three times", last, n)
		}
		r.wantLive(2)
		r.wantFold(t, messages[:half])

		r.topic.add(messages[half:]...)
		r.awaitEnd(t)
		r.wantFold(t, messages)
		if s := e.Status(); s.Generation != 2 {
			t.Errorf("the engine feeds generation %d, want 2", s.Generation)
		}
	})
}

// A shadow has not received what the live read model has: whether messages come before, during or after the swap, none is
// left out.
func TestASwapLeavesNothingOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 60)
		stop := r.run(readside.New(r.options()), readside.New(r.options()))
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
			r.rebuild()
			time.Sleep(1500 * time.Millisecond)
		}
		<-sent
		r.awaitEnd(t)
		r.wantFold(t, messages)
		r.wantLive(6)
	})
}

// A killed rebuild keeps what it has committed, and the next one reads nothing twice but the batch in flight.
func TestARebuildThatWasKilledGoesOnFromThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 100)
		r.topic.add(messages...)
		ctx, kill := context.WithCancel(t.Context())
		err := readside.Rebuild(ctx, r.options(), func(p readside.RebuildProgress) {
			if p.Done*10 >= p.Total*4 {
				kill()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want the context's", err)
		}
		killedAt := r.topic.delivered
		if killedAt < len(messages)*4/10 || killedAt > len(messages)*4/10+20 {
			t.Errorf("it was killed after %d messages of %d, want 40 %%", killedAt, len(messages))
		}
		r.wantLive(1)
		var first readside.RebuildProgress
		err = readside.Rebuild(t.Context(), r.options(), func(p readside.RebuildProgress) {
			if first.Total == 0 {
				first = p
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if first.Total != int64(len(messages)) || first.Done < int64(killedAt) || first.Messages > 10 {
			t.Errorf("the first progress of the second call was %+v, want %d messages done before it of %d", first, killedAt, len(messages))
		}
		if more := r.topic.delivered - len(messages); more > 10 {
			t.Errorf("%d messages were read twice, want at most a batch of 10", more)
		}
		r.wantFold(t, messages)
	})
}

func TestARebuildFromBadDeliveriesIntoABadStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 100)
		r.topic.add(messages...)
		r.topic.chaos, r.store.chaos = rand.New(rand.NewPCG(3, 4)), rand.New(rand.NewPCG(5, 6))
		r.rebuild()
		r.wantFold(t, messages)
	})
}

// begun is a store whose newest shadow is seen.
type begun struct {
	ports.ReadModelStore
	newest atomic.Int64
}

func (s *begun) Shadow(ctx context.Context) (ports.Generation, error) {
	shadow, err := s.ReadModelStore.Shadow(ctx)
	s.newest.Store(max(s.newest.Load(), int64(shadow.Number)))
	return shadow, err
}

// Both feed the same shadow, and one of them swaps it in; the other finds its work done and begins no third.
func TestTwoRebuildsAtOnceMakeOneReadModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 100)
		r.topic.add(messages...)
		ended := make(chan error)
		store := &begun{ReadModelStore: r.model}
		options := r.options()
		options.Store, options.LookEvery = store, time.Millisecond
		for i := range 2 {
			go func() {
				ended <- readside.Rebuild(t.Context(), options, func(readside.RebuildProgress) {
					time.Sleep(time.Duration(1+100*i) * time.Millisecond)
				})
			}()
		}
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
		r.wantLive(2)
		r.wantFold(t, messages)
		if n := store.newest.Load(); n != 2 {
			t.Errorf("generation %d was begun, want none after 2", n)
		}
	})
}

// rough is a topic that estimates that there is more than there is.
type rough struct{ *tape }

func (s rough) Ahead(ctx context.Context, from []ports.Place) (map[string]int64, error) {
	ahead, err := s.tape.Ahead(ctx, from)
	for shard := range ahead {
		ahead[shard] += 7
	}
	return ahead, err
}

func TestTheProgressOfARebuildEndsAtItsTotalThoughThatIsAnEstimate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		r.topic.add(lives(t, 10)...)
		options := r.options()
		options.Subscriber = rough{r.topic}
		var last readside.RebuildProgress
		err := readside.Rebuild(t.Context(), options, func(p readside.RebuildProgress) { last = p })
		if err != nil || last.Done != last.Total || last.Total == 0 {
			t.Errorf("the last progress was %+v, error %v, want all of it done", last, err)
		}
	})
}

// lostResponse swaps, and says that it may not have.
type lostResponse struct{ ports.ReadModelStore }

func (s lostResponse) Swap(ctx context.Context, shadow ports.Generation) error {
	return errors.Join(s.ReadModelStore.Swap(ctx, shadow), ports.ErrUnavailable)
}

func TestASwapWhoseResponseIsLostIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		messages := lives(t, 10)
		r.topic.add(messages...)
		options := r.options()
		options.Store = lostResponse{r.model}
		if err := readside.Rebuild(t.Context(), options, silently); err != nil {
			t.Fatal(err)
		}
		r.wantLive(2)
		r.wantFold(t, messages)
	})
}

// Somebody discards the shadow in the middle: what is swapped in is whole all the same.
func TestARebuildWhoseShadowIsDiscardedBeginsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 100)
		r.topic.add(messages...)
		discarded := false
		err := readside.Rebuild(t.Context(), r.options(), func(p readside.RebuildProgress) {
			if !discarded && p.Done*2 > p.Total {
				discarded = true
				if err := r.model.Discard(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil || !discarded {
			t.Fatalf("error %v, discarded %v", err, discarded)
		}
		r.wantFold(t, messages)
	})
}

// What the topic no longer has, or nobody can read any more, is in the live read model all the same: a rebuild must not
// lose it. A message that the live read model could not apply either is no reason to stay with that.
func TestARebuildDoesNotMakeTheReadModelWorse(t *testing.T) {
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
		e, stop := r.start()
		r.awaitEnd(t)
		stop()
		worse := "good/2"
		poison.Store(&worse)
		err := readside.Rebuild(t.Context(), r.options(), silently)
		if !errors.Is(err, readside.ErrBehind) || !strings.Contains(err.Error(),
			"with 1 of the orders, such as order good at version 2: nobody understands this") {
			t.Errorf("error %v, want ErrBehind and order good", err)
		}
		r.wantLive(1)
		poison.Store(nil)
		if err := r.model.Discard(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.rebuild()
		r.wantFold(t, append(slices.Clone(messages[:1]), messages[3:]...))
		wantParked(t, e, "bad from 2: 2, nobody understands this")
	})
}

func TestARebuildFromAnEmptyTopicIsAnEmptyReadModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		r.rebuild()
		r.wantLive(2)
	})
}

// An engine that has read nothing yet has no place that could tell it of the swap.
func TestAnEngineThatWaitsForTheFirstMessageNoticesARebuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		r.start()
		synctest.Wait()
		r.rebuild()
		messages := lives(t, 20)
		r.topic.add(messages...)
		r.awaitEnd(t)
		r.wantLive(2)
		r.wantFold(t, messages)
	})
}

func TestARebuildWithoutATopicOrFromABrokerThatForgetsIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(0, 10))
		if err := readside.Rebuild(t.Context(), r.options(), silently); !errors.Is(err, readside.ErrNoTopic) {
			t.Errorf("a topic without shards: error %v, want ErrNoTopic", err)
		}
		options := r.options()
		options.Subscriber = &script{}
		if err := readside.Rebuild(t.Context(), options, silently); !errors.Is(err, readside.ErrNotReplayable) {
			t.Errorf("a subscriber without Replay: error %v, want ErrNotReplayable", err)
		}
		options = r.options()
		options.FromStore, options.Orders = true, memory.NewStore()
		if err := readside.Rebuild(t.Context(), options, silently); !errors.Is(err, readside.ErrNotReplayable) {
			t.Errorf("from the store, beside a topic that does not say where it ends: error %v, want ErrNotReplayable", err)
		}
		options.Subscriber, options.Orders = inproc.NewSubscriber(newLog(t)), nil
		if err := readside.Rebuild(t.Context(), options, silently); !errors.Is(err, readside.ErrNotReplayable) {
			t.Errorf("from a store that cannot be read as a whole: error %v, want ErrNotReplayable", err)
		}
		r.wantLive(1)
	})
}

// A program with a new view meets a read model without it. Rebuild makes it, and begins again what a program without
// the view has begun.
func TestARebuildBuildsTheViewsThatTheReadModelLacks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 30)
		r.topic.add(messages...)
		older := r.options()
		older.Views = views("order-summary", "timeline")
		before := memory.NewReadModel(readside.Tables(older.Views))
		older.Store = before
		ctx, kill := context.WithCancel(t.Context())
		if err := readside.Rebuild(ctx, older, func(readside.RebuildProgress) { kill() }); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want the context's", err)
		}
		r.model = before.Again(readside.Tables(readside.All))
		r.store.ReadModelStore = r.model
		_, stop := r.start()
		r.awaitEnd(t)
		stop()
		if _, err := r.model.Row(t.Context(), "buyer-activity", "buyer-1"); !errors.Is(err, ports.ErrNotBuilt) {
			t.Errorf("before the rebuild: error %v, want ErrNotBuilt", err)
		}
		r.rebuild()
		r.wantFold(t, messages)
	})
}

// sleepy is the store of a process that is stopped in the middle of a commit.
type sleepy struct {
	ports.ReadModelStore
	asleep *atomic.Bool
	wake   chan struct{}
}

func (s sleepy) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	if s.asleep.Load() {
		<-s.wake
	}
	return s.ReadModelStore.Commit(ctx, g, c)
}

// An engine may still remember places of the generation that was swapped out.
func TestAnEngineThatWasAsleepDuringASwapWritesNothingOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(2, 5))
		messages := lives(t, 40)
		r.topic.add(messages[:20]...)
		var asleep atomic.Bool
		wake := make(chan struct{})
		options := r.options()
		options.Store = sleepy{r.store, &asleep, wake}
		e := readside.New(options)
		defer r.run(e)()
		r.awaitEnd(t)
		asleep.Store(true)
		r.topic.add(messages[20:]...) // it holds a batch of these when the read model is swapped
		synctest.Wait()
		r.rebuild()
		rebuilt := ports.Generation{Number: 2}
		before, err := r.model.Places(t.Context(), rebuilt)
		asleep.Store(false)
		close(wake)
		time.Sleep(5 * time.Second)
		after, err2 := r.model.Places(t.Context(), rebuilt)
		if errors.Join(err, err2) != nil || !slices.Equal(before, after) {
			t.Errorf("places %v, then %v, errors %v, %v", before, after, err, err2)
		}
		r.wantFold(t, messages)
		if s := e.Status(); s.Conflicts == 0 || s.Generation != 2 {
			t.Errorf("status %+v, want a conflict, and generation 2", s)
		}
	})
}
