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

var idempotencyStoreChecks = []check[storage]{
	{"a stored result has its key and the order as it was saved", resultReadsBack,
		"store key, fingerprint and o.Snapshot() in the transaction of Save"},
	{"a stored result stays the same when the order changes", resultStays,
		"the result is the order as that Save left it: keep a copy or its version, not a pointer to what is current"},
	{"a stored result of the largest order stays the same too", largeResultStays,
		"a result that is rebuilt from events or a snapshot must stop at its own version"},
	{"a stored result's order changed without Save changes nothing in the store", resultIsACopy,
		"build a new order for each StoredResult"},
	{"a key is any text of up to 255 characters, and no two are mixed up", keysAreApart,
		"compare keys byte for byte: no collation, no trimming, no case folding"},
	{"a save without a key, and one without changes, store no result", noResult,
		"an empty key is no key"},

	{"a new order under a taken key is ErrDuplicateRequest and is not saved", duplicateCreation,
		"a unique key on the results; its violation is ports.ErrDuplicateRequest and rolls everything back"},
	{"a change under a taken key is ErrDuplicateRequest and is not saved", duplicateChange,
		"look for the key before the version: a retry must not be told that it is stale"},
	{"of 20 saves under one key exactly one is committed", racingDuplicates,
		"the unique key decides inside the transaction; a look before it is too early"},
	{"a duplicate save does not fail the saves beside it", duplicateSaveFailsNoOther,
		"if saves share a transaction, the duplicate must leave it before it has written"},

	{"a refused save leaves its key free", refusedSaveStoresNoResult,
		"the result is part of the transaction: it is rolled back with it"},
	{"a failed commit leaves no order, no message and no stored result", failedCommitStoresNoResult,
		"the result is part of the transaction: it is rolled back with it"},

	{"a result is stored for ResultsKept", resultIsStored,
		"count from the Save, by the clock of the store, and delete nothing younger than ports.ResultsKept"},
	{"after ResultsKept a key is free again", keyIsFreeAgain,
		"a result that is too old is not there, also for Save, though it has not been deleted yet"},

	{"a cancelled context ends StoredResult", func(t testing.TB, s storage) {
		wantCancelled(t, "StoredResult", func(ctx context.Context) error { _, err := s.Idempotency.StoredResult(ctx, "key-1"); return err })
	}, "pass ctx to the database, and return ctx.Err() as it is"},
}

// minute is far more than a check takes, and nothing against ResultsKept.
const minute = time.Minute

func keyOf(value string) ports.IdempotencyKey {
	return ports.IdempotencyKey{Value: value, Fingerprint: "fingerprint of " + value}
}

func saveUnder(t testing.TB, s storage, key ports.IdempotencyKey, o *order.Order) error {
	return s.Orders.Save(bounded(t), o, key)
}

func mustSaveUnder(t testing.TB, s storage, key ports.IdempotencyKey, o *order.Order) {
	t.Helper()
	if err := saveUnder(t, s, key, o); err != nil {
		t.Fatalf("Save of order %s, version %d, under key %q: %v", o.ID(), o.Version(), key.Value, err)
	}
}

// wantResult fails unless a result with this key and an order of this state is stored.
func wantResult(t testing.TB, s storage, key ports.IdempotencyKey, want order.Snapshot) {
	t.Helper()
	result, err := s.Idempotency.StoredResult(bounded(t), key.Value)
	if err != nil {
		t.Errorf("stored result of key %q: %v", key.Value, err)
		return
	}
	if result.Key != key {
		t.Errorf("stored result of key %q has the key %+v, want %+v", key.Value, result.Key, key)
	}
	wantSame(t, result.Order.Snapshot(), want)
	if changes := result.Order.Changes(); len(changes) != 0 {
		t.Errorf("stored result of key %q has an order with changes %v", key.Value, changes)
	}
}

func wantNoResult(t testing.TB, s storage, key string) {
	t.Helper()
	_, err := s.Idempotency.StoredResult(bounded(t), key)
	wantError(t, fmt.Sprintf("stored result of key %q", key), err, ports.ErrNotFound)
}

// wantDuplicate fails unless a save under this key is refused and the order still has its changes.
func wantDuplicate(t testing.TB, s storage, key ports.IdempotencyKey, o *order.Order) {
	t.Helper()
	changes := len(o.Changes())
	err := saveUnder(t, s, key, o)
	doing := fmt.Sprintf("Save of order %s, version %d, under key %q again", o.ID(), o.Version(), key.Value)
	wantError(t, doing, err, ports.ErrDuplicateRequest)
	if len(o.Changes()) != changes {
		t.Errorf("after ErrDuplicateRequest the order has %d changes, want the %d it had", len(o.Changes()), changes)
	}
}

