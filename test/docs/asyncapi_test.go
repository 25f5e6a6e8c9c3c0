package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whether messages, and its examples, are as the document says is for test/asyncapi and test/e2e; here the document is the
// matter.
func TestTheDescriptionOfTheTopicIsValid(t *testing.T) {
	t.Parallel()
	folder, err := asyncapiParser()
	if err != nil {
		t.Fatal(err)
	}
	// A parser that lets everything pass is none: it gets a few that are wrong as well.
	const right = "asyncapi.yaml"
	deviations := map[string]struct{ from, to, want string }{
		right:            {"", "", ""},
		"action.yaml":    {"    action: send\n", "    action: think\n", `operations.publish.action: "action" property must be equal`},
		"message.yaml":   {"orders/messages/OrderPaid.1'", "orders/messages/OrderPaid.2'", "OrderPaid.2"},
		"schema.yaml":    {"./events/OrderPaid.1.json", "./events/OrderPaid.7.json", "OrderPaid.7.json"},
		"version.yaml":   {"  version: 1.0.0\n", "", `"version"`},
		"partition.yaml": {"partitions: 12 ", "partitions: many ", "bindings.kafka.partitions"},
	}
	documents := t.TempDir()
	if err := os.CopyFS(filepath.Join(documents, "events"), os.DirFS(filepath.Join(repository, "docs", "api", "events"))); err != nil {
		t.Fatal(err)
	}
	text := read(t, "docs/api/asyncapi.yaml")
	var files []string
	for file, x := range deviations {
		if !strings.Contains(text, x.from) {
			t.Fatalf("%s: the document has no %q to be changed", file, x.from)
		}
		files = append(files, filepath.Join(documents, file))
		if err := os.WriteFile(filepath.Join(documents, file), []byte(strings.Replace(text, x.from, x.to, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "node", append([]string{"test/asyncapi/validate.mjs", folder}, files...)...)
	c.Dir = repository
	output, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for file, x := range deviations {
		said := ""
		for line := range strings.Lines(string(output)) {
			if complaint, found := strings.CutPrefix(line, filepath.Join(documents, file)+": "); found {
				said += complaint
			}
		}
		if (said == "") != (file == right) || !strings.Contains(said, x.want) {
			t.Errorf("%s: want %q in what the parser says:\n%s", file, x.want, said)
		}
	}
}

var asyncapiParser = sync.OnceValues(func() (folder string, err error) { return npmInstalled("test/asyncapi") })
