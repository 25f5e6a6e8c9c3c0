package porttest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

var receiptsChecks = []check[Storage]{
	{"a receipt says which request it is of, and how the order stood", receiptReadsBack},
	{"a receipt stays as it was when the order goes on", receiptStays},
	{"a receipt's order changed without Save changes nothing in the store", receiptIsACopy},
	{"a key is any text of up to 255 characters, and each is another", receiptKeys},
	{"a save without a request, and one without changes, leave no receipt", noReceipt},

	{"a new order under a key that is taken is ErrRepeated and is not saved", repeatedCreation},
	{"a change under a key that is taken is ErrRepeated and is not saved", repeatedChange},
	{"of 20 saves under one key exactly one is committed", racingRequests},
	{"a repeated save hurts no other", repeatedSaveHurtsNoOther},

	{"a refused save leaves its key free", refusedSaveLeavesNoReceipt},
	{"a failed commit leaves neither order nor message nor receipt", failedCommitLeavesNoReceipt},

	{"a receipt is kept for ReceiptsKept", receiptIsKept},
	{"after ReceiptsKept a key is as new", keyIsAsNew},

	{"a cancelled context ends Receipt", func(t testing.TB, s Storage) {
		wantCancelled(t, "Receipt", func(ctx context.Context) error { _, err := s.Receipts.Receipt(ctx, "key-1"); return err })
	}},
}

// minute is far more than a check takes, and nothing against ReceiptsKept.
const minute = time.Minute

func request(key string) ports.Request {
	return ports.Request{Key: key, Fingerprint: "fingerprint of " + key}
}

func saveFor(t testing.TB, s Storage, r ports.Request, o *order.Order) error {
	return s.Orders.Save(ports.WithRequest(bounded(t), r), o)
}

func mustSaveFor(t testing.TB, s Storage, r ports.Request, o *order.Order) {
	t.Helper()
	if err := saveFor(t, s, r, o); err != nil {
		t.Fatalf("Save of order %s, version %d, under key %q: %v", o.ID(), o.Version(), r.Key, err)
	}
}

// wantReceipt fails unless there is a receipt of this request with an order of this state.
func wantReceipt(t testing.TB, s Storage, r ports.Request, want order.Snapshot) {
	t.Helper()
	receipt, err := s.Receipts.Receipt(bounded(t), r.Key)
	if err != nil {
		t.Errorf("Receipt of key %q: %v", r.Key, err)
		return
	}
	if receipt.Request != r {
		t.Errorf("Receipt of key %q is of %+v, want %+v", r.Key, receipt.Request, r)
	}
	wantSame(t, receipt.Order.Snapshot(), want)
	if changes := receipt.Order.Changes(); len(changes) != 0 {
		t.Errorf("Receipt of key %q has an order with changes %v", r.Key, changes)
	}
}

func wantNoReceipt(t testing.TB, s Storage, key string) {
	t.Helper()
	_, err := s.Receipts.Receipt(bounded(t), key)
	wantError(t, fmt.Sprintf("Receipt of key %q", key), err, ports.ErrNotFound)
}

// wantRepeated fails unless a save under this request is refused, and leaves the order its changes.
func wantRepeated(t testing.TB, s Storage, r ports.Request, o *order.Order) {
	t.Helper()
	changes := len(o.Changes())
	err := saveFor(t, s, r, o)
	wantError(t, fmt.Sprintf("Save of order %s, version %d, under key %q again", o.ID(), o.Version(), r.Key), err, ports.ErrRepeated)
	if len(o.Changes()) != changes {
		t.Errorf("after ErrRepeated the order has %d changes, want the %d it had", len(o.Changes()), changes)
	}
}

