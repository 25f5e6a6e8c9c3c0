package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/adapters/httpapi"
	"hexorders/core/order"
	"hexorders/ports"
)

// listed answers lists from the orders themselves, order-1, order-2, ... in the order of their ids, for tests in which a
// view that is behind would be in the way. A cursor is the last id of the page before.
type listed struct {
	ports.Views
	store ports.OrderStore
	made  *atomic.Int64 // ids, some of which may have no order
}

func (l listed) Summaries(ctx context.Context, q ports.SummaryQuery, _ ports.EventRef) (page ports.SummaryPage, err error) {
	if q.Page.Cursor != "" && !strings.HasPrefix(q.Page.Cursor, "order-") {
		return page, ports.ErrBadCursor
	}
	for n := range l.made.Load() + 1 {
		o, err := l.store.Get(ctx, fmt.Sprintf("order-%d", n))
		switch {
		case errors.Is(err, ports.ErrNotFound):
			continue
		case err != nil:
			return page, err
		case o.Buyer() != q.Buyer || o.ID() <= q.Page.Cursor:
			continue
		}
		s := ports.Summary{
			OrderID: o.ID(), Version: o.Version(), Buyer: o.Buyer(), Items: o.Items(), Status: o.Status(),
			CreatedAt: o.CreatedAt(), UpdatedAt: o.UpdatedAt(),
		}
		for _, item := range s.Items {
			s.TotalAmount += item.Amount
		}
		page.Summaries = append(page.Summaries, s)
	}
	slices.SortFunc(page.Summaries, func(a, b ports.Summary) int { return strings.Compare(a.OrderID, b.OrderID) })
	if limit := q.Page.Size(); len(page.Summaries) > limit {
		page.Summaries = page.Summaries[:limit]
		page.Next = page.Summaries[limit-1].OrderID
	}
	return page, nil
}

// fakeViews answer with what they were made with, and say what they were asked.
type fakeViews struct {
	summaries ports.SummaryPage
	activity  ports.Activity
	timeline  ports.TimelinePage
	freshness ports.Freshness
	err       error
	asked     string
}

func (f *fakeViews) Summaries(_ context.Context, q ports.SummaryQuery, known ports.EventRef) (ports.SummaryPage, error) {
	f.asked = fmt.Sprintf("%+v %+v", q, known)
	f.summaries.Freshness = f.freshness
	return f.summaries, f.err
}

func (f *fakeViews) Activity(_ context.Context, buyer string, known ports.EventRef) (ports.Activity, ports.Freshness, error) {
	f.asked = fmt.Sprintf("%s %+v", buyer, known)
	return f.activity, f.freshness, f.err
}

func (f *fakeViews) Timeline(_ context.Context, orderID string, page ports.Page, known ports.EventRef) (ports.TimelinePage, error) {
	f.asked = fmt.Sprintf("%s %+v %+v", orderID, page, known)
	f.timeline.Freshness = f.freshness
	return f.timeline, f.err
}

func overViews(views ports.Views) http.Handler {
	return httpapi.New(httpapi.Options{Orders: &fakeOrders{err: ports.ErrNotFound}, Views: views, Logger: slog.New(slog.DiscardHandler)})
}

func TestWhatTheViewsAreAsked(t *testing.T) {
	for line, want := range map[string]string{
		"GET /orders?buyerId=b": "{Buyer:b Status: Sort: Page:{Limit:0 Cursor:}} {OrderID: Version:0}",
		"GET /orders?buyerId=b&status=paid&sort=-totalAmount&limit=3&cursor=c": "{Buyer:b Status:paid Sort:-totalAmount Page:{Limit:3 " +
			"Cursor:c}} {OrderID: Version:0}",
		"GET /orders?buyerId=b&sort=createdAt&atLeastVersion=o/7": "{Buyer:b Status: Sort:createdAt Page:{Limit:0 Cursor:}} " +
			"{OrderID:o Version:7}",
		"GET /orders?buyerId=b&atLeastVersion=a%2Fb/12": "{Buyer:b Status: Sort: Page:{Limit:0 Cursor:}} {OrderID:a/b " +
			"Version:12}",
		"GET /buyers/b/activity":                                   "b {OrderID: Version:0}",
		"GET /buyers/a%2Fb%20c/activity?atLeastVersion=o/7":        "a/b c {OrderID:o Version:7}",
		"HEAD /buyers/b/activity":                                  "b {OrderID: Version:0}",
		"GET /orders/o/timeline":                                   "o {Limit:0 Cursor:} {OrderID:o Version:0}",
		"GET /orders/o/timeline?limit=2&cursor=c&atLeastVersion=7": "o {Limit:2 Cursor:c} {OrderID:o Version:7}",
	} {
		views := &fakeViews{}
		answer := do(overViews(views), line, nil)
		if answer.Code != 200 || views.asked != want {
			t.Errorf("%s: %d, and asked for %s, want %s", line, answer.Code, views.asked, want)
		}
	}
}

