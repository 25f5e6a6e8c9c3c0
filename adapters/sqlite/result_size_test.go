package sqlite

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// A client may send keys as fast as it likes, and results are stored for a day.
func TestAStoredResultIsSmall(t *testing.T) {
	db := openNew(t)
	store := NewStore(db)
	random := rand.New(rand.NewPCG(1, 2))
	items := make([]order.Item, order.MaxItems)
	for i := range items { // ids as most have them: a UUID
		items[i] = order.Item{Product: fmt.Sprintf("%016x-%016x", random.Uint64(), random.Uint64()), Amount: 1 + i%9}
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	o, err := order.New("o", "buyer-1", items, now)
	if err != nil {
		t.Fatal(err)
	}
	const saves = 20
	for i := range saves {
		if err := store.Save(t.Context(), o, ports.IdempotencyKey{Value: fmt.Sprint("key-", i), Fingerprint: "f"}); err != nil {
			t.Fatal(err)
		}
		if err := o.ChangeAmount(items[i].Product, 1000+i, now); err != nil {
			t.Fatal(err)
		}
	}
	var bytes int
	err = db.queryRow(t.Context(), "SELECT sum(length(items) + coalesce(length(packed_items), 0)) FROM receipts", nil, &bytes)
	if err != nil || bytes > saves*12<<10 {
		t.Errorf("the items of a stored result have %d bytes, error %v, want at most 12 KiB", bytes/saves, err)
	}
	t.Logf("the items of a stored result have %d bytes", bytes/saves)
}
