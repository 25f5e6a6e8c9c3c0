package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Whether a machine is ready for the workshop (`hexorders doctor --workshop`), asked on the day before, while there is a network.

// workshop is a checkout and the machine that it is on.
type workshop struct {
	folder string // the root of the checkout
	// run runs a program in the folder, with further variables, and returns what it prints.
	run func(ctx context.Context, variables []string, program string, args ...string) (string, error)
	// find reports whether there is a program of this name.
	find func(program string) error
}

// thisWorkshop is the one in the working directory.
func thisWorkshop() workshop {
	return workshop{
		folder: ".",
		run: func(ctx context.Context, variables []string, program string, args ...string) (string, error) {
			command := exec.CommandContext(ctx, program, args...)
			command.Env = append(os.Environ(), variables...)
			output, err := command.CombinedOutput()
			return strings.TrimSpace(string(output)), err
		},
		find: func(program string) error {
			_, err := exec.LookPath(program)
			return err
		},
	}
}

// workshopTools are typed in the lessons and in docs/first-hour.md, go and git aside.
var workshopTools = []string{"bash", "curl", "make", "perl"}

// browsers are programs that show the console.
var browsers = []string{"xdg-open", "open", "wslview", "chromium", "chromium-browser", "google-chrome", "firefox"}

// mostOfABuild is more than the compiled program and the tests of all lessons take.
const mostOfABuild = 3 << 30

// offline makes the go command use what is on this machine.
var offline = []string{"GOPROXY=off", "GOFLAGS=-mod=readonly"}

// examine reports a finding for each thing that the workshop needs. Those without which nothing goes are bad.
func (w workshop) examine(ctx context.Context, report func(finding)) {
	report(w.checkGit(ctx))
	report(w.checkTools())
	lessons, f := w.lessons()
	report(f)
	goWorks := w.checkGo(ctx)
	report(goWorks)
	if f.err == nil && goWorks.err == nil {
		report(w.checkModules(ctx))
		report(w.checkDisk(ctx))
	}
	report(w.checkBrowser())
	for _, l := range lessons {
		report(w.checkLesson(ctx, l))
	}
}

func (w workshop) checkGit(ctx context.Context) finding {
	version, err := w.run(ctx, nil, "git", "--version")
	if err != nil {
		return finding{what: "git", err: fmt.Errorf("lessons put patches into the files with git: install git (%w)", err)}
	}
	if _, err := w.run(ctx, nil, "git", "-C", w.folder, "rev-parse", "--is-inside-work-tree"); err != nil {
		return finding{what: "git", err: errors.New("this folder is no clone: get the project with `git clone`, not as an archive")}
	}
	return finding{what: "git", good: version}
}

func (w workshop) checkTools() finding {
	var missing []string
	for _, tool := range workshopTools {
		if w.find(tool) != nil {
			missing = append(missing, tool)
		}
	}
	f := finding{what: "tools", good: enumerate(workshopTools, " and ") + " are there"}
	if len(missing) > 0 {
		f.err = fmt.Errorf("install %s; on Windows work inside WSL", enumerate(missing, " and "))
	}
	return f
}

// workshopLesson is what doctor reads of a table in workshop/lessons.toml.
type workshopLesson struct {
	Number  int      `toml:"number"`
	Title   string   `toml:"title"`
	Minutes int      `toml:"minutes"`
	Needs   []string `toml:"needs"`
}

func (w workshop) lessons() ([]workshopLesson, finding) {
	f := finding{what: "lessons"}
	text, err := os.ReadFile(filepath.Join(w.folder, "workshop", "lessons.toml"))
	if err != nil {
		f.err = fmt.Errorf("there are no lessons here: run this in the root of the clone (%w)", err)
		return nil, f
	}
	var all struct {
		Lessons []workshopLesson `toml:"lesson"`
	}
	if err := toml.Unmarshal(text, &all); err != nil {
		f.err = fmt.Errorf("workshop/lessons.toml cannot be read: get it back with `git checkout workshop/lessons.toml` (%w)", err)
		return nil, f
	}
	minutes := 0
	for _, l := range all.Lessons {
		minutes += l.Minutes
	}
	f.good = fmt.Sprintf("%d lessons, %d minutes; `make lessons` lists them", len(all.Lessons), minutes)
	return all.Lessons, f
}

