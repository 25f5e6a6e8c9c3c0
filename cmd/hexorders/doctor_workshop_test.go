package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const someLessons = `
[[lesson]]
number = 1
folder = "01-an-order"
title = "An order"
minutes = 20

[[lesson]]
number = 10
title = "A second broker"
minutes = 60
needs = ["nats"]
`

// machine answers as programs do. A test takes one of them away, or lets it answer something else.
type machine struct {
	lessons string
	answers map[string]string // by the beginning of the command line, what it prints; "!" in front: and fails
	missing []string          // programs
}

func newMachine() *machine {
	return &machine{lessons: someLessons, answers: map[string]string{
		"git --version": "git version 2.39.5", "git -C": "true", "go -C FOLDER version": "go version go1.26.11 linux/amd64",
		"go -C FOLDER list -tags exercise -test -deps ./...": "", "go env GOCACHE": "/cache",
		"df -Pk /cache":                       "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 64000000 1000 4194304 2% /",
		"FOLDER/scripts/services status nats": "nats is up",
	}}
}

func (m *machine) findings(t *testing.T) (found []finding) {
	t.Helper()
	folder := t.TempDir()
	if m.lessons != "" {
		if err := os.Mkdir(filepath.Join(folder, "workshop"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "workshop", "lessons.toml"), []byte(m.lessons), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := workshop{
		folder: folder,
		run: func(_ context.Context, variables []string, program string, args ...string) (string, error) {
			line := strings.ReplaceAll(strings.Join(append([]string{program}, args...), " "), folder, "FOLDER")
			if strings.HasPrefix(line, "go -C") && !slices.Contains(variables, "GOPROXY=off") {
				t.Errorf("%s may use the network", line)
			}
			for command, answer := range m.answers {
				if !strings.HasPrefix(line, command) {
					continue
				}
				if said, fails := strings.CutPrefix(answer, "!"); fails {
					return said, errors.New("exit status 1")
				}
				return answer, nil
			}
			t.Errorf("%s is run", line)
			return "", nil
		},
		find: func(program string) error {
			if slices.Contains(m.missing, program) {
				return errors.New("not found")
			}
			return nil
		},
	}
	w.examine(t.Context(), func(f finding) { found = append(found, f) })
	return found
}

func TestAMachineThatIsReadyForTheWorkshop(t *testing.T) {
	want := []string{
		"git: git version 2.39.5",
		"tools: bash, curl, make and perl are there",
		"lessons: 2 lessons, 80 minutes; `make lessons` lists them",
		"go: go version go1.26.11 linux/amd64",
		"modules: all are in the module cache: no network is needed",
		"disk: 4.0 GiB are free at /cache",
		"browser: xdg-open is there, for the console",
		"lesson 1: 20 minutes, needs Go only: An order",
		"lesson 10: 60 minutes, nats answers: A second broker",
	}
	var got []string
	for _, f := range newMachine().findings(t) {
		if f.err != nil {
			t.Errorf("%s: %v", f.what, f.err)
		}
		got = append(got, f.what+": "+f.good)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// One thing is missing at a time: that line says what to do, and no other line is bad.
func TestWhatTheWorkshopLacks(t *testing.T) {
	answer := func(command, says string) func(*machine) { return func(m *machine) { m.answers[command] = says } }
	for _, x := range []struct {
		name, what, says string
		note             bool
		without          func(*machine)
	}{
		{"no git", "git", "install git (exit status 1)", false, answer("git --version", "!")},
		{"an archive", "git", "get the project with `git clone`", false, answer("git -C", "!fatal: not a git repository")},
		{"no make, no perl", "tools", "install make and perl; on Windows work inside WSL", false,
			func(m *machine) { m.missing = []string{"make", "perl"} }},
		{"another folder", "lessons", "run this in the root of the clone", false, func(m *machine) { m.lessons = "" }},
		{"a changed list", "lessons", "git checkout workshop/lessons.toml", false, func(m *machine) { m.lessons = "[[lesson" }},
		{"no Go", "go", "from https://go.dev/dl (exit status 1)", false, answer("go -C FOLDER version", "!")},
		{"an old Go", "go", "the version that go.mod names, from https://go.dev/dl (go: toolchain not available)", false,
			answer("go -C FOLDER version", "!go: downloading\ngo: toolchain not available")},
		{"no modules", "modules", "run `go mod download` while there is a network (module lookup disabled by GOPROXY=off)", false,
			answer("go -C FOLDER list -tags exercise -test -deps ./...", "!module lookup disabled by GOPROXY=off")},
		{"a full disk", "disk", "1.0 GiB are free at /cache, and building may take 3.0 GiB: make room", false,
			answer("df -Pk /cache", "Filesystem\n/dev/vda 64000000 1000 1048576 2% /")},
		{"no df", "disk", "see that there are 3.0 GiB (df: exit status 1)", true, answer("df -Pk /cache", "!")},
		{"another df", "disk", "see that there are 3.0 GiB", true, answer("df -Pk /cache", "4194304")},
		{"no browser", "browser", "none is found", true, func(m *machine) { m.missing = browsers }},
		{"no nats", "lesson 10", "needs nats: run `scripts/services up nats` before it", true,
			answer("FOLDER/scripts/services status nats", "!nats is down")},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := newMachine()
			x.without(m)
			wrong := 0
			for _, f := range m.findings(t) {
				if f.err == nil {
					continue
				}
				wrong++
				if f.what != x.what || f.note != x.note || !strings.Contains(f.err.Error(), x.says) {
					t.Errorf("%s, note %t: %v\nwant %s, note %t: %s", f.what, f.note, f.err, x.what, x.note, x.says)
				}
			}
			if wrong != 1 {
				t.Errorf("%d lines say that something is missing, want 1", wrong)
			}
		})
	}
}

// The real one, in a folder that is no clone.
func TestDoctorOfTheWorkshopEndsWithOneWhenSomethingIsMissing(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	t.Chdir(t.TempDir())
	out, errOut, code := runCommand(t, "doctor", "--workshop")
	if code != exitFailed || !strings.Contains(out, "BAD   git        this folder is no clone") ||
		!strings.Contains(out, "BAD   lessons    there are no lessons here") || !strings.Contains(errOut, "of these checks failed") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	t.Setenv("HEXORDERS_HTTP_ADDR", "nowhere")
	if out, _, code := runCommand(t, "doctor", "--workshop"); code != exitFailed || !strings.Contains(out, "BAD   settings") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
