package arch

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// X.th.md is X.md in Thai. Prose is free; what a reader types, opens or counts is the same in both: headings and their levels,
// folded parts, code blocks, `code` in the text, and links.
func TestPagesInTwoLanguagesAgree(t *testing.T) {
	pairs, problems := languageProblems(t, "../..")
	if pairs == 0 {
		t.Error("no page is there in two languages: the check watches over nothing")
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// bilingual are the pages that a workshop hands out: they are there in both languages.
var bilingual = regexp.MustCompile(`^(workshop/([^/]+/README|[^/]+)|docs/glossary|docs/first-hour)\.md$`)

func languageProblems(t *testing.T, root string) (pairs int, problems []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		english, isThai := strings.CutSuffix(name, ".th.md")
		english += ".md"
		switch {
		case isThai:
			pairs++
			if _, err := os.Stat(filepath.Join(root, english)); err != nil {
				problems = append(problems, fmt.Sprintf("%s is a translation of %s, which is not there", name, english))
				return nil
			}
			for _, difference := range pageOf(readFile(t, filepath.Join(root, english))).differences(pageOf(readFile(t, path))) {
				problems = append(problems, name+": "+difference)
			}
		case bilingual.MatchString(name):
			if _, err := os.Stat(strings.TrimSuffix(path, ".md") + ".th.md"); err != nil {
				problems = append(problems, fmt.Sprintf("%s has no Thai page beside it", name))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pairs, problems
}

// page is all of a page that does not depend on its language.
type page struct {
	outline []outlined // headings, folded parts and code blocks in their order
	code    map[string]bool
	links   map[string]bool
}

// outlined is a part of a page: a heading says its level only, a code block all of itself.
type outlined struct {
	line int
	what string
}

var (
	heading    = regexp.MustCompile(`^#{1,6} `)
	fold       = regexp.MustCompile(`^</?details`)
	inlineCode = regexp.MustCompile("`([^`]+)`")
	anyLink    = regexp.MustCompile(`\]\(([^)\s]+)\)|<(https?://[^>\s]+)>`)
)

func pageOf(text string) page {
	p := page{code: map[string]bool{}, links: map[string]bool{}}
	block, prose := -1, strings.Builder{}
	for i, line := range strings.Split(text, "\n") {
		switch {
		case block < 0 && strings.HasPrefix(line, "```"):
			block = len(p.outline)
			p.outline = append(p.outline, outlined{i + 1, line})
		case block >= 0:
			p.outline[block].what += "\n" + line
			if strings.HasPrefix(line, "```") {
				block = -1
			}
		case heading.MatchString(line):
			p.outline = append(p.outline, outlined{i + 1, "a heading " + heading.FindString(line)})
			prose.WriteString(line + "\n")
		case fold.MatchString(line):
			p.outline = append(p.outline, outlined{i + 1, fold.FindString(line)})
			prose.WriteString(line + "\n")
		case line == "---": // a slide ends
			p.outline = append(p.outline, outlined{i + 1, line})
		default:
			prose.WriteString(line + "\n")
		}
	}
	for _, m := range inlineCode.FindAllStringSubmatch(prose.String(), -1) {
		p.code[m[1]] = true
	}
	for _, m := range anyLink.FindAllStringSubmatch(inlineCode.ReplaceAllString(prose.String(), ""), -1) {
		to, section, _ := strings.Cut(m[1]+m[2], "#")
		if section != "" && (to == "" || strings.HasSuffix(to, ".th.md")) {
			section = "a section" // whose name is in the page's language
		}
		p.links[strings.Replace(to, ".th.md", ".md", 1)+"#"+section] = true
	}
	return p
}

func (english page) differences(thai page) (problems []string) {
	for i := range max(len(english.outline), len(thai.outline)) {
		want, got := outlined{what: "nothing more"}, outlined{what: "nothing more"}
		if i < len(english.outline) {
			want = english.outline[i]
		}
		if i < len(thai.outline) {
			got = thai.outline[i]
		}
		if want.what != got.what {
			problems = append(problems, fmt.Sprintf("line %d: got\n%s\nwant, as in line %d of the English page,\n%s",
				got.line, got.what, want.line, want.what))
			break // what follows would only follow from it
		}
	}
	problems = append(problems, missing("code", english.code, thai.code)...)
	return append(problems, missing("link", english.links, thai.links)...)
}

func missing(what string, english, thai map[string]bool) (problems []string) {
	for _, x := range slices.Sorted(maps.Keys(english)) {
		if !thai[x] {
			problems = append(problems, fmt.Sprintf("the %s %q of the English page is missing", what, x))
		}
	}
	for _, x := range slices.Sorted(maps.Keys(thai)) {
		if !english[x] {
			problems = append(problems, fmt.Sprintf("the %s %q is not in the English page", what, x))
		}
	}
	return problems
}

func TestATranslationThatDiffersIsFound(t *testing.T) {
	const english = "# One\n\n`make` and [a](b.md#part)\n\n```sh\nmake quick\n```\n\n<details><summary>Hint 1</summary>\n\nx\n\n</details>\n"
	for name, x := range map[string]struct{ old, new, want string }{
		"the same":        {"One", "หนึ่ง", ""},
		"another level":   {"# One", "## หนึ่ง", "line 1: got\na heading ## \nwant, as in line 1 of the English page,\na heading # "},
		"another command": {"make quick\n", "make test\n", "line 5: got\n```sh\nmake test\n```\nwant, as in line 5 of the English page,\n```sh\nmake quick\n```"},
		"a fold less": {"<details><summary>Hint 1</summary>", "",
			"line 13: got\n</details\nwant, as in line 9 of the English page,\n<details"},
		"other code": {"`make`", "`make test`", "the code \"make\" of the English page is missing\nthe code \"make test\" is not in the English page"},
		"another link": {"b.md", "c.md",
			"the link \"b.md#part\" of the English page is missing\nthe link \"c.md#part\" is not in the English page"},
		"a link to Thai pages": {"b.md#part", "b.th.md",
			"the link \"b.md#part\" of the English page is missing\nthe link \"b.md#\" is not in the English page"},
	} {
		thai := strings.Replace(english, x.old, x.new, 1)
		if got := strings.Join(pageOf(english).differences(pageOf(thai)), "\n"); got != x.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, x.want)
		}
	}
	root := t.TempDir()
	for _, name := range []string{"workshop/01-a/README.md", "workshop/slides.th.md", "docs/other.md"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, got := languageProblems(t, root)
	want := []string{
		"workshop/01-a/README.md has no Thai page beside it",
		"workshop/slides.th.md is a translation of workshop/slides.md, which is not there",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
