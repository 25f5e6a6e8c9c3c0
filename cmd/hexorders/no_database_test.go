package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Only `hexorders serve` creates a database file. The other commands do not take a mistyped path for an empty database.
func TestACommandDoesNotCreateTheDatabase(t *testing.T) {
	cleanEnvironment(t)
	folder := t.TempDir()
	path := filepath.Join(folder, "ordres.db")
	t.Setenv("HEXORDERS_STORE", "sqlite")
	t.Setenv("HEXORDERS_SQLITE_PATH", path)
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	want := "hexorders: database \"" + path + "\": file does not exist: correct the path, or start the service, which creates it " +
		"(HEXORDERS_SQLITE_PATH)\n"
	for _, args := range []string{
		"outbox status", "outbox parked", "outbox retry order-1", "views status", "views parked",
		"views retry order-1", "views rebuild", "events tail --count 1",
	} {
		out, errOut, code := runCommand(t, strings.Fields(args)...)
		if out != "" || errOut != want || code != exitFailed {
			t.Errorf("hexorders %s: exit code %d, it prints\n%s%swant\n%s", args, code, out, errOut, want)
		}
	}
	out, errOut, code := runCommand(t, "doctor")
	want = "note  store      database \"" + path + "\": file does not exist: correct the path, or start the service, which creates it " +
		"(HEXORDERS_SQLITE_PATH)\n"
	if !strings.Contains(out, want) || code != exitOK {
		t.Errorf("hexorders doctor: exit code %d, it prints\n%s%swant\n%s", code, out, errOut, want)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("the folder has %v, error %v, want it empty", left, err)
	}
}
