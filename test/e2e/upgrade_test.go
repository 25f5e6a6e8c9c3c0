package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/test/checker"
)

// What the version before the read model left behind, see testdata/before-read-model/README.md.
const (
	oldOrders = 10
	oldEvents = 24
	upgraded  = "the read model is rebuilt from the topic"
)

// A database of the version before the read model has views of its own. The first start drops them, says so once, and rebuilds
// the read model from the topic.
func TestADatabaseOfTheVersionBeforeTheReadModelIsUpgraded(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		d := newEmbedded(t)
		write(t, d.file, string(unzipped(t, "testdata/before-read-model/sqlite.db.gz")))
		old := []string{"positions", "inbox", "marks", "held", "summaries", "activity", "timeline"}
		tables := func() (names []string) {
			d.scan(`SELECT name FROM sqlite_master WHERE type = 'table'`, func(rows *sql.Rows) error {
				var name string
				err := rows.Scan(&name)
				names = append(names, name)
				return err
			})
			return names
		}
		upgrades(t, d.env, old, tables)
	})
	t.Run("mongodb", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, shared(t))
		old := w.restore("testdata/before-read-model/mongodb.jsonl")
		old = slices.DeleteFunc(old, func(name string) bool { return name != "views" && !strings.HasPrefix(name, "view.") })
		collections := func() []string {
			names, err := w.mongo.Database(w.source.Database).ListCollectionNames(t.Context(), bson.D{})
			if err != nil {
				t.Fatal(err)
			}
			return names
		}
		upgrades(t, w.env.with("HEXORDERS_BROKER", "inproc").with("HEXORDERS_OUTBOX_RETENTION", "0"), old, collections)
	})
}

// upgrades starts the program on a database that has these tables or collections of old views.
func upgrades(t *testing.T, env environment, old []string, names func() []string) {
	t.Helper()
	for _, name := range old {
		if !slices.Contains(names(), name) {
			t.Fatalf("%s is not there before: have %v", name, names())
		}
	}
	p := launch(t, "first start", env, "serve").ready()
	topic := func() (records []checker.Record) {
		for i, event := range tailJSON(t, env, oldEvents) {
			records = append(records, event.record(int64(i)))
		}
		return records
	}
	views := viewsOf(t, p, topic())
	statuses := map[string]int{}
	for _, s := range views.Summaries {
		statuses[s.Status]++
	}
	if want := (map[string]int{"pending": 3, "submitted": 2, "paid": 3, "cancelled": 2}); fmt.Sprint(statuses) != fmt.Sprint(want) {
		t.Errorf("the list has %v orders by status, want %v", statuses, want)
	}
	for _, name := range old {
		if slices.Contains(names(), name) {
			t.Errorf("%s is still there", name)
		}
	}
	if said := strings.Count(p.output.String(), upgraded); said != 1 {
		t.Errorf("%d lines say %q, want one:\n%s", said, upgraded, p.output.remarkable())
	}

	// It is a database like any other now.
	o := &operator{t: t, client: newClient(env["HEXORDERS_HTTP_ADDR"])}
	for id, s := range views.Summaries {
		if s.Status == "submitted" {
			o.does(id, "pay", "")
			a, err := o.client.do(t.Context(), "GET", fmt.Sprintf("/orders?status=paid&atLeastVersion=%s/%d", id, s.Version+1), "")
			if err != nil || a.status != http.StatusOK || !strings.Contains(string(a.body), id) {
				t.Errorf("the paid order %s is not in the list of paid orders: answer %.500s, error %v", id, a, err)
			}
		}
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	again := launch(t, "second start", env, "serve").ready()
	if again.output.contains(upgraded) {
		t.Errorf("the second start upgrades again:\n%s", again.output.remarkable())
	}
}

func unzipped(t *testing.T, file string) []byte {
	t.Helper()
	zipped, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = zipped.Close() }()
	var content bytes.Buffer
	reader, err := gzip.NewReader(zipped)
	if err == nil {
		_, err = content.ReadFrom(reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

// restore fills the test's database with what a file has: for each collection a line with its name and its indexes, and then
// its documents, a line each. It returns the names.
func (w *world) restore(file string) (collections []string) {
	w.t.Helper()
	dump, err := os.Open(file)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = dump.Close() }()
	database := w.mongo.Database(w.source.Database)
	var name string
	for lines := bufio.NewScanner(dump); lines.Scan(); {
		var head struct {
			Collection string
			Indexes    []bson.D
		}
		var document bson.D
		if err := bson.UnmarshalExtJSON(lines.Bytes(), true, &head); err != nil {
			w.t.Fatal(err)
		}
		if head.Collection == "" {
			if err = bson.UnmarshalExtJSON(lines.Bytes(), true, &document); err == nil {
				_, err = database.Collection(name).InsertOne(w.t.Context(), document)
			}
			if err != nil {
				w.t.Fatal(err)
			}
			continue
		}
		name = head.Collection
		collections = append(collections, name)
		create := bson.D{{Key: "createIndexes", Value: name}, {Key: "indexes", Value: head.Indexes}}
		if err := database.RunCommand(w.t.Context(), create).Err(); err != nil {
			w.t.Fatal(err)
		}
	}
	return collections
}
