package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// visitor asks as a participant does, each time with a new process: only the files are kept.
type visitor struct {
	t    *testing.T
	root string
	thai bool
}

func (v visitor) asks(asked request) (said string, err error) {
	return v.asksUntil(v.t.Context(), asked)
}

func (v visitor) asksUntil(ctx context.Context, asked request) (said string, err error) {
	v.t.Helper()
	c, out := v.classroom()
	err = c.serve(ctx, c.lessons[0], asked)
	return out.String(), err
}

func (v visitor) classroom() (*classroom, *bytes.Buffer) {
	v.t.Helper()
	lessons, err := loadLessons(v.root)
	if err != nil {
		v.t.Fatal(err)
	}
	var out bytes.Buffer
	c := &classroom{tree: tree{v.root}, lessons: lessons, out: &out, thai: v.thai}
	if c.progress, err = c.tree.loadProgress(); err != nil {
		v.t.Fatal(err)
	}
	return c, &out
}

func (v visitor) wants(asked request, words ...string) {
	v.t.Helper()
	said, err := v.asks(asked)
	if err != nil {
		v.t.Fatalf("%+v: %v", asked, err)
	}
	for _, word := range words {
		if !strings.Contains(said, word) {
			v.t.Errorf("%+v says\n%s\nwant %q", asked, said, word)
		}
	}
}

func (v visitor) wantsRefusal(asked request, words ...string) {
	v.t.Helper()
	said, err := v.asks(asked)
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			v.t.Errorf("%+v says\n%s\nand the error %v, want %q", asked, said, err, word)
		}
	}
}

func (v visitor) file(name string) string { return filepath.Join(v.root, name) }

func (v visitor) wantsClean() {
	v.t.Helper()
	if status, err := (tree{v.root}).git(v.t.Context(), "", nil, "status", "--porcelain"); err != nil || status != "" {
		v.t.Errorf("git status: %s, %v; want nothing", status, err)
	}
}

