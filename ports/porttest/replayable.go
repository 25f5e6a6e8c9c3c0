package porttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hexorders/ports"
)

// Replayable checks the promises of ports.Replayable, which the feed's subscriber has to be, and those of ports.Subscriber
// about places. While nothing is published, Ahead has to be right.
func Replayable(t *testing.T, open func(t testing.TB) Feed) {
	runSideBySide(t, replayableChecks, open)
}

var replayableChecks = []check[Feed]{
	{"a replay reads from the first message on, and goes on with what comes", replaysFromTheFirst,
		"begin at the first message of every shard, and follow"},
	{"a replay delivers an order's messages in order, from one shard", func(t testing.TB, f Feed) { inOrder(t, f, replay(f, unknown)) },
		"hand a shard's messages on in their order"},
	{"a replay's batches hold at most MaxBatch messages, and come one at a time", func(t testing.TB, f Feed) {
		inBatches(t, f, replay(f, unknown))
	}, "cut at ports.MaxBatch, and call handle only when the last call has returned"},
	{"a replay moves no group and no other replay", replaysApart,
		"a replay stores no position"},
	{"an error of the handler ends a replay", replayFails,
		"return the error of handle as it is"},

	{"a member begins where its resume says", memberResumes,
		"ask resume when a shard is assigned; its answer comes before the group's position"},
	{"a replay begins where its resume says", replayResumes,
		"ask resume once, for all shards"},
	{"resume is asked for the shards that are read", resumeIsAsked,
		"ask for the shards that were assigned, by their names"},
	{"an empty place is the first message", emptyPlace,
		"Next \"\" is the beginning, not the group's position"},
	{"an error of resume ends Subscribe and Replay", resumeFails,
		"return the error of resume as it is"},
	{"what no log made is no place", noPlace,
		"ports.ShardRange.Resume says so: return its error"},

	{"a replay is caught up with a shard when its last message is delivered, and not before", func(t testing.TB, f Feed) {
		caughtUpWithLast(t, f, replay(f, unknown))
	}, "compare the position behind the batch with the end of the shard"},
	{"a replay says of every shard that it is caught up with", caughtUpWithAll,
		"also of a shard that has no message"},
	{"Ahead counts the messages after places", aheadCounts,
		"end minus position for each shard; a shard without a place counts from its first message"},

	{"a place of another log is a gap, and reading begins at the first message", otherLog,
		"a place names its log: ports.ShardRange.Resume compares it"},
	{"a place behind the end is a gap, and reading begins at the first message", behindTheEnd,
		"the log has lost its newest messages: ports.ShardRange.Resume says so"},
	{"messages that were deleted before they were read are a gap", deletedBefore,
		"the first offset of the shard is beyond the place: ports.ShardRange.Resume says so"},
	{"without such a thing there is no gap", noGap,
		"report a gap only when ports.ShardRange.Resume returns one"},
	{"a place without a log is one of this log, if it has the shard", placeWithoutLog,
		"ports.ShardRange.Resume reads places of an earlier version: leave it to it"},

	{"the end of its context ends Replay, its handler's context, and Ahead", replayEnds,
		"hand handle a context that ends with the caller's"},
}

func replayable(f Feed) ports.Replayable { return f.Subscriber.(ports.Replayable) }

func replay(f Feed, resume ports.Resume) reading {
	return func(ctx context.Context, handle func(context.Context, ports.Batch) error) error {
		return replayable(f).Replay(ctx, resume, handle)
	}
}

// at is a resume that knows these places.
func at(places ...ports.Place) ports.Resume {
	return func(context.Context, []string) ([]ports.Place, error) { return places, nil }
}

// placesAfter returns where to go on after deliveries: the last place of each shard.
func placesAfter(deliveries []ports.Delivery) (places []ports.Place) {
	last := map[string]ports.Place{}
	for _, d := range deliveries {
		last[d.Place.Shard] = d.Place
	}
	return slices.Collect(maps.Values(last))
}

func replaysFromTheFirst(t testing.TB, f Feed) {
	early, late := manyOrders(5, 1, 2), manyOrders(5, 3, 4)
	f.Append(t, early...)
	batches := make(chan handed)
	begin(t, replay(f, unknown), batches)
	wantDeliveries(t, take(t, batches, early...), early...)
	f.Append(t, late...)
	wantDeliveries(t, take(t, batches, late...), late...)
}

