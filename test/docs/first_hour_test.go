package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The first hour of a newcomer, in a clone of this checkout as it is now: changes that are not committed are in it.
func TestTheFirstHourIsTrue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, embedded)
	w.places["address"] = commitOfFiles(t)
	follow(t, w, "docs/first-hour.md")
}

func TestNoBlockOfTheFirstHourIsLeftOut(t *testing.T) {
	_, others, err := parse(read(t, "docs/first-hour.md"), embedded)
	if err != nil || len(others) > 0 {
		t.Errorf("blocks at %v are not typed, error %v", others, err)
	}
}

// commitOfFiles is a repository of one commit that has all files of this checkout but the ignored ones.
func commitOfFiles(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	git := func(in string, args ...string) string {
		t.Helper()
		identity := []string{"-c", "user.name=t", "-c", "user.email=t@localhost"}
		command := exec.CommandContext(t.Context(), "git", append(identity, args...)...)
		command.Dir = in
		output, err := command.Output()
		if err != nil {
			t.Fatalf("git %s: %v", args[0], err)
		}
		return string(output)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(git(repository, "ls-files", "-z", "-co", "--exclude-standard"), "\x00"), "\x00") {
		from, to := filepath.Join(repository, name), filepath.Join(folder, name)
		about, err := os.Stat(from)
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o750)
		}
		if err == nil {
			err = os.WriteFile(to, text, about.Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	git(folder, "init", "-q")
	git(folder, "add", "-A")
	git(folder, "commit", "-q", "-m", "the files as they are")
	return folder
}
