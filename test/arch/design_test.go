package arch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A DESIGN.md names the test that holds each invariant. A test that was renamed or deleted must not stay in the page.
func TestDesignPagesNameTestsAndFilesThatExist(t *testing.T) {
	pages, problems := designProblems(t, "../..")
	if len(pages) == 0 {
		t.Error("no DESIGN.md is found: the check watches over nothing")
	}
	for _, p := range problems {
		t.Error(p)
	}
}

func TestAWrongDesignPageIsFound(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"room/DESIGN.md": "`TestHere`, `TestGone`, [a](there.go), [b](gone.go#top), [c](https://example.com/x.md), " +
			"`kept.go`, `lost.go`",
		"room/a_test.go":  "func TestHere(t *testing.T) {",
		"room/there.go":   "// func TestGone(t *testing.T) {",
		"other/kept.go":   "",
		"other/b_test.go": "func TestElsewhere(t *testing.T) {",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, got := designProblems(t, root)
	want := []string{
		"room/DESIGN.md links to gone.go, which is not there",
		"room/DESIGN.md names the file lost.go, which is nowhere",
		"room/DESIGN.md names the test TestGone, which is nowhere",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var (
	testName   = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
	goFile     = regexp.MustCompile("`(\\w+\\.go)`")
	localLink  = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	testOfFile = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
)

func designProblems(t *testing.T, root string) (pages, problems []string) {
	t.Helper()
	tests, files := map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		files[d.Name()] = true
		switch {
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return filepath.SkipDir
		case d.Name() == "DESIGN.md":
			pages = append(pages, path)
		case strings.HasSuffix(path, "_test.go"):
			for _, m := range testOfFile.FindAllStringSubmatch(readFile(t, path), -1) {
				tests[m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		name, err := filepath.Rel(root, page)
		if err != nil {
			t.Fatal(err)
		}
		text := readFile(t, page)
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				problems = append(problems, fmt.Sprintf("%s names the test %s, which is nowhere", name, m[1]))
			}
		}
		for _, m := range goFile.FindAllStringSubmatch(text, -1) {
			if !files[m[1]] {
				problems = append(problems, fmt.Sprintf("%s names the file %s, which is nowhere", name, m[1]))
			}
		}
		for _, m := range localLink.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				problems = append(problems, fmt.Sprintf("%s links to %s, which is not there", name, m[1]))
			}
		}
	}
	slices.Sort(problems)
	return pages, problems
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
