package readside_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/inproc/logtest"
	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/ports"
)

// paged is a store that has no more than three messages on a page. It remembers where each page began.
type paged struct {
	ports.OrderScanner
	after []ports.EventRef
}

func (s *paged) ScanMessages(ctx context.Context, after ports.EventRef, limit int) ([]ports.Message, error) {
	s.after = append(s.after, after)
	return s.OrderScanner.ScanMessages(ctx, after, min(limit, 3))
}

// fromPages are a store of three pages and the last empty one, where each of them begins, and its topic, which has deleted
// everything.
func fromPages(t *testing.T) (store *paged, pages []ports.EventRef, log *logtest.Trimmed, all []ports.Message) {
	t.Helper()
	orders, all := shop(t, basket(t, "o", "b", 4), basket(t, "p", "b", 3), basket(t, "q", "b", 1))
	log = newLog(t, all...)
	log.Before = int64(len(all))
	return &paged{OrderScanner: orders},
		[]ports.EventRef{{}, {OrderID: "o", Version: 3}, {OrderID: "p", Version: 2}, {OrderID: "q", Version: 1}}, log, all
}

func TestARebuildReadsEveryPageOfTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		store, pages, log, all := fromPages(t)
		o := r.options()
		o.Subscriber, o.Orders, o.FromStore = inproc.NewSubscriber(log), store, true
		var done []int64
		err := readside.Rebuild(t.Context(), o, func(p readside.RebuildProgress) {
			if p.Done == p.Messages && p.Messages > 0 {
				done = append(done, p.Done)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(store.after, pages) {
			t.Errorf("pages were read after %v, want %v", store.after, pages)
		}
		if len(done) < 3 || !slices.Equal(done[:3], []int64{3, 6, 8}) {
			t.Errorf("the progress was %d messages, want 3, 6 and 8, one a page", done)
		}
		r.wantFold(t, all)
		r.wantIncomplete("")
	})
}

// A page that was not committed is not passed over: the shadow is discarded, and the store is read from its beginning.
func TestARebuildFromTheStoreBeginsAgainAfterAPageThatWasNotCommitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		store, pages, log, all := fromPages(t)
		commits := 0
		r.store.fail = func() (before, after error) {
			if commits++; commits == 3 { // where the topic ends, the first page, the second
				return ports.ErrUnavailable, nil
			}
			return nil, nil
		}
		if err := r.rebuilt(log, store, true); err != nil {
			t.Fatal(err)
		}
		if want := slices.Concat(pages[:2], pages); !slices.Equal(store.after, want) {
			t.Errorf("pages were read after %v, want %v", store.after, want)
		}
		r.wantFold(t, all)
		r.wantIncomplete("")
	})
}

func TestARebuildFromTheStoreThatIsStoppedBetweenPagesReadsNoMoreAndSwapsNothingIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		store, pages, log, _ := fromPages(t)
		o := r.options()
		o.Subscriber, o.Orders, o.FromStore = inproc.NewSubscriber(log), store, true
		ctx, stop := context.WithCancel(t.Context())
		commits := 0
		r.store.fail = func() (before, after error) {
			if commits++; commits == 3 {
				stop()
				return ctx.Err(), nil
			}
			return nil, nil
		}
		if err := readside.Rebuild(ctx, o, silently); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
		if !slices.Equal(store.after, pages[:2]) {
			t.Errorf("pages were read after %v, want %v", store.after, pages[:2])
		}
		r.wantLive(1)
	})
}

// unlucky fails the call that comes after so many. All stores of a test count together.
type unlucky struct{ calls int }

func (u *unlucky) err() error {
	if u.calls--; u.calls == -1 {
		return ports.ErrUnavailable
	}
	return nil
}

func tried[T any](u *unlucky, call func() (T, error)) (result T, err error) {
	if err := u.err(); err != nil {
		return result, err
	}
	return call()
}

type unluckyModel struct {
	ports.ReadModelStore
	*unlucky
}

func (m unluckyModel) Live(ctx context.Context) (ports.Generation, error) {
	return tried(m.unlucky, func() (ports.Generation, error) { return m.ReadModelStore.Live(ctx) })
}

func (m unluckyModel) Shadow(ctx context.Context) (ports.Generation, error) {
	return tried(m.unlucky, func() (ports.Generation, error) { return m.ReadModelStore.Shadow(ctx) })
}

func (m unluckyModel) Places(ctx context.Context, g ports.Generation) ([]ports.Place, error) {
	return tried(m.unlucky, func() ([]ports.Place, error) { return m.ReadModelStore.Places(ctx, g) })
}

func (m unluckyModel) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Progress, error) {
	return tried(m.unlucky, func() (map[string]ports.Progress, error) { return m.ReadModelStore.Load(ctx, g, orderIDs) })
}

