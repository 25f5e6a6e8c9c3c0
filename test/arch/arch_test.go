// Package arch proves that imports go only one way through the house:
//
//	core  <-  ports  <-  app       <-  cmd
//	                 <-  adapters  <-
//
// The rules are data, below. Imports of test files are left out: a test may look into another room to build what it
// needs.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "hexorders"

// room is a part of the house and what its packages may import. Patterns are import paths; "/..." at the end means
// everything below as well. Inside its own folder, one below adapters included, a package may import what it likes.
type room struct {
	packages string
	own      []string // of this module
	std      []string // of the standard library
	others   []string // of other modules
}

var anything = []string{"..."}

// rooms: the first whose pattern fits is a package's room.
var rooms = []room{
	{packages: "core/...", std: []string{"errors", "fmt", "iter", "maps", "slices", "strings", "time", "unicode"}},
	{packages: "ports/porttest/...", own: []string{"core/...", "ports"}, std: anything},
	{packages: "ports", own: []string{"core/..."}, std: anything},
	{packages: "app/...", own: []string{"core/...", "ports"}, std: anything,
		others: []string{"golang.org/x/sync/...", "github.com/cenkalti/backoff/v5", "github.com/hashicorp/golang-lru/v2"}},
	{packages: "adapters/eventjson", own: []string{"core/...", "ports"}, std: anything, others: anything},
	{packages: "docs/api", std: []string{"embed"}}, // the description of the API, which is text
	{packages: "adapters/httpapi/...", own: []string{"core/...", "ports", "docs/api"}, std: anything, others: anything},
	{packages: "adapters/prometheus/...", own: []string{"core/...", "ports"}, std: anything, others: anything},
	{packages: "adapters/telemetry/...", own: []string{"core/...", "ports"}, std: anything, others: anything},
	{packages: "adapters/console/...", own: []string{"core/...", "ports", "adapters/eventjson", "docs"}, std: anything},
	{packages: "adapters/...", own: []string{"core/...", "ports", "adapters/eventjson"}, std: anything, others: anything},
	{packages: "docs/...", own: []string{"core/...", "ports", "adapters/eventjson"}, std: anything}, // an exercise is an adapter
	{packages: "cmd/...", own: []string{"core/...", "ports", "app/...", "adapters/..."}, std: anything, others: anything},
	{packages: "workshop/lesson", std: anything, others: []string{ // it knows the project as files
		"github.com/fsnotify/fsnotify", "github.com/mattn/go-isatty", "github.com/pelletier/go-toml/v2"}},
	{packages: "test/...", own: []string{"core/...", "ports/...", "app/...", "adapters/...", "test/..."}, std: anything, others: anything},
}

// Folders whose names say nothing fill up with everything.
var forbiddenFolders = []string{"base", "common", "helpers", "internal", "lib", "pkg", "shared", "util", "utils"}

func TestImportsGoOneWay(t *testing.T) {
	// Twice, because files that are built only without cgo import something as well.
	for _, cgo := range []string{"1", "0"} {
		packages := list(t, "../..", cgo)
		for _, v := range violations(packages) {
			t.Errorf("with CGO_ENABLED=%s: %s", cgo, v)
		}
		for _, r := range rooms {
			if !slices.ContainsFunc(packages, func(p goPackage) bool { return roomOf(p.path()) == r.packages }) {
				t.Errorf("no package is in the room %s: the rule watches over nothing", r.packages)
			}
		}
	}
}

