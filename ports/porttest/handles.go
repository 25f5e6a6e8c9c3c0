package porttest

import (
	"fmt"
	"testing"

	"hexorders/core/order"
	"hexorders/ports"
)

// These checks open the store a second time: beside the first handle, as another process has it, or after a restart.

const shareEverything = "what a handle keeps in memory the other does not see: read it from the store, or write it through"

var (
	orderStoreHandles = []demanding{
		{needsAgain, "two handles share the orders", sharedOrders, shareEverything},
		{needsRestart, "after a restart the orders are as they were saved", ordersAfterRestart,
			"what Save has returned nil for must be on disk: nothing may wait for a polite stop"},
	}
	outboxHandles = []demanding{
		{needsAgain, "a Tail gets what another handle saves", tailOfAnother,
			"a channel or a condition wakes only this process. Another process saves too: ask the database again now and then, or " +
				"let it notify you"},
		{needsAgain, "two handles share the checkpoint and its term", sharedCheckpoint, shareEverything},
		{needsRestart, "after a restart messages, positions, checkpoint and term are kept", outboxAfterRestart,
			"a position that was handed out before is used after: it must mean the same place"},
	}
	idempotencyStoreHandles = []demanding{
		{needsAgain, "two handles share the stored results", sharedResults, shareEverything},
		{needsRestart, "after a restart a result is stored, and its key taken", resultsAfterRestart,
			"the result is committed with the order"},
	}
	parkingHandles = []demanding{
		{needsAgain, "two handles share what is parked", sharedParking, shareEverything},
		{needsRestart, "after a restart messages, reason, time and retry are kept", parkingAfterRestart,
			"an operator asks for a retry with a command of its own: it is over before the relay looks"},
	}
	leaseHandles = []demanding{
		{needsAgain, "two handles share the lease", sharedLease, shareEverything},
		{needsRestart, "after a restart the lease is held, and its term is not used again", leaseAfterRestart,
			"a term that is used again lets an old relay move the checkpoint: keep the row"},
	}
)

func sharedOrders(t testing.TB, s storage) {
	other := s.again(t)
	save(t, s, newOrder(t, orderID(1), 2))
	stale, fresh := load(t, other, orderID(1)), load(t, s, orderID(1))
	change(t, fresh, 1)
	save(t, s, fresh)
	wantSame(t, load(t, other, orderID(1)).Snapshot(), fresh.Snapshot())
	change(t, stale, 2)
	wantConflict(t, other, stale)
	wantConflict(t, other, newOrder(t, orderID(1), 1))

	back := load(t, other, orderID(1))
	change(t, back, 1)
	save(t, other, back)
	wantSame(t, load(t, s, orderID(1)).Snapshot(), back.Snapshot())
	wantLogged(t, other, map[string]int{orderID(1): 4})
}

func ordersAfterRestart(t testing.TB, s storage) {
	var want []order.Snapshot
	for n := range 5 {
		o := newOrder(t, orderID(n), 1+40*n) // a store may treat long orders in another way
		save(t, s, o)
		if n == 3 {
			if err := o.Pay(morning); err != nil {
				t.Fatal(err)
			}
			save(t, s, o)
		}
		want = append(want, o.Snapshot())
	}
	s = s.restarted(t)
	for _, w := range want {
		wantSame(t, load(t, s, w.ID).Snapshot(), w)
	}
	wantConflict(t, s, newOrder(t, orderID(1), 1))
	o := load(t, s, orderID(1))
	change(t, o, 1)
	save(t, s, o)
	wantSame(t, load(t, s, orderID(1)).Snapshot(), o.Snapshot())
}

func tailOfAnother(t testing.TB, s storage) {
	other := s.again(t)
	f := follow(t, s, "")
	save(t, s, newOrder(t, orderID(1), 1))
	f.next(t) // from here on the Tail is known to follow
	id := orderID(2)
	for round := range 5 {
		from := s
		if round%2 == 0 {
			from = other
		}
		o := newOrder(t, id, 1)
		if round > 0 {
			o = load(t, from, id)
			change(t, o, 1)
		}
		save(t, from, o)
		if got, want := f.next(t).ID, fmt.Sprintf("%s/%d", id, round+1); got != want {
			t.Errorf("message: got %s, want %s", got, want)
		}
	}
}

