package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"hexorders/adapters/httpapi"
	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

// fakeViews answer with what they were made with, and remember what they were asked. A question that a store could not
// answer, because the program has no such view or the view no such index, is an error.
type fakeViews struct {
	row       ports.Row
	page      ports.RowPage
	freshness ports.Freshness
	err       error

	asked    string      // the view
	key      string      // when the question was for a row
	query    ports.Query // when it was for a list
	required ports.EventRef
}

func (f *fakeViews) Row(_ context.Context, view, key string, required ports.EventRef) (ports.Row, ports.Freshness, error) {
	f.asked, f.key, f.required = view, key, required
	if _, err := tableOf(view); err != nil {
		return ports.Row{}, ports.Freshness{}, err
	}
	return f.row, f.freshness, f.err
}

func (f *fakeViews) List(_ context.Context, q ports.Query, required ports.EventRef) (ports.RowPage, ports.Freshness, error) {
	f.asked, f.query, f.required = q.View, q, required
	table, err := tableOf(q.View)
	if err != nil {
		return ports.RowPage{}, ports.Freshness{}, err
	}
	if _, found := table.IndexFor(q); !found {
		return ports.RowPage{}, ports.Freshness{}, fmt.Errorf("no index of %s serves %+v", q.View, q)
	}
	return f.page, f.freshness, f.err
}

func tableOf(view string) (ports.Table, error) {
	for _, table := range readside.Tables(readside.All) {
		if table.Name == view {
			return table, nil
		}
	}
	return ports.Table{}, fmt.Errorf("no view is called %s", view)
}

func overViews(views ports.Views) http.Handler {
	return httpapi.New(httpapi.Options{Orders: &fakeOrders{err: ports.ErrNotFound}, Views: views, Logger: slog.New(slog.DiscardHandler)})
}

// viewPaths are the paths that are answered from views, found by what is missing without them. A parameter in one is 1.
func viewPaths(t *testing.T) []string {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	without := httpapi.New(httpapi.Options{Orders: &fakeOrders{}, Logger: quiet}).(*gin.Engine).Routes()
	var paths []string
	for _, route := range overViews(&fakeViews{}).(*gin.Engine).Routes() {
		known := slices.ContainsFunc(without, func(r gin.RouteInfo) bool { return r.Method == route.Method && r.Path == route.Path })
		if !known && route.Method == http.MethodGet {
			paths = append(paths, regexp.MustCompile(":[^/]+").ReplaceAllString(route.Path, "1"))
		}
	}
	if len(paths) < 3 {
		t.Fatalf("only %v are answered from views: the search is broken", paths)
	}
	return paths
}

func TestEveryViewIsReadWithHEADToo(t *testing.T) {
	for _, path := range viewPaths(t) {
		views := &fakeViews{}
		if answer := do(overViews(views), "HEAD "+path, nil); answer.Code != 200 || views.asked == "" {
			t.Errorf("HEAD %s: %d, want 200 from a view", path, answer.Code)
		}
	}
}

func TestEveryViewSaysHowFreshItsAnswerIs(t *testing.T) {
	minute := time.Now().Add(-time.Minute)
	for name, x := range map[string]struct {
		freshness ports.Freshness
		age       string
	}{
		"incomplete":              {ports.Freshness{Incomplete: ports.GapDeleted, Version: 7}, ""},
		"a minute old":            {ports.Freshness{AsOf: minute, Version: 7}, "60"},
		"new":                     {ports.Freshness{AsOf: time.Now(), Version: 7}, "0"},
		"by a clock that is fast": {ports.Freshness{AsOf: time.Now().Add(5 * time.Second), Version: 7}, "0"},
		"of the future":           {ports.Freshness{AsOf: time.Now().Add(time.Hour), Version: 7}, ""},
		"unknown":                 {ports.Freshness{}, ""},
		"of an unknown order":     {ports.Freshness{AsOf: minute}, "60"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range viewPaths(t) {
				views := &fakeViews{freshness: x.freshness}
				sent := askWithRequired(overViews(views), path, "1", 8).Header()
				age := sent.Get("View-Age")
				if age == "61" || age == "62" { // this took its time
					age = "60"
				}
				if got, want := sent.Get("View-Version"), fmt.Sprint(x.freshness.Version); age != x.age || got != want {
					t.Errorf("%s: View-Age %q and View-Version %q, want %q and %q", path, sent.Get("View-Age"), got, x.age, want)
				}
				if got, want := sent.Get("View-Incomplete"), string(x.freshness.Incomplete); got != want {
					t.Errorf("%s: View-Incomplete %q, want %q", path, got, want)
				}
				if want := (ports.EventRef{OrderID: "1", Version: 8}); views.required != want {
					t.Errorf("%s: required %v, want %v", path, views.required, want)
				}
			}
		})
	}
}

