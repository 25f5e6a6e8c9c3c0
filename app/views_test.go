package app_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// questions are the three of them, with what they say of their freshness.
func questions(v *app.Views) map[string]func(ctx context.Context, known ports.EventRef) (ports.Freshness, error) {
	return map[string]func(ctx context.Context, known ports.EventRef) (ports.Freshness, error){
		"summaries": func(ctx context.Context, known ports.EventRef) (ports.Freshness, error) {
			page, err := v.Summaries(ctx, ports.SummaryQuery{Buyer: "b"}, known)
			return page.Freshness, err
		},
		"activity": func(ctx context.Context, known ports.EventRef) (ports.Freshness, error) {
			_, f, err := v.Activity(ctx, "b", known)
			return f, err
		},
		"timeline": func(ctx context.Context, known ports.EventRef) (ports.Freshness, error) {
			page, err := v.Timeline(ctx, "o", ports.Page{}, known)
			return page.Freshness, err
		},
	}
}

func TestAnAnswerWaitsForTheEventThatItHasToKnowOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		for _, view := range ports.AllViews {
			r.startView(view)
		}
		v := app.NewViews(r.views, app.ViewsOptions{})
		for name, ask := range questions(v) {
			began := time.Now()
			f, err := ask(t.Context(), ports.EventRef{OrderID: "o", Version: 3})
			if took := time.Since(began); err != nil || f.Version != 0 || took < time.Second || took > time.Second+20*time.Millisecond {
				t.Errorf("%s, an event that does not come: %+v, error %v, after %s; want version 0 after a second", name, f, err, took)
			}
		}
		time.AfterFunc(300*time.Millisecond, func() { r.topic.add(basket(t, "o", "b", 3)...) })
		for name, ask := range questions(v) {
			began := time.Now()
			f, err := ask(t.Context(), ports.EventRef{OrderID: "o", Version: 3})
			if took := time.Since(began); err != nil || f.Version != 3 || f.AsOf.IsZero() || took > 320*time.Millisecond {
				t.Errorf("%s, an event that comes: %+v, error %v, after %s; want version 3 within 320 ms", name, f, err, took)
			}
		}
		for name, ask := range questions(v) {
			began := time.Now()
			f, err := ask(t.Context(), ports.EventRef{})
			if want := map[string]int{"timeline": 3}[name]; err != nil || f.Version != want || time.Since(began) > 0 {
				t.Errorf("%s, no event: %+v, error %v, after %s; want version %d at once", name, f, err, time.Since(began), want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if _, err := ask(ctx, ports.EventRef{OrderID: "o", Version: 4}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: error %v when the context ended, want the context's", name, err)
			}
		}
	})
}

func TestTheViewsAnswerWithWhatThereIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		for _, view := range ports.AllViews {
			r.startView(view)
		}
		o, err := order.New("o", "b", []order.Item{{Product: "p", Amount: 2}}, noon)
		for _, err2 := range []error{o.AddItem("q", 3, noon), o.ChangeAmount("p", 1, noon), o.RemoveItem("q", noon),
			o.Submit(noon), o.Pay(noon)} {
			err = errors.Join(err, err2)
		}
		empty, err2 := order.New("x", "b", nil, noon)
		gone, err3 := order.New("y", "c", []order.Item{{Product: "p", Amount: 2}, {Product: "q", Amount: 2}}, noon)
		if err := errors.Join(err, err2, err3, gone.Cancel(order.BySystem, "not paid", noon)); err != nil {
			t.Fatal(err)
		}
		r.topic.add(slices.Concat(messagesOf(t, o), messagesOf(t, gone), messagesOf(t, empty))...)
		v := app.NewViews(r.views, app.ViewsOptions{})
		known := ports.EventRef{OrderID: "x", Version: 1}

		page, err := v.Summaries(t.Context(), ports.SummaryQuery{Buyer: "b", Page: ports.Page{Limit: 1}}, known)
		if err != nil || len(page.Summaries) != 1 || page.Summaries[0].TotalAmount != 1 || page.Next == "" || page.Freshness.Version != 1 {
			t.Errorf("summaries: %+v, error %v", page, err)
		}
		activity, f, err := v.Activity(t.Context(), "b", known)
		if want := (ports.Activity{Buyer: "b", Pending: 1, Paid: 1, LastAt: noon}); err != nil || activity != want || f.Version != 1 {
			t.Errorf("activity: %+v, %+v, error %v, want %+v", activity, f, err, want)
		}
		for id, want := range map[string][]string{
			"o": {"created for buyer b, with 1 item", "3 × q added", "amount of p changed to 1", "q removed",
				"submitted with 1 item", "paid"},
			"x": {"created for buyer b, with no items"},
			"y": {"created for buyer c, with 2 items", "cancelled by the system: not paid"},
		} {
			timeline, err := v.Timeline(t.Context(), id, ports.Page{}, ports.EventRef{OrderID: id, Version: len(want)})
			var got []string
			for _, e := range timeline.Entries {
				got = append(got, e.Text)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("timeline of %s: %q, error %v, want %q", id, got, err, want)
			}
		}
		if _, err := v.Summaries(t.Context(), ports.SummaryQuery{Buyer: "b", Page: ports.Page{Cursor: "?"}},
			ports.EventRef{}); !errors.Is(err, ports.ErrBadCursor) {
			t.Errorf("error %v, want ErrBadCursor", err)
		}
	})
}

type awayViews struct{ *memory.Views }

func (awayViews) Freshness(context.Context, ports.View, string) (ports.Freshness, error) {
	return ports.Freshness{}, ports.ErrUnavailable
}

func TestAStoreThatIsAwayIsTheAnswerAtOnce(t *testing.T) {
	t.Parallel()
	for name, ask := range questions(app.NewViews(awayViews{memory.NewViews()}, app.ViewsOptions{})) {
		if _, err := ask(t.Context(), ports.EventRef{OrderID: "o", Version: 1}); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("%s: error %v, want ErrUnavailable", name, err)
		}
	}
}
