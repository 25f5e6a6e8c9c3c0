package filestore

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page ../../swap-an-adapter.md leads from an empty file to the adapter in this folder. These tests follow it as a
// reader would, so that page and code cannot drift apart. It is read by the marks of its fenced blocks ("go filestore.go
// step 2", "text red after step 2", "diff some/file.go") and by the sentences that begin with "Delete", "Imports to add:"
// and "Green now:".

const (
	page = "../../swap-an-adapter.md"
	root = "../../.."
	home = "adapters/filestore" // where the reader writes the adapter
)

// stage is where the reader stands after a step.
type stage struct {
	files map[string]string // of the adapter; the test is not among them
	red   string            // the first lines that `go test` prints
	green []string          // checks that were red before
}

func TestTheStepsOfThePageMakeThisAdapter(t *testing.T) {
	stages := readStages(t)
	last := stages[len(stages)-1].files
	if names := slices.Sorted(maps.Keys(last)); !slices.Equal(names, []string{"filestore.go"}) {
		t.Errorf("files after the last step: got %v, want filestore.go alone", names)
	}
	got, want := strings.Split(last["filestore.go"], "\n"), strings.Split(read(t, "filestore.go"), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("the page and filestore.go differ from line %d on:\n  page %q\n  file %q", i+1,
				got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
}

func TestEachStepPrintsTheRedLinesOfThePage(t *testing.T) {
	stages := readStages(t)
	before := ""
	for step, s := range stages[:len(stages)-1] { // the last step is this package, whose tests run anyway
		output := runTests(t, s.files)
		first := strings.Index(output, "    --- FAIL: ")
		if at := strings.Index(output, s.red); s.red == "" || at < 0 || first >= 0 && at != first {
			t.Errorf("step %d: the page shows as the first red lines\n%s\nbut go test prints\n%s", step, s.red, head(output, max(first, 0)))
		}
		for _, check := range s.green {
			if !failed(before, check) {
				t.Errorf("step %d: %q was not red before it", step, check)
			}
			if failed(output, check) {
				t.Errorf("step %d: %q is still red after it", step, check)
			}
		}
		before = output
	}
	for _, check := range stages[len(stages)-1].green {
		if !failed(before, check) {
			t.Errorf("last step: %q was not red before it", check)
		}
	}
}

// wiring is the reader's adapter and the files that the page's diffs change.
func wiring(t *testing.T) (overlay map[string]string) {
	t.Helper()
	overlay = map[string]string{filepath.Join(home, "filestore.go"): read(t, "filestore.go")}
	for _, block := range blocks(read(t, page)) {
		path, isDiff := strings.CutPrefix(block.mark, "diff ")
		if !isDiff {
			continue
		}
		text := read(t, filepath.Join(root, path))
		for hunk := range strings.SplitSeq(block.text, "@@\n") {
			before, after := sides(hunk)
			if n := strings.Count(text, before); n != 1 {
				t.Errorf("these lines of the page's diff are in %s %d times, want once:\n%s", path, n, before)
			}
			text = strings.Replace(text, before, after, 1)
		}
		overlay[path] = text
	}
	if len(overlay) != 2 {
		t.Errorf("files of the wiring: got %v, want the adapter and one of cmd/hexorders", slices.Sorted(maps.Keys(overlay)))
	}
	return overlay
}

// buildService is the program with the page's diffs.
func buildService(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "hexorders")
	if output, err := goCommand(t, wiring(t), "build", "-o", binary, "./cmd/hexorders"); err != nil {
		t.Fatalf("go build of cmd/hexorders with the page's diffs: %v\n%s", err, output)
	}
	return binary
}

// readStages follows the instructions of each step, step 0 included.
func readStages(t *testing.T) (stages []stage) {
	t.Helper()
	for section := range strings.SplitSeq(read(t, page), "\n## ") {
		if !strings.HasPrefix(section, fmt.Sprintf("Step %d: ", len(stages))) {
			continue
		}
		s := stage{files: map[string]string{"filestore.go": ""}}
		if len(stages) > 0 {
			s.files = maps.Clone(stages[len(stages)-1].files)
		}
		for _, name := range quoted(deletion, section) {
			if strings.HasSuffix(name, ".go") {
				delete(s.files, name)
			} else {
				s.files["todo.go"] = regexp.MustCompile(`(?ms)^func \(s \*Store\) `+name+`\(.*?\}\n\n?`).ReplaceAllString(s.files["todo.go"],
					"")
			}
		}
		s.files["filestore.go"] = addImports(s.files["filestore.go"], quoted(imports, section))
		for _, block := range blocks(section) {
			switch {
			case block.mark == fmt.Sprintf("go filestore.go step %d", len(stages)):
				if s.files["filestore.go"] != "" {
					s.files["filestore.go"] += "\n"
				}
				s.files["filestore.go"] += block.text
			case block.mark == fmt.Sprintf("text red after step %d", len(stages)):
				s.red = comparable(block.text)
			case strings.HasPrefix(block.mark, "go "):
				s.files[strings.TrimPrefix(block.mark, "go ")] = block.text
			}
		}
		s.green = quoted(green, section)
		stages = append(stages, s)
	}
	if len(stages) < 2 {
		t.Fatalf("%s has %d steps, want several", page, len(stages))
	}
	return stages
}

var (
	deletion = regexp.MustCompile("(?m)^Delete (.*?)( from `todo.go`)?\\.( |$)")
	imports  = regexp.MustCompile(`Imports to add: (.*?)\.`)
	green    = regexp.MustCompile("(?s)\nGreen now: (.*?)\\.\n\n")
	code     = regexp.MustCompile("(?s)`(.*?)`")
)

// quoted are the names in backquotes in a sentence of the page.
func quoted(sentence *regexp.Regexp, text string) (names []string) {
	for _, found := range sentence.FindAllStringSubmatch(text, -1) {
		for _, name := range code.FindAllStringSubmatch(found[1], -1) {
			names = append(names, strings.ReplaceAll(name[1], "\n", " "))
		}
	}
	return names
}

var importList = regexp.MustCompile(`(?s)import \((.*?)\n\)`)

func addImports(source string, paths []string) string {
	if len(paths) == 0 {
		return source
	}
	for line := range strings.Lines(importList.FindString(source)) {
		if path, found := strings.CutPrefix(line, "\t\""); found {
			paths = append(paths, strings.TrimSuffix(path, "\"\n"))
		}
	}
	slices.SortFunc(paths, func(a, b string) int { // the standard library first
		ours := func(path string) string { return fmt.Sprint(strings.HasPrefix(path, "hexorders/"), path) }
		return strings.Compare(ours(a), ours(b))
	})
	list := "import ("
	for i, path := range paths {
		if i > 0 && strings.HasPrefix(path, "hexorders/") && !strings.HasPrefix(paths[i-1], "hexorders/") {
			list += "\n"
		}
		list += "\n\t\"" + path + "\""
	}
	return importList.ReplaceAllLiteralString(source, list+"\n)")
}

type block struct{ mark, text string }

var fenced = regexp.MustCompile("(?ms)^```([a-z]+ .*?)\n(.*?)^```$")

func blocks(text string) (found []block) {
	for _, b := range fenced.FindAllStringSubmatch(text, -1) {
		found = append(found, block{b[1], b[2]})
	}
	return found
}

// sides are the lines that a hunk finds and those that it leaves.
func sides(hunk string) (before, after string) {
	for line := range strings.Lines(hunk) {
		if line[0] != '+' {
			before += line[1:]
		}
		if line[0] != '-' {
			after += line[1:]
		}
	}
	return before, after
}

// runTests is what `go test` prints for these files and the reader's copy of the test.
func runTests(t *testing.T, files map[string]string) (output string) {
	t.Helper()
	overlay := map[string]string{filepath.Join(home, "filestore_test.go"): read(t, "filestore_test.go")}
	for name, text := range files {
		overlay[filepath.Join(home, name)] = text
	}
	binary := filepath.Join(t.TempDir(), "filestore.test")
	output, err := goCommand(t, overlay, "test", "-c", "-vet=off", "-o", binary, "./"+home) // vet wants a folder that is there
	if err == nil {
		command := exec.CommandContext(t.Context(), binary, "-test.timeout=2m")
		command.Dir = t.TempDir()
		text, failed := command.CombinedOutput()
		output, err = string(text), failed
	}
	if err == nil {
		t.Error("the tests pass before the last step")
	}
	return comparable(output)
}

// goCommand runs go in the root of the module as if these files stood in it.
func goCommand(t *testing.T, files map[string]string, verb string, args ...string) (output string, err error) {
	t.Helper()
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for name, text := range files {
		replacement := filepath.Join(t.TempDir(), filepath.Base(name))
		if err := os.WriteFile(replacement, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(top, name)] = replacement
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", append([]string{verb, "-overlay", path}, args...)...)
	command.Dir = top
	text, err := command.CombinedOutput()
	return string(text), err
}

var (
	duration = regexp.MustCompile(`\(\d+\.\d+s\)`)
	lineNo   = regexp.MustCompile(`(\w+\.go):\d+:`)
)

// comparable leaves out what differs from run to run, and line numbers, which move with every edit of the suites.
func comparable(output string) string {
	return lineNo.ReplaceAllString(duration.ReplaceAllString(output, "(0s)"), "$1:")
}

func failed(output, check string) bool {
	name := regexp.QuoteMeta(strings.ReplaceAll(check, " ", "_"))
	return regexp.MustCompile(`--- FAIL: (TestStore/\w+/\d\d_)?` + name + ` \(`).MatchString(output)
}

func head(output string, from int) string {
	lines := strings.SplitAfterN(output[from:], "\n", 6)
	return strings.Join(lines[:min(len(lines), 5)], "")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
