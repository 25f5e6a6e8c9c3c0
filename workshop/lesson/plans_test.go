package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The plans of the teacher's page have the minutes of lessons.toml, no gap and no overlap, and the longest has all lessons.
func TestPlansAddUp(t *testing.T) {
	root := checkout(t)
	lessons, err := loadLessons(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "README.th.md"} {
		plans, problems := planProblems(lessons, read(t, filepath.Join(root, "workshop", name)))
		for _, problem := range problems {
			t.Errorf("workshop/%s: %s", name, problem)
		}
		if plans != 3 {
			t.Errorf("workshop/%s has %d plans, want 3", name, plans)
		}
	}
}

var (
	planRow  = regexp.MustCompile(`^\| (\d\d:\d\d) \| (.*) \| (\d+) \|$`)
	planLink = regexp.MustCompile(`^\[(\d+)\. [^]]*\]\(([^/]*)/README(?:\.th)?\.md\)`)
)

func planProblems(lessons []lesson, page string) (plans int, problems []string) {
	for _, section := range strings.Split(page, "\n## ") {
		title, _, _ := strings.Cut(section, "\n")
		var ends time.Time
		minutes := map[int]int{} // by lesson
		for line := range strings.Lines(section) {
			row := planRow.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			if row == nil {
				continue
			}
			begins, err := time.Parse("15:04", row[1])
			if err != nil {
				problems = append(problems, err.Error())
				continue
			}
			if newDay := begins.Before(ends.Add(-4 * time.Hour)); !ends.IsZero() && !newDay && !begins.Equal(ends) {
				problems = append(problems, fmt.Sprintf("%s: %s begins at %s, and the row before ends at %s",
					title, row[2], row[1], ends.Format("15:04")))
			}
			n, _ := strconv.Atoi(row[3]) // the expression has found digits
			ends = begins.Add(time.Duration(n) * time.Minute)
			if link := planLink.FindStringSubmatch(row[2]); link != nil {
				number, _ := strconv.Atoi(link[1])
				minutes[number] += n
				if !strings.HasPrefix(link[2], fmt.Sprintf("%02d-", number)) {
					problems = append(problems, fmt.Sprintf("%s: lesson %d is not in %s", title, number, link[2]))
				}
			}
		}
		if len(minutes) == 0 {
			continue
		}
		if plans++; plans == 3 {
			for _, l := range lessons {
				if minutes[l.Number] == 0 {
					problems = append(problems, fmt.Sprintf("%s: lesson %d is missing", title, l.Number))
				}
			}
		}
		for _, l := range lessons {
			if got := minutes[l.Number]; got != 0 && got != l.Minutes {
				problems = append(problems, fmt.Sprintf("%s: lesson %d has %d minutes, want %d", title, l.Number, got, l.Minutes))
			}
		}
	}
	return plans, problems
}

func TestAWrongPlanIsFound(t *testing.T) {
	lessons := []lesson{{Number: 1, Minutes: 20}, {Number: 2, Minutes: 60}}
	const plan = "\n## A\n\n| 09:00 | [1. One](01-one/README.md) | 20 |\n"
	const good = plan + plan + "\n## Two days\n\n| 09:00 | [1. One](01-one/README.md) | 20 |\n| 09:20 | [2. Two](02-two/README.md) | 30 |\n" +
		"| 09:50 | break | 15 |\n| 10:05 | [2. Two](02-two/README.md): the rest | 30 |\n| 10:35 | questions | 30 |\n"
	for _, x := range []struct{ old, new, want string }{
		{"", "", ""},
		{"| 10:35", "| 15:00", "Two days: questions begins at 15:00, and the row before ends at 10:35"},
		{"| 09:50", "| 09:55", "Two days: break begins at 09:55, and the row before ends at 09:50"},
		{"rest | 30 |\n| 10:35", "rest | 35 |\n| 10:40", "Two days: lesson 2 has 65 minutes, want 60"},
		{"(02-two", "(03-two", "Two days: lesson 2 is not in 03-two"},
		{"| 09:20 | [2. Two](02-two/README.md) | 30 |\n", "", "Two days: break begins at 09:50, and the row before ends at 09:20"},
	} {
		plans, problems := planProblems(lessons, strings.Replace(good, x.old, x.new, 1))
		if got := strings.Join(problems, "\n"); plans != 3 || !strings.HasPrefix(got, x.want) || x.want == "" && got != "" {
			t.Errorf("%q in place of %q: %d plans, %q, want %q", x.new, x.old, plans, got, x.want)
		}
	}
}
