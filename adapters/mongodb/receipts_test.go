package mongodb_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/adapters/mongodb"
	"hexorders/core/order"
	"hexorders/ports"
)

func under(ctx context.Context, key string) context.Context {
	return ports.WithRequest(ctx, ports.Request{Key: key, Fingerprint: "of " + key})
}

// Two processes, each with a committer of its own, get the same request at the same moment.
func TestTwoStoresRaceForAKey(t *testing.T) {
	db := testDB(t)
	one, other := mongodb.NewStore(db, mongodb.Options{}), mongodb.NewStore(db, mongodb.Options{})
	const rounds = 100
	for round := range rounds {
		key := fmt.Sprintf("key-%d", round)
		orders := []*order.Order{newOrder(t, key+"-a", 1), newOrder(t, key+"-b", 1)}
		results := crowd(t,
			func() error { return one.Save(under(t.Context(), key), orders[0]) },
			func() error { return other.Save(under(t.Context(), key), orders[1]) })
		winner := 0
		if results[0] != nil {
			winner = 1
		}
		if results[winner] != nil || !errors.Is(results[1-winner], ports.ErrRepeated) {
			t.Fatalf("round %d: got %v and %v, want nil and ErrRepeated", round, results[0], results[1])
		}
		receipt, err := one.Receipt(t.Context(), key)
		if err != nil || receipt.Order.ID() != orders[winner].ID() {
			t.Fatalf("round %d: receipt %v, error %v, want one of %s", round, receipt, err, orders[winner].ID())
		}
	}
	if orders, messages := count(t, db.Collection("orders")), count(t, db.Collection("outbox")); orders != rounds || messages != rounds {
		t.Errorf("%d orders and %d messages, want %d", orders, messages, rounds)
	}
}

// Saves that are refused are left out, and the others still share a transaction.
func TestARepeatedSaveDoesNotBreakUpItsBatch(t *testing.T) {
	db := testDB(t)
	var transactions, committed atomic.Int64
	store := mongodb.NewStore(db, mongodb.Options{Committed: func(saves int) {
		transactions.Add(1)
		committed.Add(int64(saves))
	}})
	var saves []func() error
	for _, key := range ids("taken", 300) {
		o := newOrder(t, key, 1)
		saves = append(saves, func() error { return store.Save(under(t.Context(), key), o) })
	}
	if err := errors.Join(crowd(t, saves...)...); err != nil {
		t.Fatal(err)
	}
	saves = nil
	transactions.Store(0)
	committed.Store(0)
	repeats := func(i int) bool { return i%4 == 0 }
	for i, id := range ids("o", 1000) {
		key := id
		if repeats(i) {
			key = fmt.Sprintf("taken-%03d", i/4)
		}
		o := newOrder(t, id, 1)
		saves = append(saves, func() error { return store.Save(under(t.Context(), key), o) })
	}
	for i, err := range crowd(t, saves...) {
		if repeats(i) && !errors.Is(err, ports.ErrRepeated) || !repeats(i) && err != nil {
			t.Errorf("save %d: %v", i, err)
		}
	}
	if committed.Load() != 750 || transactions.Load() > 375 {
		t.Errorf("%d saves in %d transactions, want 750 in 375 at most", committed.Load(), transactions.Load())
	}
	if receipts := count(t, db.Collection("receipts")); receipts != 1050 {
		t.Errorf("%d receipts, want 1050", receipts)
	}
}

// Two hundred saves wait for each other, and not one of them for ever.
func TestOfSavesUnderOneKeyOneIsCommitted(t *testing.T) {
	db := testDB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	var saves []func() error
	for _, id := range ids("o", 200) {
		o := newOrder(t, id, 1)
		saves = append(saves, func() error { return store.Save(under(t.Context(), "key-1"), o) })
	}
	won := 0
	for i, err := range crowd(t, saves...) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ports.ErrRepeated):
			t.Errorf("save %d: %v", i, err)
		}
	}
	if orders := count(t, db.Collection("orders")); won != 1 || orders != 1 {
		t.Errorf("%d saves won, and there are %d orders, want 1", won, orders)
	}
}

func TestTheServerDeletesOldReceipts(t *testing.T) {
	indexes, err := testDB(t).Collection("receipts").Indexes().ListSpecifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range indexes {
		if index.Name == "keptAt_1" && index.ExpireAfterSeconds != nil && *index.ExpireAfterSeconds == int32(ports.ReceiptsKept/time.Second) {
			return
		}
	}
	t.Errorf("no index on keptAt makes the server delete receipts after %v: %+v", ports.ReceiptsKept, indexes)
}
