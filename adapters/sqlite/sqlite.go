// Package sqlite keeps everything in one file: orders and outbox, the relay's checkpoint and lease, parked messages, the
// topic of the in-process broker, and the views that are made of it. It is pure Go, so that the first `go run` needs nothing but Go.
//
// Read migrations/0001_schema.sql for what is kept, writer.go for how it is written, then store.go and outbox.go.
// Several processes may use one file; they must be on one machine, because SQLite's write-ahead log lives in shared
// memory (https://www.sqlite.org/wal.html).
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

// DB is an open database file: one connection that writes, owned by the writer, and a few that read. In a write-ahead
// log readers and the writer do not wait for each other.
type DB struct {
	path    string
	read    *sql.DB
	writer  *writer
	commits bell
	queries sync.Map // by their text, *sql.Stmt

	closeOnce sync.Once
	closeErr  error
}

// Open opens a database file, creates it when it is not there, and brings its tables up to date.
//
// Errors, each a sentence that says what to do: ErrNoPath, ErrNoFolder, ErrReadOnly, ErrNotDatabase, ErrForeign,
// ErrNewer, ErrNoWAL, ErrLocked, ErrDiskFull, ErrDamaged.
func Open(ctx context.Context, path string) (*DB, error) { return open(ctx, path, options{}) }

// options are what tests and measurements change. Zero values mean the defaults.
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
	w, err := openWriter(ctx, path, o, db.commits.ring)
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", path, explainOpen(path, err))
	}
	db.writer = w
	// Only opened now: a database that is not in WAL mode yet, or not migrated, has nothing to read.
	if db.read, err = connect(path, fmt.Sprintf("busy_timeout(%d)", w.lockTimeout.Milliseconds()), "query_only(1)"); err != nil {
		_ = w.close()
		return nil, fmt.Errorf("database %q: %w", path, err)
	}
	readers := max(4, runtime.GOMAXPROCS(0)) // a reader that waits for the disk should not keep the others waiting
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	return db, nil
}

// Close waits for the writes that were accepted, then closes the file. Whatever is called later gets ErrClosed, and
// what was waiting for messages ends. Closing again does nothing.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		// The writer comes last: the last connection to leave folds the write-ahead log into the file, and one that
		// only reads could not.
		db.writer.stop()
		if err := errors.Join(db.read.Close(), db.writer.close()); err != nil {
			db.closeErr = fmt.Errorf("close database %q: %w", db.path, err)
		}
	})
	return db.closeErr
}

// Ping tells whether the file can be read. Error: ports.ErrUnavailable.
func (db *DB) Ping(ctx context.Context) error {
	var version int
	if err := db.queryRow(ctx, "PRAGMA user_version", nil, &version); err != nil {
		return fmt.Errorf("ping database %q: %w", db.path, err)
	}
	return nil
}

// checkPath finds out what SQLite would only call "unable to open".
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

// createPrivate creates an empty file that only its owner may read and write, less what the umask takes away. SQLite would
// create it with mode 0644. It gives the write-ahead log and its index the mode of the database. A file that is there
// already stays as it is.
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

// connect makes a pool without opening anything yet. The path may hold what means something in a URI.
func connect(path string, pragmas ...string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(absolute), "/")}
	name.RawQuery = url.Values{"_pragma": pragmas}.Encode()
	return sql.Open("sqlite", name.String())
}

// query runs one of the package's constant queries on a reader's connection, and scans row by row. Errors:
// ports.ErrUnavailable, or what scan returns.
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

// prepared spares SQLite from parsing a query more than once a connection.
func (db *DB) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if known, ok := db.queries.Load(query); ok {
		return known.(*sql.Stmt), nil
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

// pollEvery is how soon the commits of another process are seen. Whoever waits just looks again, for some 30 µs:
// PRAGMA data_version would tell for 10 whether that is worth it, but only to one who always asks the same connection.
const pollEvery = 50 * time.Millisecond

// awaitCommit waits until there may be something new, or the next look would fail: rung was taken from the bell before
// the last look.
func (db *DB) awaitCommit(ctx context.Context, rung <-chan struct{}) error {
	poll := time.NewTimer(pollEvery)
	defer poll.Stop()
	select {
	case <-rung:
	case <-poll.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// bell tells everyone who waits that this process has committed something.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

// next is closed by the next ring.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
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
