package e2e

import (
	"net/url"
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
	leastRightsInPostgres(t)
}

func leastRightsInPostgres(t testing.TB, without ...right) {
	t.Helper()
	uri := postgrestest.Schema(t)
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	schema := parsed.Query().Get("search_path")
	w := inPostgres(t, uri)
	w.createTopic("4096")
	w.command("views", "status") // the owner makes the tables
	grantInPostgres(t, uri, schema, without...)
	envs := map[string]environment{"views": w.env}
	for _, role := range []string{"api", "relay"} {
		envs[role] = w.env.with("HEXORDERS_POSTGRES_URI", postgrestest.With(t, uri, "user", schema+"_"+role))
	}
	e := &employee{t, w, envs}
	e.works(nil)
}
