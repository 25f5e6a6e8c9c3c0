package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"hexorders/adapters/memory"
	"hexorders/ports"
)

// memoryOnly is the answer of a command that cannot see the orders of another process.
const memoryOnly = "only the process that serves can open the memory store: " +
	"set HEXORDERS_STORE to sqlite, mongodb, mongodb-events or postgres, here and there"

func TestMistakesGetOneSentenceAndExitCode2(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "memory")
	for _, x := range []struct{ args, want string }{
		{"serv", "unknown command \"serv\" for \"hexorders\": did you mean serve?"},
		{"frobnicate", "unknown command \"frobnicate\" for \"hexorders\": see `hexorders --help`"},
		{"outbox statsu", "unknown command \"statsu\" for \"hexorders outbox\": did you mean status?"},
		{"outbox retry", "`hexorders outbox retry` takes the id of one order, got 0 arguments"},
		{"outbox retry a b", "`hexorders outbox retry` takes the id of one order, got 2 arguments"},
		{"outbox status now", "`hexorders outbox status` takes no arguments, got \"now\": see `hexorders outbox status --help`"},
		{"config --colour", "unknown flag: --colour: see `hexorders config --help`"},
		{"config --jsn", "unknown flag: --jsn: did you mean --json?"},
		{"events tail --form start", "unknown flag: --form: did you mean --from?"},
		{"help bogus", "unknown command \"bogus\" for \"hexorders\": see `hexorders --help`"},
		{"help outbox statsu", "unknown command \"statsu\" for \"hexorders outbox\": did you mean status?"},
		{"completion tcsh", "unknown command \"tcsh\" for \"hexorders completion\": did you mean bash or zsh or fish?"},
		{"serve --roles api,view", "unknown role \"view\": known are api, relay, views"},
		{"serve --roles=", "no role: give --roles one or more of api, relay, views"},
		{"--roles nonsense", "unknown role \"nonsense\": known are api, relay, views"},
		{"outbox status", memoryOnly},
		{"events tail", memoryOnly},
		{"events tail --from yesterday", "--from is start or now, not \"yesterday\""},
		{"events tail --count 0", "--count is a whole number from 1 on, not 0"},
		{"events tail --count -1", "--count is a whole number from 1 on, not -1"},
		{"outbox parked", memoryOnly},
		{"views statsu", "unknown command \"statsu\" for \"hexorders views\": did you mean status?"},
		{"views retry", "`hexorders views retry` takes the id of one order, got 0 arguments"},
		{"views retry timeline o", "`hexorders views retry` takes the id of one order, got 2 arguments"},
		{"views rebuild timeline", "`hexorders views rebuild` takes no arguments, got \"timeline\": see `hexorders views rebuild --help`"},
		{"views status", memoryOnly},
		{"views parked", memoryOnly},
		{"views retry o", memoryOnly},
		{"views rebuild", memoryOnly},
		{"verify", memoryOnly},
		{"verify now", "`hexorders verify` takes no arguments, got \"now\": see `hexorders verify --help`"},
		{"consumers retry", "`hexorders consumers retry` is called `hexorders views retry ORDER` now"},
		{"replay", "`hexorders replay` is called `hexorders views rebuild` now"},
		{"outbox retry o", memoryOnly},
	} {
		out, errOut, code := runCommand(t, strings.Fields(x.args)...)
		if want := "hexorders: " + x.want + "\n"; errOut != want || out != "" || code != exitUsage {
			t.Errorf("hexorders %s: exit code %d\n%s%swant\n%s", x.args, code, out, errOut, want)
		}
	}
}

