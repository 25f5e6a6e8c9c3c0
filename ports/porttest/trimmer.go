package porttest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

var trimmerChecks = []check[storage]{
	{"old messages behind the checkpoint are deleted", trimsOldMessages,
		"delete what is at or before the checkpoint and occurred before the time"},
	{"young messages behind the checkpoint stay", trimLeavesYoungMessages,
		"the time itself is not before it: < and not <="},
	{"messages after the checkpoint stay, however old", trimLeavesUnpublished,
		"they are not published yet: deleting them loses events"},
	{"before the first checkpoint nothing is deleted", trimBeforeFirstCheckpoint,
		"without a checkpoint nothing was published"},
	{"thousands are deleted in one call", trimsThousands,
		"go on in steps until a step finds nothing more"},
	{"the orders of deleted messages stay and can be changed", trimLeavesOrders,
		"delete messages only, and take no version from what is left of them"},
	{"a Tail from the checkpoint or behind it leaves out only what was deleted", tailAfterTrim,
		"positions are never counted from what is left"},
	{"a Trim among writers and a Tail loses nothing", trimAmongWriters,
		"read checkpoint and messages in one transaction, and delete only what the checkpoint covers"},
	{"a cancelled context ends Trim", func(t testing.TB, s storage) {
		wantCancelled(t, "Trim", func(ctx context.Context) error { _, err := s.Trimmer.Trim(ctx, morning); return err })
	}, "pass ctx to the database, and return ctx.Err() as it is"},
}

// saveHourly saves orders of two messages each, an hour apart, and returns their ids.
func saveHourly(t testing.TB, s storage, from, to int) (ids []string) {
	t.Helper()
	for n := from; n < to; n++ {
		o, err := order.New(orderID(n), "buyer-1", nil, hour(n))
		if err == nil {
			err = o.AddItem("product-1", 1, hour(n))
		}
		if err != nil {
			t.Fatalf("the suite cannot make order %s: %v", orderID(n), err)
		}
		save(t, s, o)
		ids = append(ids, o.ID())
	}
	return ids
}

func hour(n int) time.Time { return morning.Add(time.Duration(n) * time.Hour) }

// published saves orders of two messages each, an hour apart, and makes a checkpoint behind the last.
func published(t testing.TB, s storage, orders int) []delivery {
	t.Helper()
	saveHourly(t, s, 0, orders)
	return checkpointAfter(t, s, "", 2*orders)
}

// checkpointAfter makes a checkpoint behind the next n messages.
func checkpointAfter(t testing.TB, s storage, after ports.Position, n int) []delivery {
	t.Helper()
	f := follow(t, s, after)
	defer f.stop(t)
	run := f.take(t, n)
	checkpoint(t, s, 1, run[n-1].at)
	return run
}

func trim(t testing.TB, s storage, before time.Time, want int) {
	t.Helper()
	deleted, err := s.Trimmer.Trim(bounded(t), before)
	if err != nil {
		t.Fatalf("Trim: %v", err)
	}
	if deleted != want {
		t.Errorf("Trim deleted %d messages, want %d", deleted, want)
	}
}

// wantLeft fails unless the outbox holds both messages of these orders and nothing else.
func wantLeft(t testing.TB, s storage, ids []string) {
	t.Helper()
	want := map[string]bool{}
	for _, id := range ids {
		want[id+"/1"], want[id+"/2"] = true, true
	}
	for _, m := range logged(t, s) {
		if !want[m.ID] {
			t.Errorf("the outbox holds message %s, which should be gone", m.ID)
		}
		delete(want, m.ID)
	}
	for id := range want {
		t.Errorf("the outbox has lost message %s", id)
	}
}

func trimsOldMessages(t testing.TB, s storage) {
	published(t, s, 6)
	trim(t, s, hour(3), 6)
	wantLeft(t, s, []string{orderID(3), orderID(4), orderID(5)})
	trim(t, s, hour(3), 0)
	trim(t, s, hour(4), 2)
	wantLeft(t, s, []string{orderID(4), orderID(5)})
}

func trimLeavesYoungMessages(t testing.TB, s storage) {
	published(t, s, 3)
	trim(t, s, hour(0), 0) // not before that time, but at it
	wantLeft(t, s, []string{orderID(0), orderID(1), orderID(2)})
}

