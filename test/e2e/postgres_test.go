package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hexorders/adapters/postgres/postgrestest"
	"hexorders/test/checker"
)

// inPostgres is a world whose orders and views are in PostgreSQL.
func inPostgres(t testing.TB, uri string) *world {
	t.Helper()
	w := newWorldOf(t, shared(t), "postgres")
	w.env["HEXORDERS_POSTGRES_URI"], w.source.Postgres = uri, uri
	reader, err := checker.Open(w.source)
	if err == nil {
		err = w.reader.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	w.reader = reader // the world closes it
	return w
}

func TestNothingIsLostOverPostgresWhenTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	w := inPostgres(t, postgrestest.Schema(t))
	p := w.serve("serve")
	k := startKilling(w, 1000*scale, 32, 4*scale)
	for k.more() {
		k.untilMidStage(p)
		p.kill()
		p = w.serve("serve")
	}
	k.finish(p)
	p = w.serve("serve")
	w.viewsAre(p)
	if said := w.command("verify"); !strings.HasSuffix(said, "\nall agree\n") {
		t.Errorf("verify says\n%s\nwant that all agree", said)
	}
}

// One process takes orders and another publishes them, on tables that both see. The server is killed under load, three
// times: what was answered is there, and both go on by themselves.
func TestNothingIsLostWhenPostgresIsKilled(t *testing.T) {
	t.Parallel()
	own := newPrivate(t)
	own.do(t, "up", "postgres")
	w := inPostgres(t, own.postgresURI)
	api, relay := w.serve("api", "--roles", "api"), w.serveAt("relay", w.newAddr(), "--roles", "relay,views")
	relay.says(holdsLease, takeOverLimit)

	orders, kills := 600*scale, 3
	k := &killing{w: w, kills: kills, begin: make(chan struct{}, orders*commands)}
	k.load = &load{orders: orders, clients: 32, client: w.client(), begin: k.begin}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5*scale)*time.Minute)
	defer cancel()
	k.load.start(ctx)
	for k.more() {
		k.release(k.quota())
		middle := int64((k.stage-1)*k.quota() + k.quota()/2)
		eventually(t, patience, "half of the stage's commands are answered", func() bool { return k.load.answered.Load() >= middle })
		own.kill(t, "postgres")
		own.do(t, "up", "postgres")
	}
	k.finish(api, relay)
	w.viewsAre(w.serve("serve"))
}

// kill ends a server with SIGKILL.
func (p *private) kill(t testing.TB, server string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.folder, server+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		t.Fatalf("kill %s: %v", server, err)
	}
}
