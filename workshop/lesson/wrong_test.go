package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// small is a project with one lesson: at its start double(2) is 5.
const small = "testdata/small"

const (
	list     = "workshop/lessons.toml"
	start    = "workshop/01-a/start.patch"
	solution = "workshop/01-a/solution.patch"

	breaksNeighbour = `diff --git a/beside/beside.go b/beside/beside.go
--- a/beside/beside.go
+++ b/beside/beside.go
@@ -1,3 +1,3 @@
 package beside
 
-const Word = "beside"
+const Word = "gone"
`
)

// wrongLessons are one change each of the small project, and what must be said about it.
var wrongLessons = []struct{ name, file, from, to, want string }{
	{"the wrong red line", list, "double is 5", "double is 6", `at the start no line says "double is 6"`},
	{"a second line that never comes", list, `"double is 5"`, `"double is 5", "is 7"`, `at the start no line says "is 7"`},
	{"no red line", list, `["double is 5"]`, `[]`, "red is required"},
	{"a test that is not there", list, "^TestDouble$", "^TestTriple$", "go test finds no test"},
	{"a field that nobody knows", list, "minutes = 5", "minutes = 5\nminuets = 5", "minuets"},
	{"a folder of another number", list, "number = 1", "number = 2", "does not begin with the number"},
	{"a server that nobody knows", list, "minutes = 5", "minutes = 5\nneeds = [\"oracle\"]", `it needs "oracle"`},
	{"no neighbours", list, `["./beside"]`, `[]`, "no neighbours are named"},

	{"a start that is not red", start, "+\treturn n + n + 1", "+\treturn n + n + 0", "its test is green at the start"},
	{"a start that no longer fits", "double.go", "n + n", "n * 2", "start.patch of lesson 1 does not fit any more"},

	{"a solution that does not solve", solution, "2 * n", "3 * n", "with its solution the test is red"},
	{"a solution that leaves all as it is", solution, "2 * n", "n + n + 1", "with its solution the test is red"},
	{"an empty solution", solution, "", "", "its solution changes nothing"},
	{"a solution that no longer fits", solution, "-\treturn n + n + 1", "-\treturn n", "solution.patch of lesson 1 does not fit"},
	{"a solution that breaks a neighbour", solution, "$", breaksNeighbour, "with its solution a neighbour is red"},
	{"a solution that is too long", solution, "$", newFile("long.go", 160), "its solution has 162 lines, at most 150"},
	{"a solution that changes the test", solution, "$", newFile("workshop/01-a/lesson_test.go", 1), "its solution changes the test"},
}

// newFile is a patch that adds a file.
func newFile(name string, comments int) string {
	return "diff --git a/" + name + " b/" + name + "\nnew file mode 100644\n--- /dev/null\n+++ b/" + name +
		"\n@@ -0,0 +1," + strconv.Itoa(comments+1) + " @@\n+package small\n" + strings.Repeat("+// A line.\n", comments)
}

func TestAWrongLessonIsFound(t *testing.T) {
	root := newProject(t)
	lessons, err := loadLessons(root)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := lessons[0].prove(t.Context(), root); err != nil || p.lines != 1 || p.asBefore {
		t.Fatalf("the lesson as it is: %+v, %v", p, err)
	}
	for _, wrong := range wrongLessons {
		t.Run(wrong.name, func(t *testing.T) {
			t.Parallel()
			root := newProject(t)
			change(t, filepath.Join(root, wrong.file), wrong.from, wrong.to)
			lessons, err := loadLessons(root)
			if err == nil {
				_, err = lessons[0].prove(t.Context(), root)
			}
			if err == nil || !strings.Contains(err.Error(), wrong.want) {
				t.Errorf("got %v, want %q", err, wrong.want)
			}
			for _, file := range []string{"double.go", "beside/beside.go"} {
				if file != wrong.file && read(t, filepath.Join(root, file)) != read(t, filepath.Join(small, file)) {
					t.Errorf("%s is not as it was", file)
				}
			}
		})
	}
}

// newProject writes the small project, and commits it.
func newProject(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.CopyFS(root, os.DirFS(small)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "small"},
	} {
		command := exec.CommandContext(t.Context(), "git", args...)
		command.Dir = root
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, output)
		}
	}
	return root
}

// change replaces a text of a file; "$" is its end, "" all of it.
func change(t *testing.T, file, from, to string) {
	t.Helper()
	text := read(t, file)
	switch from {
	case "":
		text = to
	case "$":
		text += to
	default:
		if !strings.Contains(text, from) {
			t.Fatalf("%s has no %q", file, from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	write(t, file, text)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
