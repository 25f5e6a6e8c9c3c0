package verify_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/app/verify"
	"hexorders/core/order"
	"hexorders/ports"
)

// The situations from public reports in which lists were wrong and nothing said so.

// withoutTopic closes a database, deletes what the topic has, as retention does, and opens the database again.
func withoutTopic(t *testing.T, live func(t *testing.T, w *world)) *world {
	path := filepath.Join(t.TempDir(), "orders.db")
	t.Run("before", func(t *testing.T) {
		w, db := openFile(t, path)
		live(t, w)
		if _, err := db.ExecContext(t.Context(), `DELETE FROM topic`); err != nil {
			t.Fatal(err)
		}
	})
	w, _ := openFile(t, path)
	return w
}

func TestRecordsWereDeletedWhileTheViewsStoodStill(t *testing.T) {
	w := withoutTopic(t, func(_ *testing.T, w *world) {
		for n := range 100 {
			w.create(fmt.Sprintf("order-%03d", n), 1+n%2)
		}
	})
	w.consume()
	r := w.check()
	wantCounts(t, r, map[verify.Kind]int64{verify.MissingInTopic: 150, verify.MissingInViews: 100})
	d := r.Of(verify.MissingInViews)[1]
	if d.Order != "order-001" || d.Version != 1 || d.Detail != "the views have version 0, the store 2" {
		t.Errorf("the second order that the views lack is told as %+v", d)
	}
}

func TestTheViewsWereRebuiltFromATopicThatLacksItsBeginning(t *testing.T) {
	w := withoutTopic(t, func(_ *testing.T, w *world) {
		for n := range 40 {
			w.create(fmt.Sprintf("order-%03d", n), 1)
		}
		w.consume()
	})
	// The views have what was deleted: the topic lacks it, and they lack nothing.
	wantCounts(t, w.check(), map[verify.Kind]int64{verify.MissingInTopic: 40})
	for n := range 10 {
		w.create(fmt.Sprintf("order-%03d", 40+n), 2)
	}
	w.views = memory.NewReadModel(readside.Tables(readside.All)) // made by a version that rebuilt without a proof
	w.consume()
	wantCounts(t, w.check(), map[verify.Kind]int64{verify.MissingInTopic: 40, verify.MissingInViews: 40})

	w.rebuildFromStore()
	wantCounts(t, w.check(), map[verify.Kind]int64{verify.MissingInTopic: 40})
}

func TestTheStoreWasRestoredAndAnOrderTookAnotherWay(t *testing.T) {
	w := newMemory(t)
	older := memory.NewStore()
	o, err := order.New("order-1", "buyer-1", []order.Item{{Product: "tea", Amount: 2}}, w.tick())
	w.fail(err)
	w.fail(older.Save(t.Context(), clone(t, o), ports.IdempotencyKey{}))
	w.publish(w.save(o)...)
	w.fail(o.AddItem("tea", 1, w.tick()))
	w.fail(o.Submit(w.tick()))
	w.publish(w.save(o)...)
	w.consume()

	w.store = older
	restored, err := w.store.Get(t.Context(), "order-1")
	w.fail(err)
	w.fail(restored.AddItem("tea", 5, w.tick()))
	w.fail(restored.Cancel(order.ByBuyer, "", w.tick()))
	w.publish(w.save(restored)...)
	w.consume()
	r := w.check()
	forked := r.Of(verify.AlteredInTopic)
	if len(forked) != 2 || forked[0].Version != 2 || forked[1].Version != 3 || !strings.Contains(forked[1].Detail, "OrderSubmitted") ||
		!strings.Contains(forked[1].Detail, "OrderCancelled") {
		t.Errorf("the topic has two versions 2 and 3, and verify says %s", inWords(r))
	}
	// The views have as many versions as the store, and wait all the same.
	if parked := r.Of(verify.ParkedByViews); len(parked) != 1 || !strings.Contains(parked[0].Detail, "two different contents") {
		t.Errorf("the views have parked the order, and verify says %s", inWords(r))
	}
	if wrong := r.Of(verify.WrongRow); len(wrong) == 0 || wrong[1].View != "order-summary" && wrong[0].View != "order-summary" {
		t.Errorf("the list has an order as submitted that is cancelled, and verify says %s", inWords(r))
	}
	for _, d := range r.Differences {
		if d.Order != "order-1" && d.Key != "buyer-1" && !strings.HasPrefix(d.Key, "order-1") {
			t.Errorf("only order-1 took another way, not %+v", d)
		}
	}
	w.rebuildFromStore()
	wantCounts(t, w.check(), map[verify.Kind]int64{verify.AlteredInTopic: 2})
}

