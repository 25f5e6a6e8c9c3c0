package mongodb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/core/order"
	"hexorders/ports"
)

// crowd runs all saves at once.
func crowd(t *testing.T, saves ...func() error) []error {
	t.Helper()
	results := make([]error, len(saves))
	var all sync.WaitGroup
	for i, save := range saves {
		all.Go(func() { results[i] = save() })
	}
	all.Wait()
	return results
}

// counted counts the saves of each transaction that is committed.
func counted(count func(saves int)) func(context.Context, []context.Context, func(context.Context) error) error {
	return func(ctx context.Context, saves []context.Context, commit func(context.Context) error) error {
		err := commit(ctx)
		if err == nil {
			count(len(saves))
		}
		return err
	}
}

// A thousand saves come through in far fewer transactions, each of them once.
func TestSavesThatWaitShareATransaction(t *testing.T) {
	db := mongotest.DB(t)
	var transactions, committed atomic.Int64
	store := mongodb.NewStore(db, mongodb.Options{Around: counted(func(saves int) {
		transactions.Add(1)
		committed.Add(int64(saves))
	})})
	var saves []func() error
	for _, id := range ids("o", 1000) {
		o := newOrder(t, id, 2)
		saves = append(saves, func() error { return store.Save(t.Context(), o, ports.IdempotencyKey{}) })
	}
	for i, err := range crowd(t, saves...) {
		if err != nil {
			t.Errorf("save %d: %v", i, err)
		}
	}
	if committed.Load() != 1000 || transactions.Load() > 500 {
		t.Errorf("%d saves in %d transactions, want 1000 in 500 at most", committed.Load(), transactions.Load())
	}
	if orders, messages := count(t, db.Collection("orders")), count(t, db.Collection("outbox")); orders != 1000 || messages != 2000 {
		t.Errorf("%d orders and %d messages, want 1000 and 2000", orders, messages)
	}
}

// An error that one save of a batch causes is returned to that save alone, whichever command fails.
func TestABadSaveFailsAlone(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	save(t, store, newOrder(t, "taken", 1), newOrder(t, "stale", 1))
	stale, err := store.Get(t.Context(), "stale")
	if err != nil {
		t.Fatal(err)
	}
	change(t, stale, 1)
	rival, err := store.Get(t.Context(), "stale")
	if err != nil {
		t.Fatal(err)
	}
	change(t, rival, 2)
	save(t, store, rival)
	// This one's message is there already, without its order.
	if _, err := db.Collection("outbox").InsertOne(t.Context(), bson.M{"_id": "odd/1", "aggregateid": "odd", "version": 1}); err != nil {
		t.Fatal(err)
	}
	tooLarge := ports.WithTraceParent(t.Context(), strings.Repeat("x", 17<<20))

	saves := []func() error{
		func() error { return store.Save(t.Context(), newOrder(t, "taken", 1), ports.IdempotencyKey{}) },
		func() error { return store.Save(t.Context(), stale, ports.IdempotencyKey{}) },
		func() error { return store.Save(t.Context(), newOrder(t, "odd", 1), ports.IdempotencyKey{}) },
		func() error { return store.Save(tooLarge, newOrder(t, "large", 1), ports.IdempotencyKey{}) },
	}
	for _, id := range ids("good", 60) {
		o := newOrder(t, id, 1)
		saves = append(saves, func() error { return store.Save(t.Context(), o, ports.IdempotencyKey{}) })
	}
	results := crowd(t, saves...)
	for i, want := range []error{ports.ErrConflict, ports.ErrConflict} {
		if !errors.Is(results[i], want) {
			t.Errorf("bad save %d: got %v, want %v", i, results[i], want)
		}
	}
	for i, err := range results[2:4] {
		if err == nil || errors.Is(err, ports.ErrConflict) || errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("bad save %d: got %v, want a permanent error", 2+i, err)
		}
	}
	for i, err := range results[4:] {
		if err != nil {
			t.Errorf("good save %d: %v", i, err)
		}
	}
	if n := count(t, db.Collection("orders")); n != 62 {
		t.Errorf("%d orders, want taken, stale and 60 good ones", n)
	}
}

