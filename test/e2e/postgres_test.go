package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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

	k := startKilling(w, 600*scale, 32, 3)
	for k.more() {
		k.untilMidStage(relay)
		own.kill(t, "postgres")
		own.do(t, "up", "postgres")
	}
	k.finish(api, relay)
	w.viewsAre(w.serve("serve"))
}

// Each role has a user with what docs/secure.md lists and no more; views is the owner.
func TestRolesOverPostgresNeedNoMoreThanTheirRights(t *testing.T) {
	t.Parallel()
	uri := postgrestest.Schema(t)
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	schema := parsed.Query().Get("search_path")
	w := inPostgres(t, uri)
	w.command("views", "status") // the owner makes the tables
	page, err := os.ReadFile(filepath.Join(repository, "docs", "secure.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := regexp.MustCompile("(?s)```sql\n(.*?)```").FindSubmatch(page)
	if listed == nil {
		t.Fatal("docs/secure.md has no list of rights in PostgreSQL")
	}
	for _, role := range []string{"api", "relay"} {
		user := schema + "_" + role // users belong to the server, and others test on it too
		postgrestest.Execute(t, uri, "CREATE ROLE "+user+" LOGIN")
		t.Cleanup(func() { postgrestest.Execute(t, uri, "DROP OWNED BY "+user+"; DROP ROLE "+user) })
	}
	here := strings.NewReplacer("SCHEMA public", "SCHEMA "+schema, "hexorders_", schema+"_")
	postgrestest.Execute(t, uri, here.Replace(string(listed[1])))

	as := func(role, addr string) *process {
		env := w.env.with("HEXORDERS_HTTP_ADDR", addr)
		if role != "views" {
			env = env.with("HEXORDERS_POSTGRES_URI", postgrestest.With(t, uri, "user", schema+"_"+role))
		}
		return launch(t, role, env, "serve", "--roles", role).ready()
	}
	api, relay, views := as("api", w.env["HEXORDERS_HTTP_ADDR"]), as("relay", w.newAddr()), as("views", w.newAddr())
	relay.says(holdsLease, takeOverLimit)
	l := &load{orders: 50, clients: 4, client: w.client(), strict: true}
	l.start(t.Context())
	if err := l.wait(); err != nil {
		t.Fatal(err)
	}
	w.complete()
	w.viewsAre(api)
	w.command("views", "rebuild")
	w.viewsAre(api)
	for _, p := range []*process{api, relay, views} {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
		if p.output.contains("permission denied") {
			t.Errorf("%s lacks a right", p.name)
		}
	}
}
