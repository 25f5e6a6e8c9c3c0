package main

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// addStore adds a row for the time of a test: a store in memory that says of itself what the row says.
func addStore(t *testing.T, k storeKind) {
	t.Helper()
	before := stores
	t.Cleanup(func() { stores = before })
	stores = append(stores[:len(stores):len(stores)], k)
}

func fake() storeKind {
	return storeKind{
		name:     "fake",
		open:     openMemory,
		volatile: true,
		where:    func(*Config) string { return "orders are kept on a cloud" },
	}
}

func TestAStoreIsAddedByOneRow(t *testing.T) {
	addStore(t, fake())
	s := startWith(t, knownRoles, map[string]string{"HEXORDERS_STORE": "fake"})

	if listens := s.log.waitFor(t, "hexorders listens"); listens["store"] != "fake" {
		t.Errorf("the greeting names the store %v, want fake", listens["store"])
	}
	s.log.waitFor(t, "orders are kept on a cloud, events go to a broker in this process that forgets them when it stops")
	created := s.do(t, "POST", "/orders", `{"buyerId":"9999"}`, map[string]string{"Idempotency-Key": "once"})
	if created.status != http.StatusCreated {
		t.Errorf("POST /orders: %d %s", created.status, created.body)
	}
	if got := s.do(t, "GET", created.header.Get("Location")+"/events", "", nil).status; got != http.StatusOK {
		t.Errorf("the events of the order: %d, want 200", got)
	}
	if metrics := s.do(t, "GET", "/metrics", "", nil).body; !strings.Contains(metrics, "hexorders_relay_lag_messages") {
		t.Error("the outbox's lag is not among the metrics")
	}

	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	out, _, code := runCommand(t, "doctor")
	for _, want := range []string{
		"ok    store      orders are kept on a cloud\n",
		"note  broker     in this process, and its events in memory only: HEXORDERS_BROKER=kafka keeps them\n",
		"ok    views      kept up to date by the process that serves\n",
	} {
		if !strings.Contains(out, want) || code != exitOK {
			t.Errorf("doctor ends with %d and prints\n%swant\n%s", code, out, want)
		}
	}
	if out, _, _ := runCommand(t, "config"); !strings.Contains(out,
		"where orders are kept: "+strings.Join(names(stores), ", ")+"\n") {
		t.Errorf("config does not know the store:\n%s", out)
	}
	if out, _, _ := runCommand(t, "config", "--help"); !strings.Contains(out, "Stores:  "+strings.Join(names(stores), ", ")+"\n") {
		t.Errorf("the help of config does not know the store:\n%s", out)
	}
	want := "hexorders: only the process that serves can open the fake store: set HEXORDERS_STORE to sqlite, mongodb, " +
		"mongodb-events or postgres, here and there\n"
	for _, args := range []string{"outbox status", "views status", "events tail"} {
		if _, errOut, code := runCommand(t, strings.Fields(args)...); errOut != want || code != exitUsage {
			t.Fatalf("hexorders %s: exit code %d, %swant %s", args, code, errOut, want)
		}
	}
	t.Setenv("HEXORDERS_STORE", "fame")
	if _, errOut, _ := runCommand(t, "config"); !strings.Contains(errOut,
		" or fake\n") {
		t.Errorf("a wrong store: %s", errOut)
	}
}

func TestARowSaysWhatTheStoreShares(t *testing.T) {
	k := fake()
	k.shared, k.volatile = true, false
	k.group = func(*Config) string { return "cloud" }
	addStore(t, k)
	s := startWith(t, []string{roleAPI}, map[string]string{"HEXORDERS_STORE": "fake"})

	s.log.waitFor(t, "orders are kept on a cloud, events beside them; `hexorders events tail` shows them")
	if got := s.config.group(); got != "hexorders.orders.events.cloud.views" {
		t.Errorf("the consumer group is %q", got)
	}
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	out, _, _ := runCommand(t, "doctor")
	for _, want := range []string{
		"ok    broker     in this process; its events are kept beside the orders\n",
		"note  views      no process has filled them yet: start one with the role views\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor prints\n%swant\n%s", out, want)
		}
	}
	if out, errOut, code := runCommand(t, "outbox", "status"); code != exitOK {
		t.Errorf("outbox status: exit code %d\n%s%s", code, out, errOut)
	}
	s.stop()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
	close(s.log.lines)
	for line := range s.log.lines {
		if line["level"] == "WARN" {
			t.Errorf("the greeting warns of roles that other processes may have: %v", line["msg"])
		}
	}
}

type weather struct{}

func (weather) examine(context.Context) []finding { return []finding{{what: "weather", good: "dry"}} }

func TestDoctorPrintsWhatAStoreFindsOutAboutItself(t *testing.T) {
	k := fake()
	k.open = func(ctx context.Context, c *Config, log *slog.Logger, w watch) ([]any, error) {
		parts, err := openMemory(ctx, c, log, w)
		return append(parts, weather{}), err
	}
	addStore(t, k)
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "fake")
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	if out, _, _ := runCommand(t, "doctor"); !strings.Contains(out, "ok    weather    dry\n") {
		t.Errorf("doctor prints\n%s", out)
	}
}

// A decision by a store's or a broker's name anywhere else is a second place to edit when one is added.
func TestOnlyTheTablesDecideByName(t *testing.T) {
	known := map[string]bool{}
	for _, k := range stores {
		known[k.name] = true
	}
	for _, k := range brokers {
		known[k.name] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "stores.go" || file == "brokers.go" {
			continue
		}
		fileSet := token.NewFileSet()
		tree, err := parser.ParseFile(fileSet, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, _ := strconv.Unquote(literal.Value); known[text] {
					t.Errorf("%s: %s is decided here, and not by a row of stores.go or brokers.go",
						fileSet.Position(literal.Pos()), literal.Value)
				}
			}
			return true
		})
	}
}