func TestAnUnknownStoreIsAMistake(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "mongo")
	_, errOut, code := runCommand(t)
	want := "hexorders: a setting is wrong: HEXORDERS_STORE=mongo: must be " + alternatives(names(stores)) + "\n"
	if errOut != want || code != exitUsage {
		t.Errorf("exit code %d\n%swant\n%s", code, errOut, want)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, args := range []string{"--help", "serve --help", "outbox", "outbox --help", "outbox status --help",
		"outbox parked --help", "outbox retry --help", "views", "views status --help",
		"views parked --help", "views retry --help", "views rebuild --help", "verify --help", "events", "events tail --help",
		"doctor --help", "config --help", "version --help",
		"completion", "completion bash", "help", "help outbox", "help outbox status"} {
		out, errOut, code := runCommand(t, strings.Fields(args)...)
		if code != exitOK || errOut != "" || !strings.Contains(out, "hexorders") {
			t.Errorf("hexorders %s: exit code %d\n%s%s", args, code, out, errOut)
		}
	}
}

func TestVersionSaysWhatTheBuildRecorded(t *testing.T) {
	for want, info := range map[string]debug.BuildInfo{
		"hexorders v1.2.3 abc with changes, go1.26.0 linux/amd64": {
			GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"},
			Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"},
				{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "amd64"}, {Key: "CGO_ENABLED", Value: "1"},
			},
		},
		"hexorders (devel), go1.26.0 linux/arm64, without cgo and so without Kafka": {
			GoVersion: "go1.26.0", Main: debug.Module{Version: "(devel)"},
			Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"},
				{Key: "CGO_ENABLED", Value: "0"}},
		},
	} {
		if got := versionOf(&info); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, args := range []string{"version", "--version"} {
		if out, _, code := runCommand(t, args); code != exitOK || !strings.HasPrefix(out, "hexorders ") || !strings.HasSuffix(out, "\n") {
			t.Errorf("hexorders %s: exit code %d, %q", args, code, out)
		}
	}
}

// A full device, /dev/full say, takes nothing.
type fullOutput struct{}

func (fullOutput) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestAnOutputThatIsFullIsAFailure(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "memory")
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	for _, args := range []string{"--help", "--version", "version", "help outbox", "config", "config --json", "completion bash", "outbox",
		"doctor", "doctor --json"} {
		var errOut bytes.Buffer
		code := run(t.Context(), strings.Fields(args), fullOutput{}, &errOut)
		if code != exitFailed || !strings.Contains(errOut.String(), "no space left on device") {
			t.Errorf("hexorders %s: exit code %d\n%s", args, code, &errOut)
		}
	}
}

// The tables for programs.
func TestTablesAsJSON(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "memory")
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	for args, want := range map[string]string{
		"config --json": `{"variable":"HEXORDERS_STORE","value":"memory","from":"environment",`,
		"doctor --json": `{"check":"settings","result":"ok",`,
	} {
		out, errOut, code := runCommand(t, strings.Fields(args)...)
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("hexorders %s: exit code %d\n%s%s", args, code, out, errOut)
		}
		for line := range strings.Lines(out) {
			if !json.Valid([]byte(line)) {
				t.Errorf("hexorders %s: no JSON: %s", args, line)
			}
		}
	}
	s := memoryStorage(t)
	if err := s.parking.Park(t.Context(), ports.Message{OrderID: "o", Version: 3}, "too large \x1b"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := errors.Join(outboxStatus(t.Context(), s, true, &out), outboxParked(t.Context(), s, true, &out)); err != nil {
		t.Fatal(err)
	}
	want := `{"published":false,"parkedEvents":1,"parkedOrders":1,"relay":"","waitingSince":null}` + "\n" +
		`{"order":"o","fromVersion":3,"events":1,"since":"2026-01-02T03:04:05Z","retry":false,"reason":"too large \u001b"}` + "\n"
	got := regexp.MustCompile(`"since":"[0-9T:-]{19}Z"`).ReplaceAllString(out.String(), `"since":"2026-01-02T03:04:05Z"`)
	if got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
}