func replaysApart(t testing.TB, f Feed) {
	group, first, second := newGroup(), manyOrders(10, 1, 1), manyOrders(10, 2, 2)
	all := append(slices.Clone(first), second...)
	f.Append(t, first...)
	wantDeliveries(t, readAll(t, f, group, unknown, first...), first...)
	f.Append(t, second...)
	one, other := make(chan handed), make(chan handed)
	begin(t, replay(f, unknown), one)
	begin(t, replay(f, unknown), other)
	wantDeliveries(t, take(t, one, all...), all...)
	wantDeliveries(t, take(t, other, all...), all...)
	wantDeliveries(t, takeAll(t, replay(f, unknown), all...), all...) // and again: what it read is stored nowhere
	wantDeliveries(t, readAll(t, f, group, unknown, second...), second...)
}

func replayFails(t testing.TB, f Feed) {
	f.Append(t, manyOrders(5, 1, 2)...)
	failure, batches := errors.New("the handler failed"), make(chan handed)
	m := begin(t, replay(f, unknown), batches)
	nextWithMessages(t, batches).reply(t, failure)
	m.wantEnd(t, failure)
}

func memberResumes(t testing.TB, f Feed) {
	group, all := newGroup(), messages(orderID(1), 1, 6)
	f.Append(t, all...)
	read := readAll(t, f, group, unknown, all...)
	// Before the group's position, and with nothing handled there.
	wantDeliveries(t, readAll(t, f, group, at(read[1].Place), all[2:]...), all[2:]...)
	wantDeliveries(t, readAll(t, f, newGroup(), at(read[3].Place), all[4:]...), all[4:]...)
}

func replayResumes(t testing.TB, f Feed) {
	all := messages(orderID(1), 1, 6)
	f.Append(t, all...)
	read := takeAll(t, replay(f, unknown), all...)
	wantDeliveries(t, takeAll(t, replay(f, at(read[4].Place)), all[5:]...), all[5:]...)
}

func resumeIsAsked(t testing.TB, f Feed) {
	some := manyOrders(20, 1, 1)
	f.Append(t, some...)
	group := newGroup()
	for _, read := range []func(ports.Resume) reading{
		func(r ports.Resume) reading { return subscription(f, group, r) },
		func(r ports.Resume) reading { return replay(f, r) },
	} {
		asked := map[string]bool{}
		resume := func(_ context.Context, shards []string) ([]ports.Place, error) {
			for _, shard := range shards {
				asked[shard] = true
			}
			return nil, nil
		}
		for _, d := range takeAll(t, read(resume), some...) {
			if !asked[d.Place.Shard] {
				t.Fatalf("message %s comes from shard %q; resume was asked for the shards %q only",
					d.ID, d.Place.Shard, slices.Collect(maps.Keys(asked)))
			}
		}
	}
}

func emptyPlace(t testing.TB, f Feed) {
	group, all := newGroup(), messages(orderID(1), 1, 6)
	f.Append(t, all...)
	beginning := at(ports.Place{Shard: readAll(t, f, group, unknown, all...)[0].Place.Shard})
	wantDeliveries(t, readAll(t, f, group, beginning, all...), all...)
	wantDeliveries(t, takeAll(t, replay(f, beginning), all...), all...)
}

func resumeFails(t testing.TB, f Feed) {
	failure := errors.New("the read model cannot be read")
	fails := func(context.Context, []string) ([]ports.Place, error) { return nil, failure }
	for what, read := range map[string]reading{"Subscribe": subscription(f, newGroup(), fails), "Replay": replay(f, fails)} {
		wantError(t, what+" whose resume fails", errorOf(t, what, read), failure)
	}
}

// errorOf waits for the error of a reading that cannot begin.
func errorOf(t testing.TB, what string, read reading) error {
	t.Helper()
	m := begin(t, read, nil)
	select {
	case <-m.ended:
		return m.err
	case <-time.After(patience):
		t.Fatalf("%s still runs after %v, want an error", what, patience)
	}
	panic("unreachable")
}

