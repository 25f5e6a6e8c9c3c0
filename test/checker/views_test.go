package checker

import (
	"maps"
	"slices"
	"testing"
)

func TestHealthyViewsHaveNoViolation(t *testing.T) {
	h := healthy(t)
	h.repeat(5) // a message that came twice counts once
	if violations := CheckViews(h.Topic, healthyViews(t)); len(violations) > 0 {
		t.Errorf("got %v", violations)
	}
	if violations := CheckViews(nil, Views{}); len(violations) > 0 {
		t.Errorf("of nothing: got %v", violations)
	}
}

// The fold is what everything else rests on, and so one is written down by hand.
func TestTheFoldOfATopic(t *testing.T) {
	record := func(name, value string) Record {
		return Record{Value: value, Headers: []Header{{"ce_type", "Order" + name}}}
	}
	views, err := foldTopic([]Record{
		record("Created",
			`{"orderId":"a","version":1,"occurredAt":"1970-01-01T00:00:01Z","buyerId":"b","items":[{"productId":"p","amount":3}]}`),
		record("Created", `{"orderId":"c","version":1,"occurredAt":"1970-01-01T00:00:09Z","buyerId":"b"}`),
		record("ItemAdded", `{"orderId":"a","version":2,"occurredAt":"1970-01-01T00:00:02Z","productId":"q","amount":5}`),
		record("AmountChanged", `{"orderId":"a","version":3,"occurredAt":"1970-01-01T00:00:03Z","productId":"q","amount":7}`),
		record("ItemRemoved", `{"orderId":"a","version":4,"occurredAt":"1970-01-01T00:00:04Z","productId":"p"}`),
		record("ItemAdded", `{"orderId":"a","version":2,"occurredAt":"1970-01-01T00:00:02Z","productId":"q","amount":5}`),
		record("Submitted",
			`{"orderId":"a","version":5,"occurredAt":"1970-01-01T00:00:05Z","buyerId":"b","items":[{"productId":"q","amount":7}]}`),
		record("Paid", `{"orderId":"a","version":6,"occurredAt":"1970-01-01T00:00:06Z"}`),
		record("Cancelled", `{"orderId":"c","version":2,"occurredAt":"1970-01-01T00:00:10Z","by":"system","reason":""}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]Summary{
		"a": {Version: 6, Buyer: "b", Items: "q×7", TotalAmount: 7, Status: "paid", CreatedAt: 1000, UpdatedAt: 6000,
			SubmittedAt: 5000, PaidAt: 6000},
		"c": {Version: 2, Buyer: "b", Status: "cancelled", CreatedAt: 9000, UpdatedAt: 10000, CancelledAt: 10000},
	}; !maps.Equal(views.Summaries, want) {
		t.Errorf("summaries\n got %+v\nwant %+v", views.Summaries, want)
	}
	if want := map[string]Activity{"b": {Paid: 1, Cancelled: 1, LastAt: 10000}}; !maps.Equal(views.Activity, want) {
		t.Errorf("activity: got %+v, want %+v", views.Activity, want)
	}
	if want := map[string]Sales{"q": {Units: 7, Orders: 1}}; !maps.Equal(views.Sales, want) {
		t.Errorf("sales: got %+v, want %+v", views.Sales, want)
	}
	if got := views.Timeline["a/3"]; len(views.Timeline) != 8 || got != (Entry{Type: "OrderAmountChanged", At: 3000}) {
		t.Errorf("timeline of %d entries, a/3 is %+v; want 8, and the change of an amount", len(views.Timeline), got)
	}
	for name, wrong := range map[string]Record{
		"no JSON":      record("Paid", "paid"),
		"a gap":        record("Paid", `{"orderId":"a","version":2}`),
		"unknown type": record("Eaten", `{"orderId":"a","version":1}`),
	} {
		if violations := CheckViews([]Record{wrong}, Views{}); len(violations) != 1 || violations[0].Rule != Invented {
			t.Errorf("a topic with %s: got %v", name, violations)
		}
	}
}

// Each row spoils healthy views in one way and names every rule, and only those, that must be reported for it.
func TestASeededBugOfAViewIsReported(t *testing.T) {
	summary := func(id string, spoil func(*Summary)) func(*Views) {
		return func(v *Views) {
			s := v.Summaries[id]
			spoil(&s)
			v.Summaries[id] = s
		}
	}
	for name, example := range map[string]struct {
		spoil func(*Views)
		want  []Rule
	}{
		"a summary is missing":        {func(v *Views) { delete(v.Summaries, "order-1") }, []Rule{BadSummary}},
		"a summary is of no order":    {func(v *Views) { v.Summaries["order-9"] = v.Summaries["order-1"] }, []Rule{BadSummary}},
		"a summary is behind":         {summary("order-1", func(s *Summary) { s.Version-- }), []Rule{BadSummary}},
		"an item was added twice":     {summary("order-1", func(s *Summary) { s.TotalAmount += 8 }), []Rule{BadSummary}},
		"an item is not there":        {summary("order-1", func(s *Summary) { s.Items = "" }), []Rule{BadSummary}},
		"a status is old":             {summary("order-1", func(s *Summary) { s.Status = "pending" }), []Rule{BadSummary}},
		"a time is that of receiving": {summary("order-1", func(s *Summary) { s.UpdatedAt++ }), []Rule{BadSummary}},
		"another's order":             {summary("order-1", func(s *Summary) { s.Buyer += "0" }), []Rule{BadSummary}},
		"an order was counted twice": {func(v *Views) {
			for buyer, a := range v.Activity {
				a.Paid++
				v.Activity[buyer] = a
			}
		}, []Rule{BadActivity}},
		"an order was not counted off": {func(v *Views) {
			for buyer, a := range v.Activity {
				a.Pending++
				v.Activity[buyer] = a
			}
		}, []Rule{BadActivity}},
		"a buyer is missing":        {func(v *Views) { clear(v.Activity) }, []Rule{BadActivity}},
		"an entry is missing":       {func(v *Views) { delete(v.Timeline, "order-1/2") }, []Rule{BadTimeline}},
		"an entry is of no message": {func(v *Views) { v.Timeline["order-1/9"] = v.Timeline["order-1/2"] }, []Rule{BadTimeline}},
		"an entry says nothing": {func(v *Views) {
			v.Timeline["order-1/2"] = Entry{v.Timeline["order-1/2"].Type, v.Timeline["order-1/2"].At, ""}
		}, []Rule{BadTimeline}},
		"a sale was counted twice": {func(v *Views) {
			for product, sold := range v.Sales {
				sold.Orders++
				v.Sales[product] = sold
			}
		}, []Rule{BadSales}},
		"a list misses an order": {func(v *Views) { delete(v.Lists, "order-1") }, []Rule{BadList}},
	} {
		t.Run(name, func(t *testing.T) {
			h, views := healthy(t), healthyViews(t)
			example.spoil(&views)
			var got []Rule
			for _, v := range CheckViews(h.Topic, views) {
				got = append(got, v.Rule)
			}
			if got = slices.Compact(got); !slices.Equal(got, example.want) {
				t.Errorf("got %v, want %v", got, example.want)
			}
		})
	}
}

// healthyViews are those of a healthy history.
func healthyViews(t *testing.T) Views {
	t.Helper()
	views, err := foldTopic(healthy(t).Topic)
	if err != nil {
		t.Fatal(err)
	}
	views.Lists = maps.Clone(views.Summaries)
	for id, entry := range views.Timeline {
		entry.Text = "something"
		views.Timeline[id] = entry
	}
	return views
}