func trimLeavesUnpublished(t testing.TB, s storage) {
	run := published(t, s, 4)
	unpublished := saveHourly(t, s, 4, 7)
	last := run[len(run)-1].at
	for range 2 {
		deleted, err := s.Trimmer.Trim(bounded(t), hour(100))
		if err != nil {
			t.Fatalf("Trim: %v", err)
		}
		if deleted > len(run) {
			t.Errorf("Trim deleted %d messages, though only %d are behind the checkpoint", deleted, len(run))
		}
		f := follow(t, s, last)
		for _, id := range unpublished {
			for version := 1; version <= 2; version++ {
				if got, want := f.next(t).ID, fmt.Sprintf("%s/%d", id, version); got != want {
					t.Errorf("after the checkpoint: got message %s, want %s", got, want)
				}
			}
		}
		f.stop(t)
	}
	wantPosition(t, s, last)
}

func trimBeforeFirstCheckpoint(t testing.TB, s storage) {
	ids := saveHourly(t, s, 0, 3)
	trim(t, s, hour(100), 0)
	wantLeft(t, s, ids)
}

func trimsThousands(t testing.TB, s storage) {
	const orders, each = 5, 500
	for n := range orders {
		save(t, s, newOrder(t, orderID(n), each))
	}
	run := checkpointAfter(t, s, "", orders*each)
	young := saveHourly(t, s, 100, 101)
	checkpointAfter(t, s, run[len(run)-1].at, 2)
	trim(t, s, hour(100), orders*each)
	wantLeft(t, s, young)
}

func trimLeavesOrders(t testing.TB, s storage) {
	run := published(t, s, 3)
	trim(t, s, hour(2), 4)
	o := load(t, s, orderID(0))
	if err := o.AddItem("product-1", 1, hour(5)); err != nil {
		t.Fatal(err)
	}
	save(t, s, o)
	if got := load(t, s, orderID(0)); got.Version() != 3 {
		t.Errorf("the order is at version %d, want 3", got.Version())
	}
	f := follow(t, s, run[len(run)-1].at)
	if got := f.next(t).ID; got != orderID(0)+"/3" {
		t.Errorf("after a trim: got message %s, want %s/3", got, orderID(0))
	}
}

func tailAfterTrim(t testing.TB, s storage) {
	run := published(t, s, 5)
	trim(t, s, hour(3), 6)
	for i := range run {
		f := follow(t, s, run[i].at)
		for due := max(i+1, 6); due < len(run); due++ {
			// Deleted ones may still come, from a log that keeps what it has sent.
			for got := f.next(t).ID; got != run[due].ID; got = f.next(t).ID {
				if run[due].ID < got {
					t.Fatalf("resumed at message %d: got %s, want %s", i, got, run[due].ID)
				}
			}
		}
		f.stop(t)
	}
}

// trimAmongWriters deletes as soon as it may, while others write and one reads.
func trimAmongWriters(t testing.TB, s storage) {
	const orders, each = 8, 40
	others := newCrew(t)
	defer others.end()
	want, half := map[string]int{}, make(chan struct{}, orders)
	for n := range orders {
		o := newOrder(t, orderID(n), 1)
		want[o.ID()] = each
		others.do(func(ctx context.Context) error {
			for {
				if err := s.Orders.Save(ctx, o, ports.IdempotencyKey{}); err != nil {
					return fmt.Errorf("Save of order %s: %w", o.ID(), err)
				}
				switch o.Version() {
				case each / 2:
					half <- struct{}{}
				case each:
					return nil
				}
				if err := addPieces(o, 1); err != nil {
					return err
				}
			}
		})
	}
	var deleted atomic.Int64
	trim := func(ctx context.Context) error {
		n, err := s.Trimmer.Trim(ctx, hour(100))
		deleted.Add(int64(n))
		if err != nil {
			return fmt.Errorf("Trim: %w", err)
		}
		return nil
	}
	published := make(chan ports.Position, orders*each)
	others.do(func(ctx context.Context) error {
		for p := range published {
			for len(published) > 0 {
				p = <-published
			}
			if err := s.Outbox.Checkpoint(ctx, 1, p); err != nil {
				return fmt.Errorf("Checkpoint: %w", err)
			}
			if err := trim(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	for range orders { // then there is much that is not published yet
		if await(others.ctx, half) != nil {
			break
		}
	}
	l := newLedger(t)
	func() {
		defer close(published)
		var last ports.Position
		for left := orders * each; left > 0; {
			f := followBeside(t, s, last, others) // again and again, so that it starts in what is being deleted
			for range min(50, left) {
				d := f.next(t)
				before := l.upTo[d.OrderID]
				if l.add(d.Message); l.upTo[d.OrderID] > before {
					left--
				}
				last = d.at
				published <- last
			}
			f.stop(t)
			if err := trim(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}()
	others.wait()
	l.wantAll(want)
	if deleted.Load() == 0 {
		t.Error("nothing was deleted meanwhile")
	}
}
