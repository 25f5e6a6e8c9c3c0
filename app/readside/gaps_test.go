package readside_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/inproc/logtest"
	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

func newLog(t testing.TB, messages ...ports.Message) *logtest.Trimmed {
	t.Helper()
	log := &logtest.Trimmed{Log: memory.NewTopic()}
	if err := log.Append(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	return log
}

// fedFrom runs an engine on a log until it has caught up, and returns what it logged.
func (r *reading) fedFrom(log inproc.Log) string {
	r.t.Helper()
	var said bytes.Buffer
	o := r.options()
	o.Subscriber, o.Logger = inproc.NewSubscriber(log), slog.New(slog.NewTextHandler(&said, nil))
	stop := r.run(readside.New(o))
	time.Sleep(5 * time.Second)
	synctest.Wait()
	stop()
	return said.String()
}

func (r *reading) wantIncomplete(want ports.GapReason) {
	r.t.Helper()
	f, err := r.model.Freshness(r.t.Context(), "")
	if err != nil || f.Incomplete != want || (want == "") == f.AsOf.IsZero() {
		r.t.Errorf("the read model says that it is incomplete for the reason %q, as of %s, error %v; want %q, and no time with a reason",
			f.Incomplete, f.AsOf, err, want)
	}
}

// What the log does not have any more, or has not of what was read, makes the read model incomplete, and that stays.
func TestAReadModelThatMissesMessagesForEverSaysSo(t *testing.T) {
	t.Parallel()
	first, second := basket(t, "o", "b", 4), basket(t, "p", "b", 3)
	for name, x := range map[string]struct {
		after func(log *logtest.Trimmed) *logtest.Trimmed // what is read after the first messages
		want  ports.GapReason
	}{
		"another topic": {func(*logtest.Trimmed) *logtest.Trimmed { return newLog(t, second...) }, ports.GapOtherLog},
		"messages were deleted": {func(log *logtest.Trimmed) *logtest.Trimmed {
			log.Before = 6
			return log
		}, ports.GapDeleted},
		"the topic is shorter": {func(log *logtest.Trimmed) *logtest.Trimmed {
			id, _, err := log.Begin(t.Context())
			if err != nil {
				t.Error(err)
			}
			return &logtest.Trimmed{Log: renamed{newLog(t, first[:2]...).Log, id}}
		}, ports.GapLost},
		"nothing is missing": {func(log *logtest.Trimmed) *logtest.Trimmed { return log }, ""},
		"messages were deleted that had been read": {func(log *logtest.Trimmed) *logtest.Trimmed {
			log.Before = 4
			return log
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, log := newReading(t, newTape(1, 2)), newLog(t, first...)
				r.fedFrom(log)
				r.wantIncomplete("")
				if err := log.Append(t.Context(), second); err != nil {
					t.Fatal(err)
				}
				log = x.after(log)
				const says = "events are missing from the views for ever"
				if said := r.fedFrom(log); strings.Count(said, says) != min(len(x.want), 1) {
					t.Errorf("the log says\n%s\nwant a line %q only if something is missing", said, says)
				}
				r.wantIncomplete(x.want)
				if said := r.fedFrom(log); strings.Contains(said, says) { // a restart finds it where it is
					t.Errorf("the next engine says it again:\n%s", said)
				}
				r.wantIncomplete(x.want)
			})
		})
	}
}

// renamed is a log under the id of another one: an older copy of it.
type renamed struct {
	inproc.Log
	id string
}

func (l renamed) Begin(context.Context) (string, int64, error) { return l.id, 0, nil }

// A topic whose beginning was deleted makes no complete read model, also when it is the first that is read.
func TestANewReadModelOfATopicWithoutItsBeginningIsIncomplete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, log := newReading(t, newTape(1, 2)), newLog(t, basket(t, "o", "b", 4)...)
		log.Before = 3
		r.fedFrom(log)
		r.wantIncomplete(ports.GapDeleted)
	})
}