// An order that a dead process left locked must not delay the others.
func TestALockedOrderHoldsUpNobodyElse(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	locked := newOrder(t, "locked", 1)
	save(t, store, locked)
	change(t, locked, 1)
	unlock := lock(t, db, "locked")
	stuck := make(chan error, 1)
	go func() { stuck <- store.Save(t.Context(), locked, ports.IdempotencyKey{}) }()
	for _, id := range ids("good", 50) {
		save(t, store, newOrder(t, id, 1))
	}
	select {
	case err := <-stuck:
		t.Fatalf("the save of the locked order ended before the lock: %v", err)
	default:
	}
	unlock()
	if err := <-stuck; err != nil {
		t.Errorf("save of the locked order, once it was open: %v", err)
	}
}

// When the response to a batch's commit is lost, each of its saves gets the outcome, and it agrees with the documents.
func TestABatchWhoseAnswerIsLostIsAskedFor(t *testing.T) {
	for name, how := range map[string]bson.D{
		"the connection breaks":  {{Key: "closeConnection", Value: true}},
		"no majority in time":    {{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 64}, {Key: "errmsg", Value: "timeout"}}}},
		"the primary steps down": {{Key: "errorCode", Value: 189}},
		"the time is up":         {{Key: "errorCode", Value: 50}},
	} {
		t.Run(name, func(t *testing.T) {
			db := mongotest.DB(t)
			store := mongodb.NewStore(db, mongodb.Options{Timeout: 20 * time.Second})
			mongotest.FailCommand(t, db, mongotest.Times(5), "commitTransaction", how)
			var saves []func() error
			for _, id := range ids("o", 100) {
				o := newOrder(t, id, 2)
				saves = append(saves, func() error { return store.Save(t.Context(), o, ports.IdempotencyKey{}) })
			}
			for i, err := range crowd(t, saves...) {
				if err != nil {
					t.Errorf("save %d: %v", i, err)
				}
			}
			if orders, messages := count(t, db.Collection("orders")), count(t, db.Collection("outbox")); orders != 100 || messages != 200 {
				t.Errorf("%d orders and %d messages, want 100 and 200", orders, messages)
			}
		})
	}
}

