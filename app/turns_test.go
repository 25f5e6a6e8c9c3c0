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

// watchedStore counts what the commands cost it, and calls saved after each Save.
type watchedStore struct {
	*memory.Store
	gets, conflicts atomic.Int64
	saved           func()
}

func (s *watchedStore) Get(ctx context.Context, id string) (*order.Order, error) {
	s.gets.Add(1)
	return s.Store.Get(ctx, id)
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
		if n := store.gets.Load(); n > clients {
			t.Errorf("%d reads for %d commands: a command that waited gets the order from the one before", n, clients*each)
		}
	})
}

// The order that a command gets from the one before may be out of date: another process changed it meanwhile.
func TestWhatAnotherProcessDidMeanwhileCounts(t *testing.T) {
	for name, test := range map[string]struct {
		first, second func(*app.Orders, context.Context, ports.Target) (*order.Order, error)
	}{
		"for a refusal": { // the first leaves an empty order behind, which cannot be submitted
			func(o *app.Orders, ctx context.Context, at ports.Target) (*order.Order, error) {
				return o.RemoveItem(ctx, at, "p")
			},
			func(o *app.Orders, ctx context.Context, at ports.Target) (*order.Order, error) {
				return o.Submit(ctx, at)
			},
		},
		"for a version": {
			func(o *app.Orders, ctx context.Context, at ports.Target) (*order.Order, error) {
				return o.AddItem(ctx, at, "p", 1)
			},
			func(o *app.Orders, ctx context.Context, at ports.Target) (*order.Order, error) {
				at.Version = 3
				return o.AddItem(ctx, at, "p", 1)
			},
		},
		"for a change": {
			func(o *app.Orders, ctx context.Context, at ports.Target) (*order.Order, error) {
				return o.AddItem(ctx, at, "p", 1)
			},
			func(o *app.Orders, ctx context.Context, at ports.Target) (*order.Order, error) {
				return o.AddItem(ctx, at, "p", 1)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, orders, at := newWatched(t)
				goOn := make(chan struct{})
				store.saved = func() { <-goOn }
				var running sync.WaitGroup
				for _, command := range []func(*app.Orders, context.Context, ports.Target) (*order.Order, error){test.first, test.second} {
					running.Go(func() {
						if _, err := command(orders, t.Context(), at); err != nil {
							t.Errorf("got %v, want no error", err)
						}
					})
					synctest.Wait()
				}
				if _, err := app.NewOrders(store.Store, app.OrdersOptions{}).AddItem(t.Context(), at, "q", 1); err != nil {
					t.Fatal(err)
				}
				close(goOn)
				running.Wait()
				o, err := orders.Get(t.Context(), at.ID)
				if err != nil || o.Version() != 4 {
					t.Errorf("the order is at version %d, %v; want 4", o.Version(), err)
				}
			})
		})
	}
}