// rebuilt rebuilds the read model from a log, as Rebuild does from a topic, and returns its error.
func (r *reading) rebuilt(log inproc.Log, orders ports.OrderScanner, fromStore bool) error {
	r.t.Helper()
	o := r.options()
	o.Subscriber, o.Orders, o.FromStore = inproc.NewSubscriber(log), orders, fromStore
	return readside.Rebuild(r.t.Context(), o, func(readside.RebuildProgress) {})
}

// shop is a store with some orders, and the messages of each in the order in which they were saved.
func shop(t testing.TB, histories ...[]ports.Message) (*memory.Store, []ports.Message) {
	t.Helper()
	store, all := memory.NewStore(), []ports.Message(nil)
	for _, messages := range histories {
		o, err := order.New(messages[0].OrderID, "b", nil, noon)
		for _, m := range messages[1:] {
			if err == nil {
				err = o.AddItem("p", 1, m.OccurredAt)
			}
		}
		if err == nil {
			err = store.Save(t.Context(), o, ports.IdempotencyKey{})
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, messages...)
	}
	return store, all
}

func (r *reading) wantListed(want ...string) {
	r.t.Helper()
	if got := slices.Sorted(maps.Keys(r.rowsOf(r.t, "order-summary"))); !slices.Equal(got, want) {
		r.t.Errorf("the list has %q, want %q", got, want)
	}
}

// A rebuild from a topic that lacks something swaps nothing in and says what is missing. One from the store has everything.
func TestARebuildProvesThatTheTopicHasEverything(t *testing.T) {
	t.Parallel()
	first, second := basket(t, "o", "b", 4), basket(t, "p", "b", 3)
	for name, x := range map[string]struct {
		topic []ports.Message
		gone  int64         // messages that were deleted
		waits time.Duration // for what may be on its way
		words string
	}{
		"the beginning of the topic was deleted": {slices.Concat(first, second), 4, 0, "4 messages from offset 0 on were deleted"},
		"an order begins later": {slices.Concat(first, second[1:]), 0, 0,
			"1 orders begin later than version 1, such as order p with version 2"},
		"an order is not there at all": {first, 0, 10 * time.Second,
			"of 1 orders of the store it lacks events, such as version 3 of order p"},
		"an order's last event is not there": {slices.Concat(first, second[:2]), 0, 10 * time.Second, "such as version 3 of order p"},
		"nothing is there":                   {nil, 0, 10 * time.Second, "of 2 orders of the store it lacks events"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(1, 2))
				store, all := shop(t, first, second)
				r.fedFrom(newLog(t, all...))
				log := newLog(t, x.topic...)
				log.Before = x.gone
				began := time.Now()
				err := r.rebuilt(log, store, false)
				if took := time.Since(began); took != x.waits {
					t.Errorf("the rebuild waited for %s, want %s", took, x.waits)
				}
				if !errors.Is(err, readside.ErrIncomplete) || !strings.Contains(err.Error(), x.words) {
					t.Errorf("the rebuild ends with %v, want %v with %q", err, readside.ErrIncomplete, x.words)
				}
				if live, err := r.model.Live(t.Context()); err != nil || live.Number != 1 {
					t.Errorf("generation %d is live, error %v, want 1: nothing is swapped in", live.Number, err)
				}
				if err := r.rebuilt(log, store, true); err != nil {
					t.Errorf("the rebuild from the store ends with %v", err)
				}
				r.wantListed("o", "p")
				r.wantIncomplete("")
				more := basket(t, "q", "b", 2)
				if err := log.Append(t.Context(), more); err != nil {
					t.Fatal(err)
				}
				r.fedFrom(log)
				r.wantListed("o", "p", "q")
				r.wantIncomplete("")
			})
		})
	}
}