// Commands of a batch fail now and then, in every way there is, while savers change orders and leave: in the end each
// order is what its savers were told, and has a message for each version.
func TestSavesThroughAStormOfErrors(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{Timeout: 20 * time.Second})
	other := mongotest.Connect(t, mongotest.URI(), db.Name()+"_storm").Client() // errors are for the store's client alone
	mongotest.LockFailPoint(t, other)
	calm := mongodb.NewStore(other.Database(db.Name()), mongodb.Options{})
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		defer func() {
			if _, err := mongotest.SetFailPoint(context.WithoutCancel(t.Context()), other, "", "off", "insert", nil); err != nil {
				t.Error(err)
			}
		}()
		transient := bson.D{{Key: "errorCode", Value: 112}, {Key: "errorLabels", Value: bson.A{"TransientTransactionError"}}}
		broken := bson.D{{Key: "closeConnection", Value: true}}
		for i := range 100 { // each costs a while: a storm without end would keep itself going
			select {
			case <-stop:
				return
			default:
			}
			n, command, how := 2, "insert", transient
			switch i % 4 {
			case 1:
				command, how = "update", broken
			case 2:
				command, how = "commitTransaction", broken
			case 3:
				n, command, how = 1, "commitTransaction", bson.D{{Key: "errorCode", Value: 50}}
			}
			if _, err := mongotest.SetFailPoint(t.Context(), other, db.Name(), mongotest.Times(n), command, how); err != nil {
				t.Error(err)
				return
			}
		}
	})
	type outcome struct {
		id             string
		sure, possible int // the version that the savers know of, and the one that may be
	}
	outcomes := make([]outcome, 40)
	var savers sync.WaitGroup
	for i := range outcomes {
		savers.Go(func() {
			out := &outcomes[i]
			out.id = fmt.Sprintf("o-%03d", i)
			o, err := order.New(out.id, "b", []order.Item{{Product: "p", Amount: 1}}, at)
			for range 25 {
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithCancel(t.Context())
				if i%4 == 0 {
					time.AfterFunc(time.Duration(i)*100*time.Microsecond, cancel)
				}
				err = store.Save(ctx, o, ports.IdempotencyKey{})
				cancel()
				out.possible = max(out.possible, o.Version())
				switch {
				case err == nil:
					out.sure = o.Version()
				case errors.Is(err, context.Canceled), errors.Is(err, ports.ErrUnavailable),
					errors.Is(err, ports.ErrConflict): // what had an unknown outcome has been saved meanwhile
					loaded, missing := calm.Get(t.Context(), out.id)
					if errors.Is(missing, ports.ErrNotFound) && out.sure == 0 {
						err = nil
						continue // the same order, once more
					}
					if missing != nil {
						t.Error(missing)
						return
					}
					o = loaded
				default:
					t.Errorf("save of %s: %v", out.id, err)
					return
				}
				err = o.AddItem("p", 1, at)
			}
		})
	}
	savers.Wait()
	close(stop)
	all.Wait()
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, out := range outcomes {
		o, err := calm.Get(t.Context(), out.id)
		if errors.Is(err, ports.ErrNotFound) && out.sure == 0 {
			continue
		}
		if err != nil {
			t.Errorf("get %s: %v", out.id, err)
			continue
		}
		if o.Version() < out.sure || o.Version() > out.possible {
			t.Errorf("%s is at version %d, want %d to %d", out.id, o.Version(), out.sure, out.possible)
		}
		n, err := db.Collection("outbox").CountDocuments(t.Context(), bson.M{"aggregateid": out.id})
		if err != nil || n != int64(o.Version()) {
			t.Errorf("%s has %d messages and is at version %d (%v)", out.id, n, o.Version(), err)
		}
	}
}

func TestASaveThatWaitsCanBeLeft(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	held := mongotest.HoldUp(t, db, "insert", time.Second)
	first := make(chan error, 1)
	go func() { first <- store.Save(t.Context(), newOrder(t, "first", 1), ports.IdempotencyKey{}) }()
	held()
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { second <- store.Save(ctx, newOrder(t, "second", 1), ports.IdempotencyKey{}) }()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) || errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("save that was left while it waited: got %v, want Canceled alone", err)
	}
	if err := <-first; err != nil {
		t.Errorf("save before it: %v", err)
	}
	save(t, store, newOrder(t, "third", 1))
	if n := count(t, db.Collection("orders")); n != 2 {
		t.Errorf("%d orders, want the first and the third", n)
	}
}

func TestCloseWaitsForWhatHasBegun(t *testing.T) {
	db := mongotest.DB(t)
	store := mongodb.NewStore(db, mongodb.Options{})
	held := mongotest.HoldUp(t, db, "insert", 300*time.Millisecond)
	saved := make(chan error, 1)
	go func() { saved <- store.Save(t.Context(), newOrder(t, "o-1", 1), ports.IdempotencyKey{}) }()
	held()
	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Close(hurried); !errors.Is(err, context.Canceled) {
		t.Errorf("Close without time: got %v, want Canceled", err)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if n := count(t, db.Collection("orders")); n != 1 {
		t.Errorf("%d orders after Close, want the one whose save had begun", n)
	}
	if err := <-saved; err != nil {
		t.Errorf("save: %v", err)
	}
	if err := store.Save(t.Context(), newOrder(t, "o-2", 1), ports.IdempotencyKey{}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("save after Close: got %v, want ErrUnavailable", err)
	}
}
