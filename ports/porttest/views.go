package porttest

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

var orderViewsChecks = []check[ReadingSide]{
	{"a summary keeps all its fields", summaryReadsBack},
	{"a buyer's orders are listed, and nobody else's", summariesOfOneBuyer},
	{"a summary replaces the one of its order", summaryIsReplaced},
	{"a listed summary changed by its reader changes nothing in the store", summaryIsACopy},
	{"a list has the order that was asked for, equal ones by id in the same direction", summariesAreSorted},
	{"a list may be of one status", summariesOfOneStatus},
	{"a list comes in pages, each order once, in every order and status", summaryPages},
	{"a page of a view has a default size and a maximum", viewPageSizes},
	{"pages stay in step while orders come and change", pagesInStep},
	{"a cursor that no list gave out is ErrBadCursor", badViewCursors},
	{"a cursor of another buyer, status, sort or order is ErrBadCursor", foreignViewCursors},

	{"activity adds up, and the later time stays", activityAddsUp},
	{"a buyer that nothing is known of has no activity", noActivity},

	{"a timeline is an order's own, oldest first, and keeps all its fields", timelineReadsBack},
	{"a timeline comes in pages, each entry once", timelinePages},

	{"freshness says how far a view is with an order", freshnessOfOrder},
	{"a view is as fresh as its least fresh partition, also when nothing new comes", freshnessOfPartitions},

	{"a cancelled context ends every call", cancelledViews},
}

// summary is order n after some events; fields differ from version to version.
func summary(n, version int) ports.Summary {
	return ports.Summary{
		OrderID: orderID(n), Version: version, Buyer: "buyer-1",
		Items:       []order.Item{{Product: "1111", Amount: version}, {Product: "2222", Amount: 8}},
		TotalAmount: version + 8, Status: order.StatusPending,
		CreatedAt: morning.Add(time.Duration(n) * time.Minute),
		UpdatedAt: morning.Add(time.Duration(n)*time.Minute + time.Duration(version)*time.Second),
	}
}

func put(t testing.TB, r ReadingSide, summaries ...ports.Summary) {
	t.Helper()
	receive(t, r, first(ports.OrderSummary), ports.Change{Summaries: summaries})
}

// pageOf is one page of summaries.
func pageOf(t testing.TB, r ReadingSide, q ports.SummaryQuery) (list []ports.Summary, next string) {
	t.Helper()
	list, next, err := r.Views.Summaries(bounded(t), q)
	if err != nil {
		t.Fatalf("Summaries of %+v: %v", q, err)
	}
	return list, next
}

// summariesOf is a whole list, which must be on one page.
func summariesOf(t testing.TB, r ReadingSide, q ports.SummaryQuery) []ports.Summary {
	t.Helper()
	list, next := pageOf(t, r, q)
	if next != "" {
		t.Errorf("Summaries of %+v: after %d orders there is another page", q, len(list))
	}
	return list
}

func listedIDs(list []ports.Summary) (ids []string) {
	for _, s := range list {
		ids = append(ids, s.OrderID)
	}
	return ids
}

func activityOf(t testing.TB, r ReadingSide, buyer string) ports.Activity {
	t.Helper()
	a, err := r.Views.Activity(bounded(t), buyer)
	if err != nil {
		t.Fatalf("Activity of %s: %v", buyer, err)
	}
	return a
}

func timelineOf(t testing.TB, r ReadingSide, id string) []ports.TimelineEntry {
	t.Helper()
	list, next, err := r.Views.Timeline(bounded(t), id, ports.Page{})
	if err != nil || next != "" {
		t.Fatalf("Timeline of %s: error %v, next page %q", id, err, next)
	}
	return list
}

func freshnessOf(t testing.TB, r ReadingSide, view ports.View, id string) ports.Freshness {
	t.Helper()
	f, err := r.Views.Freshness(bounded(t), view, id)
	if err != nil {
		t.Fatalf("Freshness of %s: %v", view, err)
	}
	return f
}

// showTime is a time to the millisecond, or none.
func showTime(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.UTC().Format("2006-01-02T15:04:05.000")
}

func showSummary(s ports.Summary) string {
	return fmt.Sprintf("summary of %q, version %d: buyer %q, %v, total %d, %s, created %s, updated %s, submitted %s, paid %s, cancelled %s",
		s.OrderID, s.Version, s.Buyer, s.Items, s.TotalAmount, s.Status,
		showTime(s.CreatedAt), showTime(s.UpdatedAt), showTime(s.SubmittedAt), showTime(s.PaidAt), showTime(s.CancelledAt))
}

