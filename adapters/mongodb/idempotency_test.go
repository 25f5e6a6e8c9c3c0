package mongodb_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

func keyOf(value string) ports.IdempotencyKey {
	return ports.IdempotencyKey{Value: value, Fingerprint: "of " + value}
}

// Two processes, each with a committer of its own, get the same request at the same moment.
func TestTwoStoresRaceForAKey(t *testing.T) {
	db := mongotest.DB(t)
	one, other := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewStore(db, mongodb.Options{})
	const rounds = 100
	for round := range rounds {
		key := fmt.Sprintf("key-%d", round)
		orders := []*order.Order{newOrder(t, key+"-a", 1), newOrder(t, key+"-b", 1)}
		results := crowd(t,
			func() error { return one.Save(t.Context(), orders[0], keyOf(key)) },
			func() error { return other.Save(t.Context(), orders[1], keyOf(key)) })
		winner := 0
		if results[0] != nil {
			winner = 1
		}
		if results[winner] != nil || !errors.Is(results[1-winner], ports.ErrDuplicateRequest) {
			t.Fatalf("round %d: got %v and %v, want nil and ErrDuplicateRequest", round, results[0], results[1])
		}
		result, err := one.StoredResult(t.Context(), key)
		if err != nil || result.Order.ID() != orders[winner].ID() {
			t.Fatalf("round %d: stored result %v, error %v, want one of %s", round, result, err, orders[winner].ID())
		}
	}
	if orders, messages := count(t, db.Collection("orders")), count(t, db.Collection("outbox")); orders != rounds || messages != rounds {
		t.Errorf("%d orders and %d messages, want %d", orders, messages, rounds)
	}
}

// Saves that are refused are left out, and the others still share a transaction.
func TestADuplicateSaveDoesNotBreakUpItsBatch(t *testing.T) {
	db := mongotest.DB(t)
	var transactions, committed atomic.Int64
	store := mongodb.NewStore(db, mongodb.Options{Around: counted(func(saves int) {
		transactions.Add(1)
		committed.Add(int64(saves))
	})})
	var saves []func() error
	for _, key := range ids("taken", 300) {
		o := newOrder(t, key, 1)
		saves = append(saves, func() error { return store.Save(t.Context(), o, keyOf(key)) })
	}
	if err := errors.Join(crowd(t, saves...)...); err != nil {
		t.Fatal(err)
	}
	saves = nil
	transactions.Store(0)
	committed.Store(0)
	duplicate := func(i int) bool { return i%4 == 0 }
	for i, id := range ids("o", 1000) {
		key := id
		if duplicate(i) {
			key = fmt.Sprintf("taken-%03d", i/4)
		}
		o := newOrder(t, id, 1)
		saves = append(saves, func() error { return store.Save(t.Context(), o, keyOf(key)) })
	}
	for i, err := range crowd(t, saves...) {
		if duplicate(i) && !errors.Is(err, ports.ErrDuplicateRequest) || !duplicate(i) && err != nil {
			t.Errorf("save %d: %v", i, err)
		}
	}
	if committed.Load() != 750 || transactions.Load() > 375 {
		t.Errorf("%d saves in %d transactions, want 750 in 375 at most", committed.Load(), transactions.Load())
	}
	if results := count(t, db.Collection("receipts")); results != 1050 {
		t.Errorf("%d stored results, want 1050", results)
	}
}

// Two hundred saves wait for each other, and not one of them for ever.
func TestOfSavesUnderOneKeyOneIsCommitted(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	var saves []func() error
	for _, id := range ids("o", 200) {
		o := newOrder(t, id, 1)
		saves = append(saves, func() error { return store.Save(t.Context(), o, keyOf("key-1")) })
	}
	won := 0
	for i, err := range crowd(t, saves...) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ports.ErrDuplicateRequest):
			t.Errorf("save %d: %v", i, err)
		}
	}
	if orders := count(t, db.Collection("orders")); won != 1 || orders != 1 {
		t.Errorf("%d saves won, and there are %d orders, want 1", won, orders)
	}
}

func TestTheServerDeletesOldResults(t *testing.T) {
	indexes, err := mongotest.DB(t).Collection("receipts").Indexes().ListSpecifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range indexes {
		if index.Name == "keptAt_1" && index.ExpireAfterSeconds != nil &&
			*index.ExpireAfterSeconds == int32(ports.ResultsKept/time.Second) {
			return
		}
	}
	t.Errorf("no index on keptAt makes the server delete stored results after %v: %+v", ports.ResultsKept, indexes)
}
