package httpapi_test

import (
	"strings"
	"testing"

	"hexorders/ports"
)

func TestAProductsSalesAreTheCountersOfItsRow(t *testing.T) {
	views := &fakeViews{row: ports.Row{Key: "a/b c", Counters: []ports.Count{{Name: "units", Value: 7}, {Name: "orders", Value: 2}}}}
	wantAnswer(t, do(overViews(views), "GET /products/a%2Fb%20c/sales", nil), 200, `{"productId":"a/b c","units":7,"orders":2}`)
	if views.asked != "product-sales" || views.key != "a/b c" {
		t.Errorf("asked %s for %q", views.asked, views.key)
	}
	wantAnswer(t, do(overViews(&fakeViews{}), "GET /products/p/sales", nil), 200, `{"productId":"p","units":0,"orders":0}`)
}

func TestAProductThatCannotExistHasNoSales(t *testing.T) {
	for _, id := range []string{strings.Repeat("p", 65), "%ff"} {
		if got := readProblem(t, do(overViews(&fakeViews{}), "GET /products/"+id+"/sales", nil)); got.Status != 404 ||
			got.Code != "no-such-path" {
			t.Errorf("%s: %d %s, want 404 no-such-path", id, got.Status, got.Code)
		}
	}
}
