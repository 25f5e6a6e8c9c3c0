package verify_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/inproc/logtest"
	"hexorders/app/readside"
	"hexorders/app/verify"
	"hexorders/ports"
)

// The moments at which a running service can change between two readings, one by one.

// hookedStore does something around the pages of orders.
type hookedStore struct {
	verify.Store
	pages         int
	before, after map[int]func() // by page, from 1 on
}

func (s *hookedStore) ScanOrders(ctx context.Context, after string, limit int) ([]ports.ScannedOrder, error) {
	s.pages++
	if do := s.before[s.pages]; do != nil {
		do()
	}
	page, err := s.Store.ScanOrders(ctx, after, limit)
	if do := s.after[s.pages]; do != nil {
		do()
	}
	return page, err
}

func TestWhatIsCommittedBetweenTwoReadingsIsNoDifference(t *testing.T) {
	w := newMemory(t)
	for n := range 900 { // two pages of orders, one of messages
		w.create(fmt.Sprintf("order-%04d", n), 1)
	}
	w.consume()
	change := func(id string) {
		o := w.orders[id]
		w.fail(o.Submit(w.tick()))
		w.publish(w.save(o)...)
		w.consume()
	}
	options := w.options()
	store := &hookedStore{
		Store: w.store,
		// The messages of both pages were read, the second page was not.
		before: map[int]func(){2: func() { change("order-0700") }},
		after: map[int]func(){
			1: func() {
				change("order-0100")       // the order was read, its messages were not
				w.create("order-0200a", 2) // it belongs into a page that was read
			},
		},
	}
	options.Store = store
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	if !r.Agree() || len(r.Unproven) > 0 || store.pages != 3 {
		t.Errorf("%d pages; nothing is wrong, and verify says %s", store.pages, inWords(r))
	}
}

// The first order of all comes just after the topic was read, which had no shard yet.
func TestTheFirstOrderComesWhileTheServiceIsRead(t *testing.T) {
	w := newMemory(t)
	store := &hookedStore{Store: w.store, before: map[int]func(){1: func() {
		w.create("order-1", 2)
		w.consume()
	}}}
	options := w.options()
	options.Store = store
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	if !r.Agree() || len(r.Unproven) > 0 || r.Orders != 1 || store.pages != 2 {
		t.Errorf("%d pages; nothing is wrong, and verify says of %d orders %s", store.pages, r.Orders, inWords(r))
	}
}

// endless is a topic that always has one more message: its reader is never told that it has caught up.
type endless struct{ ports.Replayable }

