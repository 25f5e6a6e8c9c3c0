package prometheus

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	manual    = "../../docs/operate.md"
	alerts    = "../../deploy/prometheus/alerts.yaml"
	dashboard = "../../deploy/grafana/dashboards/hexorders.json"
)

func TestEveryMetricIsInTheManual(t *testing.T) {
	want := families(t, complete())
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(hexorders_[a-z_]+)` \\|").FindAllStringSubmatch(read(t, manual), -1) {
		got = append(got, row[1])
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s has a row for\n%q, the metrics are\n%q", manual, got, want)
	}
}

// A name that is spelled wrong makes an alert that never fires, or an empty panel.
func TestWhatIsNamedIsThere(t *testing.T) {
	known := families(t, complete())
	name := regexp.MustCompile(`\bhexorders_[a-z_]+`)
	for _, file := range []string{manual, alerts, dashboard} {
		found := name.FindAllString(read(t, file), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics: the search is broken", file, len(found))
		}
		for _, metric := range found {
			for _, suffix := range []string{"_count", "_bucket", "_sum"} {
				metric = strings.TrimSuffix(metric, suffix)
			}
			if !slices.Contains(known, metric) {
				t.Errorf("%s names %s, and there is no such metric", file, metric)
			}
		}
	}
}

func TestTheLogLinesOfTheManualAreLogged(t *testing.T) {
	_, section, found := strings.Cut(read(t, manual), "\n## Log lines\n")
	section, _, ended := strings.Cut(section, "\n## ")
	if !found || !ended {
		t.Fatalf("%s has no section about log lines", manual)
	}
	var code strings.Builder
	for _, room := range []string{"app", "adapters", "cmd"} {
		err := filepath.WalkDir("../../"+room, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				code.WriteString(read(t, path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	quoted := 0
	for i, text := range strings.Split(section, "`") {
		if i%2 == 0 || !strings.Contains(text, " ") {
			continue // not quoted, or the name of something
		}
		quoted++
		if !strings.Contains(code.String(), text) {
			t.Errorf("nothing logs %q", text)
		}
	}
	if quoted < 10 {
		t.Errorf("%d lines are found in %s: the search is broken", quoted, manual)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
