package app_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// watchedStore counts lost races and calls saved after each Save.
type watchedStore struct {
	*memory.Store
	conflicts atomic.Int64
	saved     func()
}

func (s *watchedStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	err := s.Store.Save(ctx, o, key)
	if errors.Is(err, ports.ErrConflict) {
		s.conflicts.Add(1)
	}
	if s.saved != nil {
		s.saved()
	}
	return err
}

func newWatched(t *testing.T) (*watchedStore, *app.Orders, ports.Target) {
	t.Helper()
	store := &watchedStore{Store: memory.NewStore()}
	orders := app.NewOrders(store, app.OrdersOptions{NewID: func() string { return "order" }})
	return store, orders, ports.Target{ID: create(t, orders).ID()}
}

func TestCommandsOnOneOrderDoNotRaceInOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, orders, at := newWatched(t)
		store.saved = func() { time.Sleep(time.Millisecond) } // a commit takes its time, so all others queue meanwhile
		const clients, each = 50, 20
		var running sync.WaitGroup
		for range clients {
			running.Go(func() {
				for range each {
					if _, err := orders.AddItem(t.Context(), at, "p", 1); err != nil {
						t.Errorf("add an item: %v", err)
					}
				}
			})
		}
		running.Wait()
		o, err := orders.Get(t.Context(), at.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := o.Items()[0].Amount, 1+clients*each; got != want {
			t.Errorf("amount: got %d, want %d", got, want)
		}
		if n := store.conflicts.Load(); n != 0 {
			t.Errorf("%d lost races, want none", n)
		}
	})
}
