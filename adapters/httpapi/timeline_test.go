package httpapi_test

import (
	"strings"
	"testing"

	"hexorders/ports"
)

func TestATimelineIsTheRowsOfAnOrder(t *testing.T) {
	entry := `{"version":2,"type":"OrderPaid","occurredAt":"2026-03-01T12:00:01.000Z","text":"paid"}`
	views := &fakeViews{page: ports.RowPage{Next: "c2", Rows: []ports.Row{{Body: []byte(entry)}}}, freshness: ports.Freshness{Version: 2}}
	answer := do(overViews(views), "GET /orders/o%201/timeline?limit=1", nil)
	wantAnswer(t, answer, 200, `{"orderId":"o 1","entries":[`+entry+`],"nextCursor":"c2"}`)
	if want := (ports.Query{View: "timeline", Prefix: "o 1\x1f", Page: ports.Page{Limit: 1}}); views.query != want {
		t.Errorf("asked for\n%+v, want\n%+v", views.query, want)
	}
	// It always says how far it is with its order.
	if want := (ports.EventRef{OrderID: "o 1"}); views.required != want {
		t.Errorf("required %+v, want %+v", views.required, want)
	}
	if got := answer.Header().Get("View-Version"); got != "2" {
		t.Errorf("View-Version %q, want 2", got)
	}
	if got, want := nextPath(answer), "/orders/o%201/timeline?cursor=c2&limit=1"; got != want {
		t.Errorf("the next page is %q, want %q", got, want)
	}
	wantAnswer(t, do(overViews(&fakeViews{}), "GET /orders/o/timeline", nil), 200, `{"orderId":"o","entries":[]}`)
}

func TestAnOrderThatCannotExistHasNoTimeline(t *testing.T) {
	if got := readProblem(t, do(overViews(&fakeViews{}), "GET /orders/"+strings.Repeat("o", 65)+"/timeline", nil)); got.Status != 404 ||
		got.Code != "order-not-found" {
		t.Errorf("%d %s, want 404 order-not-found", got.Status, got.Code)
	}
}
