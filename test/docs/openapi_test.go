package docs

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const openAPI = "docs/api/openapi.yaml"

// `make fuzz-api` takes more of them, and each time others.
var (
	examples = flag.Int("examples", 25, "how many requests schemathesis makes up for an operation, at most")
	seed     = flag.String("seed", "1", "where schemathesis begins; empty: somewhere else each time")
	cases    = flag.Int("cases", 200, "how many requests schemathesis must have sent in all")
)

// schemathesis makes up requests from the description, valid ones and others, follows its links, and holds every answer
// against it.
func TestTheServiceIsAsItsDescriptionSays(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) {
		w.viewsWait = "10ms" // for most of the changes that are made up one waits in vain
		w.start()
		run, output := runSchemathesis(t, "http://"+w.addr)
		if run.ExitCode != 0 || !run.Complete || len(run.Failures)+len(run.Errors) > 0 {
			t.Errorf("schemathesis ends with exit code %d:\n%s", run.ExitCode, output)
		}
		for _, phase := range []string{"examples", "coverage", "fuzzing", "stateful"} {
			if got := run.Phases[phase].Status; got != "success" {
				t.Errorf("the phase %s is a %s", phase, got)
			}
		}
		// The description itself is left out: schemathesis would read the YAML, which is plain bytes for a client.
		if want := strings.Count(read(t, openAPI), "\n      tags: ["); run.Operations.Tested != want-1 {
			t.Errorf("%d operations were tested, want %d", run.Operations.Tested, want-1)
		}
		if run.TestCases.Generated < *cases {
			t.Errorf("%d requests were made up, want %d", run.TestCases.Generated, *cases)
		}
		// Requests that are always refused show little.
		succeeded := w.succeeded()
		commands := 0
		for name, n := range succeeded {
			if !strings.HasPrefix(name, "GET ") && name != "POST /orders" {
				commands += n
			}
		}
		if succeeded["POST /orders"] == 0 || succeeded["GET /orders/{id}"] == 0 || commands == 0 {
			t.Errorf("no order was created, none read or none changed: these succeeded: %v", succeeded)
		}
		t.Logf("%d requests to %d operations, seed %s; these succeeded: %v", run.TestCases.Generated,
			run.Operations.Tested, run.Seed, succeeded)
	})
}

// A teapot answers nothing as it should be answered, and each operation must find that out.
func TestAServiceThatIsNotAsItsDescriptionSaysIsFound(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/openapi.yaml" {
			http.ServeFile(w, r, filepath.Join(repository, openAPI))
			return
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	run, output := runSchemathesis(t, server.URL, "--phases", "examples")
	found := map[string]bool{}
	for _, failure := range run.Failures {
		for _, operation := range failure.Operations {
			found[operation] = true
		}
	}
	if run.ExitCode != 1 || len(found) != run.Operations.Tested || len(found) < 10 {
		t.Errorf("exit code %d, and %d of %d operations are found to be answered wrongly, want all:\n%s", run.ExitCode,
			len(found), run.Operations.Tested, output)
	}
}

// schemathesisReport is what it writes, as far as it is looked at.
type schemathesisReport struct {
	Seed       json.Number // of many digits
	Complete   bool
	ExitCode   int `json:"exit_code"`
	Operations struct{ Total, Tested int }
	Phases     map[string]struct{ Status string }
	TestCases  struct{ Generated int } `json:"test_cases"`
	Failures   []struct{ Operations []string }
	Errors     []json.RawMessage
}