// askWithRequired asks with a required version: of the order that the path names, or of any order that the parameter names.
func askWithRequired(api http.Handler, path, id string, version int) *httptest.ResponseRecorder {
	answer := do(api, fmt.Sprintf("GET %s?atLeastVersion=%d", path, version), nil)
	if answer.Code == http.StatusBadRequest {
		answer = do(api, fmt.Sprintf("GET %s?atLeastVersion=%s/%d", path, id, version), nil)
	}
	return answer
}

func TestWithoutAnOrderThereIsNoVersionOfOne(t *testing.T) {
	for _, path := range []string{"/orders", "/orders?buyerId=b", "/buyers/b/activity"} {
		answer := do(overViews(&fakeViews{freshness: ports.Freshness{AsOf: time.Now()}}), "GET "+path, nil)
		if got := answer.Header().Values("View-Version"); len(got) > 0 {
			t.Errorf("%s: View-Version %q of no order", path, got)
		}
	}
}

func TestEveryViewRefusesABadRequiredVersion(t *testing.T) {
	for _, path := range viewPaths(t) {
		for _, bad := range []string{"", "0", "-1", "07", "1000000000", "/7", "o/", "o/0", "o/07", strings.Repeat("o", 65) + "/7"} {
			wantBadParameter(t, "GET "+path+"?atLeastVersion="+bad, "atLeastVersion")
		}
		wantBadParameter(t, "GET "+path+"?atLeastVersion=o/7&atLeastVersion=o/7", "atLeastVersion")
	}
}

func wantBadParameter(t *testing.T, line, parameter string) {
	t.Helper()
	views := &fakeViews{}
	answer := do(overViews(views), line, nil)
	if got := readProblem(t, answer); answer.Code != 400 || got.Code != "invalid-query" || !strings.Contains(answer.Body.String(),
		`"parameter":"`+parameter+`"`) {
		t.Errorf("%s: %d %s, want a 400 that names %s", line, answer.Code, answer.Body, parameter)
	}
	if views.asked != "" {
		t.Errorf("%s: the view was asked all the same", line)
	}
}

func TestEveryViewSaysWhyItHasNoAnswer(t *testing.T) {
	for _, x := range []struct {
		err   error
		code  string
		retry string
	}{
		{ports.ErrUnavailable, "unavailable", "1"},
		{ports.ErrNotBuilt, "view-not-built", "60"},
	} {
		for _, path := range viewPaths(t) {
			answer := do(overViews(&fakeViews{err: x.err}), "GET "+path, nil)
			got := readProblem(t, answer)
			if got.Status != 503 || got.Code != x.code || answer.Header().Get("Retry-After") != x.retry {
				t.Errorf("%s: %d %s, Retry-After %q, want 503 %s and %s", path, got.Status, got.Code, answer.Header().Get("Retry-After"),
					x.code, x.retry)
			}
		}
	}
}

func TestAViewThatWasNotBuiltNamesTheRepair(t *testing.T) {
	wantAnswer(t, do(overViews(&fakeViews{err: ports.ErrNotBuilt}), "GET /orders", nil), 503, problem(503, "view-not-built",
		"View not built", "The service is newer than its read model, which does not have this view. Its operator has to run "+
			"`hexorders views rebuild`.", ""))
}

