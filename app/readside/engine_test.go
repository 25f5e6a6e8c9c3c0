package readside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/ports"
)

// Messages come shuffled, some twice; the subscriber delivers them again and breaks off; commits fail before and after
// they took effect; one message cannot be applied at first. The rows are the fold of the events.
func TestTheRowsAreTheFoldOfTheEventsHoweverTheyCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(inBubble{t}, func(rt *rapid.T) { chaos(t, rt, 1) })
	})
}

// Two engines whose shares change all the time, and overlap.
func TestEnginesThatGetTheSameMessagesDoNotHurtEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(inBubble{t}, func(rt *rapid.T) { chaos(t, rt, 2) })
	})
}

// inBubble keeps rapid from asking for the test's deadline, which a bubble does not allow.
type inBubble struct{ *testing.T }

func chaos(t *testing.T, rt *rapid.T, engines int) {
	chance := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
	var messages []ports.Message
	for i := range rapid.IntRange(1, 8).Draw(rt, "orders") {
		messages = append(messages, history(rt, chance, fmt.Sprint("order-", i), fmt.Sprint("buyer-", i%3))...)
	}
	sent := messages
	if rapid.Bool().Draw(rt, "duplicates") {
		sent = append(slices.Clone(sent), sent[chance.IntN(len(sent)):]...)
	}
	if rapid.Bool().Draw(rt, "shuffled") {
		sent = slices.Clone(sent)
		chance.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	}
	r := newReading(t, newTape(rapid.IntRange(1, 3).Draw(rt, "shards"), rapid.IntRange(1, 30).Draw(rt, "batch")))
	if rapid.Bool().Draw(rt, "bad deliveries") {
		r.topic.chaos = chance
	}
	if rapid.Bool().Draw(rt, "bad commits") {
		r.store.chaos = rand.New(rand.NewPCG(chance.Uint64(), 2))
	}
	var all []*readside.Engine
	for range engines {
		options := r.options()
		options.Remember = rapid.IntRange(1, 4).Draw(rt, "remember")
		all = append(all, readside.New(options))
	}
	var poison ports.Message
	if rapid.Bool().Draw(rt, "poisoned") {
		poison = messages[chance.IntN(len(messages))]
	}
	var cured atomic.Bool
	r.poison = func(m ports.Message) error {
		if m.ID == poison.ID && !cured.Load() {
			return errPoison
		}
		return nil
	}
	defer r.run(all...)()
	late := 0
	if rapid.Bool().Draw(rt, "some of it later") {
		late = len(sent) / 2
	}
	r.topic.add(sent[late:]...)
	time.Sleep(2 * time.Second)
	r.topic.add(sent[:late]...)
	r.awaitEnd(rt)
	cured.Store(true)
	err := ports.ErrUnavailable
	for poison.ID != "" && (errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrConflict)) {
		err = all[0].Retry(t.Context(), poison.OrderID)
	}
	r.wantFold(rt, messages)
	if parked, err := all[0].Parked(t.Context()); err != nil || len(parked) > 0 {
		rt.Errorf("buffered in the end: %v, error %v", parked, err)
	}
}

func TestACommitWhoseResponseIsLostTakesEffectOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(2, 10))
		lost := false
		r.store.fail = func() (before, after error) {
			if lost = !lost; lost {
				return nil, ports.ErrUnavailable
			}
			return nil, nil
		}
		var messages []ports.Message
		for i := range 10 {
			messages = append(messages, basket(t, fmt.Sprint("order-", i), "b", 3)...)
		}
		e, stop := r.start()
		r.topic.add(messages...)
		r.awaitEnd(t)
		stop()
		r.wantFold(t, messages)
		if s := e.Status(); s.Failed == 0 || s.Conflicts == 0 {
			t.Errorf("status %+v, want responses that were lost, and conflicts that told of it", s)
		}
	})
}

func TestAnEngineOutlivesAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		var away atomic.Bool
		away.Store(true)
		r.store.fail = func() (before, after error) {
			if away.Load() {
				return ports.ErrUnavailable, nil
			}
			return nil, nil
		}
		messages := basket(t, "o", "b", 30)
		var log bytes.Buffer
		options := r.options()
		options.Logger = slog.New(slog.NewTextHandler(&log, nil))
		e := readside.New(options)
		stop := r.run(e)
		defer stop()
		r.topic.add(messages...)
		time.Sleep(time.Hour)
		if s := e.Status(); s.Applied != 0 || s.Failed < 100 {
			t.Errorf("after an hour without a store: %+v, want no message applied and many tries", s)
		}
		away.Store(false)
		time.Sleep(10 * time.Second)
		if s := e.Status(); s.Applied != 30 || s.Duplicates != 0 {
			t.Errorf("when it came back: %+v, want 30 applied", s)
		}
		r.wantFold(t, messages)
		stop()
		if !strings.Contains(log.String(), "messages=10 attempt=100 ") {
			t.Errorf("the log does not number the attempts:\n%.1000s", log.String())
		}
	})
}