// The read model of another topic is complete again after a rebuild that proves it.
func TestARebuildThatProvesItClearsAGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		store, all := shop(t, basket(t, "o", "b", 4), basket(t, "p", "b", 3))
		r.fedFrom(newLog(t, all[:4]...))
		log := newLog(t, all...)
		r.fedFrom(log)
		r.wantIncomplete(ports.GapOtherLog)
		if err := r.rebuilt(log, store, false); err != nil {
			t.Fatal(err)
		}
		r.wantIncomplete("")
		r.wantListed("o", "p")
	})
}

// What is on its way while a rebuild ends is waited for.
func TestARebuildWaitsForWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		store, all := shop(t, basket(t, "o", "b", 4))
		log := newLog(t, all[:3]...)
		ended := make(chan error)
		go func() { ended <- r.rebuilt(log, store, false) }()
		time.Sleep(2500 * time.Millisecond)
		if err := log.Append(t.Context(), all[3:]); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		r.wantIncomplete("")
	})
}

func TestARebuildThatLacksNothingWaitsForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		store, all := shop(t, basket(t, "o", "b", 4))
		log, began := newLog(t, all...), time.Now()
		if err := r.rebuilt(log, store, false); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took >= time.Second {
			t.Errorf("the rebuild took %s, want less than a second", took)
		}
	})
}

// trimmedStore has deleted the first messages of its orders.
type trimmedStore struct{ ports.OrderScanner }

func (s trimmedStore) ScanMessages(ctx context.Context, after ports.EventRef, limit int) ([]ports.Message, error) {
	messages, err := s.OrderScanner.ScanMessages(ctx, after, limit)
	return slices.DeleteFunc(messages, func(m ports.Message) bool { return m.OrderID == "p" && m.Version < 3 }), err
}

// A store that has deleted old events makes no complete read model, and what it makes says so.
func TestARebuildFromAStoreWithoutOldEventsIsIncomplete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		store, all := shop(t, basket(t, "o", "b", 4), basket(t, "p", "b", 3))
		log := newLog(t, all...)
		log.Before = 7
		if err := r.rebuilt(log, trimmedStore{store}, true); err != nil {
			t.Fatal(err)
		}
		r.wantListed("o")
		r.wantIncomplete(ports.GapHistory)
		r.fedFrom(log)
		r.wantIncomplete(ports.GapHistory)
	})
}

// The store was restored from an older copy, and an order took another way. It is parked, and nothing else is.
func TestAnOrderWithTwoHistoriesIsParked(t *testing.T) {
	t.Parallel()
	t.Run("its last version comes again", func(t *testing.T) { synctest.Test(t, lastVersionComesAgain) })
	t.Run("an earlier version comes again", anEarlierVersionComesAgain)
}

func lastVersionComesAgain(t *testing.T) {
	r, log := newReading(t, newTape(1, 2)), newLog(t)
	first, good := basket(t, "o", "b", 3), basket(t, "p", "b", 1)
	other := first[2]
	other.Payload = bytes.Replace(other.Payload, []byte(`"amount":1`), []byte(`"amount":9`), 1)
	next := basket(t, "o", "b", 4)[3]
	add := func(messages ...ports.Message) {
		t.Helper()
		if err := log.Append(t.Context(), messages); err != nil {
			t.Fatal(err)
		}
	}
	add(first...)
	add(first[1:]...) // duplicates are no fork
	o := r.options()
	o.Subscriber = inproc.NewSubscriber(log)
	e := readside.New(o)
	stop := r.run(e)
	defer stop()
	time.Sleep(5 * time.Second)
	synctest.Wait()
	if s := e.Status(); s.Forked != 0 || s.Duplicates != 2 {
		t.Errorf("after duplicates the status is %+v, want no fork", s)
	}
	add(other, other, next)
	add(good...)
	time.Sleep(5 * time.Second)
	synctest.Wait()
	if s := e.Status(); s.Forked != 1 || s.Parked != 1 || s.Applied != 4 {
		t.Errorf("the status is %+v, want one fork, and that of the events of both orders four were applied", s)
	}
	const reason = "version 3: it came with two different contents"
	parked, err := e.Parked(t.Context())
	if err != nil || len(parked) != 1 || parked[0].Messages != 2 || !strings.HasPrefix(parked[0].Reason, reason) {
		t.Errorf("parked %+v, error %v, want order o with two messages because of %q", parked, err, reason)
	}
	if err := e.Retry(t.Context(), "o"); err == nil || !strings.Contains(err.Error(), "two different contents") {
		t.Errorf("Retry gives %v, want the reason", err)
	}
	r.wantListed("o", "p")
}

