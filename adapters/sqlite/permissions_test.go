//go:build unix

package sqlite

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// wantModes asks for the permissions of a database and of the two files that SQLite keeps beside it.
func wantModes(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(name), got, want)
		}
	}
}

func openAndSave(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	save(t, db, newOrder(t, "1"))
	return db
}

func TestANewFileIsReadableByItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	openAndSave(t, path)
	wantModes(t, path, 0o600)
}

func TestAFileThatALinkLeadsToIsReadableByItsOwnerOnly(t *testing.T) {
	folder := t.TempDir()
	for link, target := range map[string]string{"link.db": "middle.db", "middle.db": "there.db"} {
		if err := os.Symlink(target, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	openAndSave(t, filepath.Join(folder, "link.db"))
	wantModes(t, filepath.Join(folder, "there.db"), 0o600)
}

func TestAnExistingFileKeepsItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shared.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o664); err != nil { // the umask has no say here
		t.Fatal(err)
	}
	openAndSave(t, path)
	wantModes(t, path, 0o664)
}

// A umask can only take rights away from 0600. Nothing can be written to this file, so it is not opened.
func TestAStricterUmaskIsRespected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "strict.db")
	before := syscall.Umask(0o277)
	err := createPrivate(path)
	syscall.Umask(before)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o400 {
		t.Errorf("the file has mode %o, want 400", got)
	}
}
