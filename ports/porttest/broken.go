package porttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/ports"
)

// These checks break the store: its server cannot be reached for a while. A caller must be able to tell that from every
// other error, because it is the one after which a command may have been carried out, and after which another try helps.

const sayUnavailable = "a call that cannot reach its server wraps ports.ErrUnavailable: without it a client gets 500 instead of " +
	"503, and nobody tries again. Look at the error that is printed: which method returned the driver's own?"

var (
	brokenOrderStore = []demanding{
		{needsBreak, "while the store cannot be reached, Get and Save are ErrUnavailable", whileOrdersAreAway, sayUnavailable},
		{needsBreak, "a Save that is under way when the store goes away is ErrUnavailable, and is there as a whole or not at all",
			savesInterrupted, "a commit whose answer was lost may have happened: that is ports.ErrUnavailable, and neither success nor " +
				"a conflict. The error can come from any statement, and from the commit"},
	}
	brokenOutbox = []demanding{
		{needsBreak, "while the store cannot be reached, Position, Checkpoint and Tail are ErrUnavailable", whileOutboxIsAway, sayUnavailable},
		{needsBreak, "a Tail that runs when the store goes away ends with ErrUnavailable or goes on, and nothing is left out",
			tailInterrupted, "an error between two reads is ports.ErrUnavailable too; the relay starts again from its checkpoint"},
	}
	brokenIdempotencyStore = []demanding{
		{needsBreak, "while the store cannot be reached, StoredResult is ErrUnavailable", func(t testing.TB, s storage) {
			mustSaveUnder(t, s, keyOf("key-1"), newOrder(t, orderID(1), 1))
			whileBroken(t, s.Break, call{"StoredResult", func(ctx context.Context) error {
				_, err := s.Idempotency.StoredResult(ctx, "key-1")
				return err
			}})
		}, sayUnavailable},
	}
	brokenHistory = []demanding{
		{needsBreak, "while the store cannot be reached, Messages is ErrUnavailable", func(t testing.TB, s storage) {
			whileBroken(t, s.Break, call{"Messages", func(ctx context.Context) error {
				_, err := s.History.Messages(ctx, orderID(1), 0, 10)
				return err
			}})
		}, sayUnavailable},
	}
	brokenOrderScanner = []demanding{
		{needsBreak, "while the store cannot be reached, both scans are ErrUnavailable", func(t testing.TB, s storage) {
			whileBroken(t, s.Break,
				call{"ScanOrders", func(ctx context.Context) error { _, err := s.Scanner.ScanOrders(ctx, "", 10); return err }},
				call{"ScanMessages", func(ctx context.Context) error {
					_, err := s.Scanner.ScanMessages(ctx, ports.EventRef{}, 10)
					return err
				}})
		}, sayUnavailable},
	}
	brokenTrimmer = []demanding{
		{needsBreak, "while the store cannot be reached, Trim is ErrUnavailable", func(t testing.TB, s storage) {
			published(t, s, 3)
			whileBroken(t, s.Break, call{"Trim", func(ctx context.Context) error { _, err := s.Trimmer.Trim(ctx, hour(2)); return err }})
		}, sayUnavailable},
	}
	brokenParking = []demanding{
		{needsBreak, "while the store cannot be reached, every call is ErrUnavailable", whileParkingIsAway, sayUnavailable},
	}
	brokenLease = []demanding{
		{needsBreak, "while the store cannot be reached, every call is ErrUnavailable", func(t testing.TB, s storage) {
			whileBroken(t, s.Break,
				call{"Acquire", func(ctx context.Context) error { _, err := s.Lease.Acquire(ctx, "one", long); return err }},
				call{"Release", func(ctx context.Context) error { return s.Lease.Release(ctx, "one") }})
		}, sayUnavailable},
	}
	brokenLeaseHolder = []demanding{
		{needsBreak, "while the store cannot be reached, every call is ErrUnavailable", func(t testing.TB, s storage) {
			whileBroken(t, s.Break, call{"Holder", func(ctx context.Context) error { _, err := s.Holder.Holder(ctx); return err }})
		}, sayUnavailable},
	}
)

// outage is how long a store is away from a Tail that goes on by itself.
const outage = 500 * time.Millisecond

// call is a method of a port, with arguments that can be used again.
type call struct {
	name string
	do   func(ctx context.Context) error
}