func (s endless) Replay(ctx context.Context, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	return s.Replayable.Replay(ctx, resume, func(ctx context.Context, b ports.Batch) error {
		for _, d := range b.Messages {
			if err := handle(ctx, ports.Batch{Messages: []ports.Delivery{d}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// The topic is read as far as it went when the reading began.
func TestATopicThatNeverEndsIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMemory(t)
		w.create("order-1", 5)
		options := w.options()
		options.Topic, options.ReadModel = endless{options.Topic}, nil
		options.Report = func(p verify.Progress) {
			if p.Step == "settle" {
				t.Error("the topic was not read to its end")
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, err := verify.Check(ctx, options)
		if err != nil || !r.Agree() || r.Records != 5 {
			t.Errorf("error %v; nothing is wrong, and verify says of %d records %s", err, r.Records, inWords(r))
		}
	})
}

// hookedViews does something around the pages of rows.
type hookedViews struct {
	ports.ReadModelStore
	pages, rows   int // that were read
	before, after map[int]func()
}

func (s *hookedViews) Row(ctx context.Context, view, key string) (ports.Row, error) {
	s.rows++
	return s.ReadModelStore.Row(ctx, view, key)
}

func (s *hookedViews) List(ctx context.Context, q ports.Query) (ports.RowPage, error) {
	s.pages++
	if do := s.before[s.pages]; do != nil {
		do()
	}
	page, err := s.ReadModelStore.List(ctx, q)
	if do := s.after[s.pages]; do != nil {
		do()
	}
	return page, err
}

// Rows of two pages are of two moments.
func TestRowsThatChangeBetweenTwoPagesAreNoDifference(t *testing.T) {
	w := newMemory(t)
	for n := range 300 {
		w.create(fmt.Sprintf("order-%04d", n), 1)
	}
	w.consume()
	submit := func(id string) {
		o := w.orders[id]
		w.fail(o.Submit(w.tick()))
		w.publish(w.save(o)...)
	}
	views := &hookedViews{
		ReadModelStore: w.views,
		before: map[int]func(){2: func() { // of the orders, of which the first page was read
			submit("order-0000")
			w.create("order-0100a", 1)
			w.create("order-0250a", 1)
			w.consume()
		}},
		after: map[int]func(){2: func() { // the page was read, and the vector after it was not
			submit("order-0250")
			w.consume()
		}},
	}
	options := w.options()
	options.ReadModel = views
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	if !r.Agree() || len(r.Unproven) > 0 || views.pages < 6 {
		t.Errorf("%d pages; nothing is wrong, and verify says %s", views.pages, inWords(r))
	}
}

// busyViews move while a page of more than twenty rows is read.
type busyViews struct {
	ports.ReadModelStore
	move func()
}

func (s *busyViews) List(ctx context.Context, q ports.Query) (ports.RowPage, error) {
	page, err := s.ReadModelStore.List(ctx, q)
	if q.Page.Limit > 20 {
		s.move()
	}
	return page, err
}

func TestPagesGetSmallerWhileTheViewsMove(t *testing.T) {
	w := newMemory(t)
	moves := 0
	options := w.options()
	options.ReadModel = &busyViews{w.views, func() {
		moves++
		w.create(fmt.Sprintf("order-%04d", moves), 1)
		w.consume()
	}}
	for range 30 {
		options.ReadModel.(*busyViews).move()
	}
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	if !r.Agree() || len(r.Unproven) > 0 {
		t.Errorf("nothing is wrong, and verify says %s", inWords(r))
	}
}

// A rebuild that swaps the read model meanwhile makes verify begin again.
func TestTheViewsAreRebuiltWhileTheyAreRead(t *testing.T) {
	w := newMemory(t)
	for n := range 5 {
		w.create(fmt.Sprintf("order-%d", n), 1)
	}
	w.consume()
	views := &hookedViews{ReadModelStore: w.views, before: map[int]func(){2: w.rebuild}}
	options := w.options()
	options.ReadModel = views
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	if pages := 2 * len(readside.All); !r.Agree() || len(r.Unproven) > 0 || views.pages < pages {
		t.Errorf("%d pages, want at least %d; nothing is wrong, and verify says %s", views.pages, pages, inWords(r))
	}

	// Views that never stand still are not proven, and no difference is made up.
	views.before = map[int]func(){}
	for n := range 20 {
		views.before[views.pages+1+n] = w.rebuild
	}
	r, err = verify.Check(t.Context(), options)
	w.fail(err)
	if !r.Agree() || len(r.Unproven) != 1 {
		t.Errorf("the views are replaced again and again, and verify says %s", inWords(r))
	}
}

// The place of the views may be gone from the topic. While they stand still, their progress says what they have.
func TestTheViewsStandAtAPlaceThatTheTopicNoLongerHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	t.Run("before", func(t *testing.T) {
		w, db := openFile(t, path)
		for n := range 8 {
			w.create(fmt.Sprintf("order-%d", n), 1)
			if n == 4 {
				w.consume()
			}
		}
		if _, err := db.ExecContext(t.Context(), `DELETE FROM topic WHERE seq <= 4`); err != nil {
			t.Fatal(err)
		}
	})
	w, _ := openFile(t, path)
	r := w.check()
	wantCounts(t, r, map[verify.Kind]int64{verify.MissingInTopic: 4, verify.MissingInViews: 3})
	if len(r.Unproven) > 0 {
		t.Errorf("the views stand still, and verify says %s", inWords(r))
	}
}

// While the views move, such a place says nothing of the rows that were read at it: they are read again.
func TestTheViewsLeaveAPlaceThatTheTopicNoLongerHas(t *testing.T) {
	w := newMemory(t)
	log := &logtest.Trimmed{Log: w.topic}
	w.topic = log
	for n := range 5 {
		w.create(fmt.Sprintf("order-%d", n), 1)
	}
	w.consume()
	views := &hookedViews{ReadModelStore: w.views, before: map[int]func(){2: func() {
		w.create("order-9", 1)
		w.consume()
		log.Before = 5
	}}}
	options := w.options()
	options.ReadModel = views
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	wantCounts(t, r, map[verify.Kind]int64{verify.MissingInTopic: 5})
	if pages := 2 * len(readside.All); len(r.Unproven) > 0 || views.pages < pages {
		t.Errorf("%d pages, want at least %d, and verify says %s", views.pages, pages, inWords(r))
	}
}

// A state that was right before the last command is told by its version alone.
func TestAnOrderThatLostItsLastChangeIsFound(t *testing.T) {
	w, db := openFile(t, filepath.Join(t.TempDir(), "orders.db"))
	w.create("order-1", 2)
	if _, err := db.ExecContext(t.Context(), `CREATE TEMP TABLE old AS SELECT * FROM orders`); err != nil {
		t.Fatal(err)
	}
	o := w.orders["order-1"]
	w.fail(o.Submit(w.tick()))
	w.publish(w.save(o)...)
	if _, err := db.ExecContext(t.Context(), `REPLACE INTO orders SELECT * FROM old`); err != nil {
		t.Fatal(err)
	}
	options := w.options()
	options.ReadModel = nil
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	wantCounts(t, r, map[verify.Kind]int64{verify.DamagedOrder: 1, verify.InventedInTopic: 1})
}

// Where state, topic and views agree on an event, only the store's copy of it is wrong.
func TestAChangedEventInTheStoreIsNotToldOfItsRows(t *testing.T) {
	w, db := openFile(t, filepath.Join(t.TempDir(), "orders.db"))
	w.create("order-1", 2)
	w.consume()
	if _, err := db.ExecContext(t.Context(), `UPDATE outbox SET payload = replace(payload, '"amount":2', '"amount":3')`); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, w.check(), map[verify.Kind]int64{verify.AlteredInTopic: 1, verify.DamagedOrder: 1})
}

// An order may be older than the retention, and its last events younger: those have to be there.
func TestTheOutboxMayDeleteOldEventsOnly(t *testing.T) {
	w, db := openFile(t, filepath.Join(t.TempDir(), "orders.db"))
	w.create("order-1", 2)
	options := w.options()
	options.Trimmed = w.tick()
	o := w.orders["order-1"]
	for range 2 {
		w.fail(o.AddItem("pot", 1, w.tick()))
		w.publish(w.save(o)...)
	}
	w.consume()
	if _, err := db.ExecContext(t.Context(), `DELETE FROM outbox WHERE version <= 3`); err != nil {
		t.Fatal(err)
	}
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	wantCounts(t, r, map[verify.Kind]int64{verify.MissingInStore: 1})
	if d := r.Differences[0]; d.Version != 3 || r.TopicOnly != 2 {
		t.Errorf("version 3 may not be deleted, 1 and 2 may, and verify says %d and %+v", r.TopicOnly, d)
	}
}

// The outbox deletes an order's oldest events first: one after an event that is there was lost, however old it is.
func TestAnOldEventIsMissingAfterOneThatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	t.Run("before", func(t *testing.T) {
		w, db := openFile(t, path)
		w.create("order-1", 3)
		for _, table := range []string{"outbox", "topic"} {
			if _, err := db.ExecContext(t.Context(), `DELETE FROM `+table+` WHERE version = 2`); err != nil {
				t.Fatal(err)
			}
		}
	})
	w, _ := openFile(t, path)
	options := w.options()
	options.ReadModel, options.Trimmed = nil, time.Now()
	r, err := verify.Check(t.Context(), options)
	w.fail(err)
	wantCounts(t, r, map[verify.Kind]int64{verify.MissingInStore: 1})
}

// Without a setting, what is on its way has 15 seconds. It is looked for after 50 ms first, and less and less often.
func TestWhatIsOnItsWayIsWaitedForByDefault(t *testing.T) {
	for name, x := range map[string]struct {
		comes int // the wait in which it is published
		took  time.Duration
		found map[verify.Kind]int64
	}{
		"it comes":           {3, 350 * time.Millisecond, nil},
		"it comes too late":  {10, 15 * time.Second, map[verify.Kind]int64{verify.MissingInTopic: 1}},
		"it comes just then": {9, 15 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newMemory(t)
				w.create("order-1", 1)
				o := w.orders["order-1"]
				w.fail(o.Submit(w.tick()))
				late := w.save(o)
				options := w.options()
				options.ReadModel, options.Settle = nil, 0
				waits := 0
				options.Report = func(p verify.Progress) {
					if p.Step == "settle" && p.Done > 1 {
						t.Errorf("the progress is %+v, want the one late event: the topic is read on, not again", p)
					}
					if p == (verify.Progress{Step: "settle"}) {
						if waits++; waits == x.comes {
							w.publish(late...)
						}
					}
				}
				began := time.Now()
				r, err := verify.Check(t.Context(), options)
				w.fail(err)
				wantCounts(t, r, x.found)
				if took := time.Since(began); took != x.took {
					t.Errorf("it took %s, want %s", took, x.took)
				}
			})
		})
	}
}