func (w workshop) checkGo(ctx context.Context) finding {
	version, err := w.run(ctx, offline, "go", "-C", w.folder, "version")
	f := finding{what: "go", good: version}
	if err != nil {
		f.err = fmt.Errorf("no Go for this module: install the version that go.mod names, from https://go.dev/dl (%s)",
			lastLine(version, err))
	}
	return f
}

// checkModules asks for every package that the lessons compile.
func (w workshop) checkModules(ctx context.Context) finding {
	f := finding{what: "modules", good: "all are in the module cache: no network is needed"}
	if output, err := w.run(ctx, offline, "go", "-C", w.folder, "list", "-tags", "exercise", "-test", "-deps", "./..."); err != nil {
		f.err = fmt.Errorf("some modules are not on this machine: run `go mod download` while there is a network (%s)", lastLine(output, err))
	}
	return f
}

// checkDisk looks where the go command puts what it compiles.
func (w workshop) checkDisk(ctx context.Context) finding {
	f := finding{what: "disk"}
	cache, err := w.run(ctx, nil, "go", "env", "GOCACHE")
	var free uint64
	if err == nil {
		free, err = w.freeBytes(ctx, cache)
	}
	switch {
	case err != nil:
		f.note, f.err = true, fmt.Errorf("nothing tells how much room is left: see that there are %s (%w)", gigabytes(mostOfABuild), err)
	case free < mostOfABuild:
		f.err = fmt.Errorf("%s are free at %s, and building may take %s: make room, or set GOCACHE to a folder on another disk",
			gigabytes(free), cache, gigabytes(mostOfABuild))
	default:
		f.good = gigabytes(free) + " are free at " + cache
	}
	return f
}

// freeBytes reads the output of df in its POSIX format: in the second line the fourth column, in KiB.
func (w workshop) freeBytes(ctx context.Context, folder string) (uint64, error) {
	output, err := w.run(ctx, nil, "df", "-Pk", folder)
	if err != nil {
		return 0, fmt.Errorf("df: %s", lastLine(output, err))
	}
	lines := strings.Split(output, "\n")
	columns := strings.Fields(lines[len(lines)-1])
	if len(columns) < 4 {
		return 0, fmt.Errorf("df prints %q", output)
	}
	free, err := strconv.ParseUint(columns[3], 10, 64)
	return free << 10, err
}

func gigabytes(n uint64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

func (w workshop) checkBrowser() finding {
	for _, name := range browsers {
		if w.find(name) == nil {
			return finding{what: "browser", good: name + " is there, for the console"}
		}
	}
	return finding{what: "browser", note: true, err: errors.New(
		"none is found: the console needs one, on this machine or, through a tunnel, on another")}
}

func (w workshop) checkLesson(ctx context.Context, l workshopLesson) finding {
	f := finding{what: fmt.Sprintf("lesson %d", l.Number), note: true}
	if len(l.Needs) == 0 {
		f.good = fmt.Sprintf("%d minutes, needs Go only: %s", l.Minutes, l.Title)
		return f
	}
	servers := strings.Join(l.Needs, " ")
	f.good = fmt.Sprintf("%d minutes, %s answers: %s", l.Minutes, enumerate(l.Needs, " and "), l.Title)
	if _, err := w.run(ctx, nil, filepath.Join(w.folder, "scripts", "services"), append([]string{"status"}, l.Needs...)...); err != nil {
		f.err = fmt.Errorf("%d minutes, needs %s: run `scripts/services up %s` before it, once while there is a network: %s",
			l.Minutes, enumerate(l.Needs, " and "), servers, l.Title)
	}
	return f
}

// lastLine is what a program said at last, or its error when it said nothing.
func lastLine(output string, err error) string {
	if output == "" {
		return err.Error()
	}
	lines := strings.Split(output, "\n")
	return lines[len(lines)-1]
}
