package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A picture that names a file which has moved sends its reader nowhere. tools/pictures proves that each .svg is made of its .d2.
func TestPicturesNameFilesThatExist(t *testing.T) {
	sources, err := filepath.Glob("../../docs/pictures/*.d2")
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`\b(?:core|ports|app|adapters|cmd|docs|workshop)(?:/[\w-]+)+(?:\.\w+)?`)
	names := 0
	for _, source := range sources {
		text := strings.NewReplacer(`/\n`, "/", `\n`, " ").Replace(read(t, source)) // a label may break its line in a path
		for _, name := range path.FindAllString(text, -1) {
			names++
			if _, err := os.Stat(filepath.Join("../..", name)); err != nil {
				t.Errorf("%s names %s, which is not there", filepath.Base(source), name)
			}
		}
	}
	if len(sources) < 8 || names < 40 {
		t.Errorf("%d names in %d pictures: they are looked for wrongly", names, len(sources))
	}
}

// The border of the hexagon is made of ports that exist.
func TestTheHexagonNamesPorts(t *testing.T) {
	files, err := filepath.Glob("../../ports/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var ports strings.Builder
	for _, file := range files {
		ports.WriteString(read(t, file))
	}
	label := regexp.MustCompile(`(?m)^\w+: "?([\w ]+)"? \{class: port;`)
	labels := label.FindAllStringSubmatch(read(t, "../../docs/pictures/hexagon.d2"), -1)
	for _, label := range labels {
		for name := range strings.FieldsSeq(label[1]) {
			if !strings.Contains(ports.String(), "\ntype "+name+" interface {") {
				t.Errorf("the hexagon has a port %s, and ports has not", name)
			}
		}
	}
	if len(labels) < 7 {
		t.Errorf("%d labels of ports are found, want 7: they are looked for wrongly", len(labels))
	}
}
