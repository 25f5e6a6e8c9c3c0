// Package mongotest is what the tests of adapters/mongodb and its rooms share: a database of their own on a real server,
// and commands that fail.
package mongotest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"hexorders/adapters/mongodb"
)

// URI names the server that the tests run against.
func URI() string {
	if uri := os.Getenv("HEXORDERS_TEST_MONGODB_URI"); uri != "" {
		return uri
	}
	return "mongodb://127.0.0.1:27017/?replicaSet=rs0"
}

// With sets an option in a MongoDB URI.
func With(uri, option, value string) string {
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

// DB connects to a database of its own, which is gone when the test is over.
func DB(t testing.TB) *mongo.Database {
	t.Helper()
	return Connect(t, URI(), newName())
}

func newName() string { return "hexorders_test_" + strings.ToLower(rand.Text()[:12]) }

// Again is a second client of a database.
func Again(t testing.TB, db *mongo.Database, address string) *mongo.Database {
	t.Helper()
	again, err := mongodb.Connect(t.Context(), With(at(address), "appName", db.Name()), db.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Client().Disconnect(context.WithoutCancel(t.Context())) })
	return again
}

// at is the URI of the one server at an address. A client finds out soon that it is away.
func at(address string) string {
	uri := strings.Replace(URI(), hosts(URI()), address, 1)
	return With(With(With(uri, "directConnection", "true"), "serverSelectionTimeoutMS", "1500"), "heartbeatFrequencyMS", "500")
}

func hosts(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = rest[at+1:]
	}
	hosts, _, _ := strings.Cut(rest, "/")
	hosts, _, _ = strings.Cut(hosts, "?")
	return hosts
}

// Server is the address of the first server.
func Server() string {
	first, _, _ := strings.Cut(hosts(URI()), ",")
	if !strings.Contains(first, ":") {
		first += ":27017"
	}
	return first
}

// Connect gives the client an application name of its own too, so that FailCommand can tell it from all others. The
// database is gone when the test is over.
func Connect(t testing.TB, uri, database string) *mongo.Database {
	t.Helper()
	db := connect(t, uri, database)
	t.Cleanup(func() { leave(t, db, db.Drop) })
	return db
}

func connect(t testing.TB, uri, database string) *mongo.Database {
	t.Helper()
	// Closing a client may take as long as a heartbeat.
	uri = With(With(uri, "appName", database), "heartbeatFrequencyMS", "500")
	db, err := mongodb.Connect(context.WithoutCancel(t.Context()), uri, database, nil) // a test that is over cleans up too
	if err != nil {
		t.Fatalf("%v\nThese tests need MongoDB: run scripts/services up", err)
	}
	return db
}

// leave closes the client of a database that a test is done with.
func leave(t testing.TB, db *mongo.Database, cleanUp func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := cleanUp(ctx); err != nil {
		t.Errorf("clean up %s: %v", db.Name(), err)
	}
	if err := db.Client().Disconnect(ctx); err != nil {
		t.Errorf("disconnect: %v", err)
	}
}

// FailCommand makes the server fail a command of this test's client: always, or as often as mode says.
func FailCommand(t testing.TB, db *mongo.Database, mode any, command string, how bson.D) (heal func()) {
	t.Helper()
	LockFailPoint(t, db.Client())
	set := func(ctx context.Context, mode any) error {
		_, err := SetFailPoint(ctx, db.Client(), db.Name(), mode, command, how)
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

// Times is the mode of a fail point that strikes n times.
func Times(n int) bson.D { return bson.D{{Key: "times", Value: n}} }

// SetFailPoint answers with how often the fail point has struck so far. Its caller has called LockFailPoint.
func SetFailPoint(ctx context.Context, by *mongo.Client, app string, mode any, command string, how bson.D) (struck int, err error) {
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

// locked tells that a test of this process has the fail point. Such tests do not run in parallel.
var locked bool

// LockFailPoint waits until no other process uses the server's fail point, and keeps it until the test is over: a server has
// one failCommand, and the tests of several packages run at once.
func LockFailPoint(t testing.TB, client *mongo.Client) {
	t.Helper()
	if locked {
		return
	}
	const longestTest = 2 * time.Minute
	db, owner := client.Database("hexorders_test_fail_point"), rand.Text()
	lease := mongodb.NewLease(db, "failCommand")
	for {
		_, err := lease.Acquire(t.Context(), owner, longestTest)
		if err == nil {
			break
		}
		// Whoever releases it drops the database, so there may be other errors than that it is held.
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(err)
		}
	}
	locked = true
	t.Cleanup(func() {
		locked = false
		if err := db.Drop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("release the fail point: %v", err)
		}
	})
}

// HoldUp makes the server hold the next such command of this test's client for a while. held waits until it does.
func HoldUp(t testing.TB, db *mongo.Database, command string, d time.Duration) (held func()) {
	t.Helper()
	return holdUp(t, db, db.Name(), Times(1), command, d)
}

// HoldUpLater holds all such commands of the client with this application name, but for the first few.
func HoldUpLater(t testing.TB, db *mongo.Database, app string, but int, command string, d time.Duration) (held func()) {
	t.Helper()
	held = holdUp(t, db, app, bson.D{{Key: "skip", Value: but}}, command, d)
	t.Cleanup(func() { // this waits until nothing is held any more
		if _, err := SetFailPoint(context.WithoutCancel(t.Context()), db.Client(), "", "off", command, nil); err != nil {
			t.Errorf("clear the fail point: %v", err)
		}
	})
	return held
}

func holdUp(t testing.TB, db *mongo.Database, app string, mode any, command string, d time.Duration) (held func()) {
	t.Helper()
	LockFailPoint(t, db.Client())
	struck, err := SetFailPoint(t.Context(), db.Client(), app, mode, command, bson.D{
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

// RefuseCommits makes the server answer every commit of this test's client with an error.
func RefuseCommits(t testing.TB, db *mongo.Database) (heal func()) {
	t.Helper()
	return FailCommits(t, db, bson.D{{Key: "errorCode", Value: 1}, {Key: "errorLabels", Value: bson.A{}}})
}

// FailCommits lets no commit of this test's client happen. A server that really refuses a commit has aborted the
// transaction; failCommand leaves it open, so heal ends what is open.
func FailCommits(t testing.TB, db *mongo.Database, how bson.D) (heal func()) {
	t.Helper()
	stop := FailCommand(t, db, "alwaysOn", "commitTransaction", how)
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
