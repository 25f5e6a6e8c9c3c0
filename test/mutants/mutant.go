package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type verdict int

const (
	killed verdict = iota
	timedOut
	survived
	doesNotCompile // a minus between two strings
)

// A mutant is one file with one token changed.
type mutant struct {
	file    string // in the checkout
	at      int    // the token's offset
	in      string // the function, empty outside
	before  string // the line
	after   string
	text    []byte
	skip    string
	limit   time.Duration
	verdict verdict
}

// String names the mutant so that it is found again when lines move.
func (m *mutant) String() string {
	where := m.file
	if m.in != "" {
		where += " " + m.in
	}
	return fmt.Sprintf("%s: %s => %s", where, m.before, m.after)
}

// replacements has what gremlins' kinds of mutant put in place of a token.
var replacements = map[string][]string{
	"ARITHMETIC_BASE":       {"+", "-", "-", "+", "*", "/", "/", "*", "%", "*"},
	"CONDITIONALS_BOUNDARY": {">=", ">", "<=", "<", ">", ">=", "<", "<="},
	"CONDITIONALS_NEGATION": {"==", "!=", "!=", "==", ">=", "<", "<=", ">", ">", "<=", "<", ">="},
	"INCREMENT_DECREMENT":   {"++", "--", "--", "++"},
	"INVERT_LOGICAL":        {"&&", "||", "||", "&&"},
	"INVERT_NEGATIVES":      {"-", "+"},
}

type source struct {
	file   string
	text   []byte
	set    *token.FileSet
	parsed *ast.File
}

func parseSource(root, file string) (*source, error) {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return nil, err
	}
	s := &source{file: file, text: text, set: token.NewFileSet()}
	s.parsed, err = parser.ParseFile(s.set, file, text, parser.SkipObjectResolution)
	return s, err
}

// mutant makes the change that gremlins names by its kind and place.
func (s *source) mutant(kind string, line, column int) (*mutant, error) {
	start := s.set.File(s.parsed.FileStart).LineStart(line)
	offset := s.set.Position(start).Offset
	end := offset + slices.Index(append(s.text[offset:len(s.text):len(s.text)], '\n'), '\n')
	at := offset + column - 1
	pairs := replacements[kind]
	for i := 0; i < len(pairs); i += 2 {
		// The longer token stands before the shorter that it begins with.
		if !strings.HasPrefix(string(s.text[at:end]), pairs[i]) {
			continue
		}
		rest := at + len(pairs[i])
		m := &mutant{file: s.file, at: at, in: s.function(start + token.Pos(column-1))}
		m.text = slices.Concat(s.text[:at], []byte(pairs[i+1]), s.text[rest:])
		m.before = strings.TrimSpace(string(s.text[offset:end]))
		m.after = strings.TrimSpace(string(s.text[offset:at]) + pairs[i+1] + string(s.text[rest:end]))
		return m, nil
	}
	return nil, fmt.Errorf("%s:%d:%d: no token for %s", s.file, line, column, kind)
}

func (s *source) function(at token.Pos) string {
	for _, d := range s.parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Pos() <= at && at < f.End() {
			return f.Name.Name
		}
	}
	return ""
}

// parseSurvivors reads survivors.txt: the mutant's name in a line, then its reason in lines with a tab before them.
// Lines of # are for readers.
func parseSurvivors(text string) (reasons map[string]string, err error) {
	reasons = map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			reasons[name] = strings.TrimSpace(reasons[name] + " " + strings.TrimSpace(line))
		default:
			name = line
			reasons[name] = ""
		}
	}
	for name, reason := range reasons {
		if reason == "" {
			err = errors.Join(err, fmt.Errorf("survivors.txt has no reason for %s", name))
		}
	}
	return reasons, err
}
