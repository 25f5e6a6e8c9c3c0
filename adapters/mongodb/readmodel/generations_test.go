package readmodel_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb/mongotest"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/ports"
)

// What a process that died left behind goes with the next swap, and what is live or the shadow stays.
func TestSwapDeletesEveryGenerationThatNobodyReads(t *testing.T) {
	db := mongotest.DB(t)
	store := open(db)
	commit(t, store, next(1, "a"))
	shadow, err := store.Shadow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Commit(t.Context(), shadow, next(1, "a")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"readmodel.17.orders", "readmodelling.1.orders"} {
		if _, err := db.Collection(name).InsertOne(t.Context(), bson.D{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Swap(t.Context(), shadow); err != nil {
		t.Fatal(err)
	}
	wantCollections(t, db, "readmodel", "readmodel.2.buffered", "readmodel.2.events", "readmodel.2.orders", "readmodel.2.places",
		"readmodel.2.progress", "readmodel.2.sums", "readmodelling.1.orders")
}

func wantCollections(t *testing.T, db *mongo.Database, want ...string) {
	t.Helper()
	if got := collections(t, db, `^readmodel`); !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
}

func collections(t *testing.T, db *mongo.Database, pattern string) []string {
	t.Helper()
	names, err := db.ListCollectionNames(t.Context(), bson.D{{Key: "name", Value: bson.Regex{Pattern: pattern}}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// A transaction that has to make a collection is slow and prone to conflicts.
func TestNoTransactionMakesACollection(t *testing.T) {
	db := mongotest.DB(t)
	store := open(db)
	if err := store.Commit(t.Context(), live, ports.Change{}); err != nil {
		t.Fatal(err)
	}
	before := collections(t, db, "")
	c := next(1, "a")
	c.Buffer = []ports.BufferedMessage{{Message: ports.Message{ID: "b/2", OrderID: "b", Version: 2, OccurredAt: at}, Reason: "early"}}
	commit(t, store, c)
	if after := collections(t, db, ""); !slices.Equal(before, after) {
		t.Errorf("a Commit made collections of %v: there are %v", before, after)
	}
	c = next(2, "a")
	c.Rows["elsewhere"] = ports.RowChanges{Insert: []ports.Row{{Key: "a"}}}
	if err := store.Commit(t.Context(), live, c); err == nil {
		t.Error("rows of a view that the generation does not have: got no error")
	}
	wantVersions(t, store, 1, "a")
	if after := collections(t, db, ""); !slices.Equal(before, after) {
		t.Errorf("a Commit made collections of %v: there are %v", before, after)
	}
}

// The version before this read model kept each view by itself. What it left is deleted once, with a line that says so, and
// everything else stays as it is. The documents are those that it wrote.
func TestTheViewsOfAnEarlierVersionAreDeleted(t *testing.T) {
	db := mongotest.DB(t)
	order := bson.D{{Key: "_id", Value: "order-1"}, {Key: "buyerId", Value: "buyer-1"}, {Key: "version", Value: 1}}
	for name, document := range map[string]bson.D{
		"orders": order,
		"views":  {{Key: "_id", Value: "order-summary"}, {Key: "live", Value: 2}, {Key: "shadow", Value: 0}, {Key: "newest", Value: 2}},
		"view.order-summary.2.orders": {
			{Key: "_id", Value: "order-1"},
			{Key: "mark", Value: bson.D{{Key: "version", Value: int64(1)}, {Key: "held", Value: int64(0)}}},
			{Key: "row", Value: bson.D{{Key: "buyerId", Value: "buyer-1"}, {Key: "status", Value: "pending"}}},
		},
		"view.order-summary.2.inbox":     {{Key: "at", Value: at}, {Key: "ids", Value: bson.A{"order-1/1"}}},
		"view.order-summary.2.positions": {{Key: "_id", Value: 0}, {Key: "next", Value: int64(1)}, {Key: "asOf", Value: at}},
		"view.buyer-activity.1.buyers":   {{Key: "_id", Value: "buyer-1"}, {Key: "pending", Value: int64(1)}},
		"view.timeline.1.entries": {
			{Key: "_id", Value: bson.D{{Key: "orderId", Value: "order-1"}, {Key: "version", Value: int64(1)}}},
			{Key: "type", Value: "OrderCreated"},
		},
		"viewer": {{Key: "_id", Value: "not ours"}},
	} {
		if _, err := db.Collection(name).InsertOne(t.Context(), document); err != nil {
			t.Fatal(err)
		}
	}
	var logged bytes.Buffer
	store := readmodel.New(db, tables, readmodel.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			if g, err := store.Live(t.Context()); err != nil || g.Number != 1 {
				t.Errorf("live is %+v, error %v, want generation 1", g, err)
			}
		})
	}
	readers.Wait()
	if places, err := store.Places(t.Context(), live); err != nil || len(places) != 0 {
		t.Errorf("places %v, error %v, want none: the topic is read from its beginning", places, err)
	}
	if lines := strings.Count(logged.String(), "\n"); lines != 1 || !strings.Contains(logged.String(), "is rebuilt from the topic") {
		t.Errorf("logged %q, want one line that the read model is rebuilt", &logged)
	}
	if left := collections(t, db, "^view"); !slices.Equal(left, []string{"viewer"}) {
		t.Errorf("of the views there are left %v, want the one that is not ours", left)
	}
	var got bson.D
	if err := db.Collection("orders").FindOne(t.Context(), bson.D{}).Decode(&got); err != nil || len(got) != len(order) {
		t.Errorf("the order is %v, error %v, want %v", got, err, order)
	}
	commit(t, store, next(1, "a"))
	wantVersions(t, store, 1, "a")

	again := readmodel.New(db, tables, readmodel.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	wantVersions(t, again, 1, "a")
	if lines := strings.Count(logged.String(), "\n"); lines != 1 {
		t.Errorf("another process logged something too: %s", &logged)
	}
}

func TestAFreshDatabaseIsNoUpgrade(t *testing.T) {
	var logged bytes.Buffer
	store := readmodel.New(mongotest.DB(t), tables, readmodel.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	commit(t, store, next(1, "a"))
	if logged.Len() > 0 {
		t.Errorf("logged %q, want nothing", &logged)
	}
}

// An upgrade of a read model without shapes loses no list, and later changes of a view are seen.
func TestAGenerationWithoutShapesGetsThoseOfTheFirstProgram(t *testing.T) {
	db := mongotest.DB(t)
	commit(t, open(db), next(1, "a"))
	forget := bson.D{{Key: "$unset", Value: bson.D{{Key: "live.shapes", Value: ""}}}}
	if _, err := db.Collection("readmodel").UpdateOne(t.Context(), bson.D{}, forget); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, open(db), 1, "a")
	if _, err := open(db).Live(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, open(db), 1, "a")
	changed := slices.Clone(tables)
	changed[0].Counters = []string{"a new one"}
	_, err := readmodel.New(db, changed, readmodel.Options{}).Row(t.Context(), changed[0].Name, "a")
	if !errors.Is(err, ports.ErrNotBuilt) {
		t.Errorf("a view that has changed: got error %v, want %v", err, ports.ErrNotBuilt)
	}
}

// A process that was away while the database was dropped begins anew.
func TestAReadModelThatWasDroppedBeginsAnew(t *testing.T) {
	db := mongotest.DB(t)
	store := open(db)
	commit(t, store, next(1, "a"))
	if err := db.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, store, 0)
	commit(t, store, next(1, "a"))
	wantVersions(t, store, 1, "a")
	indexes, err := db.Collection("readmodel.1.orders").Indexes().ListSpecifications(t.Context())
	if err != nil || len(indexes) != 2 {
		t.Errorf("indexes %v, error %v, want two", indexes, err)
	}
}

// A question comes to a generation that is dropped before it is answered: it is asked again.
func TestAQuestionToADroppedGenerationIsAskedAgain(t *testing.T) {
	db := mongotest.DB(t)
	store := open(db)
	commit(t, store, next(1, "a"))
	other := open(mongotest.Connect(t, mongotest.URI(), db.Name()+"_other").Client().Database(db.Name()))
	var fresh ports.Freshness
	for name, ask := range map[string]func() error{
		"Row": func() error {
			row, err := store.Row(t.Context(), "orders", "a")
			if err == nil && len(row.Body) == 0 {
				err = errors.New("no row")
			}
			return err
		},
		"List": func() error {
			page, err := store.List(t.Context(), ports.Query{View: "orders"})
			if err == nil && len(page.Rows) != 1 {
				err = fmt.Errorf("%d rows", len(page.Rows))
			}
			return err
		},
		"Freshness": func() (err error) {
			fresh, err = store.Freshness(t.Context(), "a")
			if err == nil && (fresh.Version != 1 || !fresh.AsOf.Equal(at)) {
				err = fmt.Errorf("%+v", fresh)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := ask(); err != nil { // the generation is known to this process
				t.Fatal(err)
			}
			held := mongotest.HoldUpLater(t, db, db.Name(), 1, "find", time.Second)
			answer := make(chan error, 1)
			go func() { answer <- ask() }()
			held() // it knows which generation is live, and asks that one
			shadow, err := other.Shadow(t.Context())
			if err == nil {
				err = other.Commit(t.Context(), shadow, next(1, "a"))
			}
			if err == nil {
				err = other.Swap(t.Context(), shadow)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := <-answer; err != nil {
				t.Errorf("%v: want what is in the new generation", err)
			}
		})
	}
}
