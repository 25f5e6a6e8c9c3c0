package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// lesson is one table of workshop/lessons.toml.
type lesson struct {
	Number     int      `toml:"number"`
	Folder     string   `toml:"folder"` // below workshop/
	Title      string   `toml:"title"`
	TitleTH    string   `toml:"title_th"`
	Minutes    int      `toml:"minutes"`
	Packages   []string `toml:"packages"`   // of the red test
	Run        string   `toml:"run"`        // -run of go test; "" runs all tests of the packages
	Flags      []string `toml:"flags"`      // further flags of go test
	Needs      []string `toml:"needs"`      // servers; none: Go only
	Red        []string `toml:"red"`        // what a line of the red test says, one text a step of the work
	Neighbours []string `toml:"neighbours"` // packages whose tests are green once the lesson is solved
}

// servers are what a lesson may need, and the variables in which its test finds them.
var servers = map[string]string{
	"kafka":    "HEXORDERS_TEST_KAFKA_BROKERS",
	"mongodb":  "HEXORDERS_TEST_MONGODB_URI",
	"nats":     "HEXORDERS_TEST_NATS_URL",
	"postgres": "HEXORDERS_TEST_POSTGRES_URI",
}

const (
	startPatch    = "start.patch"
	solutionPatch = "solution.patch"
)

// stepPatch is a half-way state of the work: the k-th text of Red is what its test says.
func stepPatch(k int) string { return fmt.Sprintf("step-%d.patch", k) }

// loadLessons reads lessons.toml of a checkout. A field that nobody knows is an error, because it is a misspelt one.
func loadLessons(root string) ([]lesson, error) {
	file, err := os.Open(filepath.Join(root, "workshop", "lessons.toml"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all struct {
		Lessons []lesson `toml:"lesson"`
	}
	if err := toml.NewDecoder(file).DisallowUnknownFields().Decode(&all); err != nil {
		var unknown *toml.StrictMissingError
		if errors.As(err, &unknown) {
			return nil, fmt.Errorf("workshop/lessons.toml:\n%s", unknown.String())
		}
		return nil, fmt.Errorf("workshop/lessons.toml: %w", err)
	}
	last := 0
	for _, l := range all.Lessons {
		if err := l.check(root); err != nil {
			return nil, fmt.Errorf("workshop/lessons.toml, lesson %d: %w", l.Number, err)
		}
		if l.Number <= last {
			return nil, fmt.Errorf("workshop/lessons.toml: lesson %d stands behind lesson %d", l.Number, last)
		}
		last = l.Number
	}
	return all.Lessons, nil
}

func (l lesson) check(root string) error {
	switch {
	case !strings.HasPrefix(l.Folder, fmt.Sprintf("%02d-", l.Number)):
		return fmt.Errorf("the folder %q does not begin with the number", l.Folder)
	case l.Title == "" || l.TitleTH == "" || l.Minutes <= 0 || len(l.Packages) == 0:
		return errors.New("title, title_th, minutes and packages are required")
	case len(l.Red) == 0 || slices.Contains(l.Red, ""):
		return errors.New("red is required: what the line says that makes the test red")
	}
	for _, server := range l.Needs {
		if servers[server] == "" {
			return fmt.Errorf("it needs %q, and nobody knows this server", server)
		}
	}
	_, err := os.Stat(l.file(root, solutionPatch))
	return err
}

func (l lesson) name() string { return fmt.Sprintf("lesson %d", l.Number) }

func (l lesson) file(root, name string) string {
	return filepath.Join(root, "workshop", l.Folder, name)
}

func (l lesson) has(root, name string) bool {
	_, err := os.Stat(l.file(root, name))
	return err == nil
}

func (l lesson) needs() string {
	if len(l.Needs) == 0 {
		return "Go only"
	}
	return strings.Join(l.Needs, ", ")
}

// title and page are in the language of the participant.
func (l lesson) title(thai bool) string {
	if thai {
		return l.TitleTH
	}
	return l.Title
}

func (l lesson) page(thai bool) string {
	if thai {
		return filepath.Join("workshop", l.Folder, "README.th.md")
	}
	return filepath.Join("workshop", l.Folder, "README.md")
}