func receiptReadsBack(t testing.TB, s Storage) {
	wantNoReceipt(t, s, "key-1")
	created := newOrder(t, orderID(1), 3)
	mustSaveFor(t, s, request("key-1"), created)
	wantReceipt(t, s, request("key-1"), created.Snapshot())

	cancelled := load(t, s, orderID(1))
	if err := cancelled.Cancel(order.ByBuyer, "changed my mind", morning.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	mustSaveFor(t, s, request("key-2"), cancelled)
	wantReceipt(t, s, request("key-2"), cancelled.Snapshot())
	wantNoReceipt(t, s, "key-3")

	odd, err := order.New("$заказ.1", "$$NOW", []order.Item{{Product: "' OR 1=1; --", Amount: 1}}, morning)
	if err != nil {
		t.Fatal(err)
	}
	mustSaveFor(t, s, ports.Request{Key: "key-4", Fingerprint: "$x"}, odd)
	wantReceipt(t, s, ports.Request{Key: "key-4", Fingerprint: "$x"}, odd.Snapshot())
}

func receiptStays(t testing.TB, s Storage) {
	o := newOrder(t, orderID(1), 1)
	mustSaveFor(t, s, request("key-1"), o)
	want := o.Snapshot()
	change(t, o, 2)
	save(t, s, o)
	change(t, o, 1)
	mustSaveFor(t, s, request("key-2"), o)
	wantReceipt(t, s, request("key-1"), want)
	wantReceipt(t, s, request("key-2"), o.Snapshot())
}

func receiptIsACopy(t testing.TB, s Storage) {
	o := newOrder(t, orderID(1), 1)
	mustSaveFor(t, s, request("key-1"), o)
	want := o.Snapshot()
	for range 2 {
		receipt, err := s.Receipts.Receipt(bounded(t), "key-1")
		if err != nil {
			t.Fatalf("Receipt: %v", err)
		}
		wantSame(t, receipt.Order.Snapshot(), want)
		change(t, receipt.Order, 1)
	}
	wantSame(t, load(t, s, orderID(1)).Snapshot(), want)
}

func receiptKeys(t testing.TB, s Storage) {
	long := strings.Repeat("k", 254)
	keys := []string{"a", "A", "$a", "a.b", "a/b", "' OR 1=1; --", long + "1", long + "2"}
	for i, key := range keys {
		mustSaveFor(t, s, request(key), newOrder(t, orderID(i), 1))
	}
	for i, key := range keys {
		wantReceipt(t, s, request(key), load(t, s, orderID(i)).Snapshot())
	}
	for _, key := range []string{"b", "", long} {
		wantNoReceipt(t, s, key)
	}
}

func noReceipt(t testing.TB, s Storage) {
	o := newOrder(t, orderID(1), 1)
	save(t, s, o)
	wantNoReceipt(t, s, "")
	mustSaveFor(t, s, request("key-1"), o) // as it was saved
	wantNoReceipt(t, s, "key-1")
	save(t, s, newOrder(t, orderID(2), 1)) // no key is none, and not one that they share
	wantLogged(t, s, map[string]int{orderID(1): 1, orderID(2): 1})
}

func repeatedCreation(t testing.TB, s Storage) {
	first := newOrder(t, orderID(1), 1)
	mustSaveFor(t, s, request("key-1"), first)
	wantRepeated(t, s, request("key-1"), newOrder(t, orderID(2), 2))
	other := request("key-1")
	other.Fingerprint = "of something else"
	wantRepeated(t, s, other, newOrder(t, orderID(3), 1))
	wantMissing(t, s, orderID(2))
	wantMissing(t, s, orderID(3))
	wantReceipt(t, s, request("key-1"), first.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 1})
}

func repeatedChange(t testing.TB, s Storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	first := load(t, s, orderID(1))
	change(t, first, 2)
	mustSaveFor(t, s, request("key-1"), first)

	again := load(t, s, orderID(1))
	change(t, again, 2)
	wantRepeated(t, s, request("key-1"), again)
	wantSame(t, load(t, s, orderID(1)).Snapshot(), first.Snapshot())
	wantReceipt(t, s, request("key-1"), first.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 3})
	mustSaveFor(t, s, request("key-2"), again)
	wantLogged(t, s, map[string]int{orderID(1): 5})
}

func racingRequests(t testing.TB, s Storage) {
	const rounds, writers = 3, 20
	want := map[string]int{}
	for round := range rounds {
		r := request(fmt.Sprintf("key-%d", round))
		orders := make([]*order.Order, writers)
		for i := range orders {
			orders[i] = newOrder(t, orderID(100*round+i), 1)
		}
		winner := -1
		for i, err := range saveAtOnce(t, s, orders, func(int) ports.Request { return r }) {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Errorf("saves %d and %d were both committed under %s", winner, i, r.Key)
			default:
				wantError(t, fmt.Sprintf("save %d", i), err, ports.ErrRepeated)
				wantMissing(t, s, orders[i].ID())
			}
		}
		if winner < 0 {
			t.Fatalf("none of the saves under %s was committed", r.Key)
		}
		wantReceipt(t, s, r, orders[winner].Snapshot())
		want[orders[winner].ID()] = 1
	}
	wantLogged(t, s, want)
}

