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
	const page = "../../docs/glossary.md"
	link := regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)
	words := 0
	for line := range strings.Lines(read(t, page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "word" {
			continue
		}
		words++
		word := strings.TrimSpace(cells[1])
		where := link.FindStringSubmatch(cells[4])
		if where == nil {
			t.Errorf("%s: no file in %q", word, cells[4])
			continue
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(page), where[2])); err != nil {
			t.Errorf("%s: %v", word, err)
		}
		if filepath.Base(where[2]) != where[1] {
			t.Errorf("%s: the link to %s is called %s", word, where[2], where[1])
		}
	}
	if words != 30 {
		t.Errorf("%d words, want 30", words)
	}
}