func noPlace(t testing.TB, f Feed) {
	f.Append(t, manyOrders(5, 1, 1)...)
	for _, next := range []string{"a place", "-1", "-1@a log", "92233720368547758070"} {
		place := ports.Place{Shard: "a shard", Next: next}
		for what, read := range map[string]reading{
			"Subscribe": subscription(f, newGroup(), at(place)), "Replay": replay(f, at(place)),
		} {
			if err := errorOf(t, what, read); err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("%s from the place %q: got error %v, want one that says so", what, next, err)
			}
		}
		if ahead, err := replayable(f).Ahead(bounded(t), []ports.Place{place}); err == nil {
			t.Errorf("Ahead of the place %q: got %v, want an error", next, ahead)
		}
	}
}

// wantGaps reads, in every way, until all these messages have come. It fails unless the shard of the first one has a gap for
// this reason, once, not later than its messages; with no reason, unless there is none.
func wantGaps(t testing.TB, f Feed, resume ports.Resume, reason ports.GapReason, want ...ports.Message) {
	t.Helper()
	for what, read := range map[string]reading{"Subscribe": subscription(f, newGroup(), resume), "Replay": replay(f, resume)} {
		batches, gaps, due := make(chan handed), map[string]ports.Gap{}, idsOf(want)
		m := begin(t, read, batches)
		for limit := time.Now().Add(patience); len(due) > 0; {
			if time.Now().After(limit) {
				t.Fatalf("%s: after %v these messages have not come: %.300q", what, patience, due)
			}
			h := next(t, batches)
			for _, gap := range h.Gaps {
				if was, again := gaps[gap.Place.Shard]; again {
					t.Errorf("%s: the gap %+v comes after %+v", what, gap, was)
				}
				gaps[gap.Place.Shard] = gap
			}
			for _, d := range h.Messages {
				switch gap, found := gaps[d.Place.Shard]; {
				case reason == "" && found:
					t.Fatalf("%s: got the gap %+v, want none", what, gap)
				case reason != "" && (gap.Reason != reason || gap.Detail == ""):
					t.Fatalf("%s: message %s comes after the gap %+v, want one for the reason %s, with words", what, d.ID, gap, reason)
				}
				due = slices.DeleteFunc(due, func(id string) bool { return id == d.ID })
			}
			h.reply(t, nil)
		}
		m.leave(t)
		for _, gap := range gaps { // it stands for where reading began
			wantNoGap := at(gap.Place)
			batches := make(chan handed)
			m := begin(t, replay(f, wantNoGap), batches)
			h := next(t, batches)
			if slices.ContainsFunc(h.Gaps, func(g ports.Gap) bool { return g.Place.Shard == gap.Place.Shard }) {
				t.Errorf("%s: from the gap's place %+v there is a gap again: %+v", what, gap.Place, h.Gaps)
			}
			h.reply(t, nil)
			m.leave(t)
		}
	}
}

func otherLog(t testing.TB, f Feed) {
	all := messages(orderID(1), 1, 6)
	f.Append(t, all...)
	shard := takeAll(t, replay(f, unknown), all...)[0].Place.Shard
	for _, place := range []ports.Place{
		{Shard: shard, Next: "3@another log"}, {Shard: "a shard of another broker", Next: "3@another log"},
	} {
		wantGaps(t, f, at(place), ports.GapOtherLog, all...)
	}
	wantGaps(t, f, at(ports.Place{Shard: shard, Next: "0@another log"}), "", all...)
}

func behindTheEnd(t testing.TB, f Feed) {
	all := messages(orderID(1), 1, 6)
	f.Append(t, all...)
	end := takeAll(t, replay(f, unknown), all...)[5].Place
	offset, log := split(t, end)
	behind := ports.Place{Shard: end.Shard, Next: fmt.Sprintf("%d@%s", offset+1000, log)}
	wantGaps(t, f, at(behind), ports.GapLost, all...)
	if ahead, err := replayable(f).Ahead(bounded(t), []ports.Place{behind}); err != nil || ahead[end.Shard] != 6 {
		t.Errorf("Ahead of a place behind the end: got %v, %v; want 6", ahead, err)
	}
}

// split reads a place. The port says how it looks.
func split(t testing.TB, p ports.Place) (offset int64, log string) {
	t.Helper()
	number, log, found := strings.Cut(p.Next, "@")
	offset, err := strconv.ParseInt(number, 10, 64)
	if !found || log == "" || err != nil {
		t.Fatalf("the place %+v has not the form <offset>@<log>", p)
	}
	return offset, log
}

