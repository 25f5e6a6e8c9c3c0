package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// On a terminal what takes long shows a bar, which is drawn again and again in one place.
func TestABarIsShownOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	topic := w.fillTopic(3000)
	shown, said := w.onTerminal("views", "rebuild")
	wantBar(t, shown)
	if want := fmt.Sprintf("rebuilt from %d events", len(topic)); !strings.Contains(said, want) || strings.Contains(shown, want) {
		t.Errorf("it says %q to its standard output and shows %q, want %q in the first only", said, shown, want)
	}
	// No store has committed these events.
	shown, said = w.onTerminal("verify")
	wantBar(t, shown)
	if want := fmt.Sprintf("invented-in-topic: %d\n", len(topic)); !strings.Contains(said, want) {
		t.Errorf("it says %q, want %q", said, want)
	}
}

func wantBar(t *testing.T, shown string) {
	t.Helper()
	drawn := strings.Split(shown, "\r")
	if bars := regexp.MustCompile(`\d+% \|[█ ]*\| *\(\d+/\d+`).FindAllString(shown, -1); len(drawn) < 3 || len(bars) == 0 {
		t.Errorf("the terminal shows %q, want a bar that is drawn again and again", shown)
	}
}

// onTerminal runs a command whose standard error is a terminal, to its end.
func (w *world) onTerminal(args ...string) (shown, said string) {
	w.t.Helper()
	screen, terminal := openTerminal(w.t)
	var seen, printed buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&seen, screen) // it ends with an error once the last process has let go of the terminal
	}()
	c := exec.CommandContext(w.t.Context(), program, args...)
	c.Dir, c.Env, c.SysProcAttr = w.t.TempDir(), append(w.env.list(), "TERM=xterm"), dieWithUs()
	c.Stdout, c.Stderr = &printed, terminal
	_ = c.Run()          // what it prints tells
	_ = terminal.Close() // the last one
	<-read
	return seen.String(), printed.String()
}

// openTerminal is a pseudo-terminal of 100 columns: what a program writes to terminal comes out of screen.
func openTerminal(t testing.TB) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	number := 0
	for _, step := range []func(fd int) error{
		func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0) },
		func(fd int) (err error) { number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); return err },
		func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}) },
	} {
		if err := step(int(screen.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, terminal
}