// The bad house breaks every rule, and each breach must be found: a rule that cannot fail proves nothing.
func TestEveryBreachIsFound(t *testing.T) {
	got := violations(list(t, "testdata/bad", "1"))
	want := []string{
		"adapters/console may not import adapters/memory",
		"adapters/console may not import app",
		"adapters/console may not import github.com/google/uuid",
		"adapters/eventjson may not import app",
		"adapters/httpapi may not import adapters/eventjson",
		"adapters/httpapi may not import app",
		"adapters/kafka may not import cmd/hexorders",
		"adapters/memory may not import adapters/mongodb",
		"adapters/memory may not import docs/api",
		"adapters/memory may not import app",
		"adapters/memory may not import ports/porttest",
		"adapters/prometheus may not import adapters/eventjson",
		"adapters/prometheus may not import adapters/memory",
		"adapters/prometheus may not import app",
		"adapters/telemetry may not import adapters/eventjson",
		"adapters/memory may not import go.opentelemetry.io/otel/trace",
		"app may not import adapters/inproc",
		"app may not import github.com/gin-gonic/gin",
		"cmd/hexorders may not import test/e2e",
		"cmd/hexorders may not import cmd/other",
		"core/order may not import context",
		"core/order may not import encoding/json",
		"core/order may not import github.com/google/uuid",
		"core/order may not import ports",
		"docs/api may not import core/order",
		"docs/api may not import fmt",
		"docs/exercise may not import adapters/memory",
		"docs/exercise may not import github.com/google/uuid",
		"internal/shared: a folder may not be called internal",
		"internal/shared: a folder may not be called shared",
		"internal/shared is in no room of the house",
		"ports may not import adapters/inproc",
		"ports may not import github.com/google/uuid",
		"ports/porttest may not import app",
		"test/e2e may not import cmd/other",
		"workshop/lesson may not import app",
		"workshop/lesson may not import github.com/google/uuid",
		"utils: a folder may not be called utils",
		"utils is in no room of the house",
	}
	slices.Sort(want)
	for _, v := range got {
		if !slices.Contains(want, v) {
			t.Errorf("found, but it is none: %s", v)
		}
	}
	for _, v := range want {
		if !slices.Contains(got, v) {
			t.Errorf("not found: %s", v)
		}
	}
	for _, r := range rooms {
		if !slices.ContainsFunc(got, func(v string) bool { return roomOf(strings.Fields(v)[0]) == r.packages }) {
			t.Errorf("no breach of the room %s is in the bad house", r.packages)
		}
	}
}

func violations(packages []goPackage) (found []string) {
	for _, p := range packages {
		name := p.path()
		for _, folder := range strings.Split(name, "/") {
			if slices.Contains(forbiddenFolders, folder) {
				found = append(found, fmt.Sprintf("%s: a folder may not be called %s", name, folder))
			}
		}
		i := slices.IndexFunc(rooms, func(r room) bool { return r.packages == roomOf(name) })
		if i < 0 {
			found = append(found, name+" is in no room of the house")
			continue
		}
		for _, imported := range p.Imports {
			if !rooms[i].mayImport(name, imported) {
				found = append(found, name+" may not import "+strings.TrimPrefix(imported, module+"/"))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func (r room) mayImport(name, imported string) bool {
	if imported == "C" { // cgo
		return fits(imported, r.others)
	}
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		return folder(own) == folder(name) && !strings.HasPrefix(own, "cmd/") && own != "ports/porttest" || fits(own, r.own)
	}
	if strings.HasPrefix(imported, "go.opentelemetry.io/") { // for one adapter, and the receiver of the tests
		return folder(name) == "adapters/telemetry" || folder(name) == "test"
	}
	if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") { // the standard library has no domain
		return fits(imported, r.others)
	}
	return fits(imported, r.std)
}

// folder is the top folder of a package, and for adapters the one below: each of them is a room of its own.
func folder(name string) string {
	parts := strings.Split(name, "/")
	if parts[0] == "adapters" && len(parts) > 1 {
		return path.Join(parts[:2]...)
	}
	return parts[0]
}

func roomOf(name string) (pattern string) {
	for _, r := range rooms {
		if fits(name, []string{r.packages}) {
			return r.packages
		}
	}
	return ""
}

func fits(importPath string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, below := strings.CutSuffix(pattern, "...")
		if !below {
			return importPath == pattern
		}
		return importPath == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(importPath, prefix)
	})
}

// goPackage is a line of `go list -json`.
type goPackage struct {
	ImportPath string
	Imports    []string // without those of the tests
}

func (p goPackage) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func list(t *testing.T, dir, cgo string) (packages []goPackage) {
	t.Helper()
	// -e, because the bad house need not build: what it imports is known all the same.
	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", "./...")
	command.Dir = dir
	command.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOFLAGS=-mod=readonly", "GOWORK=off", "GOPROXY=off")
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v\n%s", dir, err, &complaints)
	}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(p.ImportPath, module+"/") {
			t.Fatalf("package %s is not of the module %s", p.ImportPath, module)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatalf("go list finds no package in %s", dir)
	}
	return packages
}

func countLines(t *testing.T, pattern string) (lines int) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(content, []byte("\n"))
	}
	return lines
}