func showActivity(a ports.Activity) string {
	return fmt.Sprintf("activity: pending %d, submitted %d, paid %d, cancelled %d, last %s", a.Pending, a.Submitted,
		a.Paid, a.Cancelled, showTime(a.LastAt))
}

func showEntry(e ports.TimelineEntry) string {
	return fmt.Sprintf("order %q, version %d, %q at %s: %q", e.OrderID, e.Version, e.Type, showTime(e.At), e.Text)
}

func wantSummary(t testing.TB, got, want ports.Summary) {
	t.Helper()
	if showSummary(got) != showSummary(want) {
		t.Errorf(" got %s\nwant %s", showSummary(got), showSummary(want))
	}
}

func summaryReadsBack(t testing.TB, r ReadingSide) {
	bare := summary(1, 1)
	bare.Items, bare.TotalAmount = nil, 0
	full := summary(2, 12)
	full.OrderID, full.Items = "$заказ.1", []order.Item{{Product: "' OR 1=1; --", Amount: 1_000_000}, {Product: "茶", Amount: 1}}
	full.Status, full.TotalAmount = order.StatusCancelled, 500_000_000
	full.SubmittedAt, full.PaidAt, full.CancelledAt = morning.Add(time.Hour), morning.Add(2*time.Hour), morning.Add(3*time.Hour)
	put(t, r, bare, full)
	list := summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1"})
	if len(list) != 2 {
		t.Fatalf("Summaries: got %v, want 2", listedIDs(list))
	}
	wantSummary(t, list[0], full)
	wantSummary(t, list[1], bare)
}

func summariesOfOneBuyer(t testing.TB, r ReadingSide) {
	for n, buyer := range []string{"buyer-1", "buyer-10", "BUYER-1", "$ne", "buyer-1"} {
		s := summary(n, 1)
		s.Buyer = buyer
		put(t, r, s)
	}
	wantIDs(t, "orders of buyer-1", listedIDs(summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1"})), 0, 4)
	wantIDs(t, "orders of buyer-10", listedIDs(summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-10"})), 1)
	for _, buyer := range []string{"buyer-2", "buyer", ""} {
		wantIDs(t, "orders of a buyer without any", listedIDs(summariesOf(t, r, ports.SummaryQuery{Buyer: buyer})))
	}
}

func summaryIsReplaced(t testing.TB, r ReadingSide) {
	put(t, r, summary(1, 1), summary(2, 1))
	later := summary(1, 5)
	later.Status, later.Items, later.TotalAmount, later.UpdatedAt = order.StatusPaid, later.Items[:1], 5, morning.Add(time.Hour)
	later.PaidAt = later.UpdatedAt
	put(t, r, later)
	for _, sort := range allSorts {
		list := summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Sort: sort})
		if len(list) != 2 {
			t.Fatalf("Summaries by %q: got %v, want each order once", sort, listedIDs(list))
		}
		for _, got := range list {
			if got.OrderID == orderID(1) {
				wantSummary(t, got, later)
			}
		}
	}
	wantIDs(t, "pending orders", listedIDs(summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Status: order.StatusPending})), 2)
}

func summaryIsACopy(t testing.TB, r ReadingSide) {
	mine := summary(1, 1)
	put(t, r, mine)
	mine.Items[0].Amount = 98
	for range 2 {
		list := summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1"})
		if len(list) != 1 {
			t.Fatalf("Summaries: got %v, want 1", listedIDs(list))
		}
		wantSummary(t, list[0], summary(1, 1))
		list[0].Items[0].Amount = 99
	}
}

var allSorts = []ports.SummarySort{"", ports.OldestFirst, ports.NewestFirst, ports.LastChanged, ports.LargestAmount}

// mixed are orders 0 to 11: of each amount there are three, of each time of change four, of each status six.
func mixed(t testing.TB, r ReadingSide) {
	t.Helper()
	for _, n := range []int{7, 2, 11, 4, 0, 9, 1, 6, 3, 10, 5, 8} {
		s := summary(n, 1)
		s.TotalAmount = []int{100, 20, 3, 1000}[n%4] // as text they would be sorted otherwise
		s.UpdatedAt = morning.Add(time.Duration(n%3) * time.Millisecond)
		if n%2 == 0 {
			s.Status = order.StatusPaid
		}
		put(t, r, s)
	}
	other := summary(20, 1)
	other.Buyer = "buyer-2"
	put(t, r, other)
}

