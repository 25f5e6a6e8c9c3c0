package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const walkthrough = "docs/walkthrough.md"

func TestTheWalkthroughIsTrue(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) { follow(t, w, walkthrough) })
}

func TestTheReadingSideIsTrue(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) { follow(t, w, "docs/reading-side.md") })
}

// A block that nobody types rots. In the walkthrough every one is typed or says why not.
func TestNoBlockOfTheWalkthroughIsLeftOut(t *testing.T) {
	_, others, err := parse(read(t, walkthrough), embedded)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range others {
		t.Errorf("%s:%d: a block that is not typed must say so: <!-- not executed: REASON -->", walkthrough, line)
	}
}

// README's order is placed at a service that runs already, as its second section has it.
func TestTheOrderOfTheReadmeIsTrue(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) {
		w.start()
		follow(t, w, "README.md")
	})
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`) // without those that name a host

func TestEveryLinkLeadsToAFile(t *testing.T) {
	pages, links := []string{"README.md"}, 0
	err := filepath.WalkDir(filepath.Join(repository, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			pages = append(pages, strings.TrimPrefix(path, repository+string(filepath.Separator)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		for _, to := range link.FindAllStringSubmatch(read(t, page), -1) {
			links++
			if _, err := os.Stat(filepath.Join(repository, filepath.Dir(page), to[1])); err != nil {
				t.Errorf("%s leads to %s: %v", page, to[1], err)
			}
		}
	}
	if links < 3 {
		t.Errorf("%d links are found in %v: they are looked for wrongly", links, pages)
	}
}
