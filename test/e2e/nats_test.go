package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"hexorders/test/checker"
)

// The service and the broker are killed in turn while clients are at work. SIGKILL takes nothing that a process has written:
// what a power failure takes is in adapters/nats/DESIGN.md.
func TestNothingIsLostWhenTheServiceAndNATSAreKilled(t *testing.T) {
	t.Parallel()
	broker := newPrivate(t)
	broker.do(t, "up", "nats")
	w := newWorldOfNATS(t, broker)
	p := w.serve("serve")
	k := startKilling(w, 400*scale, 16, 4*scale)
	for k.more() {
		k.untilMidStage(p)
		if k.stage%2 == 1 {
			p.kill()
			p = w.serve("serve")
		} else {
			// Stopped first, it answers nothing: what is published meanwhile is in flight when it dies.
			broker.signal(t, "nats", syscall.SIGSTOP)
			answered := k.load.answered.Load()
			eventually(t, patience, "commands are answered without a broker", func() bool {
				return k.load.answered.Load() > answered+40
			})
			eventually(t, patience, "messages are in flight", func() bool { return p.scrape().value("hexorders_relay_lag_seconds") > 0.5 })
			broker.kill(t, "nats")
			broker.do(t, "up", "nats")
		}
	}
	k.finish(p)
	p = w.serve("serve")
	w.viewsAre(p)
	if p.output.contains("the views are incomplete") {
		t.Error("the views say that they are incomplete, and nothing was deleted")
	}
}

// The commands that look at a broker from outside know this one.
func TestTheCommandsKnowNATS(t *testing.T) {
	t.Parallel()
	broker := newPrivate(t)
	w := newWorldOfNATS(t, broker)
	doctor := func() string {
		output, _ := w.run("doctor")
		return output
	}
	if got := doctor(); !strings.Contains(got, "BAD   broker     no nats-server answers at 127.0.0.1:") ||
		!strings.Contains(got, "start one with scripts/services up nats") {
		t.Errorf("without a server doctor says\n%s", got)
	}
	broker.do(t, "up", "nats")
	if got := doctor(); !strings.Contains(got, "note  broker     NATS answers at 127.0.0.1:") ||
		!strings.Contains(got, "`hexorders serve` creates it at start") {
		t.Errorf("without the stream doctor says\n%s", got)
	}
	p := w.serve("serve")
	p.says("events go to subject "+w.source.Topic, patience)
	o := &operator{t, w.client()}
	id := o.order(`{"buyerId":"b"}`)
	tail := launch(t, "events tail", w.env, "events", "tail", "--from", "start")
	tail.says(id, patience)
	if got := doctor(); !strings.Contains(got, "note  broker     NATS 2.") || !strings.Contains(got, "on one server") {
		t.Errorf("doctor says\n%s", got)
	}
	if output, err := w.run("verify"); err != nil {
		t.Errorf("verify: %v\n%s", err, output)
	}
}

// newWorldOfNATS is a world of one file and a stream.
func newWorldOfNATS(t testing.TB, n *private) *world {
	t.Helper()
	name := "e2e." + uuid.NewString()
	w := &world{t: t, source: checker.Source{SQLite: filepath.Join(t.TempDir(), "hexorders.db"), NATS: n.natsURL, Topic: name}}
	w.env = environment{
		"HEXORDERS_STORE":        "sqlite",
		"HEXORDERS_SQLITE_PATH":  w.source.SQLite,
		"HEXORDERS_BROKER":       "nats",
		"HEXORDERS_NATS_URL":     n.natsURL,
		"HEXORDERS_NATS_SUBJECT": name,
		"HEXORDERS_HTTP_ADDR":    w.newAddr(),
		"HEXORDERS_LOG_FORMAT":   "json",
	}
	var err error
	if w.reader, err = checker.Open(w.source); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.reader.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// run is command for one that may fail.
func (w *world) run(args ...string) (output string, err error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Env, c.Dir = w.env.list(), w.t.TempDir()
	said, err := c.CombinedOutput()
	return string(said), err
}
