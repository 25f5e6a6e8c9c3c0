package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"hexorders/ports"
)

// These errors say what is wrong with the file and what to do.
var (
	ErrNoPath      = errors.New("there must be a file to keep the data in: give its path, or choose the memory store")
	ErrNoFile      = fmt.Errorf("%w: correct the path, or start the service, which creates it", fs.ErrNotExist)
	ErrNoFolder    = errors.New("the folder does not exist: create it, or choose another path")
	ErrReadOnly    = errors.New("this user may not write there: change the permissions, or choose another path")
	ErrNotDatabase = errors.New("this is not an SQLite database: move it away, or choose another path")
	ErrForeign     = errors.New("this is another program's database: choose another path")
	ErrNewer       = errors.New("a newer version of this program has written it: use that version, or choose another path")
	ErrNoWAL       = errors.New("SQLite cannot keep a write-ahead log there (a network drive?): choose a path on a local disk")
	ErrLocked      = errors.New("another process keeps it locked: close what has it open (an sqlite3 shell?), then try again")
	ErrDiskFull    = fmt.Errorf("%w: the disk is full: make room, then try again", ports.ErrNoRoom)
	ErrDiskFails   = errors.New("the disk reports an error: is it full, over its quota or broken? The system's log says which")
	ErrDamaged     = errors.New("the file is damaged: put a backup in its place")
	ErrFileGone    = errors.New("the file was deleted, moved or replaced while it was open: put it back, then restart the service")
	ErrClosed      = errors.New("the database is closed")
)

// explain replaces SQLite's error by one that says what to do. It returns other errors unchanged.
func explain(err error) error {
	if code(err) == codes.SQLITE_IOERR_SHMSIZE { // no room for the write-ahead log's index
		return ErrDiskFull
	}
	switch code(err) & 0xff {
	case codes.SQLITE_FULL:
		return ErrDiskFull
	case codes.SQLITE_IOERR:
		return fmt.Errorf("%w (%w)", ErrDiskFails, err)
	case codes.SQLITE_BUSY:
		return ErrLocked
	case codes.SQLITE_READONLY, codes.SQLITE_PERM:
		return ErrReadOnly
	case codes.SQLITE_NOTADB:
		return ErrNotDatabase
	case codes.SQLITE_CORRUPT:
		return ErrDamaged
	}
	return err
}

// code is SQLite's extended result code (https://www.sqlite.org/rescode.html), 0 when the error is not SQLite's. The
// low byte is the primary code.
func code(err error) int {
	var e *driver.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code()
}

func isBusy(err error) bool { return code(err)&0xff == codes.SQLITE_BUSY }

// explainOpen explains an error of Open. If an existing file cannot be opened, or no file can be created in its
// folder, the permissions are wrong; the folder matters because the write-ahead log is a file beside the database.
func explainOpen(path string, err error) error {
	explained := explain(err)
	if code(err)&0xff != codes.SQLITE_CANTOPEN && !errors.Is(explained, ErrReadOnly) {
		return explained
	}
	if err := checkFolder(path); err != nil {
		return err
	}
	// The database itself must not be opened as a test: closing it would drop the locks of other connections of this
	// process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
	if _, err := os.Stat(path); err == nil {
		return ErrReadOnly
	}
	return explained
}

// checkFolder reports whether this user can create files beside path. It creates one and removes it.
func checkFolder(path string) error {
	folder := filepath.Dir(path)
	probe, err := os.CreateTemp(folder, ".hexorders-*")
	if err != nil {
		return fmt.Errorf("folder %q: %w", folder, ErrReadOnly)
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	return nil
}

// unavailable wraps an error of SQLite or database/sql as the error that the ports promise, unless another try fails too.
func unavailable(err error) error {
	if isPermanent(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ports.ErrUnavailable, explain(err))
}

// isPermanent reports that the statement or its data is at fault, and not the file.
func isPermanent(err error) bool {
	switch code(err) {
	case codes.SQLITE_CONSTRAINT_CHECK, codes.SQLITE_CONSTRAINT_DATATYPE, codes.SQLITE_CONSTRAINT_NOTNULL,
		codes.SQLITE_CONSTRAINT_PRIMARYKEY, codes.SQLITE_CONSTRAINT_UNIQUE,
		codes.SQLITE_MISMATCH, codes.SQLITE_RANGE, codes.SQLITE_TOOBIG:
		return true
	}
	return isNoTable(err) || isNoColumn(err)
}

// SQLite has no code for the error of a statement on a table or a column that does not exist.

func isNoTable(err error) bool { return isMistake(err, "no such table") }

func isNoColumn(err error) bool { return isMistake(err, "no such column", "has no column named") }

func isMistake(err error, texts ...string) bool {
	return code(err) == codes.SQLITE_ERROR &&
		slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(err.Error(), text) })
}

func closedError() error { return unavailable(ErrClosed) }

// readError is the error of a read. A read changes nothing, so after a cancelled context that error is enough.
func (db *DB) readError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil:
		return unavailable(ctx.Err())
	case db.writer.isClosing():
		return closedError() // a pool that is being closed returns other errors
	}
	return unavailable(err)
}