func TestWhatTheViewsAnswer(t *testing.T) {
	at := func(seconds int) time.Time { return mustTime(noon).Add(time.Duration(seconds) * time.Second) }
	views := &fakeViews{
		summaries: ports.SummaryPage{Next: "c2", Summaries: []ports.Summary{
			{OrderID: "o1", Version: 1, Buyer: "b", Status: order.StatusPending, CreatedAt: at(0), UpdatedAt: at(0)},
			{
				OrderID: "o2", Version: 4, Buyer: "b",
				Items: []order.Item{{Product: "1", Amount: 3}, {Product: "2", Amount: 8}}, TotalAmount: 11,
				Status: order.StatusPaid, CreatedAt: at(0), UpdatedAt: at(2), SubmittedAt: at(1), PaidAt: at(2),
			},
			{OrderID: "o3", Version: 2, Buyer: "b", Status: order.StatusCancelled, CreatedAt: at(0), UpdatedAt: at(3), CancelledAt: at(3)},
		}},
		activity: ports.Activity{Buyer: "b", Pending: 1, Submitted: 2, Paid: 3, Cancelled: 4, LastAt: at(3)},
		timeline: ports.TimelinePage{Next: "c2", Entries: []ports.TimelineEntry{{OrderID: "o 1", Version: 2, Type: "OrderPaid", At: at(1),
			Text: "paid"}}},
	}
	for line, want := range map[string]struct{ link, body string }{
		"GET /orders?buyerId=b&status=paid&sort=-updatedAt&limit=3&atLeastVersion=o1/1": {
			"</orders?buyerId=b&cursor=c2&limit=3&sort=-updatedAt&status=paid>; rel=\"next\"",
			`{"orders":[` +
				`{"id":"o1","buyerId":"b","items":[],"totalAmount":0,"status":"pending","version":1,"createdAt":"2026-03-01T12:00:00.000Z",` +
				`"updatedAt":"2026-03-01T12:00:00.000Z"},` +
				`{"id":"o2","buyerId":"b","items":[{"productId":"1","amount":3},{"productId":"2","amount":8}],"totalAmount":11,"status":"paid",` +
				`"version":4,` +
				`"createdAt":"2026-03-01T12:00:00.000Z","updatedAt":"2026-03-01T12:00:02.000Z","submittedAt":"2026-03-01T12:00:01.000Z",` +
				`"paidAt":"2026-03-01T12:00:02.000Z"},` +
				`{"id":"o3","buyerId":"b","items":[],"totalAmount":0,"status":"cancelled","version":2,"createdAt":"2026-03-01T12:00:00.000Z",` +
				`"updatedAt":"2026-03-01T12:00:03.000Z","cancelledAt":"2026-03-01T12:00:03.000Z"}` +
				`],"nextCursor":"c2"}`,
		},
		"GET /buyers/b/activity": {
			"", `{"buyerId":"b","pending":1,"submitted":2,"paid":3,"cancelled":4,"lastAt":"2026-03-01T12:00:03.000Z"}`,
		},
		"GET /orders/o%201/timeline?limit=1": {
			`</orders/o%201/timeline?cursor=c2&limit=1>; rel="next"`,
			`{"orderId":"o 1","entries":[{"version":2,"type":"OrderPaid","occurredAt":"2026-03-01T12:00:01.000Z","text":"paid"}],"nextCursor":"c2"}`,
		},
	} {
		answer := do(overViews(views), line, nil)
		wantAnswer(t, answer, 200, want.body)
		if got := answer.Header().Get("Link"); got != want.link {
			t.Errorf("%s: Link %q, want %q", line, got, want.link)
		}
	}
}

func TestWhatNothingIsKnownOf(t *testing.T) {
	for line, want := range map[string]string{
		"GET /orders?buyerId=b":  `{"orders":[]}`,
		"GET /buyers/b/activity": `{"buyerId":"b","pending":0,"submitted":0,"paid":0,"cancelled":0}`,
		"GET /orders/o/timeline": `{"orderId":"o","entries":[]}`,
	} {
		wantAnswer(t, do(overViews(&fakeViews{}), line, nil), 200, want)
	}
}