func resultReadsBack(t testing.TB, s storage) {
	wantNoResult(t, s, "key-1")
	created := newOrder(t, orderID(1), 3)
	mustSaveUnder(t, s, keyOf("key-1"), created)
	wantResult(t, s, keyOf("key-1"), created.Snapshot())

	cancelled := load(t, s, orderID(1))
	if err := cancelled.Cancel(order.ByBuyer, "changed my mind", morning.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	mustSaveUnder(t, s, keyOf("key-2"), cancelled)
	wantResult(t, s, keyOf("key-2"), cancelled.Snapshot())
	wantNoResult(t, s, "key-3")

	odd, err := order.New("$заказ.1", "$$NOW", []order.Item{{Product: "' OR 1=1; --", Amount: 1}}, morning)
	if err != nil {
		t.Fatal(err)
	}
	mustSaveUnder(t, s, ports.IdempotencyKey{Value: "key-4", Fingerprint: "$x"}, odd)
	wantResult(t, s, ports.IdempotencyKey{Value: "key-4", Fingerprint: "$x"}, odd.Snapshot())
}

func resultStays(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 1)
	mustSaveUnder(t, s, keyOf("key-1"), o)
	want := o.Snapshot()
	change(t, o, 2)
	save(t, s, o)
	change(t, o, 1)
	mustSaveUnder(t, s, keyOf("key-2"), o)
	wantResult(t, s, keyOf("key-1"), want)
	wantResult(t, s, keyOf("key-2"), o.Snapshot())
}

// largeResultStays makes more changes than a store folds at a time, before and after the results.
func largeResultStays(t testing.TB, s storage) {
	items := make([]order.Item, order.MaxItems)
	for i := range items {
		items[i] = order.Item{Product: fmt.Sprintf("%s%03d", strings.Repeat("é", order.MaxIDLength-3), i), Amount: i + 1}
	}
	o, err := order.New(orderID(1), "buyer-1", items, morning)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]order.Snapshot{}
	for i := range 4 {
		key := fmt.Sprintf("key-%d", i)
		if i > 0 {
			if err := o.ChangeAmount(items[i].Product, 1000+i, morning.Add(time.Duration(i)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		mustSaveUnder(t, s, keyOf(key), o)
		want[key] = o.Snapshot()
		for _, item := range items[:59] {
			if err := o.ChangeAmount(item.Product, item.Amount+i, morning.Add(time.Duration(i)*time.Hour)); err != nil {
				t.Fatal(err)
			}
			save(t, s, o)
		}
	}
	for key, want := range want {
		wantResult(t, s, keyOf(key), want)
	}
}

func resultIsACopy(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 1)
	mustSaveUnder(t, s, keyOf("key-1"), o)
	want := o.Snapshot()
	for range 2 {
		result, err := s.Idempotency.StoredResult(bounded(t), "key-1")
		if err != nil {
			t.Fatalf("StoredResult: %v", err)
		}
		wantSame(t, result.Order.Snapshot(), want)
		change(t, result.Order, 1)
	}
	wantSame(t, load(t, s, orderID(1)).Snapshot(), want)
}

func keysAreApart(t testing.TB, s storage) {
	long := strings.Repeat("k", 254)
	keys := []string{"a", "A", "$a", "a.b", "a/b", "' OR 1=1; --", long + "1", long + "2"}
	for i, key := range keys {
		mustSaveUnder(t, s, keyOf(key), newOrder(t, orderID(i), 1))
	}
	for i, key := range keys {
		wantResult(t, s, keyOf(key), load(t, s, orderID(i)).Snapshot())
	}
	for _, key := range []string{"b", "", long} {
		wantNoResult(t, s, key)
	}
}

func noResult(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 1)
	save(t, s, o)
	wantNoResult(t, s, "")
	mustSaveUnder(t, s, keyOf("key-1"), o) // has no changes
	wantNoResult(t, s, "key-1")
	save(t, s, newOrder(t, orderID(2), 1)) // saves without a key do not share one
	wantLogged(t, s, map[string]int{orderID(1): 1, orderID(2): 1})
}

func duplicateCreation(t testing.TB, s storage) {
	first := newOrder(t, orderID(1), 1)
	mustSaveUnder(t, s, keyOf("key-1"), first)
	wantDuplicate(t, s, keyOf("key-1"), newOrder(t, orderID(2), 2))
	other := keyOf("key-1")
	other.Fingerprint = "of something else"
	wantDuplicate(t, s, other, newOrder(t, orderID(3), 1))
	wantMissing(t, s, orderID(2))
	wantMissing(t, s, orderID(3))
	wantResult(t, s, keyOf("key-1"), first.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 1})
}

func duplicateChange(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	first := load(t, s, orderID(1))
	change(t, first, 2)
	mustSaveUnder(t, s, keyOf("key-1"), first)

	again := load(t, s, orderID(1))
	change(t, again, 2)
	wantDuplicate(t, s, keyOf("key-1"), again)
	wantSame(t, load(t, s, orderID(1)).Snapshot(), first.Snapshot())
	wantResult(t, s, keyOf("key-1"), first.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 3})
	mustSaveUnder(t, s, keyOf("key-2"), again)
	wantLogged(t, s, map[string]int{orderID(1): 5})
}