func TestALessonFromItsStartToDone(t *testing.T) {
	v := visitor{t: t, root: newProject(t)}
	v.wants(request{once: true}, "lesson 1: A\n5 minutes, needs Go only", "changed for this lesson: double.go",
		"red\n\n    double_test.go:7: double is 5\n")
	change(t, v.file("double.go"), "n + n + 1", "2 * n + 2")
	v.wants(request{once: true}, "red  mend this first; the page of lesson 1 does not show this line", "double is 6")
	change(t, v.file("double.go"), "2 * n + 2", "2 * n")
	v.wants(request{once: true}, "green  lesson 1 is done", "`go test ./beside`", "That was the last one")
	c, out := v.classroom()
	if err := c.list(); err != nil || !strings.Contains(out.String(), "✓   1        5  Go only       A  <- in your files now") {
		t.Errorf("the list: %v\n%s", err, out)
	}
	v.wants(request{reset: true}, "Your work is kept", "lesson 1 is out of your files")
	v.wantsClean()

	// The work that was put aside comes back over a new start.
	kept, err := filepath.Glob(v.file("workshop/.mine/01-a-*.patch"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept: %v, %v", kept, err)
	}
	v.wants(request{once: true}, "double is 5")
	if _, err := (tree{v.root}).git(t.Context(), "", nil, "apply", kept[0]); err != nil {
		t.Fatal(err)
	}
	v.wants(request{once: true}, "green")
}

func TestALessonDoesNotTouchTheWorkOfOthers(t *testing.T) {
	v := visitor{t: t, root: newProject(t)}
	write(t, v.file("new.go"), "package small\n")
	change(t, v.file("beside/beside.go"), "beside\"", "mine\"")
	v.wantsRefusal(request{once: true}, "these are changed or new:\n  beside/beside.go\n  new.go\n", "git stash -u")
	if got := read(t, v.file("double.go")); got != read(t, filepath.Join(small, "double.go")) {
		t.Errorf("double.go is changed all the same:\n%s", got)
	}
	v.wantsRefusal(request{reset: true}, "lesson 1 is not in your files")
}

// What a participant adds, deletes and changes is all put back, and all kept.
func TestResetKeepsNewAndDeletedFiles(t *testing.T) {
	v := visitor{t: t, root: newProject(t)}
	v.wants(request{once: true}, "double is 5")
	write(t, v.file("fresh/new.go"), "package fresh\n")
	if err := os.Remove(v.file("beside/beside.go")); err != nil {
		t.Fatal(err)
	}
	v.wants(request{reset: true})
	v.wantsClean()
	kept, err := filepath.Glob(v.file("workshop/.mine/01-a-*.patch"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept: %v, %v", kept, err)
	}
	for _, want := range []string{"fresh/new.go", "deleted file", "beside/beside.go"} {
		if !strings.Contains(read(t, kept[0]), want) {
			t.Errorf("the kept patch has no %q", want)
		}
	}
}

func TestACommitDuringALessonIsNotUndone(t *testing.T) {
	v := visitor{t: t, root: newProject(t)}
	v.wants(request{once: true}, "double is 5")
	if _, err := (tree{v.root}).git(t.Context(), "", nil, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qam",
		"mine"); err != nil {
		t.Fatal(err)
	}
	v.wantsRefusal(request{reset: true}, "git reset --soft")
}

func TestHintsAndTheSolution(t *testing.T) {
	v := visitor{t: t, root: newProject(t)}
	write(t, v.file("workshop/01-a/README.md"), goodPage)
	write(t, v.file("workshop/01-a/README.th.md"), goodThai)
	v.wants(request{hint: 2}, "Two.\n")
	v.thai = true
	v.wants(request{hint: 2}, "สอง\n")
	v.wantsRefusal(request{hint: 4}, "lesson 1 has the hints 1 to 3")
	v.wants(request{solution: "1"}, "+\treturn 2 * n")
	if err := os.Remove(v.file("workshop/01-a/README.th.md")); err != nil {
		t.Fatal(err)
	}
	write(t, v.file("workshop/01-a/README.md"), "# 1. A\n")
	v.wantsClean()
	v.wants(request{once: true}, "Read workshop/01-a/README.th.md")
	change(t, v.file("double.go"), "n + n + 1", "7")
	v.wants(request{solution: "apply"}, "Your work is kept", "green")
	v.wants(request{reset: true})
	v.wantsClean()
}

// An author changes the files and saves them as patches. After the code has moved, the patches are renewed.
func TestPatchesAreSavedAndRenewed(t *testing.T) {
	v := visitor{t: t, root: newProject(t)}
	start, solution := read(t, v.file("workshop/01-a/start.patch")), read(t, v.file("workshop/01-a/solution.patch"))
	change(t, v.file("double.go"), "n + n", "n + n + 1")
	v.wants(request{save: "start"}, "workshop/01-a/start.patch: 1 lines")
	change(t, v.file("double.go"), "n + n + 1", "2 * n")
	v.wants(request{save: "solution"}, "workshop/01-a/solution.patch: 1 lines")
	v.wantsRefusal(request{save: "stop"}, "start, step-2, step-3 or solution")
	for file, old := range map[string]string{"start.patch": start, "solution.patch": solution} {
		if got := read(t, v.file("workshop/01-a/"+file)); addedLines(got) != addedLines(old) || !strings.Contains(got, "index ") {
			t.Errorf("%s:\n%s", file, got)
		}
	}
	commit := func() {
		t.Helper()
		if _, err := (tree{v.root}).git(t.Context(), "", nil, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qam",
			"more"); err != nil {
			t.Fatal(err)
		}
	}
	change(t, v.file("double.go"), "2 * n", "n + n")
	commit()
	change(t, v.file("double.go"), "func double(n int)", "// double is twice n.\nfunc double(n int)")
	change(t, v.file("double.go"), "package small\n", "// Package small is small.\npackage small\n")
	commit()
	if _, err := (tree{v.root}).git(t.Context(), "", nil, "apply", "--check", v.file("workshop/01-a/start.patch")); err == nil {
		t.Fatal("the start fits all the same: there is nothing to renew")
	}
	v.wants(request{refresh: true}, "written: workshop/01-a/start.patch, workshop/01-a/solution.patch")
	commit()
	v.wants(request{once: true}, "double is 5")
	v.wants(request{solution: "apply"}, "green")
}

// The test runs again when a file changes, and a file that git ignores is none.
func TestAChangeRunsTheTestAgain(t *testing.T) {
	v := visitor{t: t, root: newProject(t)}
	v.wants(request{once: true}, "double is 5")
	at, err := tree{v.root}.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write(t, v.file("workshop/.mine/notes.txt"), "mine")
	changed := make(chan error, 1)
	go func() { changed <- tree{v.root}.waitForChange(t.Context(), at) }()
	select {
	case err := <-changed:
		t.Fatalf("no file has changed, but the wait ends with %v", err)
	case <-time.After(4 * settle):
	}
	write(t, v.file("fresh/new.go"), "package fresh\n") // in a folder that was not there
	select {
	case err := <-changed:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a new file in a new folder is not seen")
	}
}

func TestCtrlCEndsTheWait(t *testing.T) {
	v := visitor{t: t, root: newProject(t)}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, cancel)
	if said, err := v.asksUntil(ctx, request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the lesson ends with %v, want context.Canceled\n%s", err, said)
	}
}

// A step that is half done comes before the next one, whose line is there as well.
func TestTheFirstTestThatFailsIsTheStep(t *testing.T) {
	l := lesson{Red: []string{"one is missing", "two is missing"}}
	for output, want := range map[string]struct {
		step int
		line string
	}{
		"--- FAIL: TestOne (0.00s)\n    a_test.go:1: one is missing\n--- FAIL: TestTwo (0.00s)\n    a_test.go:2: two is missing\nFAIL\n": {
			1, "a_test.go:1: one is missing"},
		"--- FAIL: TestOne (0.00s)\n    a_test.go:1: half of one\n--- FAIL: TestTwo (0.00s)\n    a_test.go:2: two is missing\nFAIL\n": {
			0, "a_test.go:1: half of one"},
		"--- FAIL: TestTwo (0.00s)\n    --- FAIL: TestTwo/x (0.00s)\n        a_test.go:9: more\n    a_test.go:2: two is missing\nFAIL\n": {
			2, "a_test.go:2: two is missing"},
		"# small\n./a.go:3:2: undefined: x\nFAIL\tsmall [build failed]\n": {0, "./a.go:3:2: undefined: x"},
	} {
		if step, line := l.step(outcome{output: output}); step != want.step || line != want.line {
			t.Errorf("got step %d, %q; want %d, %q; of\n%s", step, line, want.step, want.line, output)
		}
	}
}

func TestTheNextLessonIsTheOneBehind(t *testing.T) {
	c := &classroom{lessons: []lesson{{Number: 1}, {Number: 5}, {Number: 6}, {Number: 7}}, progress: progress{Done: []int{5, 6}}}
	for after, want := range map[int]int{1: 7, 5: 7, 6: 7, 7: 1} {
		if l, found := c.next(lesson{Number: after}); !found || l.Number != want {
			t.Errorf("after lesson %d comes %d, %v; want %d", after, l.Number, found, want)
		}
	}
	c.progress.Done = []int{1, 5, 6, 7}
	if l, found := c.next(lesson{Number: 6}); found {
		t.Errorf("all are done, but lesson %d comes next", l.Number)
	}
}

// What is typed behind make comes here as it was meant.
func TestMakeHandsOnWhatIsAsked(t *testing.T) {
	for typed, want := range map[string]request{
		"":                     {},
		"HINT=2":               {hint: 2},
		"SOLUTION=1":           {solution: "1"},
		"SOLUTION=apply":       {solution: "apply"},
		"RESET=1":              {reset: true},
		"ONCE=1":               {once: true},
		"SAVE=step-2":          {save: "step-2"},
		"REFRESH=1":            {refresh: true},
		"LANG=th_TH.UTF-8":     {},
		"HINT=3 LANG=th ONCE=": {hint: 3},
	} {
		args := append([]string{"--dry-run", "--no-print-directory", "-C", checkout(t), "lesson", "N=6"}, strings.Fields(typed)...)
		command := exec.CommandContext(t.Context(), "make", args...)
		command.Env = slices.DeleteFunc(os.Environ(), // the test may itself run below make
			func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
		output, err := command.Output()
		_, line, found := strings.Cut(strings.ReplaceAll(string(output), "\\\n", " "), "exec bin/lesson ")
		if err != nil || !found {
			t.Fatalf("make lesson %s: %v\n%s", typed, err, output)
		}
		n, asked, err := parse(strings.Fields(strings.ReplaceAll(line, "'", "")))
		if n != 6 || asked != want || err != nil {
			t.Errorf("make lesson N=6 %s: lesson %d, %+v, %v; want %+v", typed, n, asked, err, want)
		}
	}
}
