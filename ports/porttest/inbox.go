package porttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

var inboxChecks = []check[ReadingSide]{
	{"positions are kept by partition, those that were never committed left out", positionsReadBack},
	{"a mark keeps all its fields, also those of an order whose first version is still to come", markReadsBack},
	{"an order that nothing was received of is in neither answer of Load", loadOfNothing},
	{"the view of orders loads summaries too, in copies", summaryIsLoaded},
	{"received messages are known by their ids", receivedReadsBack},
	{"held messages come in version order, as they were byte for byte", heldReadsBack},
	{"holding a message again changes nothing but the reason", heldAgain},
	{"a released message is held no longer, and others are", releaseForgets},
	{"Parked lists the orders with held messages: the first of them, how many, why and since when", parkedInInbox},
	{"everything is kept apart by view and generation", inboxesAreApart},
	{"a change of a thousand messages is committed", largeChange},

	{"a change that does not begin with what there is is ErrConflict, and nothing of it stays", staleChange},
	{"a change with a message that was received before is ErrConflict, and nothing of it stays", repeatedMessage},
	{"a Commit to a generation that is not there is ErrConflict", commitToNothing},
	{"of 20 commits of the same messages exactly one is taken", racingCommits},
	{"commits that touch no order together are all taken, and a buyer's activity adds up", racingActivity},
	{"a failed commit is an error, and nothing of the change stays", failedChange},

	{"a message is in the inbox for InboxKept", messageIsKept},
	{"after InboxKept a message is as new, and the mark of its order stays", messageIsForgotten},

	{"a cancelled context ends every call", cancelledInbox},
}

// first is the live generation of a view that was never replaced.
func first(view ports.View) ports.Generation { return ports.Generation{View: view, Number: 1} }

func receive(t testing.TB, r ReadingSide, g ports.Generation, c ports.Change) {
	t.Helper()
	if err := r.Inbox.Commit(bounded(t), g, c); err != nil {
		t.Fatalf("Commit to %s: %v", g, err)
	}
}

// wantRefused fails unless a change is ErrConflict and leaves everything as it was.
func wantRefused(t testing.TB, r ReadingSide, g ports.Generation, why string, c ports.Change) {
	t.Helper()
	before := contents(t, r, g)
	wantError(t, fmt.Sprintf("Commit to %s, %s", g, why), r.Inbox.Commit(bounded(t), g, c), ports.ErrConflict)
	wantContents(t, "after a refused Commit, "+why, contents(t, r, g), before)
}

func wantContents(t testing.TB, when, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Errorf("%s\n got %.500s\nwant %.500s", when, gotLines[i], wantLines[i])
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Errorf("%s there are %d things, want %d:\n%.1000s", when, len(gotLines), len(wantLines), got)
	}
}

// contents are everything that can be read of a generation, and of the live one of its view, about the orders 1 to 9 and
// their first versions, a line each.
func contents(t testing.TB, r ReadingSide, g ports.Generation) string {
	t.Helper()
	ctx, lines := bounded(t), []string{}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s of %s: %v", what, g, err)
		}
	}
	var orders, messages []string
	for n := 1; n <= 9; n++ {
		orders = append(orders, orderID(n))
		for version := 1; version <= 9; version++ {
			messages = append(messages, message(orderID(n), version).ID)
		}
	}
	positions, err := r.Inbox.Positions(ctx, g)
	must("Positions", err)
	for _, partition := range slices.Sorted(maps.Keys(positions)) {
		lines = append(lines, fmt.Sprintf("partition %d: %d", partition, positions[partition]))
	}
	marks, summaries, err := r.Inbox.Load(ctx, g, orders)
	must("Load", err)
	for _, id := range slices.Sorted(maps.Keys(marks)) {
		lines = append(lines, fmt.Sprintf("mark %+v", marks[id]))
	}
	for _, id := range slices.Sorted(maps.Keys(summaries)) {
		lines = append(lines, "loaded "+showSummary(summaries[id]))
	}
	received, err := r.Inbox.Received(ctx, g, messages)
	must("Received", err)
	for _, id := range slices.Sorted(maps.Keys(received)) {
		if received[id] {
			lines = append(lines, "received "+id)
		}
	}
	for _, id := range orders {
		held, err := r.Inbox.Held(ctx, g, id)
		must("Held", err)
		for _, m := range held {
			lines = append(lines, "held "+show(m))
		}
	}
	parked, err := r.Inbox.Parked(ctx, g)
	must("Parked", err)
	for _, o := range parked {
		lines = append(lines, fmt.Sprintf("parked %s from %d, %d since %d: %s", o.OrderID, o.First, o.Messages,
			o.Since.UnixMilli(), o.Reason))
	}
	return strings.Join(append(lines, viewContents(t, r, g.View, orders)...), "\n")
}