func racingDuplicates(t testing.TB, s storage) {
	const rounds, writers = 3, 20
	want := map[string]int{}
	for round := range rounds {
		key := keyOf(fmt.Sprintf("key-%d", round))
		orders := make([]*order.Order, writers)
		for i := range orders {
			orders[i] = newOrder(t, orderID(100*round+i), 1)
		}
		winner := -1
		for i, err := range saveAtOnce(t, s, orders, func(int) ports.IdempotencyKey { return key }) {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Errorf("saves %d and %d were both committed under %s", winner, i, key.Value)
			default:
				wantError(t, fmt.Sprintf("save %d", i), err, ports.ErrDuplicateRequest)
				wantMissing(t, s, orders[i].ID())
			}
		}
		if winner < 0 {
			t.Fatalf("none of the saves under %s was committed", key.Value)
		}
		wantResult(t, s, key, orders[winner].Snapshot())
		want[orders[winner].ID()] = 1
	}
	wantLogged(t, s, want)
}

func duplicateSaveFailsNoOther(t testing.TB, s storage) {
	mustSaveUnder(t, s, keyOf("taken"), newOrder(t, orderID(1000), 1))
	want := map[string]int{orderID(1000): 1}
	orders := make([]*order.Order, 32)
	for i := range orders {
		orders[i] = newOrder(t, orderID(i), 1)
	}
	duplicate := func(i int) bool { return i%4 == 0 }
	results := saveAtOnce(t, s, orders, func(i int) ports.IdempotencyKey {
		switch {
		case duplicate(i):
			return keyOf("taken")
		case i%4 == 1:
			return ports.IdempotencyKey{}
		}
		return keyOf(fmt.Sprintf("key-%d", i))
	})
	for i, err := range results {
		if duplicate(i) {
			wantError(t, fmt.Sprintf("save %d", i), err, ports.ErrDuplicateRequest)
			continue
		}
		if err != nil {
			t.Errorf("save %d beside duplicates: %v", i, err)
		}
		want[orderID(i)] = 1
	}
	wantLogged(t, s, want)
}

// saveAtOnce saves the orders side by side, each under its own key.
func saveAtOnce(t testing.TB, s storage, orders []*order.Order, of func(i int) ports.IdempotencyKey) []error {
	t.Helper()
	var all sync.WaitGroup
	results := make([]error, len(orders))
	start, ctx := make(chan struct{}), bounded(t)
	for i, o := range orders {
		all.Go(func() {
			<-start
			results[i] = s.Orders.Save(ctx, o, of(i))
		})
	}
	close(start)
	all.Wait()
	return results
}

func refusedSaveStoresNoResult(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	stale, rival := load(t, s, orderID(1)), load(t, s, orderID(1))
	change(t, rival, 1)
	save(t, s, rival)
	change(t, stale, 1)
	wantError(t, "Save of a stale order", saveUnder(t, s, keyOf("key-1"), stale), ports.ErrConflict)
	wantNoResult(t, s, "key-1")

	fresh := load(t, s, orderID(1))
	change(t, fresh, 1)
	mustSaveUnder(t, s, keyOf("key-1"), fresh)
	wantResult(t, s, keyOf("key-1"), fresh.Snapshot())
}

func failedCommitStoresNoResult(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 2)
	heal := s.FailCommits(t)
	if err := saveUnder(t, s, keyOf("key-1"), o); err == nil {
		t.Error("Save returned nil though the commit failed")
	}
	heal()
	wantNoResult(t, s, "key-1")
	wantMissing(t, s, orderID(1))
	wantLogged(t, s, nil)

	mustSaveUnder(t, s, keyOf("key-1"), o)
	wantResult(t, s, keyOf("key-1"), o.Snapshot())
}

func resultIsStored(t testing.TB, s storage) {
	first := newOrder(t, orderID(1), 1)
	mustSaveUnder(t, s, keyOf("key-1"), first)
	s.Age(t, ports.ResultsKept-minute)
	mustSaveUnder(t, s, keyOf("key-2"), newOrder(t, orderID(2), 1))
	wantResult(t, s, keyOf("key-1"), first.Snapshot())
	wantDuplicate(t, s, keyOf("key-1"), newOrder(t, orderID(3), 1))
	wantMissing(t, s, orderID(3))
}

func keyIsFreeAgain(t testing.TB, s storage) {
	for i := range 6 {
		mustSaveUnder(t, s, keyOf(fmt.Sprintf("key-%d", i)), newOrder(t, orderID(i), 1))
	}
	s.Age(t, ports.ResultsKept+minute)
	for i := range 6 {
		wantNoResult(t, s, fmt.Sprintf("key-%d", i))
	}
	again := ports.IdempotencyKey{Value: "key-5", Fingerprint: "of something else"}
	o := newOrder(t, orderID(10), 1)
	mustSaveUnder(t, s, again, o)
	wantResult(t, s, again, o.Snapshot())
	wantDuplicate(t, s, again, newOrder(t, orderID(11), 1))
	s.Age(t, ports.ResultsKept+minute) // the new result's age counts from its own Save
	wantNoResult(t, s, "key-5")
}
