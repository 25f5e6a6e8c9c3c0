// Package scripts tests what scripts/with-services does with the data of its servers. These are a stand-in here; the
// real ones serve every other test.
package scripts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// standIn is a scripts/services whose servers are no more than a folder of data.
const standIn = `#!/usr/bin/env bash
set -eu
case $1 in
  up) mkdir -p "$SERVICES_DIR/mongodb" && echo "$SERVICES_DIR" >>"$SERVICES_REGISTER" ;;
  env) echo "export HEXORDERS_MONGODB_URI='$SERVICES_DIR'" ;;
  reset) rm -rf "$SERVICES_DIR/mongodb" ;;
esac
`

const (
	memory   = "/dev/shm"
	inMemory = "SERVICES_IN_MEMORY=1"
	// where prints the folder of the servers and that of temporary files.
	where = `echo "$HEXORDERS_TEST_MONGODB_URI" "$TMPDIR" "${SERVICES_IN_MEMORY-}"`
)

func TestDataIsOnTheDiskUnlessItIsAskedForInMemory(t *testing.T) {
	c := newCheckout(t)
	c.wantOnDisk(t)
}

func TestDataInMemoryIsGoneWithTheRun(t *testing.T) {
	c := newCheckout(t)
	if !startsPrograms(memory) {
		c.wantOnDisk(t, inMemory)
		return
	}
	data, tmp := c.run(t, inMemory)
	if filepath.Dir(data) != memory || tmp != filepath.Join(data, "tmp") {
		t.Errorf("data in %s and temporary files in %s; want both below %s", data, tmp, memory)
	}
	c.wantClean(t)
	wantGone(t, data)
}

func TestARunCleansUpWhatAKilledOneHasLeft(t *testing.T) {
	for name, next := range map[string][]string{"in memory": {inMemory}, "on the disk": nil} {
		t.Run("the next one is "+name, func(t *testing.T) {
			c := newCheckout(t)
			killed := c.command(where+"; echo $$; exec sleep 600", inMemory)
			out, err := killed.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := killed.Start(); err != nil {
				t.Fatal(err)
			}
			var data, tmp string
			var command int
			_, err = fmt.Fscan(out, &data, &tmp, &command)
			if err := errors.Join(err, killed.Process.Kill()); err != nil {
				t.Fatal(err)
			}
			_ = killed.Wait() // "signal: killed"
			if err := syscall.Kill(command, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(data, "mongodb")); err != nil {
				t.Fatalf("the killed run has left nothing to clean up: %v", err)
			}
			c.run(t, next...)
			c.wantClean(t)
			wantGone(t, filepath.Join(data, "mongodb"))
			if tmp != c.tmp {
				wantGone(t, data)
			}
		})
	}
}

func TestDataIsOnTheDiskWhereMemoryHasNoRoom(t *testing.T) {
	for name, df := range map[string]string{
		"too little":           "echo Filesystem; echo tmpfs 8000 4001 3999 25% /dev/shm",
		"a folder on the disk": "echo 'df: no file systems processed' >&2; exit 1",
		"no figure":            "echo Filesystem; echo tmpfs - - - - /dev/shm",
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckout(t)
			c.df(t, df)
			c.wantOnDisk(t, inMemory)
		})
	}
}

// checkout is one that has nothing but the two scripts.
type checkout struct {
	dir string
	bin string // first in PATH
	tmp string
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	script, err := os.ReadFile("../../scripts/with-services")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := checkout{dir: dir, bin: filepath.Join(dir, "bin"), tmp: filepath.Join(dir, "tmp")}
	write(t, filepath.Join(dir, "scripts", "with-services"), string(script))
	write(t, filepath.Join(dir, "scripts", "services"), standIn)
	c.df(t, "echo Filesystem; echo tmpfs 8000 4000 4000 50% /dev/shm")
	if err := os.Mkdir(c.tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

// df is what the command df does from now on: how much room this machine has must not decide what is tested.
func (c checkout) df(t *testing.T, does string) {
	t.Helper()
	write(t, filepath.Join(c.bin, "df"), "#!/bin/sh\n"+does+"\n")
}

func (c checkout) command(line string, settings ...string) *exec.Cmd {
	run := exec.Command(filepath.Join(c.dir, "scripts", "with-services"), "bash", "-c", line)
	run.Env = append([]string{"PATH=" + c.bin + ":" + os.Getenv("PATH"), "TMPDIR=" + c.tmp}, settings...)
	run.Stderr = os.Stderr
	return run
}

func (c checkout) run(t *testing.T, settings ...string) (data, tmp string) {
	t.Helper()
	out, err := c.command(where, settings...).Output()
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Fields(string(out))
	if len(said) != 2 {
		t.Fatalf("the command saw %q; want two folders and no SERVICES_IN_MEMORY", out)
	}
	return said[0], said[1]
}

func (c checkout) wantOnDisk(t *testing.T, settings ...string) {
	t.Helper()
	want := filepath.Join(c.dir, ".services", "test1")
	if data, tmp := c.run(t, settings...); data != want || tmp != c.tmp {
		t.Errorf("data in %s and temporary files in %s; want %s and %s", data, tmp, want, c.tmp)
	}
	c.wantClean(t)
}

// wantClean wants nothing left of a run in the checkout: what tells where its data is goes when the data has gone.
func (c checkout) wantClean(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(c.dir, ".services", "test1"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left (%v)", path, err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o700)); err != nil {
		t.Fatal(err)
	}
}

// startsPrograms is false for a folder that is not there, and for one on a file system that is mounted noexec.
func startsPrograms(folder string) bool {
	dir, err := os.MkdirTemp(folder, "hexorders-probe-")
	if err != nil {
		return false
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "program")
	return os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700) == nil && exec.Command(program).Run() == nil
}
