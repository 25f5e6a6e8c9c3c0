package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// childMode is set where this test binary runs as another process: what it is to do there, one of children.
const childMode = "SQLITE_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		if err := children[mode](context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, mode+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child is this test binary as another process. It lives until its work is done, its standard input is closed or it
// is killed.
type child struct {
	*exec.Cmd
	input  io.WriteCloser
	lines  *bufio.Reader
	stderr strings.Builder
}

func start(t testing.TB, mode string, args ...string) *child {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), program, args...)}
	c.Env = append(os.Environ(), childMode+"="+mode)
	c.Stderr = &c.stderr
	if c.input, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewReader(output)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// next is the next whole line that the child has printed; ok is false once it has ended.
func (c *child) next() (line string, ok bool) {
	line, err := c.lines.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err == nil
}

func (c *child) wantLine(t testing.TB, want string) {
	t.Helper()
	if line, ok := c.next(); !ok || line != want {
		_ = c.Wait()
		t.Fatalf("the other process said %q, want %q; %s", line, want, c.stderr.String())
	}
}

// finish lets the child end by itself.
func (c *child) finish(t testing.TB) {
	t.Helper()
	_ = c.input.Close()
	if _, err := io.Copy(io.Discard, c.lines); err != nil {
		t.Errorf("read what the other process says: %v", err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the other process: %v; %s", err, c.stderr.String())
	}
}