// viewContents are what readers see of a view.
func viewContents(t testing.TB, r ReadingSide, view ports.View, orders []string) (lines []string) {
	t.Helper()
	for _, buyer := range []string{"buyer-1", "buyer-2"} {
		switch view {
		case ports.OrderSummary:
			for _, s := range summariesOf(t, r, ports.SummaryQuery{Buyer: buyer}) {
				lines = append(lines, "listed "+showSummary(s))
			}
		case ports.BuyerActivity:
			lines = append(lines, showActivity(activityOf(t, r, buyer)))
		}
	}
	for _, id := range orders {
		if view == ports.OrderTimeline {
			for _, e := range timelineOf(t, r, id) {
				lines = append(lines, showEntry(e))
			}
		}
		f := freshnessOf(t, r, view, id)
		lines = append(lines, fmt.Sprintf("order %s is at version %d, as of %d", id, f.Version, f.AsOf.UnixMilli()))
	}
	return lines
}

// oneMore is the change that the next version of an order makes to a view: the order's own partition moves on by one, and
// the buyer has one more pending order.
func oneMore(view ports.View, n, version int) ports.Change {
	id, at := orderID(n), morning.Add(time.Duration(version)*time.Second)
	c := ports.Change{
		Positions: []ports.PositionChange{{Partition: n, From: int64(version - 1), To: int64(version), AsOf: at}},
		Received:  []string{message(id, version).ID},
		Marks: []ports.MarkChange{{
			Mark: ports.Mark{OrderID: id, Version: version, Buyer: "buyer-1", Status: order.StatusPending}, Was: version - 1,
		}},
	}
	switch view {
	case ports.OrderSummary:
		c.Summaries = []ports.Summary{summary(n, version)}
	case ports.BuyerActivity:
		c.Activity = []ports.ActivityChange{{Buyer: "buyer-1", Pending: 1, LastAt: at}}
	case ports.OrderTimeline:
		c.Timeline = []ports.TimelineEntry{{OrderID: id, Version: version, Type: "OrderItemAdded", At: at, Text: "3 × 1111 added"}}
	}
	return c
}

// holding adds a message that has to wait to a change.
func holding(c ports.Change, m ports.Message, reason string) ports.Change {
	c.Received = append(slices.Clone(c.Received), m.ID)
	c.Hold = append(slices.Clone(c.Hold), ports.HeldMessage{Message: m, Reason: reason})
	return c
}

func hold(t testing.TB, r ReadingSide, g ports.Generation, m ports.Message, reason string) {
	t.Helper()
	receive(t, r, g, holding(ports.Change{}, m, reason))
}

func positionsReadBack(t testing.TB, r ReadingSide) {
	g := first(ports.OrderSummary)
	want := func(want map[int]int64) {
		t.Helper()
		if got, err := r.Inbox.Positions(bounded(t), g); err != nil || !maps.Equal(got, want) {
			t.Errorf("Positions: got %v and error %v, want %v", got, err, want)
		}
	}
	want(map[int]int64{})
	receive(t, r, g, ports.Change{Positions: []ports.PositionChange{{Partition: 0, To: 7, AsOf: morning},
		{Partition: 11, To: 1 << 40, AsOf: morning}}})
	want(map[int]int64{0: 7, 11: 1 << 40})
	receive(t, r, g, ports.Change{Positions: []ports.PositionChange{{Partition: 0, From: 7, To: 9, AsOf: morning}, {Partition: 3, To: 1}}})
	want(map[int]int64{0: 9, 3: 1, 11: 1 << 40})
	receive(t, r, g, ports.Change{Positions: []ports.PositionChange{{Partition: 0, From: 9, To: 9, AsOf: morning.Add(time.Minute)}}})
	want(map[int]int64{0: 9, 3: 1, 11: 1 << 40})
}