// The place is the generation's own: what the group did for another generation does not count.
func TestAReadModelBeginsAtTheFirstMessageWhereverItsGroupIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		r.topic.group = map[int]int{0: 2, 1: 2, 2: 2}
		var messages []ports.Message
		for i := range 6 {
			messages = append(messages, basket(t, fmt.Sprint("order-", i), "b", 4)...)
		}
		r.topic.add(messages...)
		r.start()
		r.awaitEnd(t)
		r.wantFold(t, messages)
	})
}

func TestAMessageThatIsNoMessageOfAnOrderIsSkipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 100))
		messages := basket(t, "o", "b", 3)
		odd := func(change func(*ports.Message)) ports.Message {
			m := messages[1]
			change(&m)
			return m
		}
		sent := []ports.Message{
			{}, messages[0],
			odd(func(m *ports.Message) { m.ID = "" }),
			odd(func(m *ports.Message) { m.ID = "o" }),
			odd(func(m *ports.Message) { m.ID = "o/3" }),
			odd(func(m *ports.Message) { m.ID = "p/2" }),
			odd(func(m *ports.Message) { m.ID, m.Version = "o/0", 0 }),
			odd(func(m *ports.Message) { m.ID, m.OrderID = "/2", "" }),
			odd(func(m *ports.Message) { m.ID = "o/02" }),
			messages[1], messages[2],
		}
		e, _ := r.start()
		r.topic.add(sent...)
		r.awaitEnd(t)
		r.wantFold(t, messages)
		if s := e.Status(); s.Foreign != 8 || s.Applied != 3 || s.Duplicates+s.Buffered+s.Parked != 0 {
			t.Errorf("status %+v, want 8 foreign messages and 3 applied", s)
		}
	})
}

func TestTheReadModelSaysUpToWhenItIncludesEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		wantAsOf := func(when string, want time.Time) {
			t.Helper()
			f, err := r.model.Freshness(t.Context(), "")
			if err != nil || !f.AsOf.Equal(want) {
				t.Errorf("%s: as of %s, error %v, want %s", when, f.AsOf, err, want)
			}
		}
		time.Sleep(time.Until(noon.Add(time.Hour)))
		commits := 2 // of two messages each, before the store goes away
		r.store.fail = func() (before, after error) {
			if commits--; commits < 0 {
				return ports.ErrUnavailable, nil
			}
			return nil, nil
		}
		allow := func(n int) {
			r.store.mu.Lock()
			defer r.store.mu.Unlock()
			commits = n
		}
		messages := basket(t, "o", "b", 6)
		r.topic.add(messages...)
		_, stop := r.start()
		synctest.Wait()
		wantAsOf("with two messages to come", messages[3].OccurredAt)
		stop()

		allow(1000)
		e, stop := r.start()
		defer stop()
		synctest.Wait()
		wantAsOf("with none to come", time.Now())
		time.Sleep(10*time.Second + 500*time.Millisecond)
		known := time.Now().Add(-500 * time.Millisecond)
		wantAsOf("ten seconds later", known)
		allow(1)
		r.topic.add(basket(t, "p", "b", 3)...) // they occurred long ago, and took their time to come
		synctest.Wait()
		wantAsOf("between messages that took their time", known)
		if s := e.Status(); s.Applied != 4 { // two of the first order, whose others the engine before it applied
			t.Errorf("status %+v, want 4 applied", s)
		}
	})
}

// The read model is dropped, or restored as it was some time ago, under an engine that has read further.
func TestAReadModelThatWasRestoredIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 60)
		third := len(messages) / 3
		r.start()
		r.topic.add(messages[:third]...)
		r.awaitEnd(t)
		r.topic.add(messages[third : 2*third]...)
		r.awaitEnd(t)
		synctest.Wait()
		r.model = memory.NewReadModel(readside.Tables(readside.All))
		r.store.ReadModelStore = r.model
		r.topic.add(messages[2*third:]...)
		r.awaitEnd(t)
		r.wantFold(t, messages)
	})
}

// script is a subscriber that resumes and delivers these batches, and then nothing.
type script struct {
	t       *testing.T
	shards  []string
	batches []ports.Batch
	began   int // subscriptions
}

