// Command lesson runs the lessons of the workshop: `make lessons`, `make lesson N=5`. It puts the start of a lesson into the
// files, runs the lesson's red test at each change of a file, and says when it is green.
//
// Read lessons.go (what a lesson is), classroom.go (what the command does), then tree.go (patches and files), run.go
// (go test and the line that counts), watch.go. prove_test.go holds every lesson to what lessons.toml says of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
)

const usage = `make lessons                   list the lessons
make lesson N=5                begin lesson 5, or go on with it: run its test at each change of a file
make lesson N=5 HINT=1         print a hint, 1 to 3
make lesson N=5 SOLUTION=1     print the solution; SOLUTION=apply puts it into the files
make lesson N=5 RESET=1        put the files back; your work is kept as a patch
make lesson N=5 ONCE=1         run the test once
LANG=th on any of them names the Thai pages; rm -r workshop/.mine forgets ticks and kept work

For authors:
make lesson N=5 SAVE=start     write your changes as start.patch; SAVE=solution, SAVE=step-2: those over the start
make lesson N=5 REFRESH=1      renew the patches after the code under them has moved
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	left := err != nil && interrupted(ctx)
	stop()
	switch {
	case left:
		fmt.Println("\nYour files stay as they are; the same command goes on with the lesson.")
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// interrupted reports Ctrl-C, the usual way to leave. git and go, which run below, get it too, and may end before this
// process has heard of it.
func interrupted(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(100 * time.Millisecond):
		return false
	}
}

func run(ctx context.Context, args []string) error {
	n, asked, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	t, err := findTree(ctx)
	if err != nil {
		return err
	}
	lessons, err := loadLessons(t.root)
	if err != nil {
		return err
	}
	c := classroom{tree: t, lessons: lessons, out: os.Stdout, thai: thai(),
		color: isatty.IsTerminal(os.Stdout.Fd()) && os.Getenv("NO_COLOR") == ""}
	if c.progress, err = t.loadProgress(); err != nil {
		return err
	}
	if n == 0 {
		return c.list()
	}
	for _, l := range lessons {
		if l.Number == n {
			return c.serve(ctx, l, asked)
		}
	}
	return fmt.Errorf("there is no lesson %d; `make lessons` lists them", n)
}

func parse(args []string) (n int, asked request, err error) {
	flags := flag.NewFlagSet("lesson", flag.ContinueOnError)
	flags.IntVar(&n, "n", 0, "number of the lesson; without one the lessons are listed")
	flags.IntVar(&asked.hint, "hint", 0, "print a hint")
	flags.StringVar(&asked.solution, "solution", "", "print the solution, or apply it")
	flags.BoolVar(&asked.reset, "reset", false, "put the files back")
	flags.BoolVar(&asked.once, "once", false, "run the test once")
	flags.StringVar(&asked.save, "save", "", "write a patch: start, step-2 or solution")
	flags.BoolVar(&asked.refresh, "refresh", false, "renew the patches")
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	err = flags.Parse(args)
	return n, asked, err
}

func thai() bool {
	return strings.HasPrefix(os.Getenv("LANGUAGE"), "th") || strings.HasPrefix(os.Getenv("LANG"), "th")
}