// whileBroken fails unless each of these calls is ErrUnavailable while the store is broken, and succeeds when it is not
// any more. They are made all at once, because each may wait for a time limit of its own.
func whileBroken(t testing.TB, breakStore func(testing.TB) func(), calls ...call) {
	t.Helper()
	heal := breakStore(t)
	errs := make([]error, len(calls))
	var all sync.WaitGroup
	for i, c := range calls {
		ctx := bounded(t)
		all.Go(func() { errs[i] = c.do(ctx) })
	}
	all.Wait()
	for i, c := range calls {
		wantError(t, c.name+" while the store cannot be reached", errs[i], ports.ErrUnavailable)
	}
	heal()
	for _, c := range calls {
		backAgain(t, c)
	}
}

// backAgain waits until a call succeeds that may still be ErrUnavailable for a moment: connections have to be made anew.
func backAgain(t testing.TB, c call) {
	t.Helper()
	err := c.do(bounded(t))
	for limit := time.Now().Add(patience); errors.Is(err, ports.ErrUnavailable) && time.Now().Before(limit); {
		<-time.After(10 * time.Millisecond)
		err = c.do(bounded(t))
	}
	if err != nil {
		t.Errorf("%s after the store came back: %v", c.name, err)
	}
}

func whileOrdersAreAway(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	o := load(t, s, orderID(1))
	change(t, o, 2)
	get := call{"Get", func(ctx context.Context) error { _, err := s.Orders.Get(ctx, orderID(1)); return err }}
	whileBroken(t, s.Break, get,
		call{"Get of an unknown order", func(ctx context.Context) error {
			_, err := s.Orders.Get(ctx, orderID(2))
			if errors.Is(err, ports.ErrNotFound) {
				return nil
			}
			return err
		}},
		call{"Save", func(ctx context.Context) error {
			err := s.Orders.Save(ctx, o, ports.IdempotencyKey{})
			if err != nil && len(o.Changes()) != 2 {
				t.Errorf("after %v the order has %d changes, want the 2 it had", err, len(o.Changes()))
			}
			return err
		}})
	wantSame(t, load(t, s, orderID(1)).Snapshot(), o.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 3})
}

func savesInterrupted(t testing.TB, s storage) {
	const savers = 8
	var all sync.WaitGroup
	saved, begun, errs := make([]int, savers), make(chan struct{}, savers), make([]error, savers)
	ctx := bounded(t)
	for i := range savers {
		o := newOrder(t, orderID(i), 1)
		all.Go(func() {
			for ctx.Err() == nil {
				if errs[i] = s.Orders.Save(ctx, o, ports.IdempotencyKey{}); errs[i] != nil {
					break
				}
				if saved[i] = o.Version(); saved[i] == 1 {
					begun <- struct{}{}
				}
				<-time.After(time.Millisecond) // or the outbox fills with what this check has to read
				if err := o.ChangeAmount("product-1", 3+o.Version(), morning); err != nil {
					errs[i] = fmt.Errorf("the suite cannot change the order: %w", err)
					break
				}
			}
			if saved[i] == 0 {
				begun <- struct{}{}
			}
		})
	}
	for range savers {
		<-begun
	}
	heal := s.Break(t)
	all.Wait()
	for i, err := range errs {
		wantError(t, "Save of order "+orderID(i)+" when the store went away", err, ports.ErrUnavailable)
	}
	heal()
	backAgain(t, call{"Get", func(ctx context.Context) error { _, err := s.Orders.Get(ctx, orderID(0)); return err }})
	backAgain(t, call{"Save", func(ctx context.Context) error {
		return s.Orders.Save(ctx, newOrder(t, fmt.Sprintf("probe-%d", time.Now().UnixNano()), 1), ports.IdempotencyKey{})
	}})
	want := map[string]int{}
	for _, m := range logged(t, s) {
		if want[m.OrderID] = m.Version; len(m.OrderID) != len(orderID(0)) {
			delete(want, m.OrderID) // a probe
		}
	}
	for i, version := range saved {
		got := want[orderID(i)]
		if stored := load(t, s, orderID(i)).Version(); got < version || got > version+1 || stored != got {
			t.Errorf("order %s: version %d was saved and the next was interrupted; the order is at version %d, its messages at %d",
				orderID(i), version, stored, got)
		}
	}
}

func whileOutboxIsAway(t testing.TB, s storage) {
	run := positions(t, s, 3)
	enough := errors.New("enough")
	var healed atomic.Bool
	breakStore := func(t testing.TB) func() {
		heal := s.Break(t)
		return func() { heal(); healed.Store(true) }
	}
	tail := func(after ports.Position) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			err := s.Outbox.Tail(ctx, after, func(ports.Message, ports.Position) error {
				if healed.Load() {
					return enough
				}
				return nil // a store may have its newest messages at hand; it has to ask for the next one
			})
			if errors.Is(err, enough) {
				return nil
			}
			return err
		}
	}
	checkpoint(t, s, 1, run[0].at)
	whileBroken(t, breakStore,
		call{"Position", func(ctx context.Context) error { _, err := s.Outbox.Position(ctx); return err }},
		call{"Checkpoint", func(ctx context.Context) error { return s.Outbox.Checkpoint(ctx, 1, run[1].at) }},
		call{"Tail from the first message", tail("")},
		call{"Tail from a position", tail(run[1].at)})
	wantPosition(t, s, run[1].at)
}