func TestOutboxCommands(t *testing.T) {
	ctx := t.Context()
	s := memoryStorage(t)
	print := func(command func(context.Context, *storage, *bytes.Buffer) error) string {
		t.Helper()
		var out bytes.Buffer
		if err := command(ctx, s, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	status := func(ctx context.Context, s *storage, out *bytes.Buffer) error {
		return outboxStatus(ctx, s, false, out)
	}
	parked := func(ctx context.Context, s *storage, out *bytes.Buffer) error {
		return outboxParked(ctx, s, false, out)
	}
	retry := func(ctx context.Context, s *storage, out *bytes.Buffer) error {
		return outboxRetry(ctx, s, "order-1", out)
	}

	want := "checkpoint  none: no relay has published yet\nparked      none\nrelay       none holds the lease\n"
	if got := print(status); got != want {
		t.Errorf("status\n%swant\n%s", got, want)
	}
	if got, want := print(parked), "no order is parked\n"; got != want {
		t.Errorf("parked\n%swant\n%s", got, want)
	}
	if err := outboxRetry(ctx, s, "order-1", &bytes.Buffer{}); err == nil || errors.Is(err, ports.ErrNotFound) ||
		!strings.Contains(err.Error(), "order order-1 has no parked events") {
		t.Errorf("retry of an order that is not parked: %v", err)
	}

	for _, version := range []int{2, 3} {
		m := ports.Message{ID: "order-1/" + string(rune('0'+version)), OrderID: "order-1", Version: version}
		if err := s.parking.Park(ctx, m, "too large"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.outbox.Checkpoint(ctx, 1, "0"); err != nil {
		t.Fatal(err)
	}
	if got, want := print(status),
		"checkpoint  stored: a relay has published, and the next one resumes there, also when the topic is another\n"+
			"parked      2 events of 1 orders: see `hexorders outbox parked`\nrelay       none holds the lease\n"; got != want {
		t.Errorf("status\n%swant\n%s", got, want)
	}
	if got, want := print(retry), "the relay will send the parked events of order order-1 again\n"; got != want {
		t.Errorf("retry\n%swant\n%s", got, want)
	}
	lines := strings.Split(print(parked), "\n")
	fields := strings.Fields(lines[1])
	if len(lines) != 3 || len(fields) != 8 {
		t.Fatalf("parked\n%s", strings.Join(lines, "\n"))
	}
	since := fields[3]
	if _, err := time.Parse(time.RFC3339, since); err != nil {
		t.Error(err)
	}
	if got, want := strings.Join(fields, " "), "order-1 2 2 "+since+" asked for too large"; got != want {
		t.Errorf("parked %q, want %q", got, want)
	}
}

func TestAStoreThatIsDownIsAnErrorOfTheOutboxCommands(t *testing.T) {
	down := errors.New("down")
	s := memoryStorage(t)
	s.parking = brokenParking{s.parking, down}
	for name, command := range map[string]func() error{
		"status": func() error { return outboxStatus(t.Context(), s, false, &bytes.Buffer{}) },
		"parked": func() error { return outboxParked(t.Context(), s, false, &bytes.Buffer{}) },
		"retry":  func() error { return outboxRetry(t.Context(), s, "o", &bytes.Buffer{}) },
	} {
		if err := command(); !errors.Is(err, down) {
			t.Errorf("%s: %v, want %v", name, err, down)
		}
	}
}

type brokenParking struct {
	ports.Parking
	err error
}

func (p brokenParking) Parked(context.Context) ([]ports.ParkedOrder, error) { return nil, p.err }
func (p brokenParking) Retry(context.Context, string) error                 { return p.err }

func memoryStorage(t *testing.T) *storage {
	t.Helper()
	s, err := openStorage(t.Context(), &Config{Store: storeNamed(t, "memory")}, slog.New(slog.DiscardHandler), watch{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.orders.(*memory.Store); !ok {
		t.Fatalf("the memory store is %T", s.orders)
	}
	return s
}

func storeNamed(t *testing.T, name string) storeKind {
	t.Helper()
	kind, err := kindOf(stores)(name)
	if err != nil {
		t.Fatal(err)
	}
	return kind
}
