package e2e

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The table "Restore" of docs/operate.md, row by row: a part is restored from a copy that is older than the other part.
func TestWhatARestoreNeeds(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"mongodb", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			r := newRestored(t, store)
			p := r.serve("before the copy")
			early := r.o.order(`{"buyerId":"9999"}`)
			other := r.o.order(`{"buyerId":"9999"}`)
			r.lists(p, "", map[string]string{early: "pending", other: "pending"})
			p.stop()
			r.copyTo("old")
			r.all("up")
			p = r.serve("after the copy")
			r.o.does(early, "cancel", `{"reason":"changed my mind"}`)
			late := r.o.order(`{"buyerId":"9999"}`)
			r.lists(p, "", map[string]string{early: "cancelled", other: "pending", late: "pending"})
			p.stop()
			r.copyTo("new")

			t.Run("the store is older than the topic", func(t *testing.T) {
				r.of(t)
				r.restore("old", "new")
				r.differs(map[string]int{"invented-in-topic": 2}) // the cancelling, and the late order
				p := r.serve("with an older store")
				r.o.does(other, "cancel", `{"reason":"not forked"}`)
				r.o.does(early, "cancel", `{"reason":"another reason"}`)
				eventually(t, patience, "the views of the order that went two ways are parked", func() bool {
					return strings.Contains(r.command("views", "parked"), early)
				})
				p.scrape().want(1, "hexorders_view_forked_total")
				r.command("views", "rebuild", "--from", "store")
				r.lists(p, "", map[string]string{early: "cancelled", other: "cancelled"})
				r.differs(map[string]int{"altered-in-topic": 1, "invented-in-topic": 1})
				p.stop()
			})
			t.Run("the topic is older than the store", func(t *testing.T) {
				r.of(t)
				r.restore("new", "old")
				p := r.serve("with an older topic")
				r.lists(p, "messages-lost", map[string]string{early: "cancelled", other: "pending", late: "pending"})
				r.saysIncomplete(p, "messages-lost", "it lost some, or is an older copy")
				r.command("views", "rebuild", "--from", "store")
				last := r.o.order(`{"buyerId":"9999"}`)
				r.lists(p, "", map[string]string{early: "cancelled", other: "pending", late: "pending", last: "pending"})
				r.differs(map[string]int{"missing-in-topic": 2})
				p.stop()
			})
			t.Run("both are of the moment before", func(t *testing.T) {
				r.of(t)
				r.restore("old", "old")
				p := r.serve("with both older")
				r.lists(p, "", map[string]string{early: "pending", other: "pending"})
				r.differs(map[string]int{})
				p.stop()
			})
		})
	}
}

func TestADatabaseWithItsTopicIsRestoredAsAWhole(t *testing.T) {
	t.Parallel()
	d := newEmbedded(t)
	folder := filepath.Dir(d.file)
	r := &restored{world: &world{t: t, env: d.env}, o: &operator{t: t, client: newClient(d.addr)}, store: []string{folder}}
	p := d.serve("before the copy")
	early := r.o.order(`{"buyerId":"9999"}`)
	r.lists(p, "", map[string]string{early: "pending"})
	p.stop()
	r.copyTo("old")
	p = d.serve("after the copy")
	late := r.o.order(`{"buyerId":"9999"}`)
	r.lists(p, "", map[string]string{early: "pending", late: "pending"})
	p.stop()
	r.restore("old", "old")
	p = d.serve("restored")
	r.lists(p, "", map[string]string{early: "pending"})
	r.differs(map[string]int{})
	p.stop()
}

// restored is a world whose servers' folders are copied and restored while nothing runs.
type restored struct {
	*world
	o            *operator
	servers      *private
	store, topic []string // folders
}

func newRestored(t *testing.T, store string) *restored {
	t.Helper()
	servers := newPrivate(t)
	servers.do(t, "up", "kafka")
	r := &restored{servers: servers, topic: []string{filepath.Join(servers.folder, "kafka")}}
	if store == "mongodb" {
		servers.do(t, "up", "mongodb")
		r.store = []string{filepath.Join(servers.folder, "mongodb")}
	}
	r.world = newWorldOf(t, servers.servers, store)
	if store == "sqlite" {
		r.store = []string{t.TempDir()}
		r.env = r.env.with("HEXORDERS_SQLITE_PATH", filepath.Join(r.store[0], "orders.db"))
	}
	r.o = &operator{t: t, client: r.client()}
	return r
}

// of makes a subtest the one that fails, and ends its processes with it.
func (r *restored) of(t *testing.T) { r.t, r.o.t = t, t }

// all runs scripts/services for each server.
func (r *restored) all(command string) {
	r.t.Helper()
	if r.servers != nil {
		r.servers.do(r.t, command, "kafka")
	}
	if r.env["HEXORDERS_STORE"] == "mongodb" {
		r.servers.do(r.t, command, "mongodb")
	}
}

// copyTo stops the servers and copies their folders.
func (r *restored) copyTo(name string) {
	r.t.Helper()
	r.all("down")
	for _, folder := range slices.Concat(r.store, r.topic) {
		if err := os.CopyFS(folder+"-"+name, os.DirFS(folder)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// restore puts these copies in place.
func (r *restored) restore(store, topic string) {
	r.t.Helper()
	r.all("down")
	put := func(folders []string, name string) {
		for _, folder := range folders {
			if err := errors.Join(os.RemoveAll(folder), os.CopyFS(folder, os.DirFS(folder+"-"+name))); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	put(r.store, store)
	put(r.topic, topic)
	r.all("up")
}

// lists waits until the list of all orders says this of each, and of no other, and why it is incomplete.
func (r *restored) lists(p *process, incomplete string, want map[string]string) {
	r.t.Helper()
	eventually(r.t, patience, "the list is complete", func() bool {
		a, err := newClient(p.addr).do(r.t.Context(), http.MethodGet, "/orders", "")
		var page struct{ Orders []struct{ ID, Status string } }
		if err != nil || json.Unmarshal(a.body, &page) != nil {
			return false
		}
		got := map[string]string{}
		for _, o := range page.Orders {
			got[o.ID] = o.Status
		}
		return maps.Equal(got, want) && a.header.Get("View-Incomplete") == incomplete
	})
}

// differs fails unless verify counts these differences, by kind.
func (r *restored) differs(want map[string]int) {
	r.t.Helper()
	v, _, said := verify(r.t, r.env, "10s")
	got := map[string]int{}
	for _, d := range v.Differences {
		got[d.Kind] = d.Count
	}
	if !maps.Equal(got, want) {
		r.t.Errorf("verify tells of %v, want %v:\n%s", got, want, said)
	}
}
