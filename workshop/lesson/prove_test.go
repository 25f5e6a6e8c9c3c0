package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// mostSolutionLines is what a participant may be asked to write.
const mostSolutionLines = 150

// Every lesson is red at its start, with the line that lessons.toml names, and green with its solution, and nothing else
// breaks. Each does that in a copy of this checkout.
func TestLessons(t *testing.T) {
	root := checkout(t)
	lessons, err := loadLessons(root)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	t.Setenv("LESSON_CHECKOUT", root)    // for a lesson that changes no code
	t.Setenv("PORTTEST_PATIENCE", "15s") // where a participant looks again, a proof on a busy machine has to wait
	rows := make([]string, len(lessons))
	t.Cleanup(func() {
		t.Logf("%s%.0f s together; as before: the solution leaves the code that main has, whose tests prove it",
			proofs(t, rows), time.Since(began).Seconds())
	})
	for i, l := range lessons {
		t.Run(l.Folder, func(t *testing.T) {
			t.Parallel() // most of lesson 3 is waiting
			for _, server := range l.Needs {
				if os.Getenv(servers[server]) == "" {
					t.Fatalf("it needs %s: %s names none", server, servers[server])
				}
			}
			p, err := l.prove(t.Context(), copyCheckout(t, root))
			if err != nil {
				t.Fatal(err)
			}
			neighbours := fmt.Sprintf("%.1f s", p.neighbours.Seconds())
			if p.asBefore {
				neighbours = "as before"
			}
			rows[i] = fmt.Sprintf("%d\t%.1f s\t%.1f s\t%s\t%d\t%s\t%s\n",
				l.Number, p.red.Seconds(), p.green.Seconds(), neighbours, p.lines, l.needs(), p.line)
		})
	}
}

// proofs is the table of them.
func proofs(t *testing.T, rows []string) string {
	t.Helper()
	var lines strings.Builder
	table := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "\nlesson\tred\tgreen\tneighbours\tlines\tneeds\twhat the red line says\n", strings.Join(rows, ""))
	if err := table.Flush(); err != nil {
		t.Error(err)
	}
	return lines.String()
}

// proof is what the lesson's tests said.
type proof struct {
	line                   string // of the first red test
	red, green, neighbours time.Duration
	lines                  int  // of the solution
	asBefore               bool // the solution undoes what the start has done: the neighbours' own tests prove them
}

// prove runs a lesson from its start to its solution, in a checkout whose files it may change. It leaves them as they were.
func (l lesson) prove(ctx context.Context, root string) (p proof, err error) {
	var applied []string
	apply := func(name string, flags ...string) error {
		command := exec.CommandContext(ctx, "git", append(append([]string{"apply"}, flags...), l.file(root, name))...)
		command.Dir = root
		command.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(root)) // it may lie in another checkout
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s of %s does not fit any more; `make lesson N=%d REFRESH=1` renews it, where that needs no decision\n%s",
				name, l.name(), l.Number, output)
		}
		return nil
	}
	put := func(name string) error {
		if err := apply(name); err != nil {
			return err
		}
		applied = append(applied, name)
		return nil
	}
	take := func() error {
		name := applied[len(applied)-1]
		applied = applied[:len(applied)-1]
		return apply(name, "-R")
	}
	defer func() {
		for len(applied) > 0 && ctx.Err() == nil {
			err = errors.Join(err, take())
		}
	}()

	before, err := l.touched(root)
	if err != nil {
		return p, err
	}
	if l.has(root, startPatch) {
		if err := put(startPatch); err != nil {
			return p, err
		}
	}
	start, err := l.test(ctx, root)
	if err != nil {
		return p, err
	}
	p.red, p.line = start.took, start.says(l.Red[0])
	for k, text := range l.Red {
		o, where := start, "at the start"
		if name := stepPatch(k + 1); l.has(root, name) {
			where = "with " + name
			if err := put(name); err != nil {
				return p, err
			}
			if o, err = l.test(ctx, root); err != nil {
				return p, err
			}
			if err := take(); err != nil {
				return p, err
			}
		}
		if o.green {
			return p, fmt.Errorf("%s: its test is green %s", l.name(), where)
		}
		if o.says(text) == "" {
			return p, fmt.Errorf("%s: %s no line says %q. It says\n%s", l.name(), where, text, o.output)
		}
		if step, line := l.step(o); where != "at the start" && step != k+1 || k == 0 && step != 1 {
			return p, fmt.Errorf("%s: %s a participant reads that step %d is red, %q; want step %d", l.name(), where, step, line, k+1)
		}
	}
	return p, l.proveSolution(ctx, root, put, before, &p)
}

// touched are the contents of the files that the start and the solution change, outside of the workshop; "" where there is
// no file.
func (l lesson) touched(root string) (contents map[string]string, err error) {
	contents = map[string]string{}
	for _, name := range []string{startPatch, solutionPatch} {
		patch, err := os.ReadFile(l.file(root, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, found := range patchedFile.FindAllStringSubmatch(string(patch), -1) {
			if strings.HasPrefix(found[1], "workshop/") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(root, found[1]))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			contents[found[1]] = string(text)
		}
	}
	return contents, nil
}

var patchedFile = regexp.MustCompile(`(?m)^diff --git a/\S+ b/(\S+)$`)

func (l lesson) proveSolution(ctx context.Context, root string, put func(string) error, before map[string]string,
	p *proof,
) error {
	patch, err := os.ReadFile(l.file(root, solutionPatch))
	if err != nil {
		return err
	}
	if p.lines = addedLines(string(patch)); p.lines > mostSolutionLines {
		return fmt.Errorf("%s: its solution has %d lines, at most %d", l.name(), p.lines, mostSolutionLines)
	}
	if p.lines == 0 && !strings.Contains(string(patch), "\n-") {
		return fmt.Errorf("%s: its solution changes nothing", l.name())
	}
	if test := "b/workshop/" + l.Folder + "/lesson_test.go"; bytes.Contains(patch, []byte(test)) {
		return fmt.Errorf("%s: its solution changes the test that it has to make green", l.name())
	}
	if err := put(solutionPatch); err != nil {
		return err
	}
	solved, err := l.test(ctx, root)
	if err != nil {
		return err
	}
	if p.green = solved.took; !solved.green {
		return fmt.Errorf("%s: with its solution the test is red:\n%s", l.name(), solved.output)
	}
	after, err := l.touched(root)
	if err != nil {
		return err
	}
	if p.asBefore = maps.Equal(before, after); p.asBefore {
		return nil
	}
	if len(l.Neighbours) == 0 {
		return fmt.Errorf("%s: its solution changes the code, and no neighbours are named", l.name())
	}
	neighbours, err := goTest(ctx, root, append([]string{"-vet=off"}, l.Neighbours...)...)
	if err != nil {
		return err
	}
	if p.neighbours = neighbours.took; !neighbours.green {
		return fmt.Errorf("%s: with its solution a neighbour is red:\n%s", l.name(), neighbours.output)
	}
	return nil
}

func checkout(t *testing.T) string {
	t.Helper()
	tree, err := findTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tree.root
}

// copyCheckout copies what git knows of a checkout, and what it would.
func copyCheckout(t *testing.T, root string) string {
	t.Helper()
	names, err := tree{root}.git(t.Context(), "", nil, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(names, "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), filepath.Join(to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return to
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, info.Mode().Perm())
	}
	return err
}
