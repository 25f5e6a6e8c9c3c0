// Command bench measures hexorders beside the least that could do the same work: raw loops over the same drivers, on the
// same servers, in the same run.
//
//	scripts/with-services go run ./test/bench [-rows post,drain] [-quick] [-out docs/benchmarks.md]
//
// Read experiments.go for what is measured, compare.go for how two sides become a ratio, raw.go and tail.go for the
// peers. The service is the built binary, a process of its own. It needs Linux, for /proc.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	debug.SetGCPercent(400) // as hexorders serve does: the raw loops run in this process
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	if len(args) == 4 && args[0] == bareCommand {
		return runBare(ctx, args[1], args[2], args[3])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	rows := flags.String("rows", strings.Join(names(standard), ","),
		"what to measure, with commas; also "+strings.Join(names(optional), ", "))
	quick := flags.Bool("quick", false, "small and short: tells whether everything works, not how fast it is")
	rounds := flags.Int("rounds", 0, "rounds of each comparison instead of the usual number")
	to := flags.String("out", "", "the page to write, with its plots beside it; none when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*rows)
	if err != nil {
		return err
	}
	s := full
	if *quick {
		s = small
	}
	if *rounds > 0 {
		s.rounds = *rounds
	}

	l, err := newLab(ctx, s, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	machine, err := l.describe(ctx)
	if err != nil {
		return err
	}
	r := report{Machine: machine, Began: time.Now(), Load: []string{loadAverage()}, Rounds: s.rounds, Quick: *quick, Command: *rows}
	for _, e := range chosen {
		results, err := e.run(ctx, l)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		for _, result := range results {
			r.add(result)
		}
		r.Load = append(r.Load, loadAverage())
	}
	r.Took = time.Since(r.Began)
	if err := r.print(out); err != nil || *to == "" {
		return err
	}
	return r.write(*to)
}

func names(of []experiment) (all []string) {
	for _, e := range of {
		all = append(all, e.name)
	}
	return all
}

func choose(rows string) (chosen []experiment, err error) {
	all := slices.Concat(standard, optional)
	for _, name := range strings.Split(rows, ",") {
		i := slices.IndexFunc(all, func(e experiment) bool { return e.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no row is called %q: there are %s", name, strings.Join(names(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
