package httpapi_test

import (
	"strings"
	"testing"

	"hexorders/ports"
)

func TestABuyersActivityIsTheCountersOfItsRow(t *testing.T) {
	views := &fakeViews{row: ports.Row{Key: "a/b c", Counters: []ports.Count{
		{Name: "pending", Value: 1}, {Name: "submitted", Value: 2}, {Name: "paid", Value: 3}, {Name: "cancelled", Value: 4},
		{Name: "lastAt", Value: mustTime("2026-03-01T12:00:03.004Z").UnixMilli()},
	}}}
	wantAnswer(t, do(overViews(views), "GET /buyers/a%2Fb%20c/activity", nil), 200,
		`{"buyerId":"a/b c","pending":1,"submitted":2,"paid":3,"cancelled":4,"lastAt":"2026-03-01T12:00:03.004Z"}`)
	if views.asked != "buyer-activity" || views.key != "a/b c" {
		t.Errorf("asked %s for %q", views.asked, views.key)
	}
	wantAnswer(t, do(overViews(&fakeViews{}), "GET /buyers/b/activity", nil), 200,
		`{"buyerId":"b","pending":0,"submitted":0,"paid":0,"cancelled":0}`)
}

func TestABuyerThatCannotExistHasNoActivity(t *testing.T) {
	for _, id := range []string{strings.Repeat("b", 65), "%ff"} {
		if got := readProblem(t, do(overViews(&fakeViews{}), "GET /buyers/"+id+"/activity", nil)); got.Status != 404 ||
			got.Code != "no-such-path" {
			t.Errorf("%s: %d %s, want 404 no-such-path", id, got.Status, got.Code)
		}
	}
}
