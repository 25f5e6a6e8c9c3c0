package mongodb_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.uber.org/goleak"

	"hexorders/adapters/mongodb"
	"hexorders/core/order"
	"hexorders/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testURI names the server that the tests run against.
func testURI() string {
	if uri := os.Getenv("HEXORDERS_TEST_MONGODB_URI"); uri != "" {
		return uri
	}
	return "mongodb://127.0.0.1:27017/?replicaSet=rs0"
}

// testDB connects to a database of its own, which is gone when the test is over.
func testDB(t testing.TB) *mongo.Database {
	t.Helper()
	return connect(t, testURI(), "hexorders_test_"+strings.ToLower(rand.Text()[:12]))
}

// connect gives the client an application name of its own too, so that failCommand can tell it from all others.
func connect(t testing.TB, uri, database string) *mongo.Database {
	t.Helper()
	// Closing a client may take as long as a heartbeat.
	uri = with(with(uri, "appName", database), "heartbeatFrequencyMS", "500")
	db, err := mongodb.Connect(t.Context(), uri, database)
	if err != nil {
		t.Fatalf("%v\nThese tests need MongoDB: run scripts/services up", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := db.Drop(ctx); err != nil {
			t.Errorf("drop %s: %v", database, err)
		}
		if err := db.Client().Disconnect(ctx); err != nil {
			t.Errorf("disconnect: %v", err)
		}
	})
	return db
}

// with sets an option in a MongoDB URI.
func with(uri, option, value string) string {
	base, query, _ := strings.Cut(uri, "?")
	if !strings.Contains(strings.TrimPrefix(base, "mongodb://"), "/") {
		base += "/"
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	options.Set(option, value)
	return base + "?" + options.Encode()
}

// failCommand makes the server fail a command of this test's client: always, or as often as mode says. There is one
// failCommand a server, hence no t.Parallel in this package.
func failCommand(t testing.TB, db *mongo.Database, mode any, command string, how bson.D) (heal func()) {
	t.Helper()
	set := func(ctx context.Context, mode any) error {
		_, err := setFailPoint(ctx, db.Client(), db.Name(), mode, command, how)
		return err
	}
	if err := set(t.Context(), mode); err != nil {
		t.Fatalf("set the fail point (mongod needs --setParameter enableTestCommands=1): %v", err)
	}
	heal = sync.OnceFunc(func() {
		if err := set(context.WithoutCancel(t.Context()), "off"); err != nil {
			t.Errorf("clear the fail point: %v", err)
		}
	})
	t.Cleanup(heal)
	return heal
}

// setFailPoint answers with how often the fail point has struck so far.
func setFailPoint(ctx context.Context, by *mongo.Client, app string, mode any, command string, how bson.D) (struck int, err error) {
	data := append(bson.D{
		{Key: "failCommands", Value: bson.A{command}},
		{Key: "appName", Value: app},
	}, how...)
	var answer struct{ Count int }
	err = by.Database("admin").RunCommand(ctx, bson.D{
		{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode}, {Key: "data", Value: data},
	}).Decode(&answer)
	return answer.Count, err
}

// holdUp makes the server hold the next such command of this test's client for a while. held waits until it does.
func holdUp(t testing.TB, db *mongo.Database, command string, d time.Duration) (held func()) {
	t.Helper()
	struck, err := setFailPoint(t.Context(), db.Client(), db.Name(), times(1), command, bson.D{
		{Key: "blockConnection", Value: true}, {Key: "blockTimeMS", Value: d.Milliseconds()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		wait := bson.D{
			{Key: "waitForFailPoint", Value: "failCommand"}, {Key: "timesEntered", Value: struck + 1}, {Key: "maxTimeMS", Value: 30_000},
		}
		if err := db.Client().Database("admin").RunCommand(t.Context(), wait).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// refuseCommits makes the server answer every commit of this test's client with an error.
func refuseCommits(t testing.TB, db *mongo.Database) (heal func()) {
	t.Helper()
	return failCommits(t, db, bson.D{{Key: "errorCode", Value: 1}, {Key: "errorLabels", Value: bson.A{}}})
}

// failCommits lets no commit of this test's client happen. A server that really refuses a commit has aborted the
// transaction; failCommand leaves it open, so heal ends what is open.
func failCommits(t testing.TB, db *mongo.Database, how bson.D) (heal func()) {
	t.Helper()
	stop := failCommand(t, db, "alwaysOn", "commitTransaction", how)
	return func() {
		t.Helper()
		stop()
		admin := db.Client().Database("admin", options.Database().SetReadConcern(readconcern.Local()))
		cursor, err := admin.Aggregate(t.Context(), mongo.Pipeline{
			{{Key: "$currentOp", Value: bson.D{{Key: "idleSessions", Value: true}}}},
			{{Key: "$match", Value: bson.D{{Key: "type", Value: "idleSession"}, {Key: "appName", Value: db.Name()}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var idle []struct {
			Session struct {
				ID bson.RawValue `bson:"id"`
			} `bson:"lsid"`
		}
		if err := cursor.All(t.Context(), &idle); err != nil {
			t.Fatal(err)
		}
		for _, i := range idle {
			kill := bson.D{{Key: "killSessions", Value: bson.A{bson.D{{Key: "id", Value: i.Session.ID}}}}}
			if err := admin.RunCommand(t.Context(), kill).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func times(n int) bson.D { return bson.D{{Key: "times", Value: n}} }

// at is when everything in these tests happens: now, in the precision of MongoDB.
var at = time.Now().UTC().Truncate(time.Millisecond)

// newOrder is an order with n changes, none of them saved.
func newOrder(t testing.TB, id string, n int) *order.Order {
	t.Helper()
	o, err := order.New(id, "buyer-1", []order.Item{{Product: "p", Amount: 1}}, at)
	if err != nil {
		t.Fatal(err)
	}
	change(t, o, n-1)
	return o
}

// change makes n more changes.
func change(t testing.TB, o *order.Order, n int) {
	t.Helper()
	for range n {
		if err := o.AddItem("p", 1, at); err != nil {
			t.Fatal(err)
		}
	}
}

func save(t testing.TB, store ports.OrderStore, orders ...*order.Order) {
	t.Helper()
	for _, o := range orders {
		if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
			t.Fatal(err)
		}
	}
}

// received is a message with the position that came with it.
type received struct {
	ports.Message
	position ports.Position
}

var errEnough = errors.New("enough")

// tail returns the next n messages after a position.
func tail(t testing.TB, outbox ports.Outbox, after ports.Position, n int) []received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var got []received
	err := outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		got = append(got, received{m, p})
		if len(got) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("after %d of %d messages Tail ended with: %v", len(got), n, err)
	}
	return got
}

// wantOnce checks that the messages are versions 1 to n of each order, each once and in order.
func wantOnce(t testing.TB, got []received, want map[string]int) {
	t.Helper()
	last := map[string]int{}
	for i, m := range got {
		if m.Version != last[m.OrderID]+1 {
			t.Errorf("message %d is version %d of %s, after version %d", i, m.Version, m.OrderID, last[m.OrderID])
		}
		last[m.OrderID] = m.Version
	}
	for id, versions := range want {
		if last[id] != versions {
			t.Errorf("%s: got versions up to %d, want %d", id, last[id], versions)
		}
	}
	if len(last) != len(want) {
		t.Errorf("got messages of %d orders, want %d", len(last), len(want))
	}
}

func wantSame(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

func ids(prefix string, n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%03d", prefix, i))
	}
	return ids
}
