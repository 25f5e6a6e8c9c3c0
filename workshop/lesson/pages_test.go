package main

import (
	"fmt"
	"go/format"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

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

// A folder of the workshop is a lesson, and golangci-lint does not look at the test in it: it knows no build tag exercise.
func TestFilesOfLessons(t *testing.T) {
	root := checkout(t)
	lessons, err := loadLessons(root)
	if err != nil {
		t.Fatal(err)
	}
	folders := map[string]bool{}
	for _, l := range lessons {
		folders[l.Folder] = true
	}
	files, err := filepath.Glob(filepath.Join(root, "workshop", "*-*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if folder := filepath.Base(filepath.Dir(file)); !folders[folder] {
			t.Errorf("%s is in no lesson of lessons.toml", file)
		}
		if strings.HasSuffix(file, "_test.go") {
			for _, problem := range goProblems(read(t, file)) {
				t.Errorf("%s %s", file, problem)
			}
		}
	}
}

func goProblems(text string) (problems []string) {
	if !strings.HasPrefix(text, "//go:build exercise\n") {
		problems = append(problems, "does not begin with //go:build exercise: it would run with all other tests")
	}
	if formatted, err := format.Source([]byte(text)); err != nil || string(formatted) != text {
		problems = append(problems, "is not as gofmt writes it")
	}
	for i, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")); n > 140 {
			problems = append(problems, fmt.Sprintf("has %d characters in line %d, at most 140", n, i+1))
		}
	}
	return problems
}

func TestAWrongFileIsFound(t *testing.T) {
	long := "//go:build exercise\n\npackage lesson_test\n\n// " + strings.Repeat("a", 150) + "\n"
	for text, want := range map[string]string{
		"package lesson_test\n":                                 "does not begin with",
		"//go:build exercise\n\npackage lesson_test\nvar a=1\n": "is not as gofmt writes it",
		long: "has 153 characters in line 5",
	} {
		if problems := goProblems(text); len(problems) != 1 || !strings.Contains(problems[0], want) {
			t.Errorf("%q: found %q, want %q", text, problems, want)
		}
	}
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
	for _, text := range l.Red {
		if !strings.Contains(page, text) {
			problems = append(problems, fmt.Sprintf("it does not show the red line %q", text))
		}
	}
	if texts := hints(page); len(texts) != 3 || slices.Contains(texts, "") {
		problems = append(problems, fmt.Sprintf("it has the hints %q, want three that are not empty", texts))
	}
	return problems
}

const (
	goodPage = "# 3. A\n\n**30 minutes** · needs Go only\n\n## Goal\n\nSay `why`.\n\n## Open these files\n\n[a](a.go)\n\n## Run\n\n```sh\n" +
		"make lesson N=3\n```\n\n`1 is 2`\n\n## Questions for the group\n\nWhy?\n\n## Hints\n\n" +
		"<details><summary>Hint 1</summary>\n\nOne.\n\n</details>\n<details><summary>Hint 2</summary>\n\nTwo.\n\n</details>\n" +
		"<details><summary>Hint 3</summary>\n\nThree.\n\n</details>\n"
	goodThai = "# 3. ก\n\n**30 นาที** · ใช้แค่ Go\n\n## เป้าหมาย\n\nบอก `why`\n\n## ไฟล์ที่ต้องเปิด\n\n[a](a.go)\n\n## รัน\n\n```sh\n" +
		"make lesson N=3\n```\n\n`1 is 2`\n\n## คำถามสำหรับกลุ่ม\n\nทำไม\n\n## คำใบ้\n\n" +
		"<details><summary>คำใบ้ 1</summary>\n\nหนึ่ง\n\n</details>\n<details><summary>คำใบ้ 2</summary>\n\nสอง\n\n</details>\n" +
		"<details><summary>คำใบ้ 3</summary>\n\nสาม\n\n</details>\n"
)

func TestAWrongPageIsFound(t *testing.T) {
	l := lesson{Number: 3, Minutes: 30, Red: []string{"1 is 2"}}
	if problems := slices.Concat(l.pageProblems(goodPage, false), l.pageProblems(goodThai, true)); len(problems) > 0 {
		t.Fatalf("the good pages: %q", problems)
	}
	for _, wrong := range []struct{ from, to, want string }{
		{"# 3. ก", "# 4. ก", "it does not begin with"},
		{"**30 นาที**", "**40 นาที**", "it does not say **30 นาที**"},
		{"make lesson N=3", "make lesson N=4", "it has no line"},
		{"## รัน", "## วิ่ง", "it has no"},
		{"1 is 2", "1 is 3", "it does not show the red line"},
		{"<details><summary>คำใบ้ 3</summary>\n\nสาม\n\n</details>\n", "", "want three that are not empty"},
		{"สาม", "", "want three that are not empty"},
	} {
		page := strings.Replace(goodThai, wrong.from, wrong.to, 1)
		problems := l.pageProblems(page, true)
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, wrong.want) }) {
			t.Errorf("%q in place of %q: found %q, want %q", wrong.to, wrong.from, problems, wrong.want)
		}
	}
}