func markReadsBack(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		g := first(view)
		full := ports.Mark{OrderID: "$заказ.1", Version: 12, Held: 3, Parked: "its type is unknown: \"OrderLost\"",
			Buyer: "' OR 1=1; --", Status: order.StatusPaid}
		bare := ports.Mark{OrderID: orderID(1), Held: 1} // version 2 has come before version 1
		receive(t, r, g, ports.Change{Marks: []ports.MarkChange{{Mark: full}, {Mark: bare}}})
		later := full
		later.Version, later.Held, later.Parked, later.Status = 15, 0, "", order.StatusCancelled
		for _, want := range []ports.Mark{full, later} {
			marks, _, err := r.Inbox.Load(bounded(t), g, []string{full.OrderID, bare.OrderID})
			if err != nil || len(marks) != 2 || marks[full.OrderID] != want || marks[bare.OrderID] != bare {
				t.Errorf("Load of %s:\n got %+v and error %v\nwant %+v and %+v", g, marks, err, want, bare)
			}
			if want == full {
				receive(t, r, g, ports.Change{Marks: []ports.MarkChange{{Mark: later, Was: 12, WasHeld: 3}}})
			}
		}
	}
}

func loadOfNothing(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		receive(t, r, first(view), oneMore(view, 1, 1))
		for _, ids := range [][]string{nil, {}, {orderID(2)}, {"", "order", strings.ToUpper(orderID(1))}} {
			marks, summaries, err := r.Inbox.Load(bounded(t), first(view), ids)
			if err != nil || len(marks) != 0 || len(summaries) != 0 {
				t.Errorf("Load of %q from %s: got %v, %v and error %v, want nothing", ids, view, marks, summaries, err)
			}
		}
		marks, _, err := r.Inbox.Load(bounded(t), first(view), []string{orderID(2), orderID(1)})
		if err != nil || len(marks) != 1 || marks[orderID(1)].Version != 1 {
			t.Errorf("Load of a known and an unknown order from %s: got %v and error %v, want the known one", view, marks, err)
		}
	}
}

func summaryIsLoaded(t testing.TB, r ReadingSide) {
	g := first(ports.OrderSummary)
	receive(t, r, g, oneMore(ports.OrderSummary, 1, 1))
	receive(t, r, g, oneMore(ports.OrderSummary, 2, 1))
	receive(t, r, g, oneMore(ports.OrderSummary, 1, 2))
	for range 2 {
		marks, summaries, err := r.Inbox.Load(bounded(t), g, []string{orderID(1), orderID(2), orderID(3)})
		if err != nil || len(marks) != 2 || len(summaries) != 2 {
			t.Fatalf("Load: got %d marks, %d summaries and error %v, want 2 of each", len(marks), len(summaries), err)
		}
		wantSummary(t, summaries[orderID(1)], summary(1, 2))
		wantSummary(t, summaries[orderID(2)], summary(2, 1))
		summaries[orderID(1)].Items[0].Amount = 99 // in the caller's own copy
	}
}

func receivedReadsBack(t testing.TB, r ReadingSide) {
	g := first(ports.OrderTimeline)
	known := []string{"order-1/1", "order-1/10", "$where", "заказ/1", "' OR 1=1; --", `{"a":"b"}`}
	receive(t, r, g, ports.Change{Received: known})
	unknown := []string{"order-1", "order-1/2", "ORDER-1/1", ""}
	received, err := r.Inbox.Received(bounded(t), g, append(slices.Clone(unknown), known...))
	if err != nil {
		t.Fatalf("Received: %v", err)
	}
	for _, id := range known {
		if !received[id] {
			t.Errorf("message %q is not in the inbox", id)
		}
	}
	for _, id := range unknown {
		if received[id] {
			t.Errorf("message %q is in the inbox, though it never came", id)
		}
	}
	if received, err := r.Inbox.Received(bounded(t), g, nil); err != nil || len(received) != 0 {
		t.Errorf("Received of no messages: got %v and error %v", received, err)
	}
}