func (s *script) Subscribe(ctx context.Context, _ string, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	s.began++
	if _, err := resume(ctx, s.shards); err != nil {
		return err
	}
	for len(s.batches) > 0 {
		b := s.batches[0]
		s.batches = s.batches[1:]
		if err := handle(ctx, b); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// witnessed is a store whose commits are seen.
type witnessed struct {
	ports.ReadModelStore
	before  func()
	commits []ports.Change
	asked   []string // by call of Load, the orders
	loads   int      // calls of Buffered
	looks   int      // calls of Parked
}

func (w *witnessed) Parked(ctx context.Context, g ports.Generation) ([]ports.ParkedOrder, error) {
	w.looks++
	return w.ReadModelStore.Parked(ctx, g)
}

func (w *witnessed) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Progress, error) {
	w.asked = append(w.asked, strings.Join(orderIDs, " "))
	return w.ReadModelStore.Load(ctx, g, orderIDs)
}

func (w *witnessed) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	if w.before != nil {
		w.before()
	}
	err := w.ReadModelStore.Commit(ctx, g, c)
	if err == nil {
		w.commits = append(w.commits, c)
	}
	return err
}

func (w *witnessed) Buffered(ctx context.Context, g ports.Generation, orderID string) ([]ports.Message, error) {
	w.loads++
	return w.ReadModelStore.Buffered(ctx, g, orderID)
}

// deliveries are messages of one shard, from the place after the first n.
func deliveries(messages []ports.Message, n int) (list []ports.Delivery) {
	for i, m := range messages {
		list = append(list, ports.Delivery{Message: m, Place: ports.Place{Shard: "s", Next: place(n + i + 1)}})
	}
	return list
}

func TestAPlaceFollowsTheReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		time.Sleep(time.Until(noon.Add(time.Hour)))
		all := deliveries(basket(t, "o", "b", 5), 0)
		store := &witnessed{ReadModelStore: r.model}
		options := r.options()
		options.Store = store
		options.Subscriber = &script{t: t, shards: []string{"s", "idle"}, batches: []ports.Batch{
			{Messages: all[:4]}, {Messages: all[3:4]},
			{Messages: all[4:], CaughtUp: []ports.Place{{Shard: "s"}, {Shard: "idle"}}}, {CaughtUp: []ports.Place{{Shard: "idle"}}},
		}}
		defer r.run(readside.New(options))()
		synctest.Wait()
		var got [][]ports.PlaceChange
		for _, c := range store.commits {
			got = append(got, c.Places)
		}
		want := [][]ports.PlaceChange{ // and none for the second batch, of a duplicate at the place that is known
			{{Shard: "s", From: "", To: "at 4", AsOf: all[3].OccurredAt}},
			{{Shard: "s", From: "at 4", To: "at 5", AsOf: time.Now()}, {Shard: "idle", AsOf: time.Now()}},
			{{Shard: "idle", AsOf: time.Now()}},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("places:\n got %v\nwant %v", got, want)
		}
	})
}

// Two consumers have the same shard for a moment. The slower one goes on where the other has come to, when that is in its
// batch; otherwise it subscribes again. A place that it did not read is never overwritten.
func TestAShardThatAnotherConsumerMovedIsReadFromThere(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		others int    // messages that the other consumer commits
		next   string // the place in the end
		began  int    // subscriptions
	}{
		"to a place in the batch":             {2, "at 4", 1},
		"to the end of the batch":             {4, "at 4", 1},
		"to a place that is not in the batch": {6, "at 6", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(1, 10))
				messages := basket(t, "o", "b", 6)
				all := deliveries(messages, 0)
				store := &witnessed{ReadModelStore: r.model}
				store.before = func() {
					store.before = nil
					other := r.options()
					other.Store = r.model
					other.Subscriber = &script{t: t, shards: []string{"s"}, batches: []ports.Batch{{Messages: all[:x.others]}}}
					stop := r.run(readside.New(other))
					time.Sleep(time.Second)
					stop()
				}
				options := r.options()
				options.Store = store
				subscriber := &script{t: t, shards: []string{"s"}, batches: []ports.Batch{{Messages: all[:4]}}}
				options.Subscriber = subscriber
				e := readside.New(options)
				defer r.run(e)()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				live, err := r.model.Live(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				places, err := r.model.Places(t.Context(), live)
				if want := []ports.Place{{Shard: "s", Next: x.next}}; err != nil || !slices.Equal(places, want) {
					t.Errorf("places %v, error %v, want %v", places, err, want)
				}
				if subscriber.began != x.began {
					t.Errorf("%d subscriptions, want %d", subscriber.began, x.began)
				}
				r.wantFold(t, messages[:max(4, x.others)])
			})
		})
	}
}

// The clock of the machine that took the order may be fast.
func TestTheReadModelIsNeverUpToDateAsOfTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		options := r.options()
		options.Subscriber = &script{t: t, shards: []string{"s"}, batches: []ports.Batch{{Messages: deliveries(basket(t, "o", "b", 2), 0)}}}
		time.Sleep(time.Until(noon.Add(-time.Minute)))
		e := readside.New(options)
		defer r.run(e)()
		synctest.Wait()
		f, err := r.model.Freshness(t.Context(), "")
		if s := e.Status(); s.Applied != 2 || err != nil || !f.AsOf.Equal(time.Now()) {
			t.Errorf("status %+v, as of %s, error %v; want 2 applied, as of now, %s", s, f.AsOf, err, time.Now())
		}
	})
}