// sortedMixed is how they have to be listed.
var sortedMixed = map[ports.SummarySort][]int{
	"":                  {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
	ports.OldestFirst:   {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
	ports.NewestFirst:   {11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
	ports.LastChanged:   {11, 8, 5, 2, 10, 7, 4, 1, 9, 6, 3, 0},
	ports.LargestAmount: {11, 7, 3, 8, 4, 0, 9, 5, 1, 10, 6, 2},
}

func summariesAreSorted(t testing.TB, r ReadingSide) {
	mixed(t, r)
	for _, sort := range allSorts {
		list := summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Sort: sort})
		wantIDs(t, fmt.Sprintf("sorted by %q", sort), listedIDs(list), sortedMixed[sort]...)
	}
}

func paidOf(numbers []int) []int {
	return slices.DeleteFunc(slices.Clone(numbers), func(n int) bool { return n%2 == 1 })
}

func summariesOfOneStatus(t testing.TB, r ReadingSide) {
	mixed(t, r)
	for _, sort := range allSorts {
		list := summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Status: order.StatusPaid, Sort: sort})
		wantIDs(t, fmt.Sprintf("paid ones sorted by %q", sort), listedIDs(list), paidOf(sortedMixed[sort])...)
		list = summariesOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Status: order.StatusCancelled, Sort: sort})
		wantIDs(t, "cancelled ones", listedIDs(list))
	}
}

func summaryPages(t testing.TB, r ReadingSide) {
	mixed(t, r)
	for _, sort := range allSorts {
		for status, want := range map[order.Status][]int{"": sortedMixed[sort], order.StatusPaid: paidOf(sortedMixed[sort])} {
			for limit := 1; limit <= 12; limit++ {
				q := ports.SummaryQuery{Buyer: "buyer-1", Status: status, Sort: sort, Page: ports.Page{Limit: limit}}
				var ids []string
				for more := true; more && len(ids) <= len(want); more = q.Page.Cursor != "" {
					page, next := pageOf(t, r, q)
					if len(page) == 0 || len(page) > limit || next != "" && len(page) < limit {
						t.Errorf("a page of %d has %d orders, the next begins at %q", limit, len(page), next)
					}
					ids = append(ids, listedIDs(page)...)
					q.Page.Cursor = next
				}
				wantIDs(t, fmt.Sprintf("%q by %q in pages of %d", status, sort, limit), ids, want...)
			}
		}
	}
}

func viewPageSizes(t testing.TB, r ReadingSide) {
	const count = ports.MaxPageLimit + 1
	var summaries []ports.Summary
	var timeline []ports.TimelineEntry
	for n := range count {
		summaries = append(summaries, summary(n, 1))
		timeline = append(timeline, ports.TimelineEntry{OrderID: orderID(1), Version: n + 1, Type: "OrderItemAdded", At: morning})
	}
	put(t, r, summaries...)
	receive(t, r, first(ports.OrderTimeline), ports.Change{Timeline: timeline})
	for limit, want := range map[int]int{
		0: ports.DefaultPageLimit, -1: ports.DefaultPageLimit, 1: 1, ports.MaxPageLimit: ports.MaxPageLimit, 1_000_000: ports.MaxPageLimit,
	} {
		list, next := pageOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Page: ports.Page{Limit: limit}})
		if len(list) != want || next == "" {
			t.Errorf("Summaries with limit %d: got %d, next page %q, want %d and another page", limit, len(list), next, want)
		}
		entries, next, err := r.Views.Timeline(bounded(t), orderID(1), ports.Page{Limit: limit})
		if err != nil || len(entries) != want || next == "" {
			t.Errorf("Timeline with limit %d: got %d, next page %q, error %v, want %d and another page", limit,
				len(entries), next, err, want)
		}
	}
}