// Every list takes the cursors that it gave out and no others, and its next page keeps the parameters of this one.
func TestEveryListIsReadInPages(t *testing.T) {
	lists := 0
	for _, path := range viewPaths(t) {
		if do(overViews(&fakeViews{}), "GET "+path+"?cursor=c&limit=2", nil).Code == http.StatusBadRequest {
			continue // no list
		}
		lists++
		views := &fakeViews{page: ports.RowPage{Next: "c2"}}
		answer := do(overViews(views), "GET "+path+"?cursor=c&limit=2", nil)
		if want := (ports.Page{Limit: 2, Cursor: "c"}); views.query.Page != want {
			t.Errorf("%s: asked for page %+v, want %+v", path, views.query.Page, want)
		}
		if got, want := nextPath(answer), path+"?cursor=c2&limit=2"; got != want {
			t.Errorf("%s: the next page is %q, want %q", path, got, want)
		}
		if got := nextPath(askWithRequired(overViews(views), path, "1", 7)); got != path+"?cursor=c2" {
			t.Errorf("%s: the next page is %q: this one had the required version already", path, got)
		}
		if got := do(overViews(&fakeViews{}), "GET "+path, nil); nextPath(got) != "" || strings.Contains(got.Body.String(), "nextCursor") {
			t.Errorf("%s: the last page leads to %q and is %s", path, nextPath(got), got.Body)
		}
		bad := do(overViews(&fakeViews{err: ports.ErrBadCursor}), "GET "+path+"?cursor=c", nil)
		if got := readProblem(t, bad); got.Status != 400 || got.Code != "bad-cursor" {
			t.Errorf("%s: %d %s, want 400 bad-cursor", path, got.Status, got.Code)
		}
		for _, limit := range []string{"", "0", "201", "ten"} {
			wantBadParameter(t, "GET "+path+"?limit="+limit, "limit")
		}
	}
	if lists < 2 {
		t.Errorf("only %d lists: the search is broken", lists)
	}
}

// listed answers lists from the orders themselves, order-1, order-2, ... in the order of their ids, for tests in which a
// read model that is behind would be in the way.
type listed struct {
	ports.Views
	store ports.OrderStore
	made  *atomic.Int64 // ids, some of which may have no order
}

func (l listed) List(ctx context.Context, q ports.Query, _ ports.EventRef) (page ports.RowPage, fresh ports.Freshness, err error) {
	after, err := q.After()
	if err != nil {
		return page, fresh, err
	}
	for n := range l.made.Load() + 1 {
		o, err := l.store.Get(ctx, fmt.Sprintf("order-%d", n))
		switch {
		case errors.Is(err, ports.ErrNotFound):
			continue
		case err != nil:
			return page, fresh, err
		case q.Equal != (ports.Field{}) && q.Equal != ports.Field{Name: "buyer", Value: o.Buyer()}:
			continue
		case after != nil && strings.Compare(o.ID(), after.Key) != map[bool]int{false: 1, true: -1}[q.Descending]:
			continue
		}
		page.Rows = append(page.Rows, ports.Row{Key: o.ID(), Body: summaryOf(o)})
	}
	slices.SortFunc(page.Rows, func(a, b ports.Row) int { return strings.Compare(a.Key, b.Key) })
	if q.Descending {
		slices.Reverse(page.Rows)
	}
	if limit := q.Page.Size(); len(page.Rows) > limit {
		page.Rows = page.Rows[:limit]
		page.Next = q.Next(page.Rows[limit-1])
	}
	return page, fresh, nil
}

func summaryOf(o *order.Order) []byte {
	type item struct {
		ProductID string `json:"productId"`
		Amount    int    `json:"amount"`
	}
	items, total := []item{}, 0
	for _, i := range o.Items() {
		items = append(items, item{i.Product, i.Amount})
		total += i.Amount
	}
	body, err := json.Marshal(struct {
		ID          string       `json:"id"`
		BuyerID     string       `json:"buyerId"`
		Items       []item       `json:"items"`
		TotalAmount int          `json:"totalAmount"`
		Status      order.Status `json:"status"`
		Version     int          `json:"version"`
		CreatedAt   string       `json:"createdAt"`
		UpdatedAt   string       `json:"updatedAt"`
	}{o.ID(), o.Buyer(), items, total, o.Status(), o.Version(), noon, noon})
	if err != nil {
		panic(err)
	}
	return body
}
