package readmodel_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"hexorders/adapters/mongodb/mongotest"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/ports"
)

// Whatever becomes of the answer, the change is made once, or it is said that nobody knows.
func TestAChangeIsCommittedOnceThoughTheCommitsAnswerIsLost(t *testing.T) {
	db := mongotest.DB(t)
	store := open(db)
	commit(t, store, next(1, "a")) // the collections are there

	mongotest.FailCommand(t, db, mongotest.Times(2), "commitTransaction", bson.D{{Key: "closeConnection", Value: true}})
	commit(t, store, next(2, "a"))
	wantVersions(t, store, 2, "a")

	// The server has committed, and says that it is shutting down.
	mongotest.FailCommand(t, db, mongotest.Times(2), "commitTransaction", bson.D{
		{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 91}, {Key: "errmsg", Value: "shutting down"}}},
	})
	commit(t, store, next(3, "a"))
	wantVersions(t, store, 3, "a")

	hurried := readmodel.New(db, tables, readmodel.Options{Timeout: 200 * time.Millisecond})
	heal := mongotest.FailCommits(t, db, bson.D{{Key: "closeConnection", Value: true}})
	if err := hurried.Commit(t.Context(), live, next(4, "a")); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a Commit whose answers are all lost: got %v, want ErrUnavailable", err)
	}
	heal()
	wantVersions(t, store, 3, "a")
	commit(t, store, next(4, "a"))
	wantVersions(t, store, 4, "a")
}

func TestATransactionThatMeetsAnotherIsTriedAgain(t *testing.T) {
	db := mongotest.DB(t)
	store := open(db)
	commit(t, store, next(1, "a"))
	const writeConflict = 112
	for i, command := range []string{"delete", "insert", "update"} {
		mongotest.FailCommand(t, db, mongotest.Times(3), command, bson.D{
			{Key: "errorCode", Value: writeConflict}, {Key: "errorLabels", Value: bson.A{"TransientTransactionError"}},
		})
		commit(t, store, next(2+i, "a"))
		wantVersions(t, store, 2+i, "a")
	}
}

// Whoever loses a race for what both take for known has to hear of it, for the other may have changed it after it was read.
// The shards are different: only the order itself tells that they are in each other's way.
func TestOfTwoProcessesThatChangeAnOrderOneIsRefused(t *testing.T) {
	db := mongotest.DB(t)
	processes := []*readmodel.Store{open(db), open(db)}
	commit(t, processes[0], next(1, "a"))
	for version := 2; version <= 10; version++ {
		var results [2]error
		var both sync.WaitGroup
		for i, store := range processes {
			both.Go(func() {
				c := next(version, "a")
				c.Places = nil
				results[i] = store.Commit(t.Context(), live, c)
			})
		}
		both.Wait()
		if first, second := errors.Is(results[0], ports.ErrConflict), errors.Is(results[1], ports.ErrConflict); first == second {
			t.Fatalf("version %d: got %v and %v, want one ErrConflict", version, results[0], results[1])
		}
		if err := errors.Join(results[:]...); !errors.Is(err, ports.ErrConflict) {
			t.Fatal(err)
		}
	}
	sum, err := processes[0].Row(t.Context(), "sums", "all")
	if err != nil || sum.Counter("versions") != 10 {
		t.Errorf("the sum is %v, error %v, want 10: of a refused change nothing stays", sum.Counters, err)
	}
}

// A process that dies in the middle leaves all of its change or nothing, and only holds others up for a while: the server
// ends its transaction after transactionLifetimeLimitSeconds, 5 in these tests.
func TestAProcessThatIsKilledLeavesAllOrNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       int
		command string
		left    int // the version that the others find
	}{
		{"before the first write", 1, "update", 0},
		{"between two inserts", 2, "insert", 0},
		{"with the counters to come", 2, "update", 0},
		{"while the server commits", 1, "commitTransaction", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := mongotest.DB(t)
			store := open(db)
			if _, err := store.Live(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := store.Commit(t.Context(), live, ports.Change{}); err != nil { // makes the collections
				t.Fatal(err)
			}
			held, kill := startChild(t, db, c.n, c.command)
			held()
			wantVersions(t, store, 0)
			kill()

			// A Commit gives up on a document that is locked after a few seconds, and its caller tries again. If the change was
			// committed, the same one is refused.
			var err error
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
				err = store.Commit(t.Context(), live, next(1, "a", "b", "c"))
				if !errors.Is(err, ports.ErrUnavailable) {
					break
				}
			}
			if c.left == 0 && err != nil || c.left == 1 && !errors.Is(err, ports.ErrConflict) {
				t.Fatalf("the next Commit: %v", err)
			}
			wantVersions(t, store, 1, "a", "b", "c")
			commit(t, store, next(2, "a", "b", "c"))
			wantVersions(t, store, 2, "a", "b", "c")
		})
	}
}

// A message is at most 48 MB, so a change takes several commands, in one transaction.
func TestAChangeOfMoreThanAMessageIsCommittedWhole(t *testing.T) {
	db := mongotest.DB(t)
	store := open(db)
	var ids []string
	for i := range ports.MaxBatch {
		ids = append(ids, fmt.Sprintf("order-%04d", i))
	}
	large := next(1, ids...)
	body := `"` + strings.Repeat("x", 60_000) + `"`
	for i := range ids {
		large.Rows["orders"].Insert[i].Body = []byte(body)
	}
	heal := mongotest.RefuseCommits(t, db)
	if err := store.Commit(t.Context(), live, large); err == nil {
		t.Error("a commit that the server refuses: got no error")
	}
	heal()
	wantVersions(t, store, 0)
	commit(t, store, large)
	if row, err := store.Row(t.Context(), "orders", ids[len(ids)-1]); err != nil || string(row.Body) != body {
		t.Errorf("the last row has %d bytes, error %v, want %d", len(row.Body), err, len(body))
	}
	loaded, err := store.Load(t.Context(), live, ids)
	if err != nil || len(loaded) != len(ids) {
		t.Errorf("progress of %d orders, error %v, want %d", len(loaded), err, len(ids))
	}
}

// What the server says in its shell is JSON text, and no bytes.
func TestBodiesAndStatesAreTexts(t *testing.T) {
	db := mongotest.DB(t)
	commit(t, open(db), next(1, "a"))
	for collection, field := range map[string]string{"readmodel.1.orders": "body", "readmodel.1.progress": "state"} {
		local := options.Collection().SetReadConcern(readconcern.Local()) // the commit waited for no majority
		document, err := db.Collection(collection, local).FindOne(t.Context(), bson.D{}).Raw()
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := document.Lookup(field).StringValueOK(); !ok || !strings.HasPrefix(text, "{") {
			t.Errorf("%s in %s is not a JSON text: %s", field, collection, document)
		}
	}
}
