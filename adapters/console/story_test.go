package console

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"hexorders/ports"
)

func (h *house) story(url, id string) story {
	h.t.Helper()
	return get[story](h.t, url+"/console/orders/"+id)
}

func TestAStoryFollowsAnOrder(t *testing.T) {
	h := build(t)
	server := h.serve()
	o := h.create()
	before := h.story(server.URL, o.ID())
	if before.Outbox.Committed != 1 || before.Outbox.Published != 0 || before.ReadModel.Applied != 0 || len(before.Steps) != 2 {
		t.Errorf("before the relay works: %+v", before)
	}
	h.work()
	h.want(o.ID(), "OrderStore Save 1", "Orders Create 1", "Outbox Tail 1", "Publisher Publish 1", "Subscriber Subscribe 1",
		"ReadModelStore Commit 1")
	after := h.story(server.URL, o.ID())
	if after.Outbox.Published != 1 || after.ReadModel.Applied != 1 || after.ReadModel.Generation != 1 || len(after.Steps) != 6 ||
		after.ReadModel.AsOf.IsZero() || after.Outbox.Parked != 0 || after.Outbox.Repair != "" || after.ReadModel.Repair != "" {
		t.Errorf("afterwards: %+v", after)
	}
	forgetful := h.serve(func(c *console) { c.Feed = NewFeed() })
	if later := h.story(forgetful.URL, o.ID()); later.Outbox.Published != 1 || len(later.Steps) != 0 {
		t.Errorf("when the feed has nothing of it: %+v", later)
	}
	if status, _, _ := ask(t, "GET", server.URL+"/console/orders/nobody", "", ""); status != http.StatusNotFound {
		t.Errorf("an order that is not there: %d", status)
	}
}

// A clock was an hour ahead when the read model was filled, and has been set back since.
func TestNoTimeInTheFutureIsShown(t *testing.T) {
	h := build(t)
	server := h.serve()
	o := h.create()
	live, err := h.ports.ReadModelStore.Live(t.Context())
	if err == nil {
		change := ports.Change{Places: []ports.PlaceChange{{To: "1@log", AsOf: time.Now().Add(time.Hour)}}}
		err = h.ports.ReadModelStore.Commit(t.Context(), live, change)
	}
	if err != nil {
		t.Fatal(err)
	}
	state, story := get[snapshot](t, server.URL+"/console/state"), h.story(server.URL, o.ID())
	if !state.ReadModel.AsOf.IsZero() || !story.ReadModel.AsOf.IsZero() {
		t.Errorf("the read model is up to date as of %s and %s, want neither", state.ReadModel.AsOf, story.ReadModel.AsOf)
	}
}

func TestAStoryNamesWhatIsParkedAndTheRepair(t *testing.T) {
	h := build(t)
	server := h.serve()
	o := h.create()
	m := ports.Message{ID: o.ID() + "/1", OrderID: o.ID(), Version: 1, Payload: []byte(`{}`)}
	if err := h.ports.Parking.Park(t.Context(), m, "too large"); err != nil {
		t.Fatal(err)
	}
	change := ports.Change{
		Progress: []ports.ProgressChange{{Progress: ports.Progress{OrderID: o.ID(), Newest: 1, Buffered: 1, Parked: "unknown"}}},
		Buffer:   []ports.BufferedMessage{{Message: m, Reason: "unknown"}},
	}
	live, err := h.ports.ReadModelStore.Live(t.Context())
	if err == nil {
		err = h.ports.ReadModelStore.Commit(t.Context(), live, change)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := h.story(server.URL, o.ID())
	if s.Outbox.Parked != 1 || s.Outbox.Published != 0 || s.Outbox.Reason != "too large" ||
		s.Outbox.Repair != "hexorders outbox retry "+o.ID() {
		t.Errorf("the outbox: %+v", s.Outbox)
	}
	if r := s.ReadModel; r.Reason != "unknown" || fmt.Sprint(r.Buffered) != "[1]" || r.Repair != "hexorders views retry "+o.ID() {
		t.Errorf("the read model: %+v", r)
	}
	parked := get[snapshot](t, server.URL+"/console/state").Parked
	if len(parked) != 2 || parked[0].Repair != s.Outbox.Repair || parked[1].Repair != s.ReadModel.Repair ||
		parked[0].Order != o.ID() || parked[0].First != 1 || parked[0].Events != 1 {
		t.Errorf("the list of parked orders: %+v", parked)
	}
}

// A relay that has nothing left to send has published all, also what the feed and the views have forgotten.
func TestARelayWithNothingToSendHasPublishedAll(t *testing.T) {
	for name, x := range map[string]struct {
		status ports.RelayStatus
		unread int
		want   int
	}{
		"idle":      {ports.RelayStatus{Leading: true}, 0, 1},
		"in flight": {ports.RelayStatus{Leading: true, InFlight: 1}, 0, 0},
		"unread":    {ports.RelayStatus{Leading: true}, 1, 0},
		"standing":  {ports.RelayStatus{}, 0, 0},
	} {
		h := build(t)
		server := h.serve(func(c *console) {
			c.Relay = func() ports.RelayStatus { return x.status }
			c.Unread = func(context.Context) (int, time.Time, error) { return x.unread, time.Now(), nil }
		})
		if got := h.story(server.URL, h.create().ID()).Outbox.Published; got != x.want {
			t.Errorf("%s: published up to %d, want %d", name, got, x.want)
		}
	}
}