// The other way is shorter. Of an earlier version no digest is stored, but an order is submitted, paid and cancelled once.
func anEarlierVersionComesAgain(t *testing.T) {
	at := noon.Add(time.Hour)
	add := func(o *order.Order) error { return o.AddItem("p", 1, at) }
	submit := func(o *order.Order) error { return o.Submit(at) }
	pay := func(o *order.Order) error { return o.Pay(at) }
	cancel := func(o *order.Order) error { return o.Cancel(order.ByBuyer, "", at) }
	type way []func(*order.Order) error
	for name, x := range map[string]struct {
		first, other way
		want         int64
	}{
		"cancelled, but was submitted": {way{add, submit}, way{cancel}, 1},
		"paid, but was cancelled":      {way{add, submit, cancel}, way{add, pay}, 1},
		"submitted, but was paid":      {way{add, add, pay}, way{add, submit}, 1},
		"submitted later":              {way{add, submit, pay}, way{add, submit}, 1},
		"the same":                     {way{add, submit, pay}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, log := newReading(t, newTape(1, 2)), newLog(t)
				messages := func(w way) []ports.Message {
					at = at.Add(time.Hour)
					o, err := order.New("o", "b", []order.Item{{Product: "q", Amount: 1}}, noon)
					for _, command := range w {
						err = errors.Join(err, command(o))
					}
					if err != nil {
						t.Fatal(err)
					}
					return messagesOf(t, o)
				}
				first := messages(x.first)
				other := first
				if x.other != nil {
					other = messages(x.other)
				}
				if err := log.Append(t.Context(), slices.Concat(first, other)); err != nil {
					t.Fatal(err)
				}
				o := r.options()
				o.Subscriber = inproc.NewSubscriber(log)
				e := readside.New(o)
				defer r.run(e)()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if s := e.Status(); s.Forked != x.want || s.Applied != int64(len(first)) {
					t.Errorf("the status is %+v, want %d forks, and that the first %d events were applied", s, x.want, len(first))
				}
				parked, err := e.Parked(t.Context())
				if err != nil || len(parked) != int(x.want) {
					t.Errorf("parked %+v, error %v, want %d orders", parked, err, x.want)
				}
				r.wantListed("o")
			})
		})
	}
}

// A clock that is set back lets the read model be as of the future for no longer than until the next commit.
func TestAClockThatIsSetBackIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, log := newReading(t, newTape(1, 2)), newLog(t, basket(t, "o", "b", 3)...)
		var ahead atomic.Int64
		ahead.Store(int64(time.Hour))
		o := r.options()
		o.Subscriber, o.Now = inproc.NewSubscriber(log), func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		stop := r.run(readside.New(o))
		defer stop()
		for _, known := range []bool{false, true} {
			time.Sleep(5 * time.Second)
			synctest.Wait()
			f, err := r.model.Freshness(t.Context(), "")
			if _, is := f.Age(); err != nil || is != known {
				t.Errorf("with a clock that is %s ahead, as of %s, error %v: the age is known: %t, want %t",
					time.Duration(ahead.Load()), f.AsOf, err, is, known)
			}
			ahead.Store(0)
		}
	})
}
