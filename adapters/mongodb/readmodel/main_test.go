package readmodel_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"hexorders/adapters/mongodb/mongotest"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/ports"
)

// childDatabase is set where this test binary runs as another process: the database that it commits to.
const childDatabase = "READMODEL_TEST_CHILD"

func TestMain(m *testing.M) {
	if database := os.Getenv(childDatabase); database != "" {
		fmt.Fprintln(os.Stderr, commitAsChild(context.Background(), database))
		os.Exit(1) // it is killed before
	}
	goleak.VerifyTestMain(m)
}

// commitAsChild does without mongodb.Connect, which writes too.
func commitAsChild(ctx context.Context, database string) error {
	uri := mongotest.With(mongotest.With(mongotest.URI(), "appName", childName(database)), "w", "majority")
	client, err := mongo.Connect(options.Client().ApplyURI(mongotest.With(uri, "readConcernLevel", "majority")))
	if err != nil {
		return err
	}
	return open(client.Database(database)).Commit(ctx, live, next(1, "a", "b", "c"))
}

func childName(database string) string { return database + "_child" }

// startChild is another process that commits next(1, "a", "b", "c"), and is held up for three seconds at its n-th such
// command.
func startChild(t *testing.T, db *mongo.Database, n int, command string) (held func(), kill func()) {
	t.Helper()
	held = mongotest.HoldUpLater(t, db, childName(db.Name()), n-1, command, 3*time.Second)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), program)
	child.Env = append(os.Environ(), childDatabase+"="+db.Name())
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		t.Helper()
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // that it was killed is no news
	}
	return held, kill
}

// live is the first generation, with all tables of open.
var live = ports.Generation{Number: 1, Views: []string{"events", "orders", "sums"}}

// tables have an index, none, and counters.
var tables = []ports.Table{
	{Name: "orders", Indexes: []ports.Index{{Equal: "buyer", Sort: "at", Filter: "status"}}},
	{Name: "events"},
	{Name: "sums", Counters: []string{"versions"}},
}

func open(db *mongo.Database) *readmodel.Store {
	return readmodel.New(db, tables, readmodel.Options{Timeout: 10 * time.Second})
}

// next is the change that this version of some orders makes. Version 1 is the first message of shard p0.
func next(version int, orderIDs ...string) ports.Change {
	place := func(version int) string {
		if version == 0 {
			return ""
		}
		return fmt.Sprint("place-", version)
	}
	c := ports.Change{Places: []ports.PlaceChange{{Shard: "p0", From: place(version - 1), To: place(version), AsOf: at}}}
	var orders, events, sums ports.RowChanges
	for _, id := range orderIDs {
		c.Progress = append(c.Progress, ports.ProgressChange{
			Progress:   ports.Progress{OrderID: id, Version: version, Newest: version, State: fmt.Appendf(nil, `{"version":%d}`, version)},
			WasVersion: version - 1,
		})
		row := ports.Row{Key: id, Body: fmt.Appendf(nil, `{"id":%q}`, id), Fields: []ports.Field{
			{Name: "buyer", Value: "buyer-1"}, {Name: "at", Value: int64(version)}, {Name: "status", Value: "pending"},
		}}
		if version == 1 {
			orders.Insert = append(orders.Insert, row)
		} else {
			orders.Put = append(orders.Put, row)
		}
		events.Insert = append(events.Insert, ports.Row{Key: fmt.Sprintf("%s/%09d", id, version), Body: []byte("{}")})
	}
	sums.Add = []ports.Addition{{Key: "all", Add: []ports.Count{{Name: "versions", Value: int64(len(orderIDs))}}}}
	c.Rows = map[string]ports.RowChanges{"orders": orders, "events": events, "sums": sums}
	return c
}

var at = time.Now().UTC().Truncate(time.Millisecond)

func commit(t testing.TB, store *readmodel.Store, c ports.Change) {
	t.Helper()
	if err := store.Commit(t.Context(), live, c); err != nil {
		t.Fatal(err)
	}
}

// wantVersions checks that all tables have versions 1 to n of these orders, and nothing else.
func wantVersions(t testing.TB, store *readmodel.Store, n int, orderIDs ...string) {
	t.Helper()
	places, err := store.Places(t.Context(), live)
	if err != nil || (n == 0) != (len(places) == 0) || n > 0 && places[0].Next != fmt.Sprint("place-", n) {
		t.Errorf("places %v, error %v, want place-%d", places, err, n)
	}
	loaded, err := store.Load(t.Context(), live, orderIDs)
	if err != nil || n > 0 && len(loaded) != len(orderIDs) {
		t.Errorf("progress %v, error %v, want that of %v", loaded, err, orderIDs)
	}
	for _, p := range loaded {
		if p.Version != n {
			t.Errorf("%s has version %d, want %d", p.OrderID, p.Version, n)
		}
	}
	rows := 0
	if n > 0 {
		rows = len(orderIDs)
	}
	for view, want := range map[string]int{"orders": rows, "events": n * len(orderIDs)} {
		page, err := store.List(t.Context(), ports.Query{View: view, Page: ports.Page{Limit: ports.MaxPageLimit}})
		if err != nil || len(page.Rows) != want {
			t.Errorf("%s: %d rows, error %v, want %d", view, len(page.Rows), err, want)
		}
	}
	if sum, err := store.Row(t.Context(), "sums", "all"); err != nil || sum.Counter("versions") != int64(n*len(orderIDs)) {
		t.Errorf("the sum is %v, error %v, want %d", sum.Counters, err, n*len(orderIDs))
	}
}
