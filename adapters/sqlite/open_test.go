package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// impatient is for tests of what happens when a lock is not given up.
var impatient = options{lockTimeout: 50 * time.Millisecond}

// raw is a connection of another program.
func raw(t testing.TB, path string) *sql.Conn {
	t.Helper()
	pool, err := connect(path, "busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = pool.Close()
	})
	return conn
}

func execute(t testing.TB, conn *sql.Conn, statement string) {
	t.Helper()
	if _, err := conn.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func closeNow(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func newOrder(t testing.TB, id string) *order.Order {
	t.Helper()
	o, err := order.New(id, "9999", []order.Item{{Product: "1111", Amount: 3}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func save(t testing.TB, db *DB, o *order.Order) {
	t.Helper()
	if err := NewStore(db).Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
		t.Fatalf("save order %s: %v", o.ID(), err)
	}
}

func wantOrder(t testing.TB, db *DB, id string, version int) {
	t.Helper()
	o, err := NewStore(db).Get(t.Context(), id)
	if err != nil {
		t.Errorf("get order %s: %v", id, err)
	} else if o.Version() != version {
		t.Errorf("order %s is at version %d, want %d", id, o.Version(), version)
	}
}

func wantNoOrder(t testing.TB, db *DB, id string) {
	t.Helper()
	if _, err := NewStore(db).Get(t.Context(), id); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("get order %s: got error %v, want %v", id, err, ports.ErrNotFound)
	}
}

// wantMessages fails unless the outbox holds exactly these messages, in this order.
func wantMessages(t testing.TB, db *DB, want ...string) {
	t.Helper()
	page, err := db.messagesAfter(t.Context(), selectFromOutbox, 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range page {
		got = append(got, m.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("messages in the outbox:\n got %v\nwant %v", got, want)
	}
}

func TestAClosedDatabaseIsOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	db := openAt(t, path)
	save(t, db, newOrder(t, "order-1"))
	closeNow(t, db)
	for _, left := range []string{path + "-wal", path + "-shm"} {
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Close there is still %s: %v", filepath.Base(left), err)
		}
	}
}

func TestANameMayHoldAnything(t *testing.T) {
	for _, name := range []string{"with space.db", "what?.db", "100%20.db", "a#b&c=d;e.db", "bestellung-ü-注文.db", "'quoted'.db"} {
		path := filepath.Join(t.TempDir(), name)
		save(t, openAt(t, path), newOrder(t, "order-1"))
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("there is no file of that name: %v", err)
		}
	}
}

func TestARelativePathIsRelativeToTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	openAt(t, "orders.db")
	if _, err := os.Stat("orders.db"); err != nil {
		t.Error(err)
	}
}

func TestADurableCommit(t *testing.T) {
	db := openNew(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2"} { // 2 is FULL
		var got string
		if err := db.writer.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s of the connection that writes: got %q and error %v, want %q", pragma, got, err, want)
		}
	}
}

func TestReadersCannotWrite(t *testing.T) {
	db := openNew(t)
	if _, err := db.read.ExecContext(t.Context(), "DELETE FROM orders"); err == nil {
		t.Error("a reader's connection has written")
	}
}

