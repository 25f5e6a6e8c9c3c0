package porttest

import (
	"context"
	"errors"
	"maps"
	"slices"
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
	{"a replay reads from the first message on, and goes on with what comes", replaysFromTheFirst},
	{"a replay delivers an order's messages in order, from one shard", func(t testing.TB, f Feed) { inOrder(t, f, replay(f, unknown)) }},
	{"a replay's batches hold at most MaxBatch messages, and come one at a time", func(t testing.TB, f Feed) {
		inBatches(t, f, replay(f, unknown))
	}},
	{"a replay moves no group and no other replay", replaysApart},
	{"an error of the handler ends a replay", replayFails},

	{"a member begins where its resume says", memberResumes},
	{"a replay begins where its resume says", replayResumes},
	{"resume is asked for the shards that are read", resumeIsAsked},
	{"an empty place is the first message", emptyPlace},
	{"an error of resume ends Subscribe and Replay", resumeFails},
	{"a place of another broker is an error", foreignPlace},

	{"a replay is caught up with a shard when its last message is delivered, and not before", func(t testing.TB, f Feed) {
		caughtUpWithLast(t, f, replay(f, unknown))
	}},
	{"a replay says of every shard that it is caught up with", caughtUpWithAll},
	{"Ahead counts the messages after places", aheadCounts},

	{"the end of its context ends Replay, its handler's context, and Ahead", replayEnds},
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
	case <-time.After(arrival):
		t.Fatalf("%s still runs after %v, want an error", what, arrival)
	}
	panic("unreachable")
}

func foreignPlace(t testing.TB, f Feed) {
	f.Append(t, manyOrders(5, 1, 1)...)
	foreign := ports.Place{Shard: "a shard of another broker", Next: "a place in it"}
	for what, read := range map[string]reading{
		"Subscribe": subscription(f, newGroup(), at(foreign)), "Replay": replay(f, at(foreign)),
	} {
		if err := errorOf(t, what, read); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s from a place of another broker: got error %v, want one that says so", what, err)
		}
	}
	if ahead, err := replayable(f).Ahead(bounded(t), []ports.Place{foreign}); err == nil {
		t.Errorf("Ahead of a place of another broker: got %v, want an error", ahead)
	}
}

func caughtUpWithAll(t testing.TB, f Feed) {
	f.Append(t, message(orderID(1), 1)) // one message, so that a broker with several shards has some without any
	open, err := replayable(f).Ahead(bounded(t), nil)
	if err != nil {
		t.Fatalf("Ahead: %v", err)
	}
	if len(open) == 0 {
		t.Fatal("Ahead names no shard of a topic with a message")
	}
	batches := make(chan handed)
	begin(t, replay(f, unknown), batches)
	for limit := time.Now().Add(arrival); len(open) > 0; {
		if time.Now().After(limit) {
			t.Fatalf("%v after the replay began these shards are not caught up with: %v", arrival, open)
		}
		h := next(t, batches)
		for _, shard := range h.CaughtUp {
			delete(open, shard)
		}
		h.reply(t, nil)
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