func heldReadsBack(t testing.TB, r ReadingSide) {
	g := first(ports.OrderSummary)
	plain, odd, other := message(orderID(1), 10), message(orderID(1), 9), message(orderID(2), 3)
	odd.ID, odd.Type = "orders.events/7/4711", "" // nobody says that what has to wait is well formed
	odd.Payload = append([]byte("{\"a\": \x00\xff\xfe 茶,}\r\n"), noise(1<<20)...)
	odd.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	last := message(orderID(1), 100)
	last.Payload = nil
	for _, m := range []ports.Message{last, plain, other, odd} {
		hold(t, r, g, m, "version 8 is missing")
	}
	for id, want := range map[string][]ports.Message{orderID(1): {odd, plain, last}, orderID(2): {other}, orderID(3): nil} {
		got, err := r.Inbox.Held(bounded(t), g, id)
		if err != nil || len(got) != len(want) {
			t.Fatalf("Held of %s: got %d messages and error %v, want %d", id, len(got), err, len(want))
		}
		for i, m := range got {
			wantSameMessage(t, m, want[i])
		}
	}
}

func heldAgain(t testing.TB, r ReadingSide) {
	g := first(ports.OrderSummary)
	m, later := message(orderID(1), 2), message(orderID(1), 3)
	hold(t, r, g, m, "version 1 is missing")
	hold(t, r, g, later, "version 1 is missing")
	before := parkedIn(t, r, g)[0]
	<-time.After(2 * time.Millisecond) // so that a new time would be a different one
	again := m
	again.Payload = []byte("another")
	receive(t, r, g, ports.Change{Hold: []ports.HeldMessage{{Message: again, Reason: "its type is unknown"}}})
	got := parkedIn(t, r, g)[0]
	if got.Reason != "its type is unknown" || got.Messages != 2 || !sameTime(got.Since, before.Since) {
		t.Errorf("holding again: got %+v, want the new reason and otherwise %+v", got, before)
	}
	wantWaiting(t, r, g, m, later)
}

// wantWaiting fails unless these are the messages that are held of order 1.
func wantWaiting(t testing.TB, r ReadingSide, g ports.Generation, want ...ports.Message) {
	t.Helper()
	got, err := r.Inbox.Held(bounded(t), g, orderID(1))
	if err != nil || len(got) != len(want) {
		t.Errorf("Held of %s: got %d messages and error %v, want %d", orderID(1), len(got), err, len(want))
		return
	}
	for i, m := range got {
		wantSameMessage(t, m, want[i])
	}
}

func releaseForgets(t testing.TB, r ReadingSide) {
	g := first(ports.OrderTimeline)
	for version := 2; version <= 4; version++ {
		hold(t, r, g, message(orderID(1), version), "version 1 is missing")
	}
	hold(t, r, g, message(orderID(2), 2), "version 1 is missing")
	c := oneMore(ports.OrderTimeline, 1, 1)
	c.Marks[0].Version = 3
	c.Release = []string{message(orderID(1), 2).ID, message(orderID(1), 3).ID, "unknown"}
	receive(t, r, g, c)
	wantWaiting(t, r, g, message(orderID(1), 4))
	list := parkedIn(t, r, g)
	if len(list) != 2 || list[0].First != 4 || list[0].Messages != 1 || list[1].OrderID != orderID(2) {
		t.Errorf("Parked: got %+v, want version 4 of the first order and the second order", list)
	}
	received, err := r.Inbox.Received(bounded(t), g, []string{message(orderID(1), 2).ID})
	if err != nil || !received[message(orderID(1), 2).ID] {
		t.Errorf("a released message is not in the inbox any more: %v, %v", received, err)
	}
	receive(t, r, g, ports.Change{Release: []string{message(orderID(1), 4).ID, message(orderID(2), 2).ID}})
	wantWaiting(t, r, g)
	if list := parkedIn(t, r, g); len(list) != 0 {
		t.Errorf("Parked once everything is released: got %+v", list)
	}
}

