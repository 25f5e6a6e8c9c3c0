package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryLinkLeadsToAFile(t *testing.T) {
	const root = "../.."
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`) // without those that name a host
	pages, links := 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "node_modules"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".md") || d.Name() == "page.md": // that one is a template of a page elsewhere
			return nil
		}
		pages++
		for _, to := range link.FindAllStringSubmatch(readFile(t, path), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), to[1])); err != nil {
				t.Errorf("%s leads to %s: %v", path, to[1], err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages < 50 || links < 200 {
		t.Errorf("%d links are found in %d pages: they are looked for wrongly", links, pages)
	}
}
