package app_test

import (
	"context"
	"errors"
	"testing"

	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

func key(value, fingerprint string) ports.IdempotencyKey {
	return ports.IdempotencyKey{Value: value, Fingerprint: fingerprint}
}

func keyed(at ports.Target, value, fingerprint string) ports.Target {
	at.Key = key(value, fingerprint)
	return at
}

func ordersOver(store interface {
	ports.OrderStore
	ports.IdempotencyStore
}) *app.Orders {
	return app.NewOrders(store, app.OrdersOptions{NewID: func() string { return "order-1" }, Idempotency: store})
}

func wantVersion(t *testing.T, orders *app.Orders, want int) {
	t.Helper()
	o, err := orders.Get(t.Context(), "order-1")
	if err != nil || o.Version() != want {
		t.Errorf("stored order: %v, error %v, want version %d", o, err, want)
	}
}

// Two processes have nothing in common but the store. The second gets the same request while the first is between its
// load and its save, and the order refuses what it would have to do: to pay an order that is paid.
func TestARequestToTwoProcessesIsCarriedOutOnce(t *testing.T) {
	store := memory.NewStore()
	other := ordersOver(store)
	create(t, other)
	target := ports.Target{ID: "order-1", Version: 1}
	var first *order.Order
	one := ordersOver(&interrupted{Store: store, beforeSave: func() {
		var err error
		if first, err = other.Pay(t.Context(), keyed(target, "key-1", "pay")); err != nil {
			t.Fatal(err)
		}
	}})
	second, err := one.Pay(t.Context(), keyed(target, "key-1", "pay"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Version() != 2 || second.Version() != 2 || second.Status() != order.StatusPaid {
		t.Errorf("answers %+v and %+v, want the same", first.Snapshot(), second.Snapshot())
	}
	wantVersion(t, one, 2)
}

// The commit succeeded and the store's response got lost. The stored result is found, so the client notices nothing.
func TestAnAnswerLostOnTheWayFromTheStoreIsFound(t *testing.T) {
	store := &interrupted{Store: memory.NewStore(), afterSave: func() error { return ports.ErrUnavailable }}
	orders := ordersOver(store)
	o, err := orders.Create(t.Context(), "9999", nil, key("key-1", "create"))
	if err != nil || o.ID() != "order-1" || o.Version() != 1 {
		t.Fatalf("create: %v, error %v", o, err)
	}
	if _, err := orders.Cancel(t.Context(), ports.Target{ID: "order-1"}, order.ByBuyer, ""); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("without a key: error %v, want ErrUnavailable", err)
	}
}

// A store that is away cannot read stored results either: the command's own error is the answer.
func TestAStoredResultThatCannotBeReadHidesNoError(t *testing.T) {
	store := &interrupted{Store: memory.NewStore()}
	orders := ordersOver(store)
	create(t, orders)
	store.away = true
	_, err := orders.AddItem(t.Context(), keyed(ports.Target{ID: "order-1"}, "key-1", "add"), "q", 0)
	if !errors.Is(err, order.ErrInvalidAmount) {
		t.Errorf("error %v, want ErrInvalidAmount", err)
	}
	_, err = orders.Create(t.Context(), "9999", nil, key("key-2", "create"))
	if !errors.Is(err, ports.ErrConflict) { // the id is taken
		t.Errorf("error %v, want ErrConflict", err)
	}
}

func TestAKeyIsFreeOnceItsRequestHasEnded(t *testing.T) {
	orders := ordersOver(memory.NewStore())
	create(t, orders)
	target := ports.Target{ID: "order-1"}
	for range 2 {
		if _, err := orders.AddItem(t.Context(), keyed(target, "key-1", "add"), "q", 0); !errors.Is(err, order.ErrInvalidAmount) {
			t.Errorf("error %v, want ErrInvalidAmount", err)
		}
	}
	if _, err := orders.AddItem(t.Context(), keyed(target, "key-1", "add"), "q", 1); err != nil {
		t.Error(err)
	}
	if _, err := orders.AddItem(t.Context(), keyed(target, "key-1", "add another"), "q", 2); !errors.Is(err, ports.ErrKeyReused) {
		t.Errorf("error %v, want ErrKeyReused", err)
	}
	wantVersion(t, orders, 2)
}

// A retry takes as long as a command. Another retry meanwhile gets the stored result.
func TestRepetitionsDoNotWaitForEachOther(t *testing.T) {
	store := &interrupted{Store: memory.NewStore()}
	orders := ordersOver(store)
	again := func() {
		t.Helper()
		if o, err := orders.Create(t.Context(), "9999", nil, key("key-1", "create")); err != nil ||
			o.ID() != "order-1" || o.Version() != 1 {
			t.Errorf("create: %v, error %v", o, err)
		}
	}
	again()
	store.beforeSave = again
	again()
}

// interrupted is a store where things happen at a bad moment.
type interrupted struct {
	*memory.Store
	beforeSave func()
	afterSave  func() error
	away       bool // for reads of stored results
}

func (s *interrupted) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if act := s.beforeSave; act != nil {
		s.beforeSave = nil
		act()
	}
	err := s.Store.Save(ctx, o, key)
	if s.afterSave != nil {
		return s.afterSave()
	}
	return err
}

func (s *interrupted) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	if s.away {
		return ports.StoredResult{}, ports.ErrUnavailable
	}
	return s.Store.StoredResult(ctx, key)
}
