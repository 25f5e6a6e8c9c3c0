// Command mutants asks whether the tests would notice a mistake. It changes one token of the code at a time (< becomes <=,
// == becomes !=, && becomes ||, + becomes -), runs the tests of the changed package, and expects one of them to fail.
//
//	go run ./test/mutants [-run REGEXP] [-every N] [-workers N]
//
// gremlins finds the mutants; this program runs them, because gremlins runs none in the condition of a case, where Go's
// coverage does not count (every seventh of ours), and takes one that does not compile for a killed one. A mutant that
// survives has to be in survivors.txt, with the reason why it changes nothing that matters.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

// A room is a package whose tests need no server.
type room struct {
	folder string
	skip   string // tests, as go test has it
}

var rooms = []room{
	{folder: "core/order"},
	{folder: "adapters/eventjson"},
	{folder: "app"},
	{folder: "app/relay"},
	{folder: "app/readside"},
	{folder: "app/verify"},
	// The same requests over each store: memory is enough here. The other two look at the description alone.
	{
		folder: "adapters/httpapi",
		skip:   "^TestADeviationFromTheDescriptionIsFound$|^TestTheDescriptionIsValid$|/^(mongodb|postgres|sqlite)",
	},
}

// leastKilled is the share of a package's mutants that its tests have to kill, those of survivors.txt not counted as killed.
const leastKilled = 0.97

//go:embed survivors.txt
var survivorsText string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	only := flag.String("run", "", "a regular expression: only packages whose folder it matches")
	every := flag.Int("every", 1, "only one of so many mutants, for an estimate")
	workers := flag.Int("workers", 2, "mutants at a time")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	listed, err := parseSurvivors(survivorsText)
	if err != nil {
		return err
	}
	copied, err := os.MkdirTemp("", "hexorders-mutants-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
	// What is edited meanwhile must not count.
	snapshot := exec.CommandContext(ctx, "sh", "-c", `git ls-files -coz --exclude-standard | tar -c --null -T - | tar -x -C "$0"`, copied)
	if output, err := snapshot.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the checkout: %w\n%s", err, output)
	}

	var found []*mutant
	for _, r := range rooms {
		if !pattern.MatchString(r.folder) {
			continue
		}
		began := time.Now()
		of, err := find(ctx, copied, r)
		if err != nil {
			return err
		}
		for i, m := range of {
			if m.limit = 20*time.Second + 5*time.Since(began); i%*every == 0 { // its tests have run once
				found = append(found, m)
			}
		}
	}
	if err := tryAll(ctx, copied, found, *workers); err != nil {
		return err
	}
	if *every > 1 {
		listed = maps.Clone(listed)
		maps.DeleteFunc(listed, func(name, _ string) bool {
			return !slices.ContainsFunc(found, func(m *mutant) bool { return m.String() == name })
		})
	}
	return report(found, listed)
}

// find lets gremlins list the mutants of a package, and reads the places that it names.
func find(ctx context.Context, root string, r room) (found []*mutant, err error) {
	output := filepath.Join(root, "gremlins.json")
	c := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/go.mod", "gremlins", "unleash", "--dry-run", "--silent",
		"--invert-logical", "--workers", "1", "--output", output, "--exclude-files", "/", "./"+r.folder)
	c.Dir, c.Env = root, os.Environ()
	if r.skip != "" {
		c.Env = append(c.Env, "GOFLAGS=-skip="+r.skip)
	}
	if said, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", c, err, said)
	}
	text, err := os.ReadFile(output)
	if err != nil {
		return nil, err
	}
	var listed struct {
		Files []struct {
			Name      string `json:"file_name"`
			Mutations []struct {
				Type         string
				Line, Column int
			}
		}
	}
	if err := json.Unmarshal(text, &listed); err != nil {
		return nil, err
	}
	for _, f := range listed.Files {
		source, err := parseSource(root, filepath.Join(r.folder, f.Name))
		if err != nil {
			return nil, err
		}
		for _, g := range f.Mutations {
			m, err := source.mutant(g.Type, g.Line, g.Column)
			if err != nil {
				return nil, err
			}
			m.skip = r.skip
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b *mutant) int { return strings.Compare(a.String(), b.String()) })
	// Two kinds of mutant can be the same change: a minus is taken for a sign and for an operator.
	return slices.CompactFunc(found, func(a, b *mutant) bool { return a.at == b.at && a.String() == b.String() }), nil
}

// tryAll runs the tests for each mutant, the survivors printed as they come.
func tryAll(ctx context.Context, root string, all []*mutant, workers int) error {
	var some errgroup.Group
	some.SetLimit(workers)
	var mu sync.Mutex
	done, began := 0, time.Now()
	for _, m := range all {
		some.Go(func() error {
			if err := m.try(ctx, root); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; m.verdict == survived {
				fmt.Printf("survived: %s\n", m)
			}
			if done%25 == 0 {
				fmt.Fprintf(os.Stderr, "%d of %d in %s\n", done, len(all), time.Since(began).Round(time.Second))
			}
			return nil
		})
	}
	return some.Wait()
}

// try runs the package's tests with the mutant in place of its file.
func (m *mutant) try(ctx context.Context, root string) error {
	folder, err := os.MkdirTemp(root, "mutant-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	changed, overlay := filepath.Join(folder, "changed.go"), filepath.Join(folder, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): changed}})
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(changed, m.text, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	c := exec.CommandContext(limited, "go", "test", "-overlay", overlay, "-count=1", "-vet=off", "-failfast", "-ldflags=-s -w",
		"-skip", m.skip,
		"./"+filepath.Dir(m.file))
	c.Dir = root
	// The test ends with the command that started it.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	output, err := c.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		m.verdict = timedOut
	case err == nil:
		m.verdict = survived
	case bytes.Contains(output, []byte("[build failed]")):
		m.verdict = doesNotCompile
	default:
		m.verdict = killed
	}
	return nil
}

// report prints the figures of each package, and fails for what is not as survivors.txt says.
func report(all []*mutant, listed map[string]string) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PACKAGE\tMUTANTS\tKILLED\tOF THEM BY TIME\tSURVIVED\tKILLED %")
	var wrong []error
	unseen := map[string]bool{}
	packages := packagesOf(all)
	for name := range listed {
		file, _, _ := strings.Cut(strings.ReplaceAll(name, ":", " "), " ")
		unseen[name] = slices.Contains(packages, filepath.Dir(file))
	}
	for _, pkg := range packages {
		counts := map[verdict]int{}
		for _, m := range all {
			if filepath.Dir(m.file) != pkg {
				continue
			}
			if counts[m.verdict]++; m.verdict == survived {
				delete(unseen, m.String())
				if listed[m.String()] == "" {
					wrong = append(wrong, fmt.Errorf("survived, and is not listed: %s", m))
				}
			}
		}
		dead := counts[killed] + counts[timedOut]
		share := float64(dead) / float64(max(1, dead+counts[survived]))
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%.1f\n", pkg, dead+counts[survived], dead, counts[timedOut], counts[survived], 100*share)
		if share < leastKilled {
			wrong = append(wrong, fmt.Errorf("%s: %.1f %% are killed, %.0f %% have to be", pkg, 100*share, 100*leastKilled))
		}
	}
	for name, looked := range unseen {
		if looked {
			wrong = append(wrong, fmt.Errorf("is listed, and does not survive: %s", name))
		}
	}
	return errors.Join(append(wrong, table.Flush())...)
}

func packagesOf(all []*mutant) (packages []string) {
	for _, m := range all {
		packages = append(packages, filepath.Dir(m.file))
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}
