package porttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

var orderStoreChecks = []check[storage]{
	{"an order reads back as it was saved", readsBack,
		"compare the two lines field by field; times may lose what is below a millisecond, texts nothing"},
	{"every status reads back", statusReadsBack,
		"the status is a column of its own: is it written and read?"},
	{"an unknown order is ErrNotFound", unknownOrder,
		"turn the database's own word for no row into ports.ErrNotFound"},

	{"a loaded order changed without Save changes nothing in the store", loadedOrderIsACopy,
		"Get builds a new order each time (order.Restore): never hand out what you keep"},
	{"a saved order changed without Save changes nothing in the store", savedOrderIsACopy,
		"keep o.Snapshot(), not o: the caller goes on working with its order"},
	{"two loaded orders share nothing", twoLoadsShareNothing,
		"a cache that hands the same object out twice connects two callers that do not know of each other"},

	{"Save marks the order as committed", saveMarksCommitted,
		"call o.Committed() once the commit has succeeded, and only then"},
	{"saving again saves and sends nothing again", savingAgain,
		"without o.Committed() the next Save finds the same changes again"},
	{"an order without changes is not saved", nothingToSave,
		"return nil at once when o.Changes() is empty, before you look at versions"},
	{"an order can be changed and saved over and over", saveOverAndOver,
		"the version it was loaded with is o.Version() - len(o.Changes())"},

	{"of 20 writers on one version exactly one wins", racingWriters,
		"compare and write must be one step: UPDATE ... WHERE id = ? AND version = ?, and no row changed is " +
			"ports.ErrConflict"},
	{"a stale order is ErrConflict and keeps its changes", staleOrder,
		"the stored version must be the one that was loaded; do not call o.Committed() after an error"},
	{"a new order with an id that is taken is ErrConflict", takenID,
		"an insert that meets a key which exists is no failure of the database: it is ports.ErrConflict"},
	{"a changed order that is not in the store is ErrConflict", changedButNeverSaved,
		"an update that changes no row is ports.ErrConflict, not an insert"},
	{"a refused save does not fail the saves beside it", refusedSaveHurtsNoOther,
		"if saves share a transaction, the refused one must leave it before it has written"},
	{"of 500 savers of 400 orders at once, each saves or gets ErrConflict", crowdOfSavers,
		"look at the errors: a lock timeout, a deadlock or a duplicate key is ports.ErrConflict, or has to be tried again"},

	{"each change of a Save becomes a message, in order, with consecutive versions", messagePerChange,
		"one message for each of o.Changes(), in their order: eventjson.Messages makes them"},
	{"a message says what happened to which order and when", messageFields,
		"store every field of ports.Message; the time is that of the event, not that of the insert"},
	{"messages are byte for byte what Encode made of the changes", messageBytes,
		"keep the payload as bytes or text: a JSON column (jsonb) sorts keys and drops blanks, and then consumers get " +
			"other bytes than were made"},
	{"messages carry the trace parent of the call that saved them", messageTraceParent,
		"eventjson.Messages takes it from the context: pass on the one that Save got"},

	{"a failed commit of a new order leaves neither order nor message", failedCommitOfNewOrder,
		"order and messages go into one transaction, and the error of its commit is returned"},
	{"a failed commit of a change leaves neither change nor message", failedCommitOfChange,
		"order and messages go into one transaction, and the error of its commit is returned"},
	{"a failed commit is an error for each save that was in it", failedCommitOfMany,
		"if saves share a transaction, each of them gets the error of the commit"},

	{"a cancelled context ends Get", func(t testing.TB, s storage) {
		save(t, s, newOrder(t, orderID(1), 1))
		wantCancelled(t, "Get", func(ctx context.Context) error { _, err := s.Orders.Get(ctx, orderID(1)); return err })
	}, "pass ctx to the database, and return ctx.Err() as it is"},
	{"a cancelled context ends Save, and nothing is saved", cancelledSave,
		"pass ctx to the database, and return ctx.Err() as it is; roll back what was begun"},
}

