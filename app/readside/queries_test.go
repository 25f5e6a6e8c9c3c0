package readside_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/ports"
)

// questions are the two of them, with what they say of their freshness.
func questions(q *readside.Queries) map[string]func(ctx context.Context, required ports.EventRef) (ports.Freshness, error) {
	return map[string]func(ctx context.Context, required ports.EventRef) (ports.Freshness, error){
		"Row": func(ctx context.Context, required ports.EventRef) (ports.Freshness, error) {
			_, f, err := q.Row(ctx, "buyer-activity", "b", required)
			return f, err
		},
		"List": func(ctx context.Context, required ports.EventRef) (ports.Freshness, error) {
			_, f, err := q.List(ctx, ports.Query{View: "order-summary"}, required)
			return f, err
		},
	}
}

func TestAnAnswerWaitsForTheRequiredVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		r.start()
		q := readside.NewQueries(r.model, readside.QueriesOptions{})
		for name, ask := range questions(q) {
			began := time.Now()
			f, err := ask(t.Context(), ports.EventRef{OrderID: "o", Version: 3})
			if took := time.Since(began); err != nil || f.Version != 0 || took < time.Second || took > time.Second+20*time.Millisecond {
				t.Errorf("%s, an event that does not come: %+v, error %v, after %s; want version 0 after a second", name, f, err, took)
			}
		}
		time.AfterFunc(300*time.Millisecond, func() { r.topic.add(basket(t, "o", "b", 3)...) })
		for name, ask := range questions(q) {
			began := time.Now()
			f, err := ask(t.Context(), ports.EventRef{OrderID: "o", Version: 3})
			if took := time.Since(began); err != nil || f.Version != 3 || f.AsOf.IsZero() || took > 320*time.Millisecond {
				t.Errorf("%s, an event that comes: %+v, error %v, after %s; want version 3 within 320 ms", name, f, err, took)
			}
		}
		for name, ask := range questions(q) {
			began := time.Now()
			f, err := ask(t.Context(), ports.EventRef{})
			if err != nil || f.Version != 0 || f.AsOf.IsZero() || time.Since(began) > 0 {
				t.Errorf("%s, no event: %+v, error %v, after %s; want the answer at once", name, f, err, time.Since(began))
			}
			f, err = ask(t.Context(), ports.EventRef{OrderID: "o"})
			if err != nil || f.Version != 3 || time.Since(began) > 0 {
				t.Errorf("%s, an order and no version: %+v, error %v, after %s; want its version 3 at once", name, f, err, time.Since(began))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if _, err := ask(ctx, ports.EventRef{OrderID: "o", Version: 4}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: error %v when the context ended, want the context's", name, err)
			}
		}
	})
}

func TestAnAnswerIsWhatTheReadModelHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		r.start()
		r.topic.add(append(basket(t, "o", "b", 2), basket(t, "p", "b", 1)...)...)
		q := readside.NewQueries(r.model, readside.QueriesOptions{})
		required := ports.EventRef{OrderID: "p", Version: 1}
		row, _, err := q.Row(t.Context(), "buyer-activity", "b", required)
		if err != nil || row.Key != "b" || row.Counter("pending") != 2 {
			t.Errorf("row: %+v, error %v, want 2 pending", row, err)
		}
		row, _, err = q.Row(t.Context(), "buyer-activity", "nobody", required)
		if err != nil || row.Key != "nobody" || row.Counter("pending") != 0 {
			t.Errorf("a key without a row: %+v, error %v, want an empty row", row, err)
		}
		query := ports.Query{View: "timeline", Prefix: readside.TimelinePrefix("o"), Page: ports.Page{Limit: 1}}
		page, _, err := q.List(t.Context(), query, required)
		if err != nil || len(page.Rows) != 1 || page.Next == "" {
			t.Errorf("list: %+v, error %v, want a row and another page", page, err)
		}
		query.Page.Cursor = "?"
		if _, _, err := q.List(t.Context(), query, required); !errors.Is(err, ports.ErrBadCursor) {
			t.Errorf("error %v, want ErrBadCursor", err)
		}
		query.View = "product-sales-of-tomorrow"
		if _, _, err := q.Row(t.Context(), query.View, "o", required); !errors.Is(err, ports.ErrNotBuilt) {
			t.Errorf("error %v, want ErrNotBuilt", err)
		}
	})
}

type awayModel struct{ *memory.ReadModel }

func (awayModel) Freshness(context.Context, string) (ports.Freshness, error) {
	return ports.Freshness{}, ports.ErrUnavailable
}

func TestAStoreThatIsAwayIsTheAnswerAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := readside.NewQueries(awayModel{memory.NewReadModel(readside.Tables(readside.All))}, readside.QueriesOptions{})
		began := time.Now()
		for name, ask := range questions(q) {
			_, err := ask(t.Context(), ports.EventRef{OrderID: "o", Version: 1})
			if !errors.Is(err, ports.ErrUnavailable) || time.Since(began) > 0 {
				t.Errorf("%s: error %v after %s, want ErrUnavailable at once", name, err, time.Since(began))
			}
		}
	})
}
