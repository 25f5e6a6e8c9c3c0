package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hexorders/test/checker"
)

// A short selection of `make faults`, on clusters of its own. The seeded loss proves that the verdict can be red.
func TestNothingIsLostByAFaultAndASeededLossIsFound(t *testing.T) {
	program := filepath.Join(t.TempDir(), "faults")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	output, err := exec.Command(program, "-run", "^primary stepped down$", "-seed").CombinedOutput()
	if err == nil || !strings.Contains(string(output), "1 of 2 faults broke a promise: seeded") {
		t.Fatalf("want a broken promise by the seeded fault alone, error %v\n%s", err, output)
	}
	good := regexp.MustCompile(`[1-9]\d* events, \d+ duplicates: lost 0, invented 0, out of order 0\n`)
	if n := len(good.FindAllString(string(output), -1)); n != 1 {
		t.Errorf("%d faults lost nothing, want 1\n%s", n, output)
	}
}

func TestARowSaysWhatIsBroken(t *testing.T) {
	r := row{fault: fault{name: "primary killed", what: "SIGKILL"}, commands: 7, slowest: 1500 * time.Millisecond}
	r.verdict(checker.Report{Committed: 9, Duplicates: 2, Violations: []checker.Violation{
		{Rule: checker.Lost, About: "a/1"}, {Rule: checker.Forgotten, About: "b/2"}, {Rule: checker.Invented, About: "c/1"},
		{Rule: checker.OutOfOrder, About: "d/3"}, {Rule: checker.Diverged, About: "e"},
	}})
	want := "| primary killed | SIGKILL | 7 | 1.5 s | 0.0 s | 0.0 s | 9 | 2 | **broken**: lost 2, invented 1, out of order 1, other 1 |\n"
	if got := r.line(); got != want {
		t.Errorf("the line is %s, want %s", got, want)
	}
	r = row{fault: fault{tolerates: []checker.Rule{checker.Scattered}}}
	r.verdict(checker.Report{Violations: []checker.Violation{{Rule: checker.Scattered, About: "a/2"}}})
	if r.err != nil {
		t.Errorf("what is tolerated is broken: %v", r.err)
	}
}
