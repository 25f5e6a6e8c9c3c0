package scripts

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// make lint looks for known holes where their database answers, and says so where it does not.
func TestAKnownHoleIsFound(t *testing.T) {
	database := t.TempDir()
	for name, content := range map[string]string{
		"index/db.json":      `{"modified":"2026-01-02T03:04:05Z"}`,
		"index/modules.json": `[{"path":"stdlib","vulns":[{"id":"GO-2026-0001","modified":"2026-01-02T03:04:05Z"}]}]`,
		"ID/GO-2026-0001.json": `{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-01-02T03:04:05Z","summary":"made up",
			"database_specific":{"url":"https://vuln.invalid"},"affected":[{"package":{"name":"stdlib","ecosystem":"Go"},
			"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
			"ecosystem_specific":{"imports":[{"path":"errors","symbols":["New"]}]}}]}`,
	} {
		path := filepath.Join(database, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nowhere := filepath.Join(database, "nowhere")
	for db, want := range map[string]struct {
		said   string
		failed bool
	}{
		database: {"Vulnerability #1: GO-2026-0001", true},
		nowhere:  {"govulncheck is left out: its database file://" + nowhere + " does not answer.\n", false},
	} {
		output, err := runMake("vulnerabilities", "PACKAGES=./core/order", "GOVULNDB=file://"+db)
		if (err != nil) != want.failed || !strings.Contains(output, want.said) {
			t.Errorf("with the database %s: %v\n%s\nwant %s", db, err, output, want.said)
		}
	}
	if output, err := runMake("-n", "lint"); err != nil || !strings.Contains(output, "govulncheck") {
		t.Errorf("make lint does not run govulncheck: %v\n%s", err, output)
	}
}

// The list of what the program is made of has each module that is linked, and Go.
func TestTheListOfPartsIsComplete(t *testing.T) {
	if output, err := runMake("sbom"); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	text, err := os.ReadFile(filepath.Join(repository, "bin", "hexorders.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		BomFormat  string
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, c := range list.Components {
		listed[c.Name+"@"+c.Version] = true
	}
	deps := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}",
		"./cmd/hexorders")
	deps.Dir = repository
	linked, err := deps.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(string(linked))
	if list.BomFormat != "CycloneDX" || len(modules) < 30 {
		t.Errorf("a list of the format %q beside %d packages of modules", list.BomFormat, len(modules))
	}
	for _, module := range append(modules, "std@"+goVersion(t)) {
		if !listed[module] {
			t.Errorf("the list lacks %s", module)
		}
	}
}

func goVersion(t *testing.T) string {
	version, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(version))
}

func runMake(args ...string) (string, error) {
	c := exec.Command("make", args...)
	c.Dir = repository
	output, err := c.CombinedOutput()
	return string(output), err
}

const repository = "../.."
