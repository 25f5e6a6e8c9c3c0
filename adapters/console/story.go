package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"hexorders/ports"
)

// story is where one order's events are: in the outbox, at the broker, in the read model. Its state and the events
// themselves are the API's to show.
type story struct {
	Outbox struct {
		Committed int    `json:"committed"`        // the order's version
		Published int    `json:"published"`        // the broker has all up to this version, as far as is known here
		Parked    int    `json:"parked,omitempty"` // the first version that is parked
		Reason    string `json:"reason,omitempty"` // why
		Repair    string `json:"repair,omitempty"` // the command
	} `json:"outbox"`
	ReadModel struct {
		Generation int       `json:"generation"`
		Applied    int       `json:"applied"`          // the last version that took effect
		Buffered   []int     `json:"buffered"`         // versions that wait
		Reason     string    `json:"reason,omitempty"` // why the next one is parked
		Repair     string    `json:"repair,omitempty"`
		AsOf       time.Time `json:"asOf,omitzero"`
	} `json:"readModel"`
	Steps []json.RawMessage `json:"steps"` // those that the feed still has
	Spans []Span            `json:"spans"` // of the order's traces, those that are still there
}

func (c *console) story(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	s, err := c.tell(ctx, r.PathValue("id"))
	switch {
	case errors.Is(err, ports.ErrNotFound):
		http.Error(w, "There is no order with this id.", http.StatusNotFound)
	case err != nil:
		c.Logger.Warn("the console cannot tell an order's story", "order", r.PathValue("id"), "err", err)
		http.Error(w, "The store does not answer: try again.", http.StatusServiceUnavailable)
	default:
		writeJSON(w, s)
	}
}

func (c *console) tell(ctx context.Context, id string) (s story, err error) {
	o, err := c.Ports.OrderStore.Get(ctx, id)
	if err != nil {
		return s, err
	}
	parked, err := c.Ports.Parking.Parked(ctx)
	if err != nil {
		return s, err
	}
	live, err := c.Ports.ReadModelStore.Live(ctx)
	if err != nil {
		return s, err
	}
	progress, err := c.Ports.ReadModelStore.Load(ctx, live, []string{id})
	if err != nil {
		return s, err
	}
	freshness, err := c.Ports.ReadModelStore.Freshness(ctx, id)
	if err != nil {
		return s, err
	}
	p := progress[id]
	s.ReadModel.Generation, s.ReadModel.Applied, s.ReadModel.Reason = live.Number, p.Version, p.Parked
	s.ReadModel.AsOf, s.ReadModel.Buffered = freshness.BelievedAsOf(), []int{}
	if p.Buffered > 0 {
		messages, err := c.Ports.ReadModelStore.Buffered(ctx, live, id)
		if err != nil {
			return s, err
		}
		for _, m := range messages {
			s.ReadModel.Buffered = append(s.ReadModel.Buffered, m.Version)
		}
		s.ReadModel.Repair = "hexorders views retry " + id
	}
	steps, _ := c.Feed.since(0, ringSize, id)
	s.Outbox.Committed = o.Version()
	s.Outbox.Published = max(p.Newest, c.published(ctx, steps, o.Version()))
	for _, order := range parked {
		if order.OrderID == id {
			s.Outbox.Parked, s.Outbox.Reason, s.Outbox.Repair = order.First, order.Reason, "hexorders outbox retry "+id
			s.Outbox.Published = order.First - 1 // an order's messages go one by one
		}
	}
	s.Steps = make([]json.RawMessage, len(steps)) // never nil: an empty list is []
	for i, step := range steps {
		s.Steps[i] = step
	}
	s.Spans = c.Spans.of(id)
	return s, nil
}

// published is up to which version the broker has an order's events, as far as this process knows beside the read model:
// from what the feed saw, and from a relay that has nothing left to send. No outbox says it of one order.
func (c *console) published(ctx context.Context, steps [][]byte, committed int) (version int) {
	if c.Relay != nil && c.Relay().Leading {
		if unread, _, err := c.Unread(ctx); err == nil && unread == 0 && c.Relay().InFlight == 0 {
			return committed
		}
	}
	for _, text := range steps {
		var s Step
		if json.Unmarshal(text, &s) == nil && s.Port == Ports[atPublisher] && s.Error == "" {
			version = max(version, s.Version)
		}
	}
	return version
}