func readsBack(t testing.TB, s storage) {
	many := make([]order.Item, order.MaxItems)
	for i := range many {
		many[i] = order.Item{Product: fmt.Sprintf("product-%d", i), Amount: i + 1}
	}
	long := strings.Repeat("ß", order.MaxIDLength)
	cases := []struct {
		what, id, buyer string
		items           []order.Item
		at              time.Time
	}{
		{"one item", orderID(1), "9999", []order.Item{{Product: "1111", Amount: 3}}, morning},
		{"no items", orderID(2), "9999", nil, morning},
		{"the most items", orderID(3), "9999", many, morning},
		{"the largest amount", orderID(4), "9999", []order.Item{{Product: "1111", Amount: order.MaxAmount}}, morning},
		{"other alphabets", "заказ-注文-🛒", "Ünal Çelik", []order.Item{{Product: "茶 \"grün\" <1kg> & ½", Amount: 2}}, morning},
		{"names that mean something to databases", "a.b/c", "$where",
			[]order.Item{{Product: "$set.x", Amount: 1}, {Product: "' OR 1=1; --", Amount: 1}}, morning},
		{"the longest ids", long, long, []order.Item{{Product: long, Amount: 1}}, morning},
		{"a time long ago", orderID(5), "9999", nil, time.Date(1969, 12, 31, 23, 59, 59, 999_000_000, time.UTC)},
	}
	for _, c := range cases {
		o, err := order.New(c.id, c.buyer, c.items, c.at)
		if err != nil {
			t.Fatalf("%s: the suite cannot make the order: %v", c.what, err)
		}
		if len(c.items) > 0 {
			if err := o.ChangeAmount(c.items[0].Product, 7, c.at.Add(90*time.Minute)); err != nil {
				t.Fatalf("%s: the suite cannot change the order: %v", c.what, err)
			}
		}
		want := o.Snapshot()
		save(t, s, o)
		wantSame(t, o.Snapshot(), want)
		wantSame(t, load(t, s, c.id).Snapshot(), want)
	}
}

func statusReadsBack(t testing.TB, s storage) {
	reach := map[order.Status]func(*order.Order) error{
		order.StatusPending:   func(o *order.Order) error { return nil },
		order.StatusSubmitted: func(o *order.Order) error { return o.Submit(morning) },
		order.StatusPaid:      func(o *order.Order) error { return o.Pay(morning) },
		order.StatusCancelled: func(o *order.Order) error { return o.Cancel(order.ByBuyer, "changed my mind", morning) },
	}
	for _, status := range order.Statuses() {
		act, known := reach[status]
		if !known {
			t.Fatalf("ports/porttest/orderstore.go: statusReadsBack cannot make an order %s", status)
		}
		o := newOrder(t, "order-"+string(status), 1)
		if err := act(o); err != nil {
			t.Fatalf("the suite cannot make an order %s: %v", status, err)
		}
		save(t, s, o)
		if got := load(t, s, o.ID()).Status(); got != status {
			t.Errorf("status: got %q, want %q", got, status)
		}
	}
}

func unknownOrder(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	for _, id := range []string{orderID(2), "order", "ORDER-000001", "", "🛒", strings.Repeat("x", 10_000)} {
		_, err := s.Orders.Get(bounded(t), id)
		wantError(t, fmt.Sprintf("Get of order %.20q", id), err, ports.ErrNotFound)
	}
}

func loadedOrderIsACopy(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	before := load(t, s, orderID(1))
	want := before.Snapshot()
	if err := before.ChangeAmount("product-1", 99, morning); err != nil {
		t.Fatal(err)
	}
	if err := before.Pay(morning); err != nil {
		t.Fatal(err)
	}
	wantSame(t, load(t, s, orderID(1)).Snapshot(), want)
}

func savedOrderIsACopy(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 1)
	save(t, s, o)
	want := o.Snapshot()
	if err := o.ChangeAmount("product-1", 99, morning); err != nil {
		t.Fatal(err)
	}
	wantSame(t, load(t, s, orderID(1)).Snapshot(), want)
}

func twoLoadsShareNothing(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	one, other := load(t, s, orderID(1)), load(t, s, orderID(1))
	want := other.Snapshot()
	change(t, one, 1)
	wantSame(t, other.Snapshot(), want)
	if len(other.Changes()) != 0 {
		t.Errorf("changing one loaded order gave the other changes %v", other.Changes())
	}
}

func saveMarksCommitted(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 3)
	save(t, s, o)
	if len(o.Changes()) != 0 {
		t.Errorf("after Save the order has changes %v, want none", o.Changes())
	}
	if o.Version() != 3 {
		t.Errorf("after Save the order has version %d, want 3 as before", o.Version())
	}
	if loaded := load(t, s, orderID(1)); len(loaded.Changes()) != 0 {
		t.Errorf("a loaded order has changes %v, want none", loaded.Changes())
	}
}

func savingAgain(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 2)
	save(t, s, o)
	save(t, s, o)
	loaded := load(t, s, orderID(1))
	save(t, s, loaded)
	if got := load(t, s, orderID(1)).Version(); got != 2 {
		t.Errorf("version after saving three times: got %d, want 2", got)
	}
	wantLogged(t, s, map[string]int{orderID(1): 2})
}