func sharedCheckpoint(t testing.TB, s storage) {
	run, other := positions(t, s, 3), s.again(t)
	checkpoint(t, s, 7, run[1].at)
	wantPosition(t, other, run[1].at)
	wantError(t, "Checkpoint through another handle in term 6 after term 7",
		other.Outbox.Checkpoint(bounded(t), 6, run[0].at), ports.ErrFenced)
	checkpoint(t, other, 8, run[2].at)
	wantPosition(t, s, run[2].at)
	wantError(t, "Checkpoint in term 7 after term 8 through another handle",
		s.Outbox.Checkpoint(bounded(t), 7, run[0].at), ports.ErrFenced)
}

func outboxAfterRestart(t testing.TB, s storage) {
	run := positions(t, s, 6)
	checkpoint(t, s, 7, run[2].at)
	s = s.restarted(t)
	wantPosition(t, s, run[2].at)
	wantError(t, "Checkpoint in term 6 after term 7 and a restart",
		s.Outbox.Checkpoint(bounded(t), 6, run[0].at), ports.ErrFenced)
	wantPosition(t, s, run[2].at)
	var before []ports.Message
	for _, d := range run {
		before = append(before, d.Message)
	}
	wantMessages(t, follow(t, s, ""), before)
	f := follow(t, s, run[2].at)
	wantMessages(t, f, before[3:])
	o := newOrder(t, orderID(900), 1)
	after := s.messagesOf(t, t.Context(), o)
	save(t, s, o)
	wantMessages(t, f, after)
	checkpoint(t, s, 7, run[5].at)
}

func sharedResults(t testing.TB, s storage) {
	other, o := s.again(t), newOrder(t, orderID(1), 2)
	mustSaveUnder(t, s, keyOf("key-1"), o)
	wantResult(t, other, keyOf("key-1"), o.Snapshot())
	wantDuplicate(t, other, keyOf("key-1"), newOrder(t, orderID(2), 1))
	wantMissing(t, s, orderID(2))
}

func resultsAfterRestart(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 2)
	mustSaveUnder(t, s, keyOf("key-1"), o)
	s = s.restarted(t)
	wantResult(t, s, keyOf("key-1"), o.Snapshot())
	wantDuplicate(t, s, keyOf("key-1"), newOrder(t, orderID(2), 1))
}

func sharedParking(t testing.TB, s storage) {
	other := s.again(t).Parking
	park(t, s.Parking, message(orderID(1), 4), "too large")
	wantVersions(t, other, orderID(1), 4)
	retry(t, other, orderID(1))
	if !parkedOrder(t, s.Parking, orderID(1)).Retry {
		t.Error("a retry that was asked for through another handle was not remembered")
	}
	unpark(t, other, message(orderID(1), 4))
	wantVersions(t, s.Parking, orderID(1))
}

func parkingAfterRestart(t testing.TB, s storage) {
	park(t, s.Parking, message(orderID(1), 4), "too large")
	park(t, s.Parking, message(orderID(1), 5), "behind version 4")
	retry(t, s.Parking, orderID(1))
	want := parkedOrder(t, s.Parking, orderID(1))
	p := s.restarted(t).Parking
	got := parkedOrder(t, p, orderID(1))
	if !sameTime(got.Since, want.Since) {
		t.Errorf("parked since: got %v, want %v as before the restart", got.Since, want.Since)
	}
	if got.Since = want.Since; got != want {
		t.Errorf("after a restart: got %+v, want %+v", got, want)
	}
	messages, err := p.Messages(bounded(t), orderID(1))
	if err != nil || len(messages) != 2 {
		t.Fatalf("Messages: got %d and error %v, want 2 messages", len(messages), err)
	}
	wantSameMessage(t, messages[0], message(orderID(1), 4))
	wantSameMessage(t, messages[1], message(orderID(1), 5))
}

func sharedLease(t testing.TB, s storage) {
	other := s.again(t).Lease
	first := acquire(t, s.Lease, "one", long)
	wantHeld(t, other, "two")
	if again := acquire(t, other, "one", long); again != first { // the same owner, through another handle
		t.Errorf("term after renewing through another handle: got %d, want %d", again, first)
	}
	release(t, other, "one")
	if second := acquire(t, s.Lease, "two", long); second <= first {
		t.Errorf("term of the second owner: got %d, want more than %d", second, first)
	}
}

func leaseAfterRestart(t testing.TB, s storage) {
	release(t, s.Lease, "nobody")
	acquire(t, s.Lease, "one", long)
	release(t, s.Lease, "one")
	second := acquire(t, s.Lease, "two", long)
	l := s.restarted(t).Lease
	wantHeld(t, l, "three")
	release(t, l, "two")
	if third := acquire(t, l, "three", long); third <= second {
		t.Errorf("term of the next owner after a restart: got %d, want more than %d", third, second)
	}
}
