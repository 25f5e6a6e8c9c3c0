package docs

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	collection = "docs/api/hexorders.postman_collection.json"
	postmanEnv = "docs/api/hexorders.postman_environment.json"
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
		for _, want := range slices.Concat(endpoints(t), refusals(t)) {
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

// newman installs what test/newman/package-lock.json names and returns newman's script.
var newman = sync.OnceValues(func() (script string, err error) {
	folder, err := npmInstalled("test/newman")
	return filepath.Join(folder, "node_modules", "newman", "bin", "newman.js"), err
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
