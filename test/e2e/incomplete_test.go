package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// Records were deleted from the topic before the views had read them: the lists lack orders, and everything says so.
func TestViewsThatMissDeletedRecordsSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	o := &operator{t: t, client: w.client()}
	p := w.serve("all roles")
	seen := o.order(`{"buyerId":"9999"}`)
	w.lists(p, seen, "")
	p.stop()

	p = w.serve("without views", "--roles", "api,relay")
	missed := o.order(`{"buyerId":"9999"}`)
	w.complete()
	w.deleteRecords()
	p.stop()

	for _, start := range []string{"after the records were deleted", "once more"} {
		p = w.serve(start)
		later := o.order(`{"buyerId":"9999"}`)
		w.lists(p, later, "messages-deleted")
		if a := w.lists(p, seen, "messages-deleted"); strings.Contains(string(a.body), missed) {
			t.Errorf("%s: the list has an order whose events were deleted: %s", start, a.body)
		}
		status := w.command("views", "status")
		for _, words := range []string{
			"never: incomplete", "incomplete (messages-deleted): shard ", "1 messages from offset",
			"lists are wrong until they are rebuilt",
		} {
			if !strings.Contains(status, words) {
				t.Errorf("%s: `views status` says\n%swant %q", start, status, words)
			}
		}
		t.Logf("%s: `views status` says\n%s", start, status)
		if said, code := ends(t, exec.Command(program, "doctor"), w.env); code != 0 ||
			!strings.Contains(said, "note  views      incomplete (messages-deleted): shard ") {
			t.Errorf("%s: doctor says, with exit code %d,\n%swant a note on the views", start, code, said)
		}
		m := p.scrape()
		m.want(1, "hexorders_view_incomplete", "reason", "messages-deleted")
		m.want(0, "hexorders_view_incomplete", "reason", "another-topic")
		if m.has("hexorders_view_age_seconds") {
			t.Errorf("%s: the metrics have an age of the views", start)
		}
		p.stop()
	}

	// The topic cannot repair that, and says so. The store can.
	p = w.serve("for a rebuild")
	said, code := ends(t, exec.Command(program, "views", "rebuild"), w.env)
	for _, words := range []string{
		"nothing was swapped in: the topic does not have all events: shard ", "were deleted before they were read",
		"`hexorders views rebuild --from store` reads what the store has",
	} {
		if code != 1 || !strings.Contains(said, words) {
			t.Errorf("`views rebuild` ends with %d and says\n%swant 1 and %q", code, said, words)
		}
	}
	t.Logf("`views rebuild` says\n%s", said)
	w.lists(p, seen, "messages-deleted")
	if said := w.command("views", "rebuild", "--from", "store"); !strings.Contains(said, "rebuilt from 4 events") {
		t.Errorf("`views rebuild --from store` says\n%s, want that it is rebuilt from 4 events", said)
	}
	w.lists(p, missed, "")
	last := o.order(`{"buyerId":"9999"}`)
	w.lists(p, last, "")
	if status := w.command("views", "status"); strings.Contains(status, "incomplete") {
		t.Errorf("after the rebuild from the store `views status` says\n%s", status)
	}
}

// lists waits until the list has an order and says why it is incomplete, "" for not at all. What it says was read before the list.
func (w *world) lists(p *process, id, incomplete string) (a answer) {
	w.t.Helper()
	eventually(w.t, patience, fmt.Sprintf("the list has the order %s, with View-Incomplete %q", id, incomplete), func() bool {
		var err error
		a, err = newClient(p.addr).do(w.t.Context(), http.MethodGet, "/orders", "")
		return err == nil && strings.Contains(string(a.body), id) && a.header.Get("View-Incomplete") == incomplete
	})
	if age := a.header.Get("View-Age"); incomplete != "" && age != "" {
		w.t.Errorf("GET /orders: incomplete, with View-Age %q", age)
	}
	return a
}
