package httpapi_test

import (
	"slices"
	"testing"

	"hexorders/ports"
)

func TestWhatAListOfOrdersAsksFor(t *testing.T) {
	field := func(name, value string) ports.Field { return ports.Field{Name: name, Value: value} }
	for line, want := range map[string]ports.Query{
		"GET /orders":                                {Descending: true},
		"GET /orders?sort=createdAt":                 {},
		"GET /orders?sort=-createdAt":                {Descending: true},
		"GET /orders?sort=-updatedAt":                {Sort: "updatedAt", Descending: true},
		"GET /orders?status=paid":                    {Equal: field("status", "paid"), Descending: true},
		"GET /orders?status=paid&sort=createdAt":     {Equal: field("status", "paid")},
		"GET /orders?status=paid&sort=-totalAmount":  {Filter: field("status", "paid"), Sort: "totalAmount", Descending: true},
		"GET /orders?buyerId=b":                      {Equal: field("buyer", "b")},
		"GET /orders?buyerId=b%20c&sort=-createdAt":  {Equal: field("buyer", "b c"), Descending: true},
		"GET /orders?buyerId=b&status=cancelled":     {Equal: field("buyer", "b"), Filter: field("status", "cancelled")},
		"GET /orders?buyerId=b&sort=-updatedAt":      {Equal: field("buyer", "b"), Sort: "updatedAt", Descending: true},
		"GET /orders?buyerId=b&limit=3&cursor=c":     {Equal: field("buyer", "b"), Page: ports.Page{Limit: 3, Cursor: "c"}},
		"GET /orders?buyerId=b&atLeastVersion=o/7":   {Equal: field("buyer", "b")},
		"GET /orders?status=pending&sort=-updatedAt": {Filter: field("status", "pending"), Sort: "updatedAt", Descending: true},
		"GET /orders?buyerId=b&status=submitted&sort=-totalAmount": {Equal: field("buyer", "b"), Filter: field("status", "submitted"),
			Sort: "totalAmount", Descending: true},
	} {
		views := &fakeViews{}
		want.View = "order-summary"
		if answer := do(overViews(views), line, nil); answer.Code != 200 || views.query != want {
			t.Errorf("%s: %d, and asked for\n%+v, want\n%+v", line, answer.Code, views.query, want)
		}
	}
}

func TestARequiredEventMayBeOfAnOrderWithASlash(t *testing.T) {
	for _, path := range []string{"/orders", "/buyers/b/activity"} {
		views := &fakeViews{}
		do(overViews(views), "GET "+path+"?atLeastVersion=a%2Fb/12", nil)
		if want := (ports.EventRef{OrderID: "a/b", Version: 12}); views.required != want {
			t.Errorf("%s: required %+v, want %+v", path, views.required, want)
		}
	}
}

// Orders that were stored before a rule for ids came are read, and so their events can be required.
func TestARequiredEventMayBeOfAnOrderWhoseIDIsNoLongerTaken(t *testing.T) {
	for escaped, id := range map[string]string{"a%20": "a ", ".": ".", "%E2%80%8B": "\u200b"} {
		views := &fakeViews{}
		answer := do(overViews(views), "GET /orders?atLeastVersion="+escaped+"/1", nil)
		if want := (ports.EventRef{OrderID: id, Version: 1}); answer.Code != 200 || views.required != want {
			t.Errorf("%s: %d, required %+v, want %+v", escaped, answer.Code, views.required, want)
		}
	}
	for _, bad := range []string{"a%00/1", "%ff/1", "a%C2%85/1", "a%0A/1"} {
		wantBadParameter(t, "GET /orders?atLeastVersion="+bad, "atLeastVersion")
	}
}

func TestAListOfOrdersPassesOnWhatTheViewHas(t *testing.T) {
	first := `{"id":"o1","buyerId":"b","items":[],"totalAmount":0,"status":"pending","version":1,` +
		`"createdAt":"2026-03-01T12:00:00.000Z","updatedAt":"2026-03-01T12:00:00.000Z"}`
	second := `{"id":"o2","buyerId":"b","items":[{"productId":"<1>","amount":3}],"totalAmount":3,"status":"paid","version":4,` +
		`"createdAt":"2026-03-01T12:00:00.000Z","updatedAt":"2026-03-01T12:00:02.000Z",` +
		`"submittedAt":"2026-03-01T12:00:01.000Z","paidAt":"2026-03-01T12:00:02.000Z"}`
	views := &fakeViews{page: ports.RowPage{Next: "c2", Rows: []ports.Row{{Body: []byte(first)}, {Body: []byte(second)}}}}
	answer := do(overViews(views), "GET /orders?buyerId=b&status=paid&sort=-updatedAt&limit=3&atLeastVersion=o1/1", nil)
	wantAnswer(t, answer, 200, `{"orders":[`+first+`,`+second+`],"nextCursor":"c2"}`)
	if got, want := nextPath(answer), "/orders?buyerId=b&cursor=c2&limit=3&sort=-updatedAt&status=paid"; got != want {
		t.Errorf("the next page is %q, want %q", got, want)
	}
	wantAnswer(t, do(overViews(&fakeViews{}), "GET /orders", nil), 200, `{"orders":[]}`)
}

func TestWhatAListOfOrdersRefuses(t *testing.T) {
	for parameter, values := range map[string][]string{
		"buyerId": {"", "a%E2%80%AEb", "%20"},
		"status":  {"", "canceled", "PAID", "paid&status=paid"},
		"sort":    {"", "amount", "updatedAt", "totalAmount"},
	} {
		for _, value := range values {
			wantBadParameter(t, "GET /orders?"+parameter+"="+value, parameter)
		}
	}
}

// Without a buyer the newest orders come first; the pages hold all of them, whoever's they are.
func TestAllOrdersAreListedNewestFirst(t *testing.T) {
	api := newAPI()
	for _, buyer := range []string{"a", "b", "a", "c"} {
		do(api, `POST /orders {"buyerId":"`+buyer+`"}`, nil)
	}
	var got []string
	for path := "/orders?limit=3"; path != ""; {
		answer := do(api, "GET "+path, nil)
		var page struct{ Orders []struct{ ID string } }
		unmarshal(t, answer.Body.Bytes(), &page)
		for _, o := range page.Orders {
			got = append(got, o.ID)
		}
		path = nextPath(answer)
	}
	if want := []string{"order-4", "order-3", "order-2", "order-1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
