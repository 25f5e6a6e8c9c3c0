package readmodel_test

import (
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/adapters/mongodb/mongotest"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/app/readside"
	"hexorders/ports"
)

// A list is read from an index in its order, however many rows there are. The server's profiler tells what it did, for each
// list of each view of the program, in both directions.
func TestNoListIsSortedOrReadFromEndToEnd(t *testing.T) {
	db := mongotest.DB(t)
	views := append(readside.Tables(readside.All), ports.Table{Name: "filtered", Indexes: []ports.Index{{Filter: "status"}}})
	store := readmodel.New(db, views, readmodel.Options{})
	const rows, values, size = 800, 4, 10
	c := ports.Change{Rows: map[string]ports.RowChanges{}}
	for _, view := range views {
		var changes ports.RowChanges
		for i := range rows {
			changes.Insert = append(changes.Insert, ports.Row{
				Key: fmt.Sprintf("order-%d\x1f%09d", i%values, i),
				Fields: []ports.Field{
					{Name: "buyer", Value: fmt.Sprint("buyer-", i%values)},
					{Name: "status", Value: fmt.Sprint("status-", i/values%values)}, // one of each, for every buyer in turn
					{Name: "updatedAt", Value: int64(i * 7 % 9)},
					{Name: "totalAmount", Value: int64(i * 5 % 11)},
				},
			})
		}
		c.Rows[view.Name] = changes
	}
	g, err := store.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Commit(t.Context(), g, c); err != nil {
		t.Fatal(err)
	}

	var lists []ports.Query
	for _, view := range views {
		lists = append(lists, ports.Query{View: view.Name}, ports.Query{View: view.Name, Prefix: "order-2\x1f"})
		for _, index := range view.Indexes {
			q := ports.Query{View: view.Name, Sort: index.Sort}
			if index.Equal != "" {
				q.Equal = ports.Field{Name: index.Equal, Value: index.Equal + "-1"}
			}
			lists = append(lists, q)
			if index.Filter != "" {
				q.Filter = ports.Field{Name: index.Filter, Value: index.Filter + "-2"}
				lists = append(lists, q)
			}
		}
	}
	profile(t, db, 2)
	asked := 0
	for _, q := range lists {
		for _, q.Descending = range []bool{false, true} {
			q.Page = ports.Page{Limit: size}
			for range 3 { // the first page, and two behind a cursor
				page, err := store.List(t.Context(), q)
				if err != nil || len(page.Rows) != size {
					t.Fatalf("%+v: %d rows, error %v, want %d", q, len(page.Rows), err, size)
				}
				q.Page.Cursor = page.Next
				asked++
			}
		}
	}
	profile(t, db, 0)

	ofViews := bson.D{{Key: "$regex", Value: `\.readmodel\.1\.`}}
	found, err := db.Collection("system.profile").Find(t.Context(), bson.D{{Key: "op", Value: "query"}, {Key: "ns", Value: ofViews}})
	if err != nil {
		t.Fatal(err)
	}
	var seen []struct {
		Command      bson.Raw `bson:"command"`
		Plan         string   `bson:"planSummary"`
		Sorted       bool     `bson:"hasSortStage"`
		KeysExamined int      `bson:"keysExamined"`
		DocsExamined int      `bson:"docsExamined"`
	}
	if err := found.All(t.Context(), &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen) != asked {
		t.Fatalf("the server was asked %d times, want %d", len(seen), asked)
	}
	for _, s := range seen {
		keys := size + 3 // one more than the page, and the ends of two ranges
		if strings.Contains(s.Command.Lookup("filter").String(), "f.status") {
			keys *= 2 * values // those with another value are passed over
		}
		if !strings.HasPrefix(s.Plan, "IXSCAN") || s.Sorted || s.DocsExamined > size+1 || s.KeysExamined > keys {
			t.Errorf("%s, sorted in memory %v, %d keys and %d documents read for a page of %d: %s", s.Plan, s.Sorted, s.KeysExamined,
				s.DocsExamined, size, s.Command)
		}
	}
}

func profile(t testing.TB, db *mongo.Database, level int) {
	t.Helper()
	if err := db.RunCommand(t.Context(), bson.D{{Key: "profile", Value: level}}).Err(); err != nil {
		t.Fatal(err)
	}
}