func repeatedSaveHurtsNoOther(t testing.TB, s Storage) {
	mustSaveFor(t, s, request("taken"), newOrder(t, orderID(1000), 1))
	want := map[string]int{orderID(1000): 1}
	orders := make([]*order.Order, 32)
	for i := range orders {
		orders[i] = newOrder(t, orderID(i), 1)
	}
	repeats := func(i int) bool { return i%4 == 0 }
	results := saveAtOnce(t, s, orders, func(i int) ports.Request {
		switch {
		case repeats(i):
			return request("taken")
		case i%4 == 1:
			return ports.Request{}
		}
		return request(fmt.Sprintf("key-%d", i))
	})
	for i, err := range results {
		if repeats(i) {
			wantError(t, fmt.Sprintf("save %d", i), err, ports.ErrRepeated)
			continue
		}
		if err != nil {
			t.Errorf("save %d beside repeated ones: %v", i, err)
		}
		want[orderID(i)] = 1
	}
	wantLogged(t, s, want)
}

// saveAtOnce saves them side by side, each under a request of its own.
func saveAtOnce(t testing.TB, s Storage, orders []*order.Order, of func(i int) ports.Request) []error {
	t.Helper()
	var all sync.WaitGroup
	results := make([]error, len(orders))
	start, ctx := make(chan struct{}), bounded(t)
	for i, o := range orders {
		all.Go(func() {
			<-start
			results[i] = s.Orders.Save(ports.WithRequest(ctx, of(i)), o)
		})
	}
	close(start)
	all.Wait()
	return results
}

func refusedSaveLeavesNoReceipt(t testing.TB, s Storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	stale, rival := load(t, s, orderID(1)), load(t, s, orderID(1))
	change(t, rival, 1)
	save(t, s, rival)
	change(t, stale, 1)
	wantError(t, "Save of a stale order", saveFor(t, s, request("key-1"), stale), ports.ErrConflict)
	wantNoReceipt(t, s, "key-1")

	fresh := load(t, s, orderID(1))
	change(t, fresh, 1)
	mustSaveFor(t, s, request("key-1"), fresh)
	wantReceipt(t, s, request("key-1"), fresh.Snapshot())
}

func failedCommitLeavesNoReceipt(t testing.TB, s Storage) {
	o := newOrder(t, orderID(1), 2)
	heal := s.FailCommits(t)
	if err := saveFor(t, s, request("key-1"), o); err == nil {
		t.Error("Save returned nil though the commit failed")
	}
	heal()
	wantNoReceipt(t, s, "key-1")
	wantMissing(t, s, orderID(1))
	wantLogged(t, s, nil)

	mustSaveFor(t, s, request("key-1"), o)
	wantReceipt(t, s, request("key-1"), o.Snapshot())
}

func receiptIsKept(t testing.TB, s Storage) {
	first := newOrder(t, orderID(1), 1)
	mustSaveFor(t, s, request("key-1"), first)
	s.Age(t, ports.ReceiptsKept-minute)
	mustSaveFor(t, s, request("key-2"), newOrder(t, orderID(2), 1))
	wantReceipt(t, s, request("key-1"), first.Snapshot())
	wantRepeated(t, s, request("key-1"), newOrder(t, orderID(3), 1))
	wantMissing(t, s, orderID(3))
}

func keyIsAsNew(t testing.TB, s Storage) {
	for i := range 6 {
		mustSaveFor(t, s, request(fmt.Sprintf("key-%d", i)), newOrder(t, orderID(i), 1))
	}
	s.Age(t, ports.ReceiptsKept+minute)
	for i := range 6 {
		wantNoReceipt(t, s, fmt.Sprintf("key-%d", i))
	}
	again := ports.Request{Key: "key-5", Fingerprint: "of something else"}
	o := newOrder(t, orderID(10), 1)
	mustSaveFor(t, s, again, o)
	wantReceipt(t, s, again, o.Snapshot())
	wantRepeated(t, s, again, newOrder(t, orderID(11), 1))
	s.Age(t, ports.ReceiptsKept+minute) // the old one's time is not the new one's
	wantNoReceipt(t, s, "key-5")
}
