package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A README of the workshop stands in two languages, and other pages may. Commands and code are the same in both, and so is
// what a page is made of.
func TestPagesSayTheSameInThai(t *testing.T) {
	root := checkout(t)
	pages := 0
	for _, english := range pagesBelow(t, filepath.Join(root, "workshop")) {
		name, err := filepath.Rel(root, english)
		if err != nil {
			t.Fatal(err)
		}
		thai, err := os.ReadFile(strings.TrimSuffix(english, ".md") + ".th.md")
		if errors.Is(err, fs.ErrNotExist) && filepath.Base(name) != "README.md" {
			continue
		}
		pages++
		if err != nil {
			t.Errorf("%s has no Thai page beside it: %v", name, err)
			continue
		}
		for _, difference := range differences(read(t, english), string(thai)) {
			t.Errorf("%s and its Thai page: %s", name, difference)
		}
	}
	if pages == 0 {
		t.Error("no page: the check watches over nothing")
	}
}

// The page of a lesson has what a participant looks for, in the same place as in all others.
func TestPagesOfLessons(t *testing.T) {
	root := checkout(t)
	lessons, err := loadLessons(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lessons {
		for _, thai := range []bool{false, true} {
			for _, problem := range l.pageProblems(read(t, filepath.Join(root, l.page(thai))), thai) {
				t.Errorf("%s: %s", l.page(thai), problem)
			}
		}
	}
}

func pagesBelow(t *testing.T, folder string) (pages []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "*/*.md"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	return slices.DeleteFunc(pages, func(page string) bool { return strings.HasSuffix(page, ".th.md") })
}

// sections are the headings that each lesson has, in this order; others may stand between Run and the questions.
var sections = [][2]string{
	{"Goal", "เป้าหมาย"},
	{"Open these files", "ไฟล์ที่ต้องเปิด"},
	{"Run", "รัน"},
	{"Questions for the group", "คำถามสำหรับกลุ่ม"},
	{"Hints", "คำใบ้"},
}

func (l lesson) pageProblems(page string, thai bool) (problems []string) {
	language, minutes := 0, fmt.Sprintf("**%d minutes**", l.Minutes)
	if thai {
		language, minutes = 1, fmt.Sprintf("**%d นาที**", l.Minutes)
	}
	if title := fmt.Sprintf("# %d. ", l.Number); !strings.HasPrefix(page, title) {
		problems = append(problems, fmt.Sprintf("it does not begin with %q", title))
	}
	if !strings.Contains(page, minutes) {
		problems = append(problems, "it does not say "+minutes)
	}
	if command := fmt.Sprintf("\nmake lesson N=%d\n", l.Number); !strings.Contains(page, command) {
		problems = append(problems, fmt.Sprintf("it has no line %q", command))
	}
	rest := page
	for _, section := range sections {
		heading := "\n## " + section[language] + "\n"
		_, after, found := strings.Cut(rest, heading)
		if !found {
			problems = append(problems, fmt.Sprintf("it has no %q, or not in its place", heading))
			continue
		}
		rest = after
	}
	if texts := hints(page); len(texts) != 3 || slices.Contains(texts, "") {
		problems = append(problems, fmt.Sprintf("it has the hints %q, want three that are not empty", texts))
	}
	return problems
}

var (
	fence       = regexp.MustCompile("(?ms)^```.*?^```$")
	inlineCode  = regexp.MustCompile("`[^`\n]+`")
	linkTarget  = regexp.MustCompile(`\]\(([^)]+)\)`)
	headingLine = regexp.MustCompile(`(?m)^#+ `)
	hintLine    = regexp.MustCompile(`(?m)^<details>`)
)

// differences between a page and its Thai page. The words are a translator's, all the rest must be the same: the levels
// of the headings, the blocks of code, the code in sentences and the links, which may come in another order there.
func differences(english, thai string) (found []string) {
	compare := func(what string, a, b []string) {
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				found = append(found, fmt.Sprintf("%s: %s and %s", what, at(a, i), at(b, i)))
				return
			}
		}
	}
	compare("code", fence.FindAllString(english, -1), fence.FindAllString(thai, -1))
	english, thai = fence.ReplaceAllString(english, ""), fence.ReplaceAllString(thai, "")
	compare("headings", headingLine.FindAllString(english, -1), headingLine.FindAllString(thai, -1))
	compare("folded hints", hintLine.FindAllString(english, -1), hintLine.FindAllString(thai, -1))
	compare("code in a sentence", set(inlineCode.FindAllString(english, -1)), set(inlineCode.FindAllString(thai, -1)))
	compare("links", targets(english), targets(thai))
	return found
}

