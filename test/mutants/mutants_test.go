package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	checked = `package p

func Between(a, b, c int) bool {
	switch {
	case a > b, "x"+"y" == "":
		return false
	}
	return b < c && a != c
}
`
	check = `package p

import "testing"

func TestBetween(t *testing.T) {
	if !Between(1, 2, 3) || Between(1, 3, 3) || Between(3, 2, 4) {
		t.Error("wrong")
	}
}
`
)

func TestAMutantIsKilledSurvivesOrDoesNotCompile(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{"go.mod": "module m\n", "p/p.go": checked, "p/p_test.go": check} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := parseSource(root, "p/p.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind         string
		line, column int
		name         string
		want         verdict
	}{
		// In the condition of a case too.
		{"CONDITIONALS_NEGATION", 5, 9, `case a > b, "x"+"y" == "": => case a <= b, "x"+"y" == "":`, killed},
		{"CONDITIONALS_BOUNDARY", 5, 9, `case a > b, "x"+"y" == "": => case a >= b, "x"+"y" == "":`, survived},
		{"ARITHMETIC_BASE", 5, 17, `case a > b, "x"+"y" == "": => case a > b, "x"-"y" == "":`, doesNotCompile},
		{"CONDITIONALS_BOUNDARY", 8, 11, "return b < c && a != c => return b <= c && a != c", killed},
		{"INVERT_LOGICAL", 8, 15, "return b < c && a != c => return b < c || a != c", killed},
	} {
		m, err := s.mutant(c.kind, c.line, c.column)
		if err != nil {
			t.Fatal(err)
		}
		if want := "p/p.go Between: " + c.name; m.String() != want {
			t.Errorf("the mutant is %s, want %s", m, want)
		}
		m.limit = time.Minute
		if err := m.try(t.Context(), root); err != nil || m.verdict != c.want {
			t.Errorf("%s: verdict %d and error %v, want %d", m, m.verdict, err, c.want)
		}
	}
	if _, err := s.mutant("INVERT_LOGICAL", 8, 11); err == nil {
		t.Error("a token that is not there is changed")
	}
}

func TestSurvivorsAreOnesWithAReason(t *testing.T) {
	got, err := parseSurvivors("# for readers\n\na.go f: x => y\n\tNobody\n\tlooks.\nb.go: x => y\n\tSame.\n")
	if want := map[string]string{"a.go f: x => y": "Nobody looks.", "b.go: x => y": "Same."}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v and error %v, want %v", got, err, want)
	}
	if _, err := parseSurvivors("a.go f: x => y\n"); err == nil || !strings.Contains(err.Error(), "a.go f: x => y") {
		t.Errorf("without a reason: error %v, want one that names it", err)
	}
	if _, err := parseSurvivors(survivorsText); err != nil {
		t.Error(err)
	}
}

func TestTheReportFailsForWhatIsNotListedAndWhatIsNoLongerThere(t *testing.T) {
	all := []*mutant{
		{file: "p/a.go", before: "x", after: "y", verdict: survived},
		{file: "p/a.go", before: "x", after: "z", verdict: survived},
		{file: "p/a.go", before: "v", after: "w", verdict: killed},
	}
	err := report(all, map[string]string{"p/a.go: x => y": "same", "p/a.go f: v => w": "same", "q/b.go: x => y": "not looked at"})
	for _, want := range []string{"not listed: p/a.go: x => z", "does not survive: p/a.go f: v => w", "p: 33.3 % are killed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if err != nil && (strings.Contains(err.Error(), "x => y") || strings.Contains(err.Error(), "q/b.go")) {
		t.Errorf("what is listed, or was not looked at, is an error: %v", err)
	}
}
