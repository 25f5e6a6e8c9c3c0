package verify_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/adapters/sqlite"
	"hexorders/app/readside"
	"hexorders/app/relay"
	"hexorders/app/verify"
	"hexorders/core/order"
	"hexorders/ports"
)

// service runs a relay, a consumer and writers over a world, until stop is called.
func (w *world) service(outbox ports.Outbox, lease ports.Lease) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	work, ctx := errgroup.WithContext(ctx)
	broker := inproc.NewBroker(w.topic)
	work.Go(func() error {
		return relay.New(relay.Options{
			Outbox: outbox, Publisher: broker, Parking: w.parking, Lease: lease, Owner: "test", Logger: slog.New(slog.DiscardHandler),
		}).Run(ctx)
	})
	work.Go(func() error { return readside.New(w.readsideOptions()).Run(ctx) })
	var ids atomic.Int64
	for range 2 {
		work.Go(func() error {
			for ctx.Err() == nil {
				if err := w.oneLife(ctx, fmt.Sprintf("order-%06d", ids.Add(1))); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	return func() {
		w.t.Helper()
		cancel()
		w.fail(work.Wait())
		w.fail(broker.Close())
	}
}

// oneLife creates an order and changes it, and an order that is older now and then.
func (w *world) oneLife(ctx context.Context, id string) error {
	o, err := order.New(id, "buyer-"+id[len(id)-1:], []order.Item{{Product: "tea", Amount: 2}}, time.Now())
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return nil },
		func() error { return o.AddItem("pot", 1, time.Now()) },
		func() error { return o.Submit(time.Now()) },
		func() error { return o.Pay(time.Now()) },
	}
	for _, step := range steps[:1+rand.IntN(len(steps))] {
		if err := step(); err != nil {
			return err
		}
		if err := w.store.Save(ctx, o, ports.IdempotencyKey{}); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // a client thinks
	}
	return nil
}

// While orders come in, each reading is of another moment. Nothing that is on its way is told.
func TestARunningServiceAgrees(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (*world, ports.Outbox, ports.Lease){
		"memory": func(t *testing.T) (*world, ports.Outbox, ports.Lease) {
			w := newMemory(t)
			return w, memory.NewOutbox(w.store.(*memory.Store)), memory.NewLease()
		},
		"sqlite": func(t *testing.T) (*world, ports.Outbox, ports.Lease) {
			path := filepath.Join(t.TempDir(), "orders.db")
			w, _ := openFile(t, path)
			db, err := sqlite.Open(t.Context(), path)
			w.fail(err)
			t.Cleanup(func() { w.fail(db.Close()) })
			return w, sqlite.NewOutbox(db), sqlite.NewLease(db, "relay")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, outbox, lease := open(t)
			stop := w.service(outbox, lease)
			options := w.options()
			options.Settle = time.Minute // it ends as soon as nothing is on its way
			var orders int64
			for busy := 0; busy < 3 && !t.Failed(); { // readings of a service that has had fifty orders
				r, err := verify.Check(t.Context(), options)
				w.fail(err)
				if !r.Agree() || len(r.Unproven) > 0 || r.UnprovenRows > 0 {
					t.Errorf("%d orders: verify says %s", r.Orders, inWords(r))
				}
				if orders = r.Orders; orders >= 50 {
					busy++
				}
			}
			stop()
			t.Logf("%d orders when it was read last", orders)
			w.consume()
			if r := w.check(); r.Orders < orders {
				t.Errorf("%d orders at the end, %d before", r.Orders, orders)
			}
		})
	}
}
