package sqlite

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	driver "modernc.org/sqlite"

	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestOrderStore(t *testing.T) { porttest.OrderStore(t, openStorage(options{})) }

func TestOutbox(t *testing.T) { porttest.Outbox(t, openStorage(options{})) }

// Without groups the promises are the same.
func TestOrderStoreOneByOne(t *testing.T) { porttest.OrderStore(t, openStorage(options{maxBatch: 1})) }

func TestParking(t *testing.T) {
	porttest.Parking(t, func(t testing.TB) ports.Parking { return NewParking(openNew(t)) })
}

func TestLease(t *testing.T) {
	porttest.Lease(t, func(t testing.TB) ports.Lease { return NewLease(openNew(t), "relay") })
}

func TestTopic(t *testing.T) {
	porttest.Topic(t, func(t testing.TB) ports.Topic { return NewTopic(openNew(t)) })
}

func openStorage(o options) func(testing.TB) porttest.Storage {
	return func(t testing.TB) porttest.Storage {
		db := openWith(t, filepath.Join(t.TempDir(), "orders.db"), o)
		return porttest.Storage{Orders: NewStore(db), Outbox: NewOutbox(db), FailCommits: func(t testing.TB) func() {
			return failCommits(t, db)
		}}
	}
}

// failCommits has SQLite itself refuse: a commit hook turns COMMIT into a rollback and an error.
func failCommits(t testing.TB, db *DB) (heal func()) {
	t.Helper()
	var healed atomic.Bool
	err := db.writer.conn.Raw(func(conn any) error {
		conn.(driver.HookRegisterer).RegisterCommitHook(func() int32 {
			if healed.Load() {
				return 0
			}
			return 1
		})
		return nil
	})
	if err != nil {
		t.Fatalf("register a commit hook: %v", err)
	}
	return func() { healed.Store(true) }
}

func openNew(t testing.TB) *DB {
	t.Helper()
	return openWith(t, filepath.Join(t.TempDir(), "orders.db"), options{})
}

func openAt(t testing.TB, path string) *DB {
	t.Helper()
	return openWith(t, path, options{})
}

func openWith(t testing.TB, path string, o options) *DB {
	t.Helper()
	db, err := open(t.Context(), path, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}