func pagesInStep(t testing.TB, r ReadingSide) {
	put(t, r, summary(2, 1), summary(4, 1), summary(6, 1), summary(8, 1))
	q := ports.SummaryQuery{Buyer: "buyer-1", Page: ports.Page{Limit: 2}}
	page, next := pageOf(t, r, q)
	wantIDs(t, "first page", listedIDs(page), 2, 4)
	put(t, r, summary(1, 1), summary(4, 2), summary(5, 1))
	q.Page.Cursor = next
	page, next = pageOf(t, r, q)
	wantIDs(t, "second page", listedIDs(page), 5, 6)
	q.Page.Cursor = next
	page, next = pageOf(t, r, q)
	wantIDs(t, "third page", listedIDs(page), 8)
	if next != "" {
		t.Errorf("after the last page comes %q", next)
	}
}

func badViewCursors(t testing.TB, r ReadingSide) {
	put(t, r, summary(1, 1), summary(2, 1), summary(3, 1))
	receive(t, r, first(ports.OrderTimeline), oneMore(ports.OrderTimeline, 1, 1))
	receive(t, r, first(ports.OrderTimeline), oneMore(ports.OrderTimeline, 1, 2))
	_, good := pageOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Page: ports.Page{Limit: 1}})
	_, entry, err := r.Views.Timeline(bounded(t), orderID(1), ports.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"x", "!", orderID(1), base64.RawURLEncoding.EncodeToString([]byte(orderID(1))), "é", "\xff", "1", "0"}
	for _, given := range []string{good, entry} {
		if given == "" {
			t.Fatal("there is no cursor for the next page")
		}
		bad = append(bad, given+"A", given+"=", given+"\n", given[:len(given)-1], given[1:])
	}
	for _, cursor := range bad {
		for _, sort := range allSorts {
			_, _, err := r.Views.Summaries(bounded(t), ports.SummaryQuery{Buyer: "buyer-1", Sort: sort, Page: ports.Page{Cursor: cursor}})
			wantError(t, fmt.Sprintf("Summaries by %q from cursor %q", sort, cursor), err, ports.ErrBadCursor)
		}
		_, _, err := r.Views.Timeline(bounded(t), orderID(1), ports.Page{Cursor: cursor})
		wantError(t, fmt.Sprintf("Timeline from cursor %q", cursor), err, ports.ErrBadCursor)
	}
}

func foreignViewCursors(t testing.TB, r ReadingSide) {
	var lists []ports.SummaryQuery
	for _, buyer := range []string{"buyer-1", "buyer-2"} {
		for n := range 3 {
			s := summary(n, 1)
			s.OrderID, s.Buyer = buyer+s.OrderID, buyer
			put(t, r, s)
		}
		for _, status := range []order.Status{"", order.StatusPending} {
			for _, sort := range allSorts[1:] {
				lists = append(lists, ports.SummaryQuery{Buyer: buyer, Status: status, Sort: sort, Page: ports.Page{Limit: 1}})
			}
		}
	}
	for n := 1; n <= 2; n++ {
		for version := 1; version <= 3; version++ {
			receive(t, r, first(ports.OrderTimeline), oneMore(ports.OrderTimeline, n, version))
		}
	}
	_, entry, err := r.Views.Timeline(bounded(t), orderID(1), ports.Page{Limit: 1})
	if err != nil || entry == "" {
		t.Fatalf("Timeline: error %v, next page %q", err, entry)
	}
	for i, from := range lists {
		_, cursor := pageOf(t, r, from)
		for k, to := range lists {
			if to.Page.Cursor = cursor; k != i {
				_, _, err := r.Views.Summaries(bounded(t), to)
				wantError(t, fmt.Sprintf("Summaries of %+v with a cursor of %+v", to, from), err, ports.ErrBadCursor)
			}
		}
		_, _, err := r.Views.Timeline(bounded(t), orderID(1), ports.Page{Cursor: cursor})
		wantError(t, "Timeline with a cursor of Summaries", err, ports.ErrBadCursor)
		from.Page.Cursor = entry
		_, _, err = r.Views.Summaries(bounded(t), from)
		wantError(t, "Summaries with a cursor of Timeline", err, ports.ErrBadCursor)
	}
	_, _, err = r.Views.Timeline(bounded(t), orderID(2), ports.Page{Cursor: entry})
	wantError(t, "Timeline with a cursor of another order's", err, ports.ErrBadCursor)

	_, cursor := pageOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Page: ports.Page{Limit: 1}})
	list, _ := pageOf(t, r, ports.SummaryQuery{Buyer: "buyer-1", Sort: ports.OldestFirst, Page: ports.Page{Cursor: cursor}})
	if len(list) != 2 {
		t.Errorf("no sort is the oldest first, but its cursor leads to %v there, want the other two", listedIDs(list))
	}
}

