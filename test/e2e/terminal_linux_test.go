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

// On a terminal a rebuild shows a bar, which is drawn again and again in one place.
func TestARebuildShowsABarOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	topic := w.fillTopic(3000)
	screen, terminal := openTerminal(t)
	var shown, said buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&shown, screen) // it ends with an error once the last process has let go of the terminal
	}()
	c := exec.Command(program, "views", "rebuild")
	c.Dir, c.Env, c.SysProcAttr = t.TempDir(), append(w.env.list(), "TERM=xterm"), dieWithUs()
	c.Stdout, c.Stderr = &said, terminal
	err := c.Run()
	_ = terminal.Close() // the last one
	<-read
	if err != nil {
		t.Fatalf("hexorders views rebuild: %v\n%s%s", err, &said, &shown)
	}
	drawn := strings.Split(shown.String(), "\r")
	if bars := regexp.MustCompile(`\d+% \|[█ ]*\| *\(\d+/\d+`).FindAllString(shown.String(), -1); len(drawn) < 3 || len(bars) == 0 {
		t.Errorf("the terminal shows %q, want a bar that is drawn again and again", shown.String())
	}
	if want := fmt.Sprintf("rebuilt from %d events", len(topic)); !said.contains(want) || shown.contains(want) {
		t.Errorf("it says %q to its standard output and shows %q, want %q in the first only", &said, &shown, want)
	}
}

// openTerminal is a pseudo-terminal of 100 columns: what a program writes to terminal comes out of screen.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
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