func tailInterrupted(t testing.TB, s storage) {
	f := follow(t, s, "")
	save(t, s, newOrder(t, orderID(1), 2))
	last := f.take(t, 2)[1]
	heal := s.Break(t)
	select {
	case <-f.ended:
	case <-time.After(outage): // it tries again by itself
	}
	heal()
	backAgain(t, call{"Save", func(ctx context.Context) error {
		err := s.Orders.Save(ctx, newOrder(t, orderID(2), 3), ports.IdempotencyKey{})
		if errors.Is(err, ports.ErrConflict) { // an earlier try was carried out
			return nil
		}
		return err
	}})
	for version := 1; version <= 3; version++ {
		var d delivery
		select {
		case d = <-f.messages:
		case <-f.ended:
			wantError(t, "a Tail whose store went away", f.err, ports.ErrUnavailable)
			f = follow(t, s, last.at)
			d = f.next(t)
		case <-time.After(patience):
			t.Fatalf("the Tail has neither ended nor emitted what was saved when the store was back: %s", f.record.missing(f))
		}
		if want := fmt.Sprintf("%s/%d", orderID(2), version); d.ID != want {
			t.Errorf("after the store was away: got message %s, want %s", d.ID, want)
		}
		last = d
	}
}

func whileParkingIsAway(t testing.TB, s storage) {
	p, m := s.Parking, message(orderID(1), 1)
	park(t, p, m, "too large")
	whileBroken(t, s.Break,
		call{"Park", func(ctx context.Context) error { return p.Park(ctx, m, "too large") }},
		call{"Parked", func(ctx context.Context) error { _, err := p.Parked(ctx); return err }},
		call{"Messages", func(ctx context.Context) error { _, err := p.Messages(ctx, orderID(1)); return err }},
		call{"Retry", func(ctx context.Context) error { return p.Retry(ctx, orderID(1)) }},
		call{"Refused", func(ctx context.Context) error { return p.Refused(ctx, orderID(1), "too large") }},
		call{"Unpark", func(ctx context.Context) error { return p.Unpark(ctx, m) }})
}

// brokenReadModel is the last check of its suite, because it is left out where there is no Break.
func brokenReadModel(t testing.TB, f ReadModelStorage) {
	s := f.Store
	g := liveOf(t, s)
	shadow, err := s.Shadow(bounded(t))
	if err != nil {
		t.Fatalf("Shadow: %v", err)
	}
	feed(t, s, g, 1, 1, 1)
	whileBroken(t, f.Break,
		call{"Row", func(ctx context.Context) error { _, err := s.Row(ctx, shopOrders.Name, orderID(1)); return err }},
		call{"List", func(ctx context.Context) error { _, err := s.List(ctx, ports.Query{View: shopOrders.Name}); return err }},
		call{"Freshness", func(ctx context.Context) error { _, err := s.Freshness(ctx, orderID(1)); return err }},
		call{"Live", func(ctx context.Context) error { _, err := s.Live(ctx); return err }},
		call{"Places", func(ctx context.Context) error { _, err := s.Places(ctx, g); return err }},
		call{"Gaps", func(ctx context.Context) error { _, err := s.Gaps(ctx, g); return err }},
		call{"Load", func(ctx context.Context) error { _, err := s.Load(ctx, g, []string{orderID(1)}); return err }},
		call{"Buffered", func(ctx context.Context) error { _, err := s.Buffered(ctx, g, orderID(1)); return err }},
		call{"Parked", func(ctx context.Context) error { _, err := s.Parked(ctx, g); return err }},
		call{"Commit", func(ctx context.Context) error {
			return s.Commit(ctx, g, rowsOf(shopNotes, ports.RowChanges{Put: []ports.Row{shopNote(1, 2)}}))
		}},
		call{"Shadow", func(ctx context.Context) error { _, err := s.Shadow(ctx); return err }},
		call{"Swap", func(ctx context.Context) error {
			err := s.Swap(ctx, shadow)
			if errors.Is(err, ports.ErrConflict) { // an earlier try was carried out
				return nil
			}
			return err
		}},
		call{"Discard", func(ctx context.Context) error { return s.Discard(ctx) }})
}