func at(list []string, i int) string {
	if i < len(list) {
		return fmt.Sprintf("%q", list[i])
	}
	return "nothing"
}

func set(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// targets are those of a page's links. A link to the page in the other language is no part of it.
func targets(page string) (list []string) {
	for _, link := range linkTarget.FindAllStringSubmatch(page, -1) {
		if !strings.Contains(link[1], "README") {
			list = append(list, link[1])
		}
	}
	return set(list)
}

const (
	goodPage = "# 3. A\n\n**30 minutes** · needs Go only\n\n## Goal\n\nSay `why`.\n\n## Open these files\n\n[a](a.go)\n\n## Run\n\n```sh\n" +
		"make lesson N=3\n```\n\n## Questions for the group\n\nWhy?\n\n## Hints\n\n" +
		"<details><summary>Hint 1</summary>\n\nOne.\n\n</details>\n<details><summary>Hint 2</summary>\n\nTwo.\n\n</details>\n" +
		"<details><summary>Hint 3</summary>\n\nThree.\n\n</details>\n"
	goodThai = "# 3. ก\n\n**30 นาที** · ใช้แค่ Go\n\n## เป้าหมาย\n\nบอก `why`\n\n## ไฟล์ที่ต้องเปิด\n\n[a](a.go)\n\n## รัน\n\n```sh\n" +
		"make lesson N=3\n```\n\n## คำถามสำหรับกลุ่ม\n\nทำไม\n\n## คำใบ้\n\n" +
		"<details><summary>คำใบ้ 1</summary>\n\nหนึ่ง\n\n</details>\n<details><summary>คำใบ้ 2</summary>\n\nสอง\n\n</details>\n" +
		"<details><summary>คำใบ้ 3</summary>\n\nสาม\n\n</details>\n"
)

func TestAWrongPageIsFound(t *testing.T) {
	l := lesson{Number: 3, Minutes: 30}
	if problems := slices.Concat(l.pageProblems(goodPage, false), l.pageProblems(goodThai, true),
		differences(goodPage, goodThai)); len(problems) > 0 {
		t.Fatalf("the good pages: %q", problems)
	}
	for _, wrong := range []struct{ from, to, want string }{
		{"# 3. ก", "# 4. ก", "it does not begin with"},
		{"**30 นาที**", "**40 นาที**", "it does not say **30 นาที**"},
		{"make lesson N=3", "make lesson N=4", "code: "},
		{"make lesson N=3", "make lesson N=4", "it has no line"},
		{"## รัน", "### รัน", "headings: "},
		{"## รัน", "## วิ่ง", "it has no"},
		{"`why`", "`how`", "code in a sentence: "},
		{"`why`", "why", "code in a sentence: \"`why`\" and nothing"},
		{"(a.go)", "(b.go)", "links: "},
		{"<details><summary>คำใบ้ 3</summary>\n\nสาม\n\n</details>\n", "", "folded hints: "},
		{"สาม", "", "want three that are not empty"},
	} {
		page := strings.Replace(goodThai, wrong.from, wrong.to, 1)
		problems := append(l.pageProblems(page, true), differences(goodPage, page)...)
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, wrong.want) }) {
			t.Errorf("%q in place of %q: found %q, want %q", wrong.to, wrong.from, problems, wrong.want)
		}
	}
}