// breaking is a subscriber that delivers a batch and breaks.
type breaking struct{ began int }

func (s *breaking) Subscribe(ctx context.Context, _ string, _ ports.Resume, handle func(context.Context, ports.Batch) error) error {
	s.began++
	return errors.Join(handle(ctx, ports.Batch{CaughtUp: []ports.Place{{Shard: "s"}}}), errBroken)
}

func TestTheNextPauseIsShortAgainOnceABatchWasCommitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		options, subscriber := r.options(), &breaking{}
		options.Subscriber = subscriber
		stop := r.run(readside.New(options))
		time.Sleep(time.Minute)
		stop()
		if subscriber.began < 600 {
			t.Errorf("%d subscriptions within a minute, want about 1,200", subscriber.began)
		}
	})
}

// An order that begins is believed to be new, and one that was seen lately is remembered. The others are loaded.
func TestOnlyOrdersThatAreNotKnownAreLoaded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		store := &witnessed{ReadModelStore: r.model}
		options := r.options()
		options.Store, options.Remember = store, 2
		defer r.run(readside.New(options))()
		a, b, c := basket(t, "a", "buyer", 3), basket(t, "b", "buyer", 1), basket(t, "c", "buyer", 1)
		for i, messages := range [][]ports.Message{{a[0]}, {b[0]}, {a[1]}, {c[0]}, {a[2]}, {b[0], b[0]}} {
			r.topic.add(messages...)
			r.awaitEnd(t)
			if len(store.asked) > 0 && i < 5 {
				t.Fatalf("batch %d loaded %q, want nothing", i+1, store.asked)
			}
		}
		if !slices.Equal(store.asked, []string{"b"}) { // after the conflict that its duplicates made
			t.Errorf("loaded were %q, want once b, which was forgotten", store.asked)
		}
		r.wantFold(t, slices.Concat(a, b, c))
	})
}

// A push broker cannot say from where to go on. The read model includes what it delivered all the same, and says so.
func TestABrokerWithoutPlacesIsFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		time.Sleep(time.Until(noon.Add(time.Hour)))
		messages := basket(t, "o", "b", 4)
		var all []ports.Delivery
		for _, m := range append(slices.Clone(messages), messages...) {
			all = append(all, ports.Delivery{Message: m})
		}
		options := r.options()
		options.Subscriber = &script{t: t, batches: []ports.Batch{{Messages: all[:3]}, {Messages: all[3:]}}}
		e := readside.New(options)
		defer r.run(e)()
		synctest.Wait()
		r.wantFold(t, messages)
		if s := e.Status(); s.Applied != 4 || s.Duplicates != 4 {
			t.Errorf("status %+v, want 4 applied, 4 duplicates", s)
		}
	})
}

// views is a program with some of the views.
func views(names ...string) (some []readside.View) {
	for _, v := range readside.All {
		if slices.Contains(names, v.Name) {
			some = append(some, v)
		}
	}
	return some
}

// The read model was built by a program with other views. What both know is fed, and the log names the rest once.
func TestAViewThatTheReadModelLacksIsNotFedAndNamedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		r.model = memory.NewReadModel(readside.Tables(views("order-summary", "timeline")))
		var log bytes.Buffer
		options := r.options()
		options.Store = r.model.Again(readside.Tables(readside.All))
		options.Views = views("order-summary", "buyer-activity")
		options.Logger = slog.New(slog.NewTextHandler(&log, nil))
		r.topic.chaos = rand.New(rand.NewPCG(1, 2)) // the subscription breaks now and then
		stop := r.run(readside.New(options))
		defer stop()
		messages := basket(t, "o", "b", 3)
		r.topic.add(messages...)
		r.awaitEnd(t)
		time.Sleep(time.Minute)
		stop()
		if rows := r.rowsOf(t, "order-summary"); len(rows) != 1 {
			t.Errorf("order-summary has %v, want a row", rows)
		}
		if rows := r.rowsOf(t, "timeline"); len(rows) != 0 {
			t.Errorf("timeline has %v, want none: the program does not know it", rows)
		}
		for _, want := range []string{
			"level=WARN msg=\"a view is not built yet, or has changed since: run `hexorders views rebuild`\" view=buyer-activity",
			"level=WARN msg=\"a view belongs to a later version of the program and gets no events from this one; " +
				"run `hexorders views rebuild` with that version\" view=timeline",
		} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("the log has\n%s\nwant once %s", log.String(), want)
			}
		}
	})
}