func nothingToSave(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	idle, busy := load(t, s, orderID(1)), load(t, s, orderID(1))
	change(t, busy, 1)
	save(t, s, busy)
	save(t, s, idle) // stale, but it asks for nothing
	wantSame(t, load(t, s, orderID(1)).Snapshot(), busy.Snapshot())

	stranger := newOrder(t, orderID(2), 1)
	stranger.Committed()
	save(t, s, stranger)
	wantMissing(t, s, orderID(2))
	wantLogged(t, s, map[string]int{orderID(1): 2})
}

func saveOverAndOver(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 1)
	save(t, s, o)
	for n := range 4 {
		change(t, o, n+1)
		save(t, s, o)
		wantSame(t, load(t, s, orderID(1)).Snapshot(), o.Snapshot())
	}
	wantLogged(t, s, map[string]int{orderID(1): 1 + 1 + 2 + 3 + 4})
}

func racingWriters(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	const rounds = 3
	for round := range rounds {
		version := 1 + round
		var all sync.WaitGroup
		results := make([]error, 20)
		start := make(chan struct{})
		for i := range results {
			o := load(t, s, orderID(1))
			if err := o.AddItem(fmt.Sprintf("product-%d-%d", round, i), 1, morning); err != nil {
				t.Fatal(err)
			}
			ctx := bounded(t)
			all.Go(func() {
				<-start
				results[i] = s.Orders.Save(ctx, o, ports.IdempotencyKey{})
			})
		}
		close(start)
		all.Wait()

		winner := -1
		for i, err := range results {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Errorf("writers %d and %d both saved version %d", winner, i, version+1)
			default:
				wantError(t, fmt.Sprintf("writer %d", i), err, ports.ErrConflict)
			}
		}
		if winner < 0 {
			t.Fatalf("none of the writers saved version %d", version+1)
		}
		got := load(t, s, orderID(1))
		items := got.Items()
		if last := items[len(items)-1].Product; got.Version() != version+1 || last != fmt.Sprintf("product-%d-%d", round, winner) {
			t.Errorf("after the race: got version %d with %q last, want version %d with what writer %d added",
				got.Version(), last, version+1, winner)
		}
	}
	wantLogged(t, s, map[string]int{orderID(1): 1 + rounds})
}

func staleOrder(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	first, second := load(t, s, orderID(1)), load(t, s, orderID(1))
	change(t, first, 1)
	save(t, s, first)
	change(t, second, 2)
	wantConflict(t, s, second)
	wantSame(t, load(t, s, orderID(1)).Snapshot(), first.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 2})
}

func takenID(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 1)
	save(t, s, o)
	wantConflict(t, s, newOrderOf(t, "buyer-2", orderID(1), 1))
	wantConflict(t, s, newOrderOf(t, "buyer-2", orderID(1), 3))
	wantSame(t, load(t, s, orderID(1)).Snapshot(), o.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 1})
}

func changedButNeverSaved(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	for _, id := range []string{orderID(1), orderID(2)} {
		o := newOrder(t, id, 4)
		o.Committed() // as if it had been loaded at version 4
		change(t, o, 1)
		wantConflict(t, s, o)
	}
	wantMissing(t, s, orderID(2))
	wantLogged(t, s, map[string]int{orderID(1): 1})
}

func wantConflict(t testing.TB, s storage, o *order.Order) {
	t.Helper()
	before, changes := o.Snapshot(), len(o.Changes())
	wantError(t, fmt.Sprintf("Save of order %s, version %d", o.ID(), o.Version()),
		s.Orders.Save(bounded(t), o, ports.IdempotencyKey{}), ports.ErrConflict)
	wantSame(t, o.Snapshot(), before)
	if len(o.Changes()) != changes {
		t.Errorf("after ErrConflict the order has %d changes, want the %d it had", len(o.Changes()), changes)
	}
}

