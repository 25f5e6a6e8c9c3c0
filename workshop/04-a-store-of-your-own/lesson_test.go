//go:build exercise

package lesson

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hexorders/adapters/eventjson"
	"hexorders/ports/porttest"
	"hexorders/ports/porttest/cable"
)

// TestStore runs over a file of SQLite, or over PostgreSQL:
//
//	LESSON_POSTGRES='postgres://localhost:5432/hexorders?user=hexorders' make lesson N=4
func TestStore(t *testing.T) {
	if uri := os.Getenv("LESSON_POSTGRES"); uri != "" {
		porttest.Store(t, func(t testing.TB) porttest.Storage { return onPostgres(t, uri) })
		return
	}
	porttest.Store(t, func(t testing.TB) porttest.Storage { return storage(t, filepath.Join(t.TempDir(), "orders.db")) })
}

func storage(t testing.TB, name string) porttest.Storage {
	s := open(t, name)
	return porttest.Storage{
		Orders: s, Outbox: s, Encode: eventjson.Messages,
		FailCommits: func(t testing.TB) func() { return failCommits(t, s) },
		Again:       func(t testing.TB) porttest.Storage { return storage(t, name) },
		Restart: func(t testing.TB) porttest.Storage {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return storage(t, name)
		},
	}
}

// onPostgres has a schema of its own, and a cable to the server that the suite cuts.
func onPostgres(t testing.TB, uri string) porttest.Storage {
	db, err := sql.Open("pgx", uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	schema := "lesson_" + strings.ToLower(rand.Text()[:12])
	execute(t, db, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { execute(t, db, "DROP SCHEMA "+schema+" CASCADE") })
	target, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	c := cable.To(t, cmp.Or(target.Host, "127.0.0.1:5432"))
	target.Host = c.Address()
	parameters := target.Query()
	parameters.Set("search_path", schema)
	parameters.Set("sslmode", "disable")
	target.RawQuery = parameters.Encode()
	s := storage(t, target.String())
	s.Break = c.Cut
	return s
}

func open(t testing.TB, name string) *Store {
	t.Helper()
	s, err := Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closing again does no harm
	return s
}

// failCommits has the database itself refuse: a constraint that is looked at as the last thing before the commit.
func failCommits(t testing.TB, s *Store) (heal func()) {
	t.Helper()
	if s.postgres {
		execute(t, s.db, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'this commit fails'; END $$;
			CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON orders DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION refuse()`)
		return func() { execute(t, s.db, `DROP FUNCTION refuse CASCADE`) }
	}
	execute(t, s.db, `CREATE TABLE refused (id TEXT REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED);
		CREATE TRIGGER refuse_new AFTER INSERT ON orders BEGIN INSERT INTO refused VALUES ('this commit fails'); END;
		CREATE TRIGGER refuse_change AFTER UPDATE ON orders BEGIN INSERT INTO refused VALUES ('this commit fails'); END`)
	return func() { execute(t, s.db, `DROP TRIGGER refuse_new; DROP TRIGGER refuse_change; DROP TABLE refused`) }
}

func execute(t testing.TB, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
