// Command faults breaks one thing after the other in an installation of three mongods, three brokers and two services of
// every role, while clients place orders, and lets package checker judge what each fault left behind.
//
//	go run ./test/faults [-run REGEXP] [-list] [-out docs/faults.md]
//
// Read table.go for the faults, bed.go for what is measured. Every server has a network namespace of its own, so that a
// cut cable is a cut cable: packets vanish, connections stay half open. The namespaces are those of a user namespace, so
// no root is needed. It needs Linux, iproute2, util-linux, and the servers that scripts/services downloads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintln(os.Stderr, "faults:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.SetOutput(progress)
	only := flags.String("run", "", "a regular expression: only faults whose name it matches")
	list := flags.Bool("list", false, "print the faults' names")
	to := flags.String("out", "", "the page to write; none when empty")
	seed := flags.Bool("seed", false, "add a fault that loses an order, to see the verdict")
	keep := flags.String("logs", "", "a folder to copy all logs to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	var chosen []fault
	for _, f := range faults {
		if pattern.MatchString(f.name) {
			chosen = append(chosen, f)
		}
	}
	if *seed {
		chosen = append(chosen, seeded)
	}
	if len(chosen) == 0 {
		return fmt.Errorf("-run %s matches no fault; -list prints all", *only)
	}
	if *list {
		for _, f := range chosen {
			fmt.Fprintln(out, f.name)
		}
		return nil
	}

	if folder := os.Getenv(insideVar); folder != "" {
		rows, took, err := tryAll(ctx, &bed{folder: folder, progress: progress}, chosen)
		if err == nil && *to != "" {
			err = writePage(*to, rows, took)
		}
		if *keep != "" {
			err = errors.Join(err, copyLogs(folder, *keep))
		}
		if err == nil {
			fmt.Fprintf(out, "%d faults in %s\n", len(rows), took.Round(time.Second))
			err = broken(rows)
		}
		return err
	}
	folder, err := os.MkdirTemp("", "hexorders-faults-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if err := build(ctx, folder, chosen); err != nil {
		return err
	}
	return goInside(ctx, folder)
}

// tryAll starts the servers and tries one fault after the other.
func tryAll(ctx context.Context, b *bed, chosen []fault) (rows []row, took time.Duration, err error) {
	defer func() { err = errors.Join(err, b.close()) }()
	started := time.Now()
	if err := b.start(ctx); err != nil {
		return nil, 0, err
	}
	for i, f := range chosen {
		fmt.Fprintf(b.progress, "%d of %d: %s\n", i+1, len(chosen), f.name)
		r := b.try(ctx, f)
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		fmt.Fprintf(b.progress, "    %s\n", r)
		rows = append(rows, r)
	}
	return rows, time.Since(started), nil
}

func broken(rows []row) error {
	var bad []string
	for _, r := range rows {
		if r.err != nil {
			bad = append(bad, r.fault.name)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d faults broke a promise: %s", len(bad), len(rows), strings.Join(bad, "; "))
}
