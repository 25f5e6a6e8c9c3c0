package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// Each role has a user with what docs/secure.md lists and no more.
func TestRolesOverNATSNeedNoMoreThanTheirRights(t *testing.T) {
	t.Parallel()
	subject := newSubject()
	n := natsWithUsers(t, map[string][]right{subject: listedRights(t, ofNATS)})
	leastRightsInNATS(t, newWorldOfSubject(t, n, subject))
}

// natsWithUsers is a server with users for the roles of each subject. Who names no user may do everything.
func natsWithUsers(t testing.TB, rights map[string][]right) *private {
	t.Helper()
	folder := t.TempDir()
	users := []string{`{ user: owner, password: secret }`}
	for subject, all := range rights {
		here := strings.NewReplacer("orders.events", subject, "orders_events", strings.ReplaceAll(subject, ".", "_"))
		for _, role := range rolesOf(all) {
			allowed := map[string]string{}
			for _, action := range []string{"publish", "subscribe"} {
				var subjects []string
				for _, r := range all {
					if r.role == role && r.action == action {
						subjects = append(subjects, strconv.Quote(here.Replace(r.on)))
					}
				}
				allowed[action] = "[" + strings.Join(subjects, ", ") + "]"
				if subjects == nil { // an empty list is no limit
					allowed[action] = `{ deny: ">" }`
				}
			}
			users = append(users, fmt.Sprintf("{ user: %q, password: secret, permissions: { publish: %s, subscribe: %s } }",
				role+"-"+subject, allowed["publish"], allowed["subscribe"]))
		}
	}
	conf := "authorization: { users: [\n" + strings.Join(users, "\n") + "\n] }\nno_auth_user: owner\n"
	if err := os.WriteFile(filepath.Join(folder, "nats.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	n := newPrivate(t, "SERVICES_SECURE="+folder)
	n.do(t, "up", "nats")
	return n
}

func leastRightsInNATS(t testing.TB, w *world) {
	t.Helper()
	owner := w.serve("owner") // makes the stream, and the bucket of the readers' groups
	owner.says("events go to subject", patience)
	first := (&employee{t: t, w: w}).asks("POST", "/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`, 201)
	o, err := first.order()
	if err != nil {
		t.Fatal(err)
	}
	(&employee{t: t, w: w}).reads(o.ID, 1)
	if code := owner.stop(); code != 0 {
		t.Fatalf("exit code of the owner is %d, want 0", code)
	}

	envs := map[string]environment{"api": w.env.with("HEXORDERS_NATS_URL", "nats://127.0.0.1:1")} // it needs none
	for _, role := range []string{"relay", "views"} {
		envs[role] = w.env.with("HEXORDERS_NATS_URL",
			strings.Replace(w.env["HEXORDERS_NATS_URL"], "//", "//"+role+"-"+w.source.Topic+":secret@", 1))
	}
	e := &employee{t, w, envs}
	api, relay, views := e.start("api"), e.start("relay"), e.start("views")
	e.asks("POST", "/orders/"+o.ID+"/pay", "", 200)
	e.reads(o.ID, 2)
	for _, args := range []string{"views status", "views parked", "views rebuild", "events tail --from start --count 2"} {
		e.runs("views", args)
	}
	e.reads(o.ID, 2)
	e.runs("relay", "outbox status")
	for _, p := range []*process{api, relay, views} {
		e.stop(p)
	}
}

// newWorldOfNATS is a world of one file and a stream.
func newWorldOfNATS(t testing.TB, n *private) *world { return newWorldOfSubject(t, n, newSubject()) }

func newSubject() string { return "e2e." + uuid.NewString() }

func newWorldOfSubject(t testing.TB, n *private, name string) *world {
	t.Helper()
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
