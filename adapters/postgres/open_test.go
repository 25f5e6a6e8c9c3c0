package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/adapters/postgres/postgrestest"
	"hexorders/core/order"
	"hexorders/ports"
)

func newOrder(t testing.TB, id string) *order.Order {
	t.Helper()
	o, err := order.New(id, "9999", []order.Item{{Product: "1111", Amount: 3}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestProcessesThatStartTogetherMakeTheTablesOnce(t *testing.T) {
	uri := newSchema(t)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			db, err := Open(t.Context(), uri, Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := db.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestAWrongDatabaseIsExplained(t *testing.T) {
	foreign, newer := newSchema(t), newSchema(t)
	postgrestest.Execute(t, foreign, "CREATE TABLE orders (id integer)")
	openAt(t, newer, Options{})
	postgrestest.Execute(t, newer, "UPDATE schema_version SET version = 1000")
	for what, test := range map[string]struct {
		uri  string
		want error
	}{
		"no URI":                        {"postgres://h:port/", ErrURI},
		"a database that is not there":  {strings.Replace(postgrestest.URI(), "?", "-not-there?", 1), ErrNoDatabase},
		"a schema that is not there":    {postgrestest.With(t, postgrestest.URI(), "search_path", "not_there"), ErrNoSchema},
		"tables of another program":     {foreign, ErrForeign},
		"tables of a newer version":     {newer, ErrNewer},
		"a server that is not there":    {"postgres://127.0.0.1:1/hexorders", ports.ErrUnavailable},
		"a user who is not there":       {postgrestest.With(t, postgrestest.URI(), "user", "not_there"), ErrPassword},
		"a user without rights on it":   {withoutRights(t, newSchema(t)), ErrNoSchema},
		"a user who may only read from": {withoutRights(t, newSchema(t), "USAGE"), ErrNotAllowed},
	} {
		db, err := Open(t.Context(), test.uri, Options{})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", what, err, test.want)
		}
		if err == nil {
			_ = db.Close(t.Context())
		}
	}
}

// withoutRights is the schema for a user who has no more than these rights on it.
func withoutRights(t *testing.T, uri string, rights ...string) string {
	t.Helper()
	schema := uri[strings.Index(uri, "search_path=")+len("search_path="):]
	schema, _, _ = strings.Cut(schema, "&")
	user := "user_of_" + schema
	postgrestest.Execute(t, uri, "CREATE ROLE "+user+" LOGIN")
	t.Cleanup(func() { postgrestest.Execute(t, uri, "DROP OWNED BY "+user+"; DROP ROLE "+user) })
	for _, right := range rights {
		postgrestest.Execute(t, uri, "GRANT "+right+" ON SCHEMA "+schema+" TO "+user)
	}
	return postgrestest.With(t, uri, "user", user)
}

func TestNoErrorTellsThePassword(t *testing.T) {
	for _, uri := range []string{"postgres://u:hunter2@127.0.0.1:1/d", "postgres://u:hunter2@h:port/d", "postgres://u:hun%ter2@h/d"} {
		_, err := Open(t.Context(), uri, Options{})
		if err == nil || strings.Contains(err.Error(), "hun") {
			t.Errorf("open %s: got error %v, want one without the password", uri, err)
		}
	}
}

func TestACommitOfAnotherProcessIsHeard(t *testing.T) {
	uri := newSchema(t)
	one, other := openAt(t, uri, Options{}), openAt(t, uri, Options{})
	for n := range 3 {
		if n == 2 { // also after the listener's connection was ended
			execute(t, one, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'
				AND (query LIKE '%' || $1 || '%' OR query LIKE '%' || $2 || '%')`, other.outbox.channel, other.topic.channel)
		}
		heard := false
		for try := 0; !heard; try++ {
			changed := other.outbox.next()
			o := newOrder(t, fmt.Sprintf("order-%d-%d", n, try))
			if err := NewStore(one).Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-changed:
				heard = true
			case <-time.After(time.Second): // it may be connecting
				if try == 30 {
					t.Fatal("no commit of the other process is heard")
				}
			}
		}
	}
}

func TestASaveThatPostgresRefusesFailsAlone(t *testing.T) {
	db := openNew(t)
	store := NewStore(db)
	// While another has the lock, saves gather in the queue.
	lock, err := db.pool.Begin(t.Context())
	if err == nil {
		_, err = lock.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, db.outbox.lock)
	}
	if err != nil {
		t.Fatal(err)
	}
	const bad = 5
	results := make([]error, 12)
	var all sync.WaitGroup
	for i := range results {
		o, key := newOrder(t, fmt.Sprintf("order-%02d", i)), ports.IdempotencyKey{}
		if i == bad {
			key.Value = "no\x00text"
		}
		all.Go(func() { results[i] = store.Save(t.Context(), o, key) })
		if i == 0 { // the first one waits for the lock, and the others are queued behind it
			for db.pool.Stat().AcquiredConns() < 2 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	for len(db.committer.queue) < len(results)-1 {
		time.Sleep(time.Millisecond)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	for i, err := range results {
		_, missing := store.Get(t.Context(), fmt.Sprintf("order-%02d", i))
		switch {
		case i == bad && (err == nil || errors.Is(err, ports.ErrUnavailable) || !errors.Is(missing, ports.ErrNotFound)):
			t.Errorf("the save that is refused: got error %v and %v, want one that is not %v, and no order", err, missing,
				ports.ErrUnavailable)
		case i != bad && (err != nil || missing != nil):
			t.Errorf("order %d beside it: got error %v and %v, want it saved", i, err, missing)
		}
	}
}