func refusedSaveHurtsNoOther(t testing.TB, s storage) {
	const writers = 32
	orders, want := make([]*order.Order, writers), map[string]int{}
	for i := range orders {
		id := orderID(i)
		save(t, s, newOrder(t, id, 1))
		orders[i], want[id] = load(t, s, id), 2
		if i%4 == 0 { // these have been overtaken
			rival := load(t, s, id)
			change(t, rival, 2)
			save(t, s, rival)
			want[id] = 3
		}
		change(t, orders[i], 1)
	}
	var all sync.WaitGroup
	results := make([]error, writers)
	start, ctx := make(chan struct{}), bounded(t)
	for i, o := range orders {
		all.Go(func() {
			<-start
			results[i] = s.Orders.Save(ctx, o, ports.IdempotencyKey{})
		})
	}
	close(start)
	all.Wait()
	for i, err := range results {
		if i%4 == 0 {
			wantError(t, fmt.Sprintf("Save of stale order %d", i), err, ports.ErrConflict)
		} else if err != nil {
			t.Errorf("Save of order %d beside stale ones: %v", i, err)
		}
	}
	wantLogged(t, s, want)
}

// crowdOfSavers is 300 new orders, one of them with an id that is taken, and 100 orders that two savers change at once.
func crowdOfSavers(t testing.TB, s storage) {
	const orders, contested, taken = 400, 100, 250
	var savers []*order.Order
	want := map[string]int{}
	for i := range orders {
		id := orderID(i)
		want[id] = 1
		switch {
		case i < contested:
			save(t, s, newOrder(t, id, 1))
			first, second := load(t, s, id), load(t, s, id)
			change(t, first, 1)
			change(t, second, 2) // so that one can tell who has won
			savers = append(savers, first, second)
		case i == taken:
			save(t, s, newOrder(t, id, 1))
			savers = append(savers, newOrder(t, id, 3))
		default:
			savers = append(savers, newOrder(t, id, 1))
		}
	}
	var all sync.WaitGroup
	results := make([]error, len(savers))
	start, ctx := make(chan struct{}), bounded(t)
	for i, o := range savers {
		all.Go(func() {
			<-start
			results[i] = s.Orders.Save(ctx, o, ports.IdempotencyKey{})
		})
	}
	close(start)
	all.Wait()
	for i, o := range savers {
		switch rival := i ^ 1; {
		case results[i] == nil:
			want[o.ID()] = o.Version()
			if i < 2*contested && results[rival] == nil && i < rival {
				t.Errorf("both savers of order %s have saved it", o.ID())
			}
		case i < 2*contested && results[rival] == nil, o.ID() == orderID(taken):
			wantError(t, "Save of order "+o.ID(), results[i], ports.ErrConflict)
		default:
			t.Errorf("Save of order %s: %v", o.ID(), results[i])
		}
	}
	for id, version := range want {
		if got := load(t, s, id).Version(); got != version {
			t.Errorf("order %s is at version %d, want %d", id, got, version)
		}
	}
	wantLogged(t, s, want)
}

func messagePerChange(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 2))
	o := load(t, s, orderID(1))
	change(t, o, 3)
	save(t, s, o)
	var versions []int
	for _, m := range logged(t, s) {
		versions = append(versions, m.Version)
	}
	if want := []int{1, 2, 3, 4, 5}; !slices.Equal(versions, want) {
		t.Errorf("versions of the messages: got %v, want %v", versions, want)
	}
}

func messageFields(t testing.TB, s storage) {
	o := newOrder(t, "заказ-1", 3)
	events := o.Changes()
	save(t, s, o)
	types := map[string]bool{}
	messages := logged(t, s)
	if len(messages) != len(events) {
		t.Fatalf("got %d messages, want %d", len(messages), len(events))
	}
	for i, m := range messages {
		if want := fmt.Sprintf("заказ-1/%d", i+1); m.ID != want {
			t.Errorf("id: got %q, want %q", m.ID, want)
		}
		if m.OrderID != "заказ-1" || m.Version != i+1 {
			t.Errorf("message %s is of order %q, version %d", m.ID, m.OrderID, m.Version)
		}
		if m.Type == "" {
			t.Errorf("message %s has no type", m.ID)
		}
		if !json.Valid(m.Payload) {
			t.Errorf("payload of %s is not JSON: %q", m.ID, m.Payload)
		}
		if !sameTime(m.OccurredAt, events[i].OccurredAt()) {
			t.Errorf("message %s occurred at %v, want %v", m.ID, m.OccurredAt, events[i].OccurredAt())
		}
		types[m.Type] = true
	}
	if len(types) != 2 { // one created, two items added
		t.Errorf("types: got %v, want two", types)
	}
}

