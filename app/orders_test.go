package app_test

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// racingStore lets somebody else win the race for the first few saves of an existing order.
type racingStore struct {
	*memory.Store
	lost int // how many saves others still win
}

func (s *racingStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if o.Version() > len(o.Changes()) && s.lost > 0 {
		s.lost--
		winner, err := s.Store.Get(ctx, o.ID())
		if err != nil {
			return err
		}
		if err := winner.AddItem("winner", 1, time.Now()); err != nil {
			return err
		}
		if err := s.Store.Save(ctx, winner, ports.IdempotencyKey{}); err != nil {
			return err
		}
	}
	return s.Store.Save(ctx, o, key)
}

func newOrders(lost int) *app.Orders {
	ids := 0
	return app.NewOrders(&racingStore{memory.NewStore(), lost}, app.OrdersOptions{
		NewID: func() string { ids++; return "order-" + strconv.Itoa(ids) },
	})
}

func create(t *testing.T, orders *app.Orders) *order.Order {
	t.Helper()
	o, err := orders.Create(t.Context(), "buyer", []order.Item{{Product: "p", Amount: 1}}, ports.IdempotencyKey{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestEveryCommandChangesTheStoredOrder(t *testing.T) {
	orders := newOrders(0)
	commands := map[string]struct {
		do   func(ports.Target) (*order.Order, error)
		want func(*order.Order) bool
	}{
		"AddItem": {
			func(at ports.Target) (*order.Order, error) { return orders.AddItem(t.Context(), at, "q", 2) },
			func(o *order.Order) bool {
				return len(o.Items()) == 2 && o.Items()[1] == order.Item{Product: "q", Amount: 2}
			},
		},
		"ChangeAmount": {
			func(at ports.Target) (*order.Order, error) { return orders.ChangeAmount(t.Context(), at, "p", 7) },
			func(o *order.Order) bool { return o.Items()[0].Amount == 7 },
		},
		"RemoveItem": {
			func(at ports.Target) (*order.Order, error) { return orders.RemoveItem(t.Context(), at, "p") },
			func(o *order.Order) bool { return len(o.Items()) == 0 },
		},
		"Submit": {
			func(at ports.Target) (*order.Order, error) { return orders.Submit(t.Context(), at) },
			func(o *order.Order) bool { return o.Status() == order.StatusSubmitted },
		},
		"Pay": {
			func(at ports.Target) (*order.Order, error) { return orders.Pay(t.Context(), at) },
			func(o *order.Order) bool { return o.Status() == order.StatusPaid },
		},
		"Cancel": {
			func(at ports.Target) (*order.Order, error) {
				return orders.Cancel(t.Context(), at, order.BySystem, "no need")
			},
			func(o *order.Order) bool { return o.Status() == order.StatusCancelled },
		},
	}
	port := reflect.TypeFor[ports.Orders]()
	for i := range port.NumMethod() {
		method := port.Method(i)
		if _, tested := commands[method.Name]; !tested && method.Type.In(1) == reflect.TypeFor[ports.Target]() {
			t.Errorf("app/orders_test.go: the table has no command %s", method.Name)
		}
	}
	for name, command := range commands {
		t.Run(name, func(t *testing.T) {
			id := create(t, orders).ID()
			answer, err := command.do(ports.Target{ID: id, Version: 1})
			if err != nil {
				t.Fatal(err)
			}
			stored, err := orders.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for what, o := range map[string]*order.Order{"answer": answer, "stored order": stored} {
				if !command.want(o) || o.Version() != 2 {
					t.Errorf("the %s is %+v", what, o.Snapshot())
				}
			}
			if _, err := command.do(ports.Target{ID: id, Version: 1}); !errors.Is(err, ports.ErrVersionMismatch) {
				t.Errorf("with a stale version: %v, want ErrVersionMismatch", err)
			}
			if _, err := command.do(ports.Target{ID: "nobody"}); !errors.Is(err, ports.ErrNotFound) {
				t.Errorf("on an unknown order: %v, want ErrNotFound", err)
			}
		})
	}
}

func TestALostRaceIsTriedAgain(t *testing.T) {
	orders := newOrders(7)
	o := create(t, orders)
	after, err := orders.AddItem(t.Context(), ports.Target{ID: o.ID()}, "mine", 1)
	if err != nil {
		t.Fatalf("seven lost races: %v, want success at the eighth attempt", err)
	}
	if after.Version() != 9 {
		t.Errorf("version %d, want 9: created, seven winners, mine", after.Version())
	}
}

func TestEightLostRacesAreAConflict(t *testing.T) {
	orders := newOrders(8)
	o := create(t, orders)
	if _, err := orders.AddItem(t.Context(), ports.Target{ID: o.ID()}, "mine", 1); !errors.Is(err, ports.ErrConflict) {
		t.Errorf("eight lost races: %v, want ErrConflict", err)
	}
}

// Two processes that lose against each other must not keep meeting: the pause grows from 2 ms to 50 ms, and is random.
func TestARaceIsTriedAgainAfterAGrowingPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orders := newOrders(7)
		o := create(t, orders)
		began := time.Now()
		if _, err := orders.AddItem(t.Context(), ports.Target{ID: o.ID()}, "mine", 1); err != nil {
			t.Fatal(err)
		}
		// Seven pauses of 2, 3, 4.5, 6.75, 10, 15 and 23 ms, each half as long or half as long again.
		if took := time.Since(began); took < 32*time.Millisecond || took > 97*time.Millisecond {
			t.Errorf("eight attempts took %s, want 32 to 97 ms", took)
		}
	})
}

func TestARaceLostByACallerWhoNamedAVersionIsAMismatch(t *testing.T) {
	orders := newOrders(1)
	o := create(t, orders)
	_, err := orders.AddItem(t.Context(), ports.Target{ID: o.ID(), Version: 1}, "mine", 1)
	if !errors.Is(err, ports.ErrVersionMismatch) {
		t.Errorf("%v, want ErrVersionMismatch", err)
	}
	stored, err := orders.Get(t.Context(), o.ID())
	if err != nil {
		t.Fatal(err)
	}
	if stored.Version() != 2 {
		t.Errorf("version %d, want 2: the caller's command must not have been carried out", stored.Version())
	}
}

func TestARefusedCommandSavesNothing(t *testing.T) {
	orders := newOrders(0)
	o := create(t, orders)
	if _, err := orders.AddItem(t.Context(), ports.Target{ID: o.ID()}, "p", 0); !errors.Is(err, order.ErrInvalidAmount) {
		t.Errorf("%v, want ErrInvalidAmount", err)
	}
	if _, err := orders.Create(t.Context(), "", nil, ports.IdempotencyKey{}); !errors.Is(err, order.ErrInvalidID) {
		t.Errorf("create without a buyer: %v, want ErrInvalidID", err)
	}
	stored, err := orders.Get(t.Context(), o.ID())
	if err != nil {
		t.Fatal(err)
	}
	if stored.Version() != 1 {
		t.Errorf("version %d, want 1", stored.Version())
	}
}