func parkedIn(t testing.TB, r ReadingSide, g ports.Generation) []ports.ParkedOrder {
	t.Helper()
	list, err := r.Inbox.Parked(bounded(t), g)
	if err != nil {
		t.Fatalf("Parked of %s: %v", g, err)
	}
	return list
}

func parkedInInbox(t testing.TB, r ReadingSide) {
	g := first(ports.BuyerActivity)
	if list := parkedIn(t, r, g); len(list) != 0 {
		t.Errorf("Parked at first: got %+v", list)
	}
	before := time.Now()
	for _, n := range []int{3, 1, 2} {
		for version := 12; version > 12-n; version-- { // the first comes last, and has two digits less
			hold(t, r, g, message(orderID(n), version), fmt.Sprintf("reason %d", version))
		}
		hold(t, r, g, message(orderID(n), 9), "reason 9")
	}
	list := parkedIn(t, r, g)
	if len(list) != 3 {
		t.Fatalf("Parked: got %+v, want 3 orders", list)
	}
	for i, got := range list {
		if off := got.Since.Sub(before).Abs(); off > patience {
			t.Errorf("parked since %v, that is %v from now", got.Since, off)
		}
		got.Since = time.Time{}
		if want := (ports.ParkedOrder{OrderID: orderID(i + 1), First: 9, Messages: i + 2, Reason: "reason 9"}); got != want {
			t.Errorf("parked order:\n got %+v\nwant %+v", got, want)
		}
	}
	since := list[0].Since
	<-time.After(2 * time.Millisecond)
	hold(t, r, g, message(orderID(1), 20), "reason 20")
	if got := parkedIn(t, r, g)[0]; got.Messages != 3 || got.Reason != "reason 9" || !sameTime(got.Since, since) {
		t.Errorf("once one more is held: got %+v, want reason and time of the first", got)
	}
}

func inboxesAreApart(t testing.TB, r ReadingSide) {
	var all []ports.Generation
	for _, view := range ports.AllViews {
		all = append(all, first(view), shadow(t, r, view))
	}
	for i, g := range all {
		if positions, err := r.Inbox.Positions(bounded(t), g); err != nil || len(positions) != 0 {
			t.Errorf("before %s has received anything its positions are %v, error %v", g, positions, err)
		}
		wantWaiting(t, r, g)
		for version := 1; version <= i+1; version++ { // the same messages in each
			receive(t, r, g, holding(oneMore(g.View, 1, version), message(orderID(1), version+20), "version is missing"))
		}
	}
	for i, g := range all {
		marks, summaries, err := r.Inbox.Load(bounded(t), g, []string{orderID(1)})
		if err != nil || marks[orderID(1)].Version != i+1 {
			t.Errorf("mark in %s: got %+v and error %v, want version %d", g, marks, err, i+1)
		}
		if s, there := summaries[orderID(1)]; there != (g.View == ports.OrderSummary) || there && s.Version != i+1 {
			t.Errorf("summary in %s: got %+v, want version %d in the view of orders alone", g, summaries, i+1)
		}
		if positions, err := r.Inbox.Positions(bounded(t), g); err != nil || positions[1] != int64(i+1) {
			t.Errorf("positions in %s: got %v and error %v, want %d", g, positions, err, i+1)
		}
		if list := parkedIn(t, r, g); len(list) != 1 || list[0].Messages != i+1 {
			t.Errorf("Parked in %s: got %+v, want %d messages", g, list, i+1)
		}
		next := message(orderID(1), i+2).ID
		if received, err := r.Inbox.Received(bounded(t), g, []string{next}); err != nil || received[next] {
			t.Errorf("%s has received %s, error %v, though only others have", g, next, err)
		}
	}
	receive(t, r, all[0], ports.Change{Release: []string{message(orderID(1), 21).ID}})
	for i, g := range all[1:] {
		if list := parkedIn(t, r, g); len(list) != 1 || list[0].Messages != i+2 {
			t.Errorf("Parked in %s after a Release in another: got %+v, want %d messages", g, list, i+2)
		}
	}
}