// messageBytes saves an event of each kind, and reads the messages while they come and again later: a store may have two
// ways to them.
func messageBytes(t testing.TB, s storage) {
	f := follow(t, s, "")
	o, err := order.New("заказ-1", "Ünal Çelik", []order.Item{
		{Product: "茶 \"grün\" <1kg> & ½", Amount: 2}, {Product: "1111", Amount: order.MaxAmount}, {Product: "2222", Amount: 1},
	}, morning)
	if err != nil {
		t.Fatalf("the suite cannot make the order: %v", err)
	}
	var want []ports.Message
	for _, act := range []func() error{
		func() error { return nil },
		func() error { return o.AddItem("3333", 1, morning) },
		func() error { return o.ChangeAmount("2222", 7, morning) },
		func() error { return o.RemoveItem("1111", morning) },
		func() error { return o.Submit(morning) },
		func() error { return o.Pay(morning) },
		func() error {
			o = newOrder(t, orderID(2), 1)
			return o.Cancel(order.ByBuyer, "changed   my\tmind", morning)
		},
	} {
		if err := act(); err != nil {
			t.Fatalf("the suite cannot change the order: %v", err)
		}
		want = append(want, s.messagesOf(t, t.Context(), o)...)
		save(t, s, o)
	}
	wantMessages(t, f, want)
	wantMessages(t, follow(t, s, ""), want)
}

func messageTraceParent(t testing.TB, s storage) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	o := newOrder(t, orderID(1), 2)
	if err := s.Orders.Save(ports.WithTraceParent(bounded(t), trace), o, ports.IdempotencyKey{}); err != nil {
		t.Fatalf("Save: %v", err)
	}
	change(t, o, 1)
	save(t, s, o)
	var got []string
	for _, m := range logged(t, s) {
		got = append(got, m.TraceParent)
	}
	if want := []string{trace, trace, ""}; !slices.Equal(got, want) {
		t.Errorf("trace parents: got %q, want %q", got, want)
	}
}

func failedCommitOfNewOrder(t testing.TB, s storage) {
	heal := s.FailCommits(t)
	o := newOrder(t, orderID(1), 2)
	wantFailedSave(t, s, o)
	heal()
	wantMissing(t, s, orderID(1))
	wantLogged(t, s, nil)

	save(t, s, o)
	wantSame(t, load(t, s, orderID(1)).Snapshot(), o.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 2})
}

func failedCommitOfChange(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 1))
	o := load(t, s, orderID(1))
	before := o.Snapshot()
	change(t, o, 2)
	heal := s.FailCommits(t)
	wantFailedSave(t, s, o)
	heal()
	wantSame(t, load(t, s, orderID(1)).Snapshot(), before)
	wantLogged(t, s, map[string]int{orderID(1): 1})

	save(t, s, o)
	wantSame(t, load(t, s, orderID(1)).Snapshot(), o.Snapshot())
	wantLogged(t, s, map[string]int{orderID(1): 3})
}

func failedCommitOfMany(t testing.TB, s storage) {
	heal := s.FailCommits(t)
	var all sync.WaitGroup
	orders, want := make([]*order.Order, 8), map[string]int{}
	results := make([]error, len(orders))
	ctx := bounded(t)
	for i := range orders {
		orders[i], want[orderID(i)] = newOrder(t, orderID(i), 1), 1
		all.Go(func() { results[i] = s.Orders.Save(ctx, orders[i], ports.IdempotencyKey{}) })
	}
	all.Wait()
	heal()
	for i, err := range results {
		if err == nil {
			t.Errorf("Save of order %d returned nil though its commit failed", i)
		}
		wantMissing(t, s, orderID(i))
	}
	wantLogged(t, s, nil)
	for _, o := range orders {
		save(t, s, o)
	}
	wantLogged(t, s, want)
}

func wantFailedSave(t testing.TB, s storage, o *order.Order) {
	t.Helper()
	before, changes := o.Snapshot(), len(o.Changes())
	err := s.Orders.Save(bounded(t), o, ports.IdempotencyKey{})
	if err == nil {
		t.Fatal("Save returned nil though the commit failed")
	}
	if errors.Is(err, ports.ErrConflict) {
		t.Errorf("a failed commit is not a conflict: %v", err)
	}
	wantSame(t, o.Snapshot(), before)
	if len(o.Changes()) != changes {
		t.Fatalf("after a failed Save the order has %d changes, want the %d it had", len(o.Changes()), changes)
	}
}

func cancelledSave(t testing.TB, s storage) {
	o := newOrder(t, orderID(1), 2)
	wantCancelled(t, "Save", func(ctx context.Context) error { return s.Orders.Save(ctx, o, ports.IdempotencyKey{}) })
	if len(o.Changes()) != 2 {
		t.Errorf("after a cancelled Save the order has %d changes, want the 2 it had", len(o.Changes()))
	}
	wantMissing(t, s, orderID(1))
	wantLogged(t, s, nil)
}