// clone is the order as it was made, with its changes.
func clone(t *testing.T, o *order.Order) *order.Order {
	t.Helper()
	s := o.Snapshot()
	again, err := order.New(s.ID, s.Buyer, s.Items, s.CreatedAt)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// An id without a control character may be an order's. The store does not have one of these.
func TestMessagesThatAreNoneOfAnOrderAreNamed(t *testing.T) {
	w := newMemory(t)
	w.create("order-1", 1)
	message := func(orderID, id string) ports.Message {
		return ports.Message{ID: id, OrderID: orderID, Version: 1, Type: "OrderPaid", OccurredAt: w.tick(), Payload: []byte("{}")}
	}
	w.publish(message("order 2", "order 2/1"), message("order-3", "order-4/1"), message("order\x1f5", "order\x1f5/1"))
	options := w.options()
	options.ReadModel = nil
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	wantCounts(t, r, map[verify.Kind]int64{verify.InventedInTopic: 1, verify.ForeignInTopic: 2})
	const detail = `message 3 of shard "" is "order-4/1", of type "OrderPaid"`
	if d := r.Of(verify.ForeignInTopic)[0]; d.Order != "order-3" || d.Detail != detail || r.Records != 4 {
		t.Errorf("of %d records the first foreign one is told as %+v, want of 4, as %s", r.Records, d, detail)
	}
}

// A store that was restored without its latest orders knows nothing of what the topic has.
func TestTheStoreWasRestoredWithoutItsLatestOrders(t *testing.T) {
	w := newMemory(t)
	w.create("order-1", 2)
	w.create("order-2", 3)
	w.consume()
	w.repeat(5)
	w.store = memory.NewStore()
	options, views := w.options(), &hookedViews{ReadModelStore: w.views}
	options.ReadModel, options.Show = views, 2
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	if r.Counts[verify.InventedInTopic] != 5 || r.Counts[verify.InventedRow] < 3 || r.Records != 10 || r.Duplicates != 5 {
		t.Errorf("the store is empty, and verify says %s", inWords(r))
	}
	if rows := r.Of(verify.InventedRow); views.rows != 2 || len(rows) != 2 || !strings.HasPrefix(rows[0].Detail, `it is {"id":"order-1"`) {
		t.Errorf("%d rows were read for a list of two, with the details %+v", views.rows, rows)
	}
}

func TestWhatTheOutboxHasDeletedIsNoDifference(t *testing.T) {
	w := newMemory(t)
	w.create("order-1", 4)
	w.create("order-2", 3)
	w.create("order-3", 1)
	w.consume()
	store := w.store.(*memory.Store)
	outbox := memory.NewOutbox(store)
	w.fail(outbox.Checkpoint(t.Context(), 1, "8"))
	if n, err := outbox.Trim(t.Context(), w.now.Add(-time.Millisecond)); n != 7 || err != nil {
		t.Fatalf("trimmed %d messages, error %v", n, err)
	}
	options := w.options()
	options.Trimmed = time.Now()
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	if !r.Agree() || r.TopicOnly != 7 || r.Events != 1 || r.Unknown != 0 {
		t.Errorf("7 events are in the topic alone, and verify says %+v", r)
	}
	// Without a retention, nobody may delete them.
	wantCounts(t, w.check(), map[verify.Kind]int64{verify.MissingInStore: 7})

	// With the topic they are gone permanently. What the views say of these orders is not proven, and so are their rows, and no
	// others.
	w.topic = memory.NewTopic()
	w.create("order-4", 1)
	options.Topic = w.options().Topic
	if r, err = verify.Check(t.Context(), options); err != nil || r.Unknown != 2 || r.UnprovenRows != 11 {
		t.Errorf("nobody has the events of two orders, and verify says %+v, error %v", r, err)
	}
	wantCounts(t, r, map[verify.Kind]int64{verify.MissingInTopic: 1, verify.MissingInViews: 1})
}

func TestParkedOrdersAreNamed(t *testing.T) {
	w := newMemory(t)
	w.create("order-1", 1)
	o := w.orders["order-1"]
	w.fail(o.Submit(w.tick()))
	w.fail(w.parking.Park(t.Context(), w.save(o)[0], "too large"))
	w.consume()
	r := w.check()
	wantCounts(t, r, map[verify.Kind]int64{verify.ParkedByBroker: 1})
	if d := r.Differences[0]; d.Order != "order-1" || d.Version != 2 {
		t.Errorf("order-1 is parked from version 2 on, and verify says %+v", d)
	}

	w = newMemory(t)
	w.create("order-1", 1)
	o = w.orders["order-1"]
	w.fail(o.Submit(w.tick()))
	w.fail(o.Pay(w.tick()))
	w.publish(w.save(o)[1]) // without the one before it
	w.consume()
	r = w.check()
	wantCounts(t, r, map[verify.Kind]int64{verify.MissingInTopic: 1, verify.ParkedByViews: 1})
	if d := r.Of(verify.ParkedByViews)[0]; d.Order != "order-1" || d.Version != 2 || d.Detail != "version 2 has not come" {
		t.Errorf("order-1 waits for version 2, and verify says %+v", d)
	}
}

// Without a read model the store and the topic are compared, which is how a dual write is found out.
func TestStoreAndTopicAlone(t *testing.T) {
	w := newMemory(t)
	w.create("order-1", 2)
	o, err := order.New("order-2", "buyer-1", nil, w.tick())
	w.fail(err)
	w.save(o) // and it is not published
	options := w.options()
	options.ReadModel, options.Parking = nil, nil
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	wantCounts(t, r, map[verify.Kind]int64{verify.MissingInTopic: 1})
	if r.Orders != 2 || r.Events != 3 || r.Records != 2 || r.Rows != 0 {
		t.Errorf("got %+v, want 2 orders, 3 events, 2 records", r)
	}
	if d := r.Differences[0]; !strings.HasPrefix(d.Detail, "OrderCreated of 2") {
		t.Errorf("the event that is missing is told as %+v, want its type and time", d)
	}
	w.repeat(1)
	w.consume()
	if r := w.check(); r.Orders != 2 || r.Events != 3 || r.Records != 3 || r.Duplicates != 1 || r.Rows != 4 {
		t.Errorf("got %+v, want 3 records, one of them a duplicate, and 4 rows", r)
	}
}

func TestViewsThatAreNotComparedAreNamed(t *testing.T) {
	w := newMemory(t)
	w.views = memory.NewReadModel(readside.Tables([]readside.View{readside.OrderSummary, readside.Timeline}))
	w.create("order-1", 2)
	w.consume()
	options := w.options()
	options.Views = []readside.View{readside.OrderSummary, readside.BuyerActivity}
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	want := []string{
		"the view buyer-activity, which is not built: run `hexorders views rebuild`",
		"the view timeline, which belongs to another version of this program",
	}
	if !r.Agree() || !slices.Equal(r.Unproven, want) || r.Rows != 1 {
		t.Errorf("of %d rows verify says %s\nwant of one %q", r.Rows, inWords(r), want)
	}
}

func TestAnEmptyServiceAgrees(t *testing.T) { newMemory(t).wantAgreement() }

func TestTheListIsBoundedAndTheCountExact(t *testing.T) {
	w := newMemory(t)
	for n := range 30 {
		o, err := order.New(fmt.Sprintf("order-%02d", n), "buyer-1", nil, w.tick())
		w.fail(err)
		w.save(o)
	}
	options := w.options()
	options.Show = 3
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	if r.Total() != 60 || len(r.Of(verify.MissingInTopic)) != 3 || len(r.Of(verify.MissingInViews)) != 3 {
		t.Errorf("30 orders are not published: %s", inWords(r))
	}
}

func TestEveryKindIsExplained(t *testing.T) {
	seen := map[verify.Kind]bool{}
	for _, e := range verify.Explanations {
		if seen[e.Kind] || e.Meaning == "" || e.Remedy == "" {
			t.Errorf("%s is explained twice, or not at all", e.Kind)
		}
		seen[e.Kind] = true
	}
	for _, c := range corruptions {
		for _, kind := range c.found {
			if !seen[kind] {
				t.Errorf("%s is not explained", kind)
			}
		}
	}
}