func activityAddsUp(t testing.TB, r ReadingSide) {
	g := first(ports.BuyerActivity)
	for _, c := range []ports.ActivityChange{
		{Buyer: "buyer-1", Pending: 2, Submitted: 1, Paid: 4, Cancelled: 8, LastAt: morning.Add(time.Hour)},
		{Buyer: "buyer-1", Pending: -1, Submitted: 1, LastAt: morning}, // of another partition, and late
		{Buyer: "buyer-1", Submitted: -2, Paid: 1, Cancelled: 1, LastAt: morning.Add(time.Minute)},
	} {
		receive(t, r, g, ports.Change{Activity: []ports.ActivityChange{{Buyer: "buyer-2", Paid: 1, LastAt: c.LastAt}, c}})
	}
	for _, want := range []ports.Activity{
		{Buyer: "buyer-1", Pending: 1, Paid: 5, Cancelled: 9, LastAt: morning.Add(time.Hour)},
		{Buyer: "buyer-2", Paid: 3, LastAt: morning.Add(time.Hour)},
	} {
		got := activityOf(t, r, want.Buyer)
		if got.Buyer != want.Buyer || showActivity(got) != showActivity(want) {
			t.Errorf("\n got buyer %q, %s\nwant buyer %q, %s", got.Buyer, showActivity(got), want.Buyer, showActivity(want))
		}
	}
	receive(t, r, g, ports.Change{Activity: []ports.ActivityChange{{Buyer: "buyer-1", Paid: 1, LastAt: morning.Add(2 * time.Hour)}}})
	if got := activityOf(t, r, "buyer-1"); !sameTime(got.LastAt, morning.Add(2*time.Hour)) {
		t.Errorf("the last time is %v, want the later one", got.LastAt)
	}
}

func noActivity(t testing.TB, r ReadingSide) {
	receive(t, r, first(ports.BuyerActivity), oneMore(ports.BuyerActivity, 1, 1))
	for _, buyer := range []string{"buyer-2", "buyer", "BUYER-1", ""} {
		if got := activityOf(t, r, buyer); showActivity(got) != showActivity(ports.Activity{}) {
			t.Errorf("Activity of %q: got %s, want all zero", buyer, showActivity(got))
		}
	}
}

func timelineReadsBack(t testing.TB, r ReadingSide) {
	entry := func(id string, version int) ports.TimelineEntry {
		return ports.TimelineEntry{
			OrderID: id, Version: version, Type: fmt.Sprintf("OrderType%d", version),
			At:   morning.Add(-time.Duration(version) * time.Second),
			Text: fmt.Sprintf("%d × 茶 '); --", version),
		}
	}
	ids := []string{"order-1", "order-10", "ORDER-1", "$заказ.1"}
	for _, id := range ids { // the clock went back; versions tell what came first
		for _, versions := range [][]int{{1}, {2, 3, 9}, {10, 11}} {
			var c ports.Change
			for _, version := range versions {
				c.Timeline = append(c.Timeline, entry(id, version))
			}
			receive(t, r, first(ports.OrderTimeline), c)
		}
	}
	for _, id := range ids {
		got := timelineOf(t, r, id)
		want := []int{1, 2, 3, 9, 10, 11}
		if len(got) != len(want) {
			t.Fatalf("Timeline of %q: got %d entries, want %d", id, len(got), len(want))
		}
		for i, version := range want {
			if showEntry(got[i]) != showEntry(entry(id, version)) {
				t.Errorf("\n got %s\nwant %s", showEntry(got[i]), showEntry(entry(id, version)))
			}
		}
	}
	for _, id := range []string{"order-2", "order", ""} {
		if got := timelineOf(t, r, id); len(got) != 0 {
			t.Errorf("Timeline of the unknown order %q: got %v", id, got)
		}
	}
}