func runSchemathesis(t *testing.T, url string, more ...string) (r schemathesisReport, output string) {
	t.Helper()
	lookAtInputs()
	folder, err := schemathesis()
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.json")
	args := slices.Concat([]string{"-m", "schemathesis.cli",
		"--config-file", filepath.Join(repository, "test", "schemathesis", "schemathesis.toml"), "--no-color",
		"run", withoutDefaults(t), "--url", url, "--exclude-operation-id", "describe",
		"--checks", "all", "--max-examples", strconv.Itoa(*examples),
		"--request-timeout", "60", "--suppress-health-check", "all", "--generation-database", "none",
		"--report", "json", "--report-json-path", report}, more)
	if *seed != "" {
		args = append(args, "--seed", *seed)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute+time.Duration(*examples)*10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, "python3", args...)
	c.Dir = t.TempDir() // whatever else it leaves behind
	c.Env = append(os.Environ(), "PYTHONPATH="+folder, "PYTHONUTF8=1", "no_proxy=*")
	said, err := c.CombinedOutput()
	text, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Fatalf("schemathesis has written no report: %v\n%s", err, said)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r, string(said)
}

// withoutDefaults is the description without its default responses. They tell a generated client what any other answer
// looks like, and schemathesis would take them for leave to answer with any status.
func withoutDefaults(t *testing.T) (file string) {
	t.Helper()
	const line = "\n        default: { $ref: '#/components/responses/OtherProblem' }"
	text := read(t, openAPI)
	if strings.Count(text, line) != strings.Count(text, "\n      responses:") {
		t.Fatal("an operation has another default response")
	}
	file = filepath.Join(t.TempDir(), "openapi.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, line, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

var schemathesis = sync.OnceValues(func() (folder string, err error) { return pipInstalled("test/schemathesis") })

// succeeded counts, from the log of the service, the requests to each endpoint that went well.
func (w *world) succeeded() map[string]int {
	w.t.Helper()
	said, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	count := map[string]int{}
	for line := range bytes.Lines(said) {
		var entry struct {
			Msg, Method, Path string
			Status            int
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			w.t.Fatalf("%v in the log's line %s", err, line)
		}
		if entry.Msg == "request" && entry.Status/100 == 2 &&
			(strings.HasPrefix(entry.Path, "/orders") || strings.HasPrefix(entry.Path, "/buyers")) {
			count[endpoint(entry.Method, entry.Path)]++
		}
	}
	return count
}

// Redocly and Spectral, with all of their rules, have nothing to say.
func TestTheDescriptionIsLinted(t *testing.T) {
	t.Parallel()
	for name, lint := range map[string]func(t *testing.T, file string) *exec.Cmd{"Redocly": redocly, "Spectral": spectral} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if output, err := lint(t, filepath.Join(repository, openAPI)).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
			// A linter that lets everything pass is none.
			bad := filepath.Join(t.TempDir(), "openapi.yaml")
			text := strings.Replace(read(t, openAPI), "\n      operationId: createOrder\n", "\n", 1)
			if err := os.WriteFile(bad, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			output, err := lint(t, bad).CombinedOutput()
			if err == nil || !strings.Contains(string(output), "operation-operationId") {
				t.Errorf("an operation without an id: %v, want operation-operationId in\n%s", err, output)
			}
		})
	}
}

func redocly(t *testing.T, file string) *exec.Cmd {
	c := linter(t, redoclyInstalled, "@redocly/cli/bin/cli.js",
		"lint", "--config", "test/redocly/redocly.yaml", "--format", "stylish", file)
	c.Env = append(c.Env, "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")
	return c
}

func spectral(t *testing.T, file string) *exec.Cmd {
	return linter(t, spectralInstalled, "@stoplight/spectral-cli/dist/index.js",
		"lint", "--ruleset", "test/spectral/rules.yaml", "--fail-severity", "hint", file)
}

func linter(t *testing.T, installed func() (string, error), program string, arguments ...string) *exec.Cmd {
	t.Helper()
	folder, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, "node", append([]string{filepath.Join(folder, "node_modules", program)}, arguments...)...)
	c.Dir, c.Env = repository, os.Environ()
	return c
}

var (
	redoclyInstalled  = sync.OnceValues(func() (folder string, err error) { return npmInstalled("test/redocly") })
	spectralInstalled = sync.OnceValues(func() (folder string, err error) { return npmInstalled("test/spectral") })
)