// TestOpenSaysWhatToDo has an entry for each thing that can be wrong with a path. user is set where it depends on who
// asks: root may do everything.
func TestOpenSaysWhatToDo(t *testing.T) {
	cases := []struct {
		name  string
		want  error
		says  []string
		user  bool
		setUp func(t *testing.T, folder string) (path string)
	}{
		{name: "no path", want: ErrNoPath, says: []string{"memory store"}, setUp: func(*testing.T, string) string { return "" }},
		{name: "in memory", want: ErrNoPath, says: []string{"memory store"}, setUp: func(*testing.T, string) string { return ":memory:" }},
		{name: "no folder", want: ErrNoFolder, says: []string{"create it"}, setUp: func(_ *testing.T, folder string) string {
			return filepath.Join(folder, "missing", "orders.db")
		}},
		{name: "a file for a folder", want: ErrNoFolder, says: []string{"create it"}, setUp: func(t *testing.T, folder string) string {
			return filepath.Join(write(t, folder, "file", "text"), "orders.db")
		}},
		{name: "a folder", want: ErrNotDatabase, says: []string{"another path"},
			setUp: func(_ *testing.T, folder string) string { return folder }},
		{name: "a short text", want: ErrNotDatabase, says: []string{"move it away"}, setUp: func(t *testing.T, folder string) string {
			return write(t, folder, "notes.txt", "buy milk")
		}},
		{name: "a long text", want: ErrNotDatabase, says: []string{"move it away"}, setUp: func(t *testing.T, folder string) string {
			return write(t, folder, "notes.txt", strings.Repeat("buy milk\n", 10_000))
		}},
		{name: "a damaged file", want: ErrDamaged, says: []string{"backup"}, setUp: func(t *testing.T, folder string) string {
			path := filepath.Join(folder, "orders.db")
			closeNow(t, openAt(t, path))
			damage(t, path)
			return path
		}},
		{name: "another program's database", want: ErrForeign, says: []string{"another path"},
			setUp: func(t *testing.T, folder string) string {
				path := filepath.Join(folder, "photos.db")
				execute(t, raw(t, path), "CREATE TABLE photos (id)")
				return path
			}},
		{name: "another program's empty database", want: ErrForeign, says: []string{"another path"},
			setUp: func(t *testing.T, folder string) string {
				path := filepath.Join(folder, "photos.db")
				execute(t, raw(t, path), "PRAGMA application_id = 7")
				return path
			}},
		{name: "a newer version", want: ErrNewer, says: []string{"schema 99", "use that version"},
			setUp: func(t *testing.T, folder string) string {
				path := filepath.Join(folder, "orders.db")
				closeNow(t, openAt(t, path))
				execute(t, raw(t, path), "PRAGMA user_version = 99")
				return path
			}},
		{name: "a writer that does not end", want: ErrLocked, says: []string{"close what has it open"},
			setUp: func(t *testing.T, folder string) string {
				path := filepath.Join(folder, "orders.db")
				closeNow(t, openAt(t, path))
				execute(t, raw(t, path), "BEGIN EXCLUSIVE")
				return path
			}},
		{name: "someone who wants it alone", want: ErrLocked, says: []string{"close what has it open"},
			setUp: func(t *testing.T, folder string) string {
				path := filepath.Join(folder, "orders.db")
				closeNow(t, openAt(t, path))
				other := raw(t, path)
				execute(t, other, "PRAGMA locking_mode = EXCLUSIVE")
				execute(t, other, "BEGIN EXCLUSIVE; COMMIT")
				return path
			}},
		{name: "a new file in a read-only folder", want: ErrReadOnly, says: []string{"folder", "permissions"},
			user: true, setUp: func(t *testing.T, folder string) string {
				mode(t, folder, 0o555)
				return filepath.Join(folder, "orders.db")
			}},
		{name: "a database in a read-only folder", want: ErrReadOnly, says: []string{"folder", "permissions"},
			user: true, setUp: func(t *testing.T, folder string) string {
				path := filepath.Join(folder, "orders.db")
				closeNow(t, openAt(t, path))
				mode(t, path, 0o666)
				mode(t, folder, 0o555)
				return path
			}},
		{name: "a read-only file", want: ErrReadOnly, says: []string{"permissions"}, user: true,
			setUp: func(t *testing.T, folder string) string {
				path := filepath.Join(folder, "orders.db")
				closeNow(t, openAt(t, path))
				mode(t, path, 0o444)
				mode(t, folder, 0o777)
				return path
			}},
		{name: "a file that may not even be read", want: ErrReadOnly, says: []string{"permissions"}, user: true,
			setUp: func(t *testing.T, folder string) string {
				path := filepath.Join(folder, "orders.db")
				closeNow(t, openAt(t, path))
				mode(t, path, 0)
				mode(t, folder, 0o777)
				return path
			}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := c.setUp(t, t.TempDir())
			var err error
			try := func() {
				var db *DB
				if db, err = open(context.Background(), path, impatient); err == nil {
					_ = db.Close()
				}
			}
			if c.user {
				asOrdinaryUser(t, try)
			} else {
				try()
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("open: got error %v, want %v", err, c.want)
			}
			t.Log(err)
			for _, says := range append(c.says, fmt.Sprintf("database %q", path)) {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("the error does not say %q: %v", says, err)
				}
			}
			if strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "SQLITE_") {
				t.Errorf("the error is not one plain sentence: %v", err)
			}
		})
	}
}

func TestWhatIsNotOursIsLeftAsItIs(t *testing.T) {
	photos := filepath.Join(t.TempDir(), "photos.db")
	other := raw(t, photos)
	execute(t, other, "CREATE TABLE photos (id)")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	notes := write(t, t.TempDir(), "notes.txt", "buy milk")
	for path, want := range map[string]error{photos: ErrForeign, notes: ErrNotDatabase} {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), path); !errors.Is(err, want) {
			t.Errorf("open %s: got error %v, want %v", filepath.Base(path), err, want)
		}
		after, err := os.ReadFile(path)
		if err != nil || !slices.Equal(after, before) {
			t.Errorf("%s was changed, or cannot be read: %v", filepath.Base(path), err)
		}
		if beside, err := filepath.Glob(path + "?*"); err != nil || len(beside) > 0 {
			t.Errorf("beside %s there is now %v", filepath.Base(path), beside)
		}
	}
}

func write(t *testing.T, folder, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(path, 0o777) }) // so that it can be deleted
}

// damage overwrites what follows the file's header, where the tables are listed.
func damage(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte(strings.Repeat("?", 2000)), 100); err != nil {
		t.Fatal(err)
	}
}

func TestOpenWaitsForALockAsLongAsAPersonWould(t *testing.T) {
	db := openNew(t)
	if db.writer.lockTimeout != 5*time.Second {
		t.Errorf("lockTimeout: got %v, want 5s", db.writer.lockTimeout)
	}
}

func TestOpenGoesOnWhenTheLockIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	closeNow(t, openAt(t, path))
	other := raw(t, path)
	execute(t, other, "BEGIN IMMEDIATE")
	opened := make(chan error)
	go func() {
		db, err := Open(t.Context(), path)
		if err == nil {
			err = db.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("open returned while another had the lock: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	execute(t, other, "COMMIT")
	if err := <-opened; err != nil {
		t.Errorf("open: %v", err)
	}
}

func TestACancelledContextEndsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	closeNow(t, openAt(t, path))
	execute(t, raw(t, path), "BEGIN IMMEDIATE")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := Open(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestManyMayOpenANewFileAtOnce(t *testing.T) {
	for range 5 {
		path := filepath.Join(t.TempDir(), "orders.db")
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				db, err := Open(t.Context(), path)
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				defer db.Close()
				if err := NewStore(db).Save(t.Context(), newOrder(t, fmt.Sprintf("order-%d", n)), ports.IdempotencyKey{}); err != nil {
					t.Errorf("save: %v", err)
				}
			})
		}
		all.Wait()
		db := openAt(t, path)
		for n := range 8 {
			wantOrder(t, db, fmt.Sprintf("order-%d", n), 1)
		}
	}
}

func TestAFailedMigrationLeavesNothingBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	whole := migrations
	migrations = append(migrations[:len(migrations):len(migrations)], "CREATE TABLE half (id); CREATE TABLE orders (id)")
	_, err := Open(t.Context(), path)
	migrations = whole
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("migration %d", len(whole)+1)) {
		t.Fatalf("open: got error %v, want one that names the migration", err)
	}
	var tables int
	if err := raw(t, path).QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("after a failed migration there are %d tables and error %v, want none", tables, err)
	}
	save(t, openAt(t, path), newOrder(t, "order-1"))
}

// Files of earlier versions have an index for lists of a buyer's orders.
func TestTheIndexOfTheListsIsDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	whole := migrations
	migrations = whole[:3]
	db := openAt(t, path)
	save(t, db, newOrder(t, "order-1"))
	closeNow(t, db)
	migrations = whole
	db = openAt(t, path)
	wantOrder(t, db, "order-1", 1)
	var found int
	err := db.queryRow(t.Context(), "SELECT count(*) FROM sqlite_schema WHERE name = 'orders_by_buyer'", nil, &found)
	if err != nil || found != 0 {
		t.Errorf("indexes called orders_by_buyer: got %d and error %v, want none", found, err)
	}
}

func TestALaterMigrationKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	db := openAt(t, path)
	save(t, db, newOrder(t, "order-1"))
	closeNow(t, db)

	whole := migrations
	defer func() { migrations = whole }()
	migrations = append(migrations[:len(migrations):len(migrations)], "ALTER TABLE orders ADD COLUMN note TEXT")
	db = openAt(t, path)
	wantOrder(t, db, "order-1", 1)
	var version int
	if err := db.queryRow(t.Context(), "PRAGMA user_version", nil, &version); err != nil || version != len(migrations) {
		t.Errorf("schema version: got %d and error %v, want %d", version, err, len(migrations))
	}
	closeNow(t, db)

	migrations = whole
	if _, err := Open(t.Context(), path); !errors.Is(err, ErrNewer) {
		t.Errorf("open with the older program: got error %v, want %v", err, ErrNewer)
	}
}

func TestPing(t *testing.T) {
	db := openNew(t)
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Ping(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("ping with a cancelled context: got error %v, want %v", err, context.Canceled)
	}
	closeNow(t, db)
	if err := db.Ping(t.Context()); !errors.Is(err, ErrClosed) || !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("ping after Close: got error %v, want %v and %v", err, ErrClosed, ports.ErrUnavailable)
	}
}

func TestCheckExistsCreatesNothing(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "orders.db")
	err := CheckExists(path)
	if !errors.Is(err, ErrNoFile) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got error %v, want %v", err, ErrNoFile)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, error %v, want it empty", left, err)
	}
	if err := CheckExists(filepath.Join(folder, "missing", "orders.db")); !errors.Is(err, ErrNoFolder) {
		t.Errorf("no folder: got error %v, want %v", err, ErrNoFolder)
	}
	if err := CheckExists(""); !errors.Is(err, ErrNoPath) {
		t.Errorf("no path: got error %v, want %v", err, ErrNoPath)
	}
	closeNow(t, openAt(t, path))
	if err := CheckExists(path); err != nil {
		t.Errorf("a database: got error %v, want none", err)
	}
	mode(t, folder, 0o555)
	asOrdinaryUser(t, func() { err = CheckExists(filepath.Join(folder, "other.db")) })
	if !errors.Is(err, ErrReadOnly) {
		t.Errorf("a read-only folder: got error %v, want %v", err, ErrReadOnly)
	}
}