func (m unluckyModel) Parked(ctx context.Context, g ports.Generation) ([]ports.ParkedOrder, error) {
	return tried(m.unlucky, func() ([]ports.ParkedOrder, error) { return m.ReadModelStore.Parked(ctx, g) })
}

func (m unluckyModel) Buffered(ctx context.Context, g ports.Generation, orderID string) ([]ports.Message, error) {
	return tried(m.unlucky, func() ([]ports.Message, error) { return m.ReadModelStore.Buffered(ctx, g, orderID) })
}

func (m unluckyModel) Discard(ctx context.Context) error {
	if err := m.err(); err != nil {
		return err
	}
	return m.ReadModelStore.Discard(ctx)
}

func (m unluckyModel) Swap(ctx context.Context, shadow ports.Generation) error {
	if err := m.err(); err != nil {
		return err
	}
	return m.ReadModelStore.Swap(ctx, shadow)
}

func (m unluckyModel) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	if err := m.err(); err != nil {
		return err
	}
	return m.ReadModelStore.Commit(ctx, g, c)
}

type unluckyParking struct {
	ports.Parking
	*unlucky
}

func (p unluckyParking) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	return tried(p.unlucky, func() ([]ports.ParkedOrder, error) { return p.Parking.Parked(ctx) })
}

// unluckyOrders has a damaged order beside those of its store.
type unluckyOrders struct {
	ports.OrderScanner
	*unlucky
}

func (s unluckyOrders) ScanOrders(ctx context.Context, after string, limit int) ([]ports.ScannedOrder, error) {
	page, err := tried(s.unlucky, func() ([]ports.ScannedOrder, error) { return s.OrderScanner.ScanOrders(ctx, after, limit) })
	if after == "" && err == nil {
		page = append(page, ports.ScannedOrder{ID: "z", Err: errors.New("its data is not an order")})
	}
	return page, err
}

func (s unluckyOrders) ScanMessages(ctx context.Context, after ports.EventRef, limit int) ([]ports.Message, error) {
	return tried(s.unlucky, func() ([]ports.Message, error) { return s.OrderScanner.ScanMessages(ctx, after, limit) })
}

// begin begins a shadow that is not finished.
func (r *reading) begin(log inproc.Log) {
	r.t.Helper()
	o := r.options()
	o.Subscriber = inproc.NewSubscriber(log)
	ctx, kill := context.WithCancel(r.t.Context())
	if err := readside.Rebuild(ctx, o, func(readside.RebuildProgress) { kill() }); !errors.Is(err, context.Canceled) {
		r.t.Fatalf("error %v, want the context's", err)
	}
}

// A rebuild outlives an outage at each of its steps, one after the other. It discards a shadow of another topic. It waits
// for an event that is on its way, and not for an order that the broker refused, nor for one that cannot be read.
func TestARebuildOutlivesAStoreThatIsAwayForAMoment(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		fromStore  bool
		listed     []string
		incomplete ports.GapReason
	}{
		"from the topic":                        {false, []string{"bad", "o", "p"}, ""},
		"from a store that deleted events of p": {true, []string{"bad", "o", "refused"}, ports.GapHistory},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			for ended := false; !ended && !t.Failed(); calls++ {
				synctest.Test(t, func(t *testing.T) {
					refused := basket(t, "refused", "b", 1)
					store, all := shop(t, basket(t, "bad", "b", 3), basket(t, "o", "b", 4), basket(t, "p", "b", 3), refused)
					parking := memory.NewParking()
					if err := parking.Park(t.Context(), refused[0], "too large"); err != nil {
						t.Fatal(err)
					}
					r, log := newReading(t, newTape(1, 2)), newLog(t, all[:9]...)
					r.poison = func(m ports.Message) error {
						if m.ID == "bad/2" {
							return errPoison
						}
						return nil
					}
					if !x.fromStore {
						r.fedFrom(log)
						r.begin(newLog(t, all[:1]...))
					}
					time.AfterFunc(2500*time.Millisecond, func() {
						if err := log.Append(t.Context(), all[9:10]); err != nil {
							t.Error(err)
						}
					})
					away, o := &unlucky{calls}, r.options()
					o.Subscriber, o.FromStore = inproc.NewSubscriber(log), x.fromStore
					o.Store, o.Parking = unluckyModel{r.model, away}, unluckyParking{parking, away}
					o.Orders = unluckyOrders{store, away}
					if x.fromStore {
						o.Orders = unluckyOrders{trimmedStore{store}, away}
					}
					if err := readside.Rebuild(t.Context(), o, silently); err != nil {
						t.Errorf("the store was away after %d calls: error %v", calls, err)
					}
					r.wantListed(x.listed...)
					r.wantIncomplete(x.incomplete)
					ended = away.calls >= 0
				})
			}
			if calls < 20 {
				t.Errorf("%d calls, want those of a whole rebuild", calls)
			}
		})
	}
}
