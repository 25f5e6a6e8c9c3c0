package docs

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	collection  = "docs/api/hexorders.postman_collection.json"
	postmanEnv  = "docs/api/hexorders.postman_environment.json"
	newmanPlace = "test/newman"
)

func TestThePostmanCollectionPasses(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) {
		w.start()
		run, output, err := runNewman(t, w.addr)
		if err != nil {
			t.Fatalf("newman: %v\n%s", err, output)
		}
		var seen []string
		for _, e := range run.Executions {
			for _, a := range e.Assertions {
				if a.Error != nil || a.Skipped {
					t.Errorf("%s: %s: skipped %t, %v", e.Item.Name, a.Assertion, a.Skipped, a.Error)
				}
				seen = append(seen, a.Assertion) // for a refusal its status and code
			}
			seen = append(seen, endpoint(e.Request.Method, "/"+strings.Join(e.Request.URL.Path, "/")))
		}
		for _, want := range slices.Concat(endpoints, refusals) {
			if !slices.Contains(seen, want) {
				t.Errorf("the collection has no %s", want)
			}
		}
		if total := run.Stats.Assertions; total.Failed != 0 || total.Pending != 0 || total.Total < 2*len(run.Executions) {
			t.Errorf("%d requests with %+v", len(run.Executions), total)
		}
		t.Logf("%d requests, %d assertions", len(run.Executions), run.Stats.Assertions.Total)
	})
}

// A teapot answers nothing as it should be answered, and each request must find that out.
func TestEveryPostmanRequestCanFail(t *testing.T) {
	t.Parallel()
	run, output, err := runNewman(t, teapot(t))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("newman: %v, want exit code 1\n%s", err, output)
	}
	if len(run.Executions) < 30 {
		t.Errorf("%d requests, want 30 or more", len(run.Executions))
	}
	for _, e := range run.Executions {
		// The collection's own assertions say nothing about what a request is for: every answer is JSON, every refusal is
		// a problem.
		own := func(a assertion) bool { return !strings.HasPrefix(a.Assertion, "every ") }
		if !slices.ContainsFunc(e.Assertions, func(a assertion) bool { return own(a) && a.Error != nil }) {
			t.Errorf("%s: no assertion of its own fails", e.Item.Name)
		}
	}
}

// report is what newman's json reporter writes, as far as it is looked at.
type report struct {
	Stats struct {
		Assertions struct{ Total, Pending, Failed int }
	}
	Executions []struct {
		Item    struct{ Name string }
		Request struct {
			Method string
			URL    struct{ Path []string }
		}
		Assertions []assertion
	}
}

type assertion struct {
	Assertion string
	Skipped   bool
	Error     *struct{ Message string }
}

func runNewman(t *testing.T, addr string) (r report, output string, err error) {
	t.Helper()
	lookAtInputs()
	script, err := newman()
	if err != nil {
		t.Fatal(err)
	}
	export := filepath.Join(t.TempDir(), "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "node", script, "run", collection,
		"--environment", postmanEnv, "--env-var", "baseUrl=http://"+addr, "--timeout-request", "10000",
		"--color", "off", "--reporters", "cli,json", "--reporter-json-export", export)
	c.Dir = repository
	said, err := c.CombinedOutput()
	text, readErr := os.ReadFile(export)
	if readErr != nil {
		t.Fatalf("newman has written no report: %v\n%s", err, said)
	}
	var written struct{ Run report }
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	return written.Run, string(said), err
}

// newman installs what test/newman/package-lock.json names, once for each state of that file, and returns its script.
// The name of the folder begins with a dot, so that `go list ./...` does not look through node_modules.
var newman = sync.OnceValues(func() (script string, err error) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("install Node.js 20 or later, with npm: newman needs it to run the Postman collection: %w", err)
		}
	}
	place := filepath.Join(repository, newmanPlace)
	var files = map[string][]byte{"package.json": nil, "package-lock.json": nil, ".npmrc": nil}
	for name := range files {
		if files[name], err = os.ReadFile(filepath.Join(place, name)); err != nil {
			return "", err
		}
	}
	hash := sha256.Sum256(files["package-lock.json"])
	folder := filepath.Join(place, ".installed", fmt.Sprintf("%x", hash[:6]))
	script = filepath.Join(folder, "node_modules", "newman", "bin", "newman.js")
	if _, err := os.Stat(script); err == nil {
		return script, nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return "", err
	}
	// Beside it first: a folder of that name is whole, also when this is interrupted or another run does the same.
	half, err := os.MkdirTemp(filepath.Dir(folder), "half-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(half) }()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(half, name), text, 0o644); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = half
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci in %s: %w\n%s", newmanPlace, err, output)
	}
	if err := os.Rename(half, folder); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	if _, err := os.Stat(script); err != nil {
		return "", fmt.Errorf("delete %s and try again: %w", folder, err)
	}
	return script, nil
})

// teapot answers everything with 418 and an empty object.
func teapot(t *testing.T) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// A lock file that names where packages were downloaded from would send everyone there.
func TestTheLockFileNamesNoRegistry(t *testing.T) {
	lock := read(t, newmanPlace+"/package-lock.json")
	if strings.Contains(lock, `"resolved"`) || strings.Contains(lock, "://registry") {
		t.Error("package-lock.json names a registry: write it with `npm install --package-lock-only` in test/newman, whose .npmrc leaves that out")
	}
	var packages struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if err := json.Unmarshal([]byte(lock), &packages); err != nil {
		t.Fatal(err)
	}
	for name, p := range packages.Packages {
		if name != "" && (p.Version == "" || p.Integrity == "") {
			t.Errorf("%s is not pinned: version %q, integrity %q", name, p.Version, p.Integrity)
		}
	}
	if len(packages.Packages) < 2 {
		t.Errorf("the lock file names %d packages", len(packages.Packages))
	}
}