func largeChange(t testing.TB, r ReadingSide) {
	const orders = 250
	g := first(ports.OrderSummary)
	for round := range 2 {
		var c ports.Change
		var ids []string
		for n := range orders {
			from, to := 4*round, 4*round+4
			for version := from + 1; version <= to; version++ {
				c.Received = append(c.Received, message(orderID(n), version).ID)
			}
			ids = append(ids, orderID(n))
			c.Marks = append(c.Marks, ports.MarkChange{Mark: ports.Mark{OrderID: orderID(n), Version: to}, Was: from})
			c.Summaries = append(c.Summaries, summary(n, to))
		}
		receive(t, r, g, c)
		marks, summaries, err := r.Inbox.Load(bounded(t), g, ids)
		if err != nil || len(marks) != orders || len(summaries) != orders {
			t.Fatalf("Load: got %d marks, %d summaries and error %v, want %d", len(marks), len(summaries), err, orders)
		}
		for n := range orders {
			if got := marks[orderID(n)].Version; got != 4*round+4 {
				t.Fatalf("mark of %s: got version %d, want %d", orderID(n), got, 4*round+4)
			}
			wantSummary(t, summaries[orderID(n)], summary(n, 4*round+4))
		}
		received, err := r.Inbox.Received(bounded(t), g, c.Received)
		if err != nil || len(received) != len(c.Received) {
			t.Errorf("Received: got %d messages and error %v, want %d", len(received), err, len(c.Received))
		}
	}
}

// begun is a view with orders 1 and 2 at version 2, one message of order 3 held, and the change that fits it next: one of
// each kind for orders 1, 2 and 4.
func begun(t testing.TB, r ReadingSide, view ports.View) (next ports.Change) {
	t.Helper()
	g := first(view)
	for n := 1; n <= 2; n++ {
		for version := 1; version <= 2; version++ {
			receive(t, r, g, oneMore(view, n, version))
		}
	}
	waiting := holding(ports.Change{}, message(orderID(3), 2), "version 1 is missing")
	waiting.Marks = []ports.MarkChange{{Mark: ports.Mark{OrderID: orderID(3), Held: 1, Buyer: "buyer-2"}}}
	receive(t, r, g, waiting)

	for _, c := range []ports.Change{oneMore(view, 1, 3), oneMore(view, 4, 1), oneMore(view, 2, 3)} {
		next.Positions = append(next.Positions, c.Positions...)
		next.Received = append(next.Received, c.Received...)
		next.Marks = append(next.Marks, c.Marks...)
		next.Summaries = append(next.Summaries, c.Summaries...)
		next.Timeline = append(next.Timeline, c.Timeline...)
		if next.Activity == nil { // one a buyer
			next.Activity = c.Activity
		}
	}
	next = holding(next, message(orderID(3), 3), "version 1 is missing")
	next.Release = []string{message(orderID(3), 2).ID}
	next.Marks = append(next.Marks, ports.MarkChange{Mark: ports.Mark{OrderID: orderID(3), Held: 1, Parked: "no more"}, WasHeld: 1})
	return next
}

// wantTaken fails unless a change is taken and makes a difference: then it would have been seen where it was refused.
func wantTaken(t testing.TB, r ReadingSide, g ports.Generation, c ports.Change) {
	t.Helper()
	before := contents(t, r, g)
	receive(t, r, g, c)
	if contents(t, r, g) == before {
		t.Errorf("Commit to %s was taken and made no difference", g)
	}
	wantHeldOf3(t, r, g)
}

func wantHeldOf3(t testing.TB, r ReadingSide, g ports.Generation) {
	t.Helper()
	held, err := r.Inbox.Held(bounded(t), g, orderID(3))
	if err != nil || len(held) != 1 || held[0].Version != 3 {
		t.Errorf("Held: got %v and error %v, want version 3 alone", held, err)
	}
}

