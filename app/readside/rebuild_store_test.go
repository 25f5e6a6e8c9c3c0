package readside_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"hexorders/adapters/inproc"
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
func fromPages(t *testing.T) (store *paged, pages []ports.EventRef, log *trimmed, all []ports.Message) {
	t.Helper()
	orders, all := shop(t, basket(t, "o", "b", 4), basket(t, "p", "b", 3), basket(t, "q", "b", 1))
	log = newLog(t, all...)
	log.before = int64(len(all))
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
