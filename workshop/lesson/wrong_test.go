package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A small project with one lesson: double(2) is 5 at its start.
var project = map[string]string{
	"go.mod":                       "module small\n\ngo 1.26\n",
	"double.go":                    "package small\n\nfunc double(n int) int {\n\treturn n + n\n}\n",
	"double_test.go":               "package small\n\nimport \"testing\"\n\nfunc TestDouble(t *testing.T) {\n\tif got := double(2); got != 4 {\n\t\tt.Errorf(\"double is %d\", got)\n\t}\n\tif got := double(-1); got != -2 {\n\t\tt.Errorf(\"double of -1 is %d\", got)\n\t}\n}\n",
	"beside/beside.go":             "package beside\n\nconst Word = \"beside\"\n",
	"beside/beside_test.go":        "package beside\n\nimport \"testing\"\n\nfunc TestBeside(t *testing.T) {\n\tif Word != \"beside\" {\n\t\tt.Error(\"the word is\", Word)\n\t}\n}\n",
	"workshop/01-a/README.md":      "# 1. A\n",
	".gitignore":                   "/workshop/.mine/\n",
	"workshop/01-a/start.patch":    patchOf("double.go", 4, "\treturn n + n", "\treturn n + n + 1"),
	"workshop/01-a/solution.patch": patchOf("double.go", 4, "\treturn n + n + 1", "\treturn 2 * n"),
	"workshop/lessons.toml": `[[lesson]]
number = 1
folder = "01-a"
title = "A"
title_th = "A"
minutes = 5
packages = ["."]
run = "^TestDouble$"
red = ["double is 5"]
neighbours = ["./beside"]
`,
}

// patchOf changes one line of a file with a line before it and one behind it.
func patchOf(file string, line int, from, to string) string {
	head := "diff --git a/" + file + " b/" + file + "\n--- a/" + file + "\n+++ b/" + file + "\n"
	if line == 4 {
		return head + "@@ -3,3 +3,3 @@\n func double(n int) int {\n-" + from + "\n+" + to + "\n }\n"
	}
	return head + "@@ -1,3 +1,3 @@\n package beside\n \n-" + from + "\n+" + to + "\n"
}

// wrongLessons are one change each of the small project, and what must be said about it.
var wrongLessons = []struct{ name, file, from, to, want string }{
	{"the wrong red line", "workshop/lessons.toml", `"double is 5"`, `"double is 6"`, `at the start no line says "double is 6"`},
	{"a second line that never comes", "workshop/lessons.toml", `"double is 5"`, `"double is 5", "double is 7"`, `at the start no line says "double is 7"`},
	{"a start that is not red", "workshop/01-a/start.patch", "+\treturn n + n + 1", "+\treturn n + n + 0", "its test is green at the start"},
	{"a solution that does not solve", "workshop/01-a/solution.patch", "+\treturn 2 * n", "+\treturn 3 * n", "with its solution the test is red"},
	{"a solution that changes nothing", "workshop/01-a/solution.patch", "+\treturn 2 * n", "+\treturn n + n + 1", "with its solution the test is red"},
	{"an empty solution", "workshop/01-a/solution.patch", "", "", "its solution changes nothing"},
	{"a solution that breaks a neighbour", "workshop/01-a/solution.patch", "$", patchOf("beside/beside.go", 3, `const Word = "beside"`, `const Word = "gone"`), "with its solution a neighbour is red"},
	{"a solution that is too long", "workshop/01-a/solution.patch", "$", newFile("long.go", 160), "its solution has 162 lines, at most 150"},
	{"a solution that changes the test", "workshop/01-a/solution.patch", "$", newFile("workshop/01-a/lesson_test.go", 1), "its solution changes the test"},
	{"a start that no longer fits", "double.go", "n + n", "n * 2", "start.patch of lesson 1 does not fit any more"},
	{"a solution that no longer fits", "workshop/01-a/solution.patch", "-\treturn n + n + 1", "-\treturn n", "solution.patch of lesson 1 does not fit any more"},
	{"a test that is not there", "workshop/lessons.toml", "^TestDouble$", "^TestTriple$", "go test finds no test"},
	{"a field that nobody knows", "workshop/lessons.toml", "minutes = 5", "minutes = 5\nminuets = 5", "minuets"},
	{"a folder of another number", "workshop/lessons.toml", "number = 1", "number = 2", "does not begin with the number"},
	{"a server that nobody knows", "workshop/lessons.toml", "minutes = 5", "minutes = 5\nneeds = [\"oracle\"]", `it needs "oracle"`},
	{"no red line", "workshop/lessons.toml", `["double is 5"]`, `[]`, "red is required"},
}

func newFile(name string, lines int) string {
	text := "package " + strings.TrimSuffix(filepath.Base(name), ".go") + "\n" + strings.Repeat("// A line.\n", lines)
	if filepath.Dir(name) == "." {
		text = "package small\n" + strings.Repeat("// A line.\n", lines)
	}
	n := strings.Count(text, "\n")
	return "diff --git a/" + name + " b/" + name + "\nnew file mode 100644\n--- /dev/null\n+++ b/" + name +
		"\n@@ -0,0 +1," + strconv.Itoa(n) + " @@\n+" + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n+") + "\n"
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
				if file != wrong.file && read(t, filepath.Join(root, file)) != project[file] {
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
	for name, text := range project {
		write(t, filepath.Join(root, name), text)
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