func TestAnAnswerSaysHowFreshItIs(t *testing.T) {
	minute := time.Now().Add(-time.Minute)
	for name, x := range map[string]struct {
		freshness ports.Freshness
		query     string // of the list and of the activity
		age       string
		version   string // of these two; the timeline's is always said
	}{
		"a minute old":            {ports.Freshness{AsOf: minute}, "", "60", ""},
		"new":                     {ports.Freshness{AsOf: time.Now()}, "", "0", ""},
		"by a clock that is fast": {ports.Freshness{AsOf: time.Now().Add(time.Hour)}, "", "0", ""},
		"unknown":                 {ports.Freshness{}, "", "", ""},
		"with an order":           {ports.Freshness{Version: 7, AsOf: minute}, "atLeastVersion=o/8", "60", "7"},
		"with an unknown order":   {ports.Freshness{AsOf: minute}, "atLeastVersion=o/1", "60", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			api := overViews(&fakeViews{freshness: x.freshness})
			for line, version := range map[string]string{
				"GET /orders?buyerId=b&" + x.query:  x.version,
				"GET /buyers/b/activity?" + x.query: x.version,
				"GET /orders/o/timeline":            fmt.Sprint(x.freshness.Version),
			} {
				sent := do(api, line, nil).Header()
				age := sent.Get("Age")
				if age == "61" || age == "62" { // this took its time
					age = "60"
				}
				if got := sent.Get("View-Version"); age != x.age || got != version {
					t.Errorf("%s: Age %q and View-Version %q, want %q and %q", line, sent.Get("Age"), got, x.age, version)
				}
			}
		})
	}
}

func TestWhatCannotBeAskedOfAView(t *testing.T) {
	long := strings.Repeat("o", 65)
	for line, parameter := range map[string]string{
		"GET /orders":                                              "buyerId",
		"GET /orders?buyerId=b&status=canceled":                    "status",
		"GET /orders?buyerId=b&status=":                            "status",
		"GET /orders?buyerId=b&status=paid&status=paid":            "status",
		"GET /orders?buyerId=b&sort=amount":                        "sort",
		"GET /orders?buyerId=b&sort=":                              "sort",
		"GET /orders?buyerId=b&limit=0":                            "limit",
		"GET /orders?buyerId=b&atLeastVersion=7":                   "atLeastVersion",
		"GET /orders?buyerId=b&atLeastVersion=":                    "atLeastVersion",
		"GET /orders?buyerId=b&atLeastVersion=/7":                  "atLeastVersion",
		"GET /orders?buyerId=b&atLeastVersion=o/0":                 "atLeastVersion",
		"GET /orders?buyerId=b&atLeastVersion=o/07":                "atLeastVersion",
		"GET /orders?buyerId=b&atLeastVersion=o/":                  "atLeastVersion",
		"GET /orders?buyerId=b&atLeastVersion=" + long + "/7":      "atLeastVersion",
		"GET /orders?buyerId=b&atLeastVersion=o/7&atLeastVersion=": "atLeastVersion",
		"GET /buyers/b/activity?atLeastVersion=7":                  "atLeastVersion",
		"GET /orders/o/timeline?atLeastVersion=o/7":                "atLeastVersion",
		"GET /orders/o/timeline?atLeastVersion=0":                  "atLeastVersion",
		"GET /orders/o/timeline?atLeastVersion=-1":                 "atLeastVersion",
		"GET /orders/o/timeline?atLeastVersion=1000000000":         "atLeastVersion",
		"GET /orders/o/timeline?limit=201":                         "limit",
	} {
		views := &fakeViews{}
		answer := do(overViews(views), line, nil)
		if got := readProblem(t, answer); answer.Code != 400 || got.Code != "invalid-query" || !strings.Contains(answer.Body.String(),
			`"parameter":"`+parameter+`"`) {
			t.Errorf("%s: %d %s, want a 400 that names %s", line, answer.Code, answer.Body, parameter)
		}
		if views.asked != "" {
			t.Errorf("%s: the views were asked all the same", line)
		}
	}
	for line, code := range map[string]string{
		"GET /buyers/" + long + "/activity": "no-such-path",
		"GET /buyers/%ff/activity":          "no-such-path",
		"GET /orders/" + long + "/timeline": "order-not-found",
	} {
		if got := readProblem(t, do(overViews(&fakeViews{}), line, nil)); got.Status != 404 || got.Code != code {
			t.Errorf("%s: %d %s, want %s", line, got.Status, got.Code, code)
		}
	}
}

func TestWhatAViewRefuses(t *testing.T) {
	for _, line := range []string{"GET /orders?buyerId=b&cursor=c", "GET /orders/o/timeline?cursor=c"} {
		if got := readProblem(t, do(overViews(&fakeViews{err: ports.ErrBadCursor}), line, nil)); got.Status != 400 ||
			got.Code != "bad-cursor" {
			t.Errorf("%s: %d %s, want 400 bad-cursor", line, got.Status, got.Code)
		}
	}
	for _, line := range []string{"GET /orders?buyerId=b", "GET /buyers/b/activity", "GET /orders/o/timeline"} {
		if got := readProblem(t, do(overViews(&fakeViews{err: ports.ErrUnavailable}), line, nil)); got.Status != 503 ||
			got.Code != "unavailable" {
			t.Errorf("%s: %d %s, want 503 unavailable", line, got.Status, got.Code)
		}
	}
}