func staleChange(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		g, next := first(view), begun(t, r, view)
		for why, spoil := range map[string]func(*ports.Change){
			"from a position that was left":          func(c *ports.Change) { c.Positions[2].From = 1 },
			"from a position still to come":          func(c *ports.Change) { c.Positions[2].From = 3 },
			"from the beginning again":               func(c *ports.Change) { c.Positions[2].From = 0 },
			"from a position that never was":         func(c *ports.Change) { c.Positions[1].From = 1 },
			"with the mark of a version before":      func(c *ports.Change) { c.Marks[2].Was = 1 },
			"with the mark of a version to come":     func(c *ports.Change) { c.Marks[2].Was = 3 },
			"with an order that is known as new":     func(c *ports.Change) { c.Marks[2].Was = 0 },
			"with an unknown order as known":         func(c *ports.Change) { c.Marks[1].Was = 1 },
			"with fewer messages held than are":      func(c *ports.Change) { c.Marks[3].WasHeld = 0 },
			"with more messages held than are":       func(c *ports.Change) { c.Marks[3].WasHeld = 2 },
			"with messages held where there is none": func(c *ports.Change) { c.Marks[2].WasHeld = 1 },
		} {
			c := next
			c.Positions, c.Marks = slices.Clone(next.Positions), slices.Clone(next.Marks)
			spoil(&c)
			wantRefused(t, r, g, why, c)
		}
		wantTaken(t, r, g, next)
	}
}

func repeatedMessage(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		g, next := first(view), begun(t, r, view)
		for why, id := range map[string]string{
			"with a message that took effect": message(orderID(2), 1).ID,
			"with a message that is held":     message(orderID(3), 2).ID,
		} {
			c := next
			c.Received = append(slices.Clone(next.Received), id)
			wantRefused(t, r, g, why, c)
		}
		wantTaken(t, r, g, next)
		wantRefused(t, r, g, "with nothing but a message again", ports.Change{Received: next.Received[:1]})
	}
}

func commitToNothing(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		wantRefused(t, r, ports.Generation{View: view, Number: 2}, "to a shadow that nobody began", oneMore(view, 1, 1))
		wantRefused(t, r, ports.Generation{View: view}, "to no generation", oneMore(view, 1, 1))
		receive(t, r, first(view), oneMore(view, 1, 1))
	}
}

func racingCommits(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		g := first(view)
		for version := 1; version <= 3; version++ {
			c := oneMore(view, 1, version)
			if version == 3 {
				c = ports.Change{Received: c.Received, Activity: c.Activity} // nothing but the inbox is in the way
			}
			results := make([]error, 20)
			atOnce(t, len(results), func(ctx context.Context, i int) { results[i] = r.Inbox.Commit(ctx, g, c) })
			taken := 0
			for i, err := range results {
				if err == nil {
					taken++
				} else {
					wantError(t, fmt.Sprintf("committer %d", i), err, ports.ErrConflict)
				}
			}
			if taken != 1 {
				t.Fatalf("%d commits of version %d to %s were taken, want 1", taken, version, g)
			}
		}
	}
	if got := activityOf(t, r, "buyer-1"); got.Pending != 3 {
		t.Errorf("the activity is %+v, want 3 pending: one for each version", got)
	}
}

// atOnce calls do for 0 to n-1, all at the same moment, and waits for all.
func atOnce(t testing.TB, n int, do func(ctx context.Context, i int)) {
	t.Helper()
	var all sync.WaitGroup
	start, ctx := make(chan struct{}), bounded(t)
	for i := range n {
		all.Go(func() {
			<-start
			do(ctx, i)
		})
	}
	close(start)
	all.Wait()
}

