package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // registers the driver

	"hexorders/ports"
)

// DB is an open database file. It has one connection for writing, which the writer owns, and a few for reading. With a
// write-ahead log readers and the writer do not wait for each other.
type DB struct {
	path    string
	read    *sql.DB
	writer  *writer
	outbox  tail
	topic   tail
	queries sync.Map // by their text, *sql.Stmt

	closeOnce sync.Once
	closeErr  error
}

// Open opens a database file, creates it if it does not exist, and migrates its tables. It creates the file with mode
// 0600.
//
// Errors, each a sentence that says what to do: ErrNoPath, ErrNoFolder, ErrReadOnly, ErrNotDatabase, ErrForeign,
// ErrNewer, ErrNoWAL, ErrLocked, ErrDiskFull, ErrDamaged.
func Open(ctx context.Context, path string) (*DB, error) { return open(ctx, path, options{}) }

// options are changed by tests and measurements only. Zero values mean the defaults.
type options struct {
	maxBatch    int           // jobs in one transaction
	lockTimeout time.Duration // how long to wait for another process that holds the file's lock
}

func open(ctx context.Context, path string, o options) (*DB, error) {
	if err := checkPath(path); err != nil {
		return nil, fmt.Errorf("database %q: %w", path, err)
	}
	_ = createPrivate(path) // where it fails SQLite fails too, and explainOpen knows why
	db := &DB{path: path}
	w, err := openWriter(ctx, path, o, db.committed)
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", path, explainOpen(path, err))
	}
	db.writer = w
	// The readers open last: the writer has set WAL mode and migrated the tables.
	if db.read, err = connect(path, fmt.Sprintf("busy_timeout(%d)", w.lockTimeout.Milliseconds()), "query_only(1)"); err != nil {
		_ = w.close()
		return nil, fmt.Errorf("database %q: %w", path, err)
	}
	readers := max(4, runtime.GOMAXPROCS(0)) // so that a reader that waits for the disk does not block the others
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	return db, nil
}

// Watch calls watch after each transaction, with the contexts of those that it was for, and its error. It must be set before
// the first write.
func (db *DB) Watch(watch func(callers []context.Context, began time.Time, err error)) {
	db.writer.watch = watch
}

// DroppedViews reports whether Open found the views of an older version and dropped them. The read model that replaces them
// is made from the topic.
func (db *DB) DroppedViews() bool { return db.writer.from == 3 || db.writer.from == 4 }

// Close waits for the accepted writes, then closes the file. Later calls return ErrClosed, and calls that wait for
// messages end. A second Close does nothing.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		// The writer closes last: the last connection copies the write-ahead log into the file, which a read-only
		// connection cannot.
		db.writer.stop()
		if err := errors.Join(db.read.Close(), db.writer.close()); err != nil {
			db.closeErr = fmt.Errorf("close database %q: %w", db.path, err)
		}
	})
	return db.closeErr
}

// Ping checks that the file can be read and is still the one at the path. Error: ports.ErrUnavailable.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.writer.file.check(); err != nil && !db.writer.isClosing() {
		return fmt.Errorf("ping database %q: %w", db.path, unavailable(err))
	}
	var version int
	if err := db.queryRow(ctx, "PRAGMA user_version", nil, &version); err != nil {
		return fmt.Errorf("ping database %q: %w", db.path, err)
	}
	return nil
}

// TryWrite checks that the file can grow: it writes 32 KiB and deletes them. Errors: ports.ErrUnavailable, with ErrDiskFull when
// there is no room.
func (db *DB) TryWrite(ctx context.Context) error {
	for _, statement := range []string{
		"INSERT OR REPLACE INTO subscribers (name, position) VALUES (hex(zeroblob(16384)), 0)",
		"DELETE FROM subscribers WHERE name = hex(zeroblob(16384))",
	} {
		err := db.writer.do(ctx, 0, func(t *tx) error { _, err := t.exec(statement); return err })
		if err != nil {
			return fmt.Errorf("try to write to database %q: %w", db.path, err)
		}
	}
	return nil
}

// CheckExists reports whether there is a file to open. For those who read orders an empty database is no
// answer to a mistyped path, and Open would create one.
//
// Errors: ErrNoFile if Open can create the file; ErrNoPath, ErrNoFolder, ErrReadOnly if it cannot.
func CheckExists(path string) error {
	err := checkPath(path)
	if err == nil {
		if _, statErr := os.Stat(path); !errors.Is(statErr, fs.ErrNotExist) {
			return nil // Open finds other faults
		}
		if err = checkFolder(path); err == nil {
			err = ErrNoFile
		}
	}
	return fmt.Errorf("database %q: %w", path, err)
}

// checkPath finds mistakes for which SQLite only reports "unable to open".
func checkPath(path string) error {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return ErrNoPath
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return ErrNotDatabase
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return ErrNoFolder
	}
	return nil
}

// creating makes sure that no Open of this process uses a file that another Open is about to close: closing drops the
// locks that SQLite holds on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
var creating sync.Mutex

// createPrivate creates an empty file that only its owner may read and write, less what the umask takes away. SQLite
// would create it with mode 0644. It gives the write-ahead log and its index the mode of the database. A file that is
// there already stays as it is.
func createPrivate(path string) error {
	creating.Lock()
	defer creating.Unlock()
	const maxLinks = 40 // what Linux follows
	for range maxLinks {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err == nil {
			return file.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return nil // an ordinary file
		}
		if !filepath.IsAbs(target) {
			target = filepath.Dir(path) + string(filepath.Separator) + target
		}
		path = target
	}
	return nil // SQLite says what is wrong with it
}

// connect makes a pool; the first use opens the file. The path may contain characters that a URI reserves.
func connect(path string, pragmas ...string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(absolute), "/")}
	name.RawQuery = url.Values{"_pragma": pragmas}.Encode()
	return sql.Open("sqlite", name.String())
}

// committed is called by the writer after each commit.
func (db *DB) committed(t *tx) {
	db.outbox.grow(t.outbox)
	db.topic.grow(t.topic)
}

// query runs one of the package's constant queries on a read connection and calls scan for each row. Errors:
// ports.ErrUnavailable, or the error of scan.
func (db *DB) query(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	if db.writer.isClosing() {
		return closedError()
	}
	statement, err := db.prepared(ctx, query)
	if err != nil {
		return db.readError(ctx, err)
	}
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return db.readError(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return db.readError(ctx, rows.Err())
}

// queryRow scans the first row into dest. Error: ports.ErrNotFound when there is none.
func (db *DB) queryRow(ctx context.Context, query string, args []any, dest ...any) error {
	found := false
	err := db.query(ctx, query, args, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(dest...)
	})
	if err == nil && !found {
		return ports.ErrNotFound
	}
	return err
}

// prepared caches statements, so that SQLite parses a query once for each connection.
func (db *DB) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if cached, ok := db.queries.Load(query); ok {
		return cached.(*sql.Stmt), nil
	}
	statement, err := db.read.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if first, late := db.queries.LoadOrStore(query, statement); late {
		_ = statement.Close()
		return first.(*sql.Stmt), nil
	}
	return statement, nil
}

// pause is the time between two transactions that delete old rows.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const timeLayout = "2006-01-02T15:04:05.000Z"

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

func parseTime(text string) (time.Time, error) { return time.Parse(timeLayout, text) }
