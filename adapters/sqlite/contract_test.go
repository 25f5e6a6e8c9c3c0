package sqlite

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	driver "modernc.org/sqlite"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/inproc/logtest"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestStore(t *testing.T) { porttest.Store(t, openStorage(options{lockTimeout: time.Second})) }

// Without groups the promises are the same.
func TestOrderStoreOneByOne(t *testing.T) {
	porttest.Store(t, openStorage(options{maxBatch: 1, lockTimeout: time.Second}), "OrderStore")
}

func TestTopic(t *testing.T) {
	logtest.Log(t, func(t testing.TB) inproc.Log { return NewTopic(openNew(t)) })
}

func openStorage(o options) func(testing.TB) porttest.Storage {
	return func(t testing.TB) porttest.Storage { return storageAt(t, filepath.Join(t.TempDir(), "orders.db"), o) }
}

func storageAt(t testing.TB, path string, o options) porttest.Storage {
	db := openWith(t, path, o)
	return porttest.Storage{
		Orders: NewStore(db), Outbox: NewOutbox(db), Parking: NewParking(db), Lease: NewLease(db, "relay"), Encode: eventjson.Messages,
		FailCommits: func(t testing.TB) func() { return failCommits(t, db) },
		Break:       breakFile(path),
		Again:       func(t testing.TB) porttest.Storage { return storageAt(t, path, o) },
		Restart: func(t testing.TB) porttest.Storage {
			closeNow(t, db)
			return storageAt(t, path, o)
		},
		Age: func(t testing.TB, by time.Duration) { age(t, db, by) },
	}
}

// breakFile is a Break of the suites: the file answers nobody.
func breakFile(path string) func(t testing.TB) (heal func()) {
	if beginRecovery == nil {
		return nil
	}
	return func(t testing.TB) func() { return beginRecovery(t, path) }
}

// beginRecovery makes the file unusable until end is called. It is nil where that cannot be done.
var beginRecovery func(t testing.TB, path string) (end func())

func age(t testing.TB, db *DB, by time.Duration) {
	t.Helper()
	err := db.writer.do(t.Context(), 0, func(tx *tx) error {
		_, err := tx.exec(`UPDATE receipts SET kept_since = strftime('%Y-%m-%dT%H:%M:%fZ', kept_since, ?)`,
			fmt.Sprintf("-%d seconds", int(by.Seconds())))
		return err
	})
	if err != nil {
		t.Fatalf("make the stored results older: %v", err)
	}
}

func TestOldResultsGoAFewAtATime(t *testing.T) {
	db := openNew(t)
	store := NewStore(db)
	saved := 0
	save := func() {
		t.Helper()
		saved++
		o, err := order.New(fmt.Sprintf("order-%03d", saved), "9999", nil, time.Now())
		if err == nil {
			err = store.Save(t.Context(), o, ports.IdempotencyKey{Value: "key of " + o.ID()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		save()
	}
	age(t, db, ports.ResultsKept+time.Minute)
	for _, want := range []int{7, 4, 3} { // one comes, up to four go
		save()
		var kept int
		if err := db.queryRow(t.Context(), "SELECT count(*) FROM receipts", nil, &kept); err != nil || kept != want {
			t.Errorf("%d results are stored, error %v, want %d", kept, err, want)
		}
	}
	var plan string
	err := db.query(t.Context(), `EXPLAIN QUERY PLAN SELECT key FROM receipts WHERE kept_since <= ? ORDER BY kept_since LIMIT 4`, []any{""},
		func(rows *sql.Rows) error {
			var id, parent, unused int
			return rows.Scan(&id, &parent, &unused, &plan)
		})
	if err != nil || !strings.Contains(plan, "receipts_by_age") {
		t.Errorf("old results are looked for by %q, error %v, want by the index receipts_by_age", plan, err)
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
