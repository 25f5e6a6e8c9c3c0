package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A glossary that names files which have moved sends its reader nowhere.
func TestTheGlossaryNamesFilesThatExist(t *testing.T) {
	rows := glossary(t, "../../docs/glossary.md")
	for _, row := range rows {
		link := regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`).FindStringSubmatch(row.where)
		if link == nil {
			t.Errorf("%s: no file in %q", row.word, row.where)
			continue
		}
		if _, err := os.Stat(filepath.Join("../../docs", link[2])); err != nil {
			t.Errorf("%s: %v", row.word, err)
		}
		if filepath.Base(link[2]) != link[1] {
			t.Errorf("%s: the link to %s is called %s", row.word, link[2], link[1])
		}
	}
	if len(rows) != 31 {
		t.Errorf("%d words, want 31", len(rows))
	}
}

// Both glossaries explain the same words, in the same order, with the same files. Thai readers say the words in English.
func TestTheGlossariesHaveTheSameWords(t *testing.T) {
	english, thai := glossary(t, "../../docs/glossary.md"), glossary(t, "../../docs/glossary.th.md")
	for i := range max(len(english), len(thai)) {
		var want, got word
		if i < len(english) {
			want = english[i]
		}
		if i < len(thai) {
			got = thai[i]
		}
		if got != want {
			t.Fatalf("word %d is %v, want %v", i+1, got, want)
		}
	}
}

type word struct{ word, field, where string }

func glossary(t *testing.T, page string) (words []word) {
	t.Helper()
	rows := 0
	for line := range strings.Lines(read(t, page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.HasPrefix(cells[1], "---") {
			continue
		}
		if rows++; rows > 1 { // the first is the head of the table
			words = append(words, word{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3]), strings.TrimSpace(cells[4])})
		}
	}
	return words
}