func timelinePages(t testing.TB, r ReadingSide) {
	const count = 11
	for version := 1; version <= count; version++ {
		receive(t, r, first(ports.OrderTimeline), oneMore(ports.OrderTimeline, 1, version))
		receive(t, r, first(ports.OrderTimeline), oneMore(ports.OrderTimeline, 2, version))
	}
	for limit := 1; limit <= count; limit++ {
		page, seen := ports.Page{Limit: limit}, 0
		for more := true; more && seen <= count; more = page.Cursor != "" {
			list, next, err := r.Views.Timeline(bounded(t), orderID(1), page)
			if err != nil || len(list) == 0 || len(list) > limit || next != "" && len(list) < limit {
				t.Fatalf("a page of %d has %d entries, error %v; the next begins at %q", limit, len(list), err, next)
			}
			for _, e := range list {
				if seen++; e.OrderID != orderID(1) || e.Version != seen {
					t.Errorf("in pages of %d, %s comes where version %d is due", limit, showEntry(e), seen)
				}
			}
			page.Cursor = next
		}
		if seen != count {
			t.Errorf("in pages of %d there are %d entries, want %d", limit, seen, count)
		}
	}
}

func freshnessOfOrder(t testing.TB, r ReadingSide) {
	for i, view := range ports.AllViews { // each is elsewhere
		for version := 1; version <= i+1; version++ {
			receive(t, r, first(view), oneMore(view, 1, version))
		}
		waiting := holding(ports.Change{}, message(orderID(2), 2), "version 1 is missing")
		waiting.Marks = []ports.MarkChange{{Mark: ports.Mark{OrderID: orderID(2), Held: 1}}}
		receive(t, r, first(view), waiting)
	}
	for i, view := range ports.AllViews {
		for id, want := range map[string]int{orderID(1): i + 1, orderID(2): 0, orderID(3): 0, "": 0} {
			f := freshnessOf(t, r, view, id)
			if wantAsOf := morning.Add(time.Duration(i+1) * time.Second); f.Version != want || !sameTime(f.AsOf, wantAsOf) {
				t.Errorf("Freshness of %s for order %q: got version %d as of %s, want %d as of %s", view, id, f.Version,
					showTime(f.AsOf), want, showTime(wantAsOf))
			}
		}
	}
}

func freshnessOfPartitions(t testing.TB, r ReadingSide) {
	g := first(ports.OrderTimeline)
	want := func(when string, want time.Time) {
		t.Helper()
		if got := freshnessOf(t, r, g.View, "").AsOf; showTime(got) != showTime(want) {
			t.Errorf("%s the view is as of %s, want %s", when, showTime(got), showTime(want))
		}
	}
	move := func(partition int, from, to int64, asOf time.Time) {
		t.Helper()
		receive(t, r, g, ports.Change{Positions: []ports.PositionChange{{Partition: partition, From: from, To: to, AsOf: asOf}}})
	}
	want("before the first position", time.Time{})
	move(0, 0, 5, morning.Add(time.Hour))
	want("with one partition", morning.Add(time.Hour))
	move(7, 0, 0, morning) // nothing has ever been in it
	want("with two partitions", morning)
	move(7, 0, 0, morning.Add(30*time.Minute))
	want("after nothing new", morning.Add(30*time.Minute))
	move(7, 0, 3, morning.Add(2*time.Hour))
	want("once the other is behind", morning.Add(time.Hour))
	move(0, 5, 5, morning.Add(3*time.Hour))
	want("after nothing new in that one", morning.Add(2*time.Hour))
	move(11, 0, 9, time.Time{})
	want("with a partition of which nobody can say", time.Time{})
	want0 := freshnessOf(t, r, ports.OrderSummary, "").AsOf
	if !want0.IsZero() {
		t.Errorf("a view that has no positions is as of %v", want0)
	}
}

func cancelledViews(t testing.TB, r ReadingSide) {
	for name, call := range map[string]func(context.Context) error{
		"Summaries": func(ctx context.Context) error {
			_, _, err := r.Views.Summaries(ctx, ports.SummaryQuery{Buyer: "buyer-1"})
			return err
		},
		"Activity": func(ctx context.Context) error { _, err := r.Views.Activity(ctx, "buyer-1"); return err },
		"Timeline": func(ctx context.Context) error {
			_, _, err := r.Views.Timeline(ctx, orderID(1), ports.Page{})
			return err
		},
		"Freshness": func(ctx context.Context) error {
			_, err := r.Views.Freshness(ctx, ports.OrderSummary, orderID(1))
			return err
		},
	} {
		wantCancelled(t, name, call)
	}
}