func racingActivity(t testing.TB, r ReadingSide) {
	const committers, times = 8, 5
	g := first(ports.BuyerActivity)
	atOnce(t, committers, func(ctx context.Context, i int) {
		for version := 1; version <= times; version++ {
			c := oneMore(ports.BuyerActivity, i+1, version)
			c.Activity[0].Paid, c.Activity[0].Submitted, c.Activity[0].Cancelled = i, -1, 2
			if err := r.Inbox.Commit(ctx, g, c); err != nil {
				t.Errorf("Commit of order %d, version %d: %v", i+1, version, err)
			}
		}
	})
	got := activityOf(t, r, "buyer-1")
	want := ports.Activity{
		Buyer: "buyer-1", Pending: committers * times, Submitted: -committers * times, Cancelled: 2 * committers * times,
		Paid: times * committers * (committers - 1) / 2, LastAt: morning.Add(times * time.Second),
	}
	if showActivity(got) != showActivity(want) {
		t.Errorf("what %d committers have added up to\n got %s\nwant %s", committers, showActivity(got), showActivity(want))
	}
}

func failedChange(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		g, next := first(view), begun(t, r, view)
		before := contents(t, r, g)
		heal := r.FailCommits(t)
		err := r.Inbox.Commit(bounded(t), g, next)
		if err == nil {
			t.Error("Commit returned nil though it failed")
		}
		if errors.Is(err, ports.ErrConflict) {
			t.Errorf("a failed commit is not a conflict: %v", err)
		}
		heal()
		wantContents(t, "after a failed Commit", contents(t, r, g), before)
		wantTaken(t, r, g, next)
	}
}

func messageIsKept(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		g := first(view)
		receive(t, r, g, oneMore(view, 1, 1))
		r.Age(t, ports.InboxKept-minute)
		receive(t, r, g, oneMore(view, 1, 2)) // a chance to throw something out
		id := message(orderID(1), 1).ID
		if received, err := r.Inbox.Received(bounded(t), g, []string{id}); err != nil || !received[id] {
			t.Errorf("a minute before its time %s is not in the inbox of %s any more: %v", id, g, err)
		}
		wantRefused(t, r, g, "with an old message", ports.Change{Received: []string{id}})
	}
}

func messageIsForgotten(t testing.TB, r ReadingSide) {
	for _, view := range ports.AllViews {
		g := first(view)
		var ids []string
		for version := 1; version <= 6; version++ {
			receive(t, r, g, oneMore(view, 1, version))
			ids = append(ids, message(orderID(1), version).ID)
		}
		r.Age(t, ports.InboxKept+minute)
		received, err := r.Inbox.Received(bounded(t), g, ids)
		if err != nil {
			t.Fatalf("Received: %v", err)
		}
		for _, id := range ids {
			if received[id] {
				t.Errorf("after InboxKept %s is still in the inbox of %s", id, g)
			}
		}
		receive(t, r, g, ports.Change{Received: ids[:2]})
		wantRefused(t, r, g, "with a message that came again", ports.Change{Received: ids[1:2]})
		marks, _, err := r.Inbox.Load(bounded(t), g, []string{orderID(1)})
		if err != nil || marks[orderID(1)].Version != 6 {
			t.Errorf("the mark after InboxKept: got %+v and error %v, want version 6 as before", marks, err)
		}
	}
}

func cancelledInbox(t testing.TB, r ReadingSide) {
	g := first(ports.OrderSummary)
	receive(t, r, g, oneMore(g.View, 1, 1))
	before := contents(t, r, g)
	for name, call := range map[string]func(context.Context) error{
		"Positions": func(ctx context.Context) error { _, err := r.Inbox.Positions(ctx, g); return err },
		"Load":      func(ctx context.Context) error { _, _, err := r.Inbox.Load(ctx, g, []string{orderID(1)}); return err },
		"Received":  func(ctx context.Context) error { _, err := r.Inbox.Received(ctx, g, []string{"order-1/1"}); return err },
		"Held":      func(ctx context.Context) error { _, err := r.Inbox.Held(ctx, g, orderID(1)); return err },
		"Parked":    func(ctx context.Context) error { _, err := r.Inbox.Parked(ctx, g); return err },
		"Commit":    func(ctx context.Context) error { return r.Inbox.Commit(ctx, g, oneMore(g.View, 1, 2)) },
	} {
		wantCancelled(t, name, call)
	}
	wantContents(t, "after cancelled calls", contents(t, r, g), before)
}
