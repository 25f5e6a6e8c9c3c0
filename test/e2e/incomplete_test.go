package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
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
		w.saysIncomplete(p, "messages-deleted", "1 messages from offset")
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

// A topic that is deleted and made again has the same name and fewer records: the places of the views are behind its end, until it
// has grown past them.
func TestViewsOfATopicThatIsMadeAgainSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	o := &operator{t: t, client: w.client()}
	p := w.serve("before")
	seen := o.order(`{"buyerId":"9999"}`)
	o.does(seen, "cancel", "")
	w.lists(p, seen, "")
	p.stop()
	w.deleteTopic(t.Context())
	topics := kadm.NewClient(w.kafka)
	eventually(t, patience, "the topic is gone", func() bool {
		list, err := topics.ListTopics(t.Context(), w.source.Topic)
		return err == nil && !list.Has(w.source.Topic)
	})

	p = w.serve("with the new topic")
	later := o.order(`{"buyerId":"9999"}`)
	w.lists(p, later, "another-topic")
	w.lists(p, seen, "another-topic") // what was applied stays
	w.saysIncomplete(p, "another-topic", "earlier events were read from kafka/"+w.source.Topic+"/")
	w.command("views", "rebuild", "--from", "store")
	w.lists(p, seen, "")
	w.lists(p, later, "")
	p.stop()
}

// saysIncomplete fails unless `views status`, doctor and the metrics say why the views of p are incomplete.
func (w *world) saysIncomplete(p *process, reason, detail string) {
	w.t.Helper()
	status := w.command("views", "status")
	for _, words := range []string{
		"never: incomplete", "incomplete (" + reason + "): shard ", detail, "lists are wrong until they are rebuilt",
	} {
		if !strings.Contains(status, words) {
			w.t.Errorf("%s: `views status` says\n%swant %q", p.name, status, words)
		}
	}
	w.t.Logf("%s: `views status` says\n%s", p.name, status)
	if said, code := ends(w.t, exec.Command(program, "doctor"), w.env); code != 0 ||
		!strings.Contains(said, "note  views      incomplete ("+reason+"): shard ") {
		w.t.Errorf("%s: doctor says, with exit code %d,\n%swant a note on the views", p.name, code, said)
	}
	m := p.scrape()
	for _, other := range []string{"messages-deleted", "messages-lost", "another-topic"} {
		want := 0
		if other == reason {
			want = 1
		}
		m.want(want, "hexorders_view_incomplete", "reason", other)
	}
	if m.has("hexorders_view_age_seconds") {
		w.t.Errorf("%s: the metrics have an age of the views", p.name)
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