func deletedBefore(t testing.TB, f Feed) {
	first, second := messages(orderID(1), 1, 6), messages(orderID(1), 7, 9)
	f.Append(t, first...)
	read := takeAll(t, replay(f, unknown), first...)
	f.Delete(t)
	f.Append(t, second...)
	wantGaps(t, f, unknown, ports.GapDeleted, second...)
	wantGaps(t, f, at(ports.Place{Shard: read[0].Place.Shard}), ports.GapDeleted, second...)
	wantGaps(t, f, at(read[3].Place), ports.GapDeleted, second...)
	wantGaps(t, f, at(read[5].Place), "", second...) // what was deleted had been read
}

func noGap(t testing.TB, f Feed) {
	wantGaps(t, f, unknown, "")
	all := messages(orderID(1), 1, 6)
	f.Append(t, all...)
	read := takeAll(t, replay(f, unknown), all...)
	wantGaps(t, f, unknown, "", all...)
	wantGaps(t, f, at(read[2].Place), "", all[3:]...)
	more := messages(orderID(1), 7, 7)
	f.Append(t, more...)
	wantGaps(t, f, at(read[5].Place), "", more...)
	other := ports.Place{Shard: "a shard that another broker had before", Next: "3@another log"}
	wantGaps(t, f, at(other, read[5].Place), "", more...) // the gap was known before
}

func placeWithoutLog(t testing.TB, f Feed) {
	all := messages(orderID(1), 1, 6)
	f.Append(t, all...)
	third := takeAll(t, replay(f, unknown), all...)[2].Place
	offset, _ := split(t, third)
	own := ports.Place{Shard: third.Shard, Next: strconv.FormatInt(offset, 10)}
	wantGaps(t, f, at(own), "", all[3:]...)
	foreign := ports.Place{Next: "3"} // one shard without a name: the in-process broker
	if third.Shard == "" {
		foreign.Shard = "0"
	}
	wantGaps(t, f, at(foreign), ports.GapOtherLog, all...)
}

// caughtUpWithAll: the places that a replay is caught up with have nothing after them.
func caughtUpWithAll(t testing.TB, f Feed) {
	f.Append(t, message(orderID(1), 1)) // one message, so that a broker with several shards has some without any
	open, err := replayable(f).Ahead(bounded(t), nil)
	if err != nil {
		t.Fatalf("Ahead: %v", err)
	}
	if len(open) == 0 {
		t.Fatal("Ahead names no shard of a topic with a message")
	}
	batches, ends := make(chan handed), map[string]ports.Place{}
	begin(t, replay(f, unknown), batches)
	for limit := time.Now().Add(patience); len(open) > 0; {
		if time.Now().After(limit) {
			t.Fatalf("%v after the replay began these shards are not caught up with: %v", patience, open)
		}
		h := next(t, batches)
		for _, p := range h.CaughtUp {
			delete(open, p.Shard)
			ends[p.Shard] = p
		}
		h.reply(t, nil)
	}
	ahead, err := replayable(f).Ahead(bounded(t), slices.Collect(maps.Values(ends)))
	for shard, n := range ahead {
		if n != 0 {
			t.Errorf("Ahead of %+v, with which a replay has caught up: got %d, want 0", ends[shard], n)
		}
	}
	if err != nil {
		t.Errorf("Ahead: %v", err)
	}
}

func aheadCounts(t testing.TB, f Feed) {
	wantAhead := func(want int64, from ...ports.Place) {
		t.Helper()
		ahead, err := replayable(f).Ahead(bounded(t), from)
		if err != nil {
			t.Fatalf("Ahead: %v", err)
		}
		sum := int64(0)
		for _, n := range ahead {
			sum += n
		}
		if sum != want {
			t.Errorf("Ahead of %q: got %v, want %d in all", from, ahead, want)
		}
	}
	wantAhead(0)
	first, second := manyOrders(10, 1, 2), manyOrders(10, 3, 3)
	f.Append(t, first...)
	wantAhead(20)
	read := takeAll(t, replay(f, unknown), first...)
	wantAhead(0, placesAfter(read)...)
	wantAhead(20-1, read[0].Place)
	f.Append(t, second...)
	wantAhead(10, placesAfter(read)...)
	wantAhead(30)
}

func replayEnds(t testing.TB, f Feed) {
	readingEnds(t, f, func() reading { return replay(f, unknown) })
	wantCancelled(t, "Ahead", func(ctx context.Context) error { _, err := replayable(f).Ahead(ctx, nil); return err })
}
