package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Packages that make quick runs although some of their tests need a server: it leaves those tests out by name.
var mixed = []string{"adapters/httpapi"}

// readsServer matches code that asks for the address of a server, or for the servers' programs to start its own.
var readsServer = regexp.MustCompile(`\("(HEXORDERS_TEST_(MONGODB_URI|KAFKA_BROKERS|POSTGRES_URI|NATS_URL)|SERVICES_DIST)"`)

// Every package is either run by make quick or named in SERVERS, and what is named does need a server. Only make quick
// leaves tests out.
func TestQuickLeavesOutOnlyWhatNeedsServers(t *testing.T) {
	quick, servers := quickPackages(t), serverPatterns(t)
	named := map[string]bool{} // patterns with a package that needs a server
	for _, p := range list(t, "../..", "1") {
		name := p.path()
		needs := needsServer(t, name)
		left := false
		for _, pattern := range servers {
			if strings.HasPrefix(name, strings.TrimSuffix(pattern, "%")) {
				left = true
				named[pattern] = named[pattern] || needs
			}
		}
		switch {
		case left == slices.Contains(quick, name):
			t.Errorf("%s: in make quick and in SERVERS, or in neither", name)
		case needs && !left && !slices.Contains(mixed, name):
			t.Errorf("%s: its tests need a server, but make quick runs it", name)
		}
	}
	for _, pattern := range servers {
		if !named[pattern] {
			t.Errorf("SERVERS in the Makefile: %s needs no server", pattern)
		}
	}
	for _, name := range mixed {
		if !needsServer(t, name) {
			t.Errorf("%s: none of its tests needs a server any more", name)
		}
	}
	var leavesOut []string
	for line := range strings.Lines(read(t, "../../Makefile")) {
		if regexp.MustCompile(`go test.* -(skip|short)|^GOTEST.* -(skip|short)`).MatchString(line) {
			leavesOut = append(leavesOut, line)
		}
	}
	if len(leavesOut) != 1 || !strings.Contains(leavesOut[0], "$(NOSERVER)") {
		t.Errorf("lines of the Makefile that leave tests out: got %q, want that of quick", leavesOut)
	}
}

// quickPackages are those that make says it would run.
func quickPackages(t *testing.T) (names []string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", "--dry-run", "--no-print-directory", "-C", "../..", "quick")
	command.Env = slices.DeleteFunc(os.Environ(),
		func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
	output, err := command.Output()
	if err != nil {
		t.Fatalf("make quick: %v\n%s", err, output)
	}
	for _, word := range strings.Fields(string(output)) {
		if name, ok := strings.CutPrefix(word, module+"/"); ok {
			names = append(names, name)
		}
	}
	return names
}

func serverPatterns(t *testing.T) []string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^SERVERS +:= \$\(addprefix hexorders/,(.+)\)$`).FindStringSubmatch(read(t, "../../Makefile"))
	if found == nil {
		t.Fatal("no SERVERS in the Makefile")
	}
	return strings.Fields(found[1])
}

func needsServer(t *testing.T, name string) bool {
	t.Helper()
	files, err := filepath.Glob("../../" + name + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool { return readsServer.MatchString(read(t, file)) })
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
