package console

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"reflect"
	"runtime"
	"strings"
	"time"

	"hexorders/ports"
)

// state answers with what stands where in this process, and how it is.
func (c *console) state(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, c.snapshot(r.Context()))
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // fails when the client is gone
}

// counts are the calls of every port, whether their steps are shown or not, as JSON.
func (c *console) counts() string {
	ports := map[string][2]int64{} // calls, and how many of those that are shown failed
	for i := range Ports {
		n := &c.Feed.counts[i]
		ports[Ports[i]] = [2]int64{n.calls.Load(), n.failed.Load()}
	}
	text, _ := json.Marshal(map[string]any{"ports": ports, "oneIn": c.Feed.oneIn()}) // numbers always encode
	return string(text)
}

// snapshot is the state at one moment. What has no value yet is left out.
type snapshot struct {
	At     time.Time           `json:"at"`
	Roles  []string            `json:"roles"`
	Store  string              `json:"store"`
	Broker string              `json:"broker"`
	Boxes  map[string]standing `json:"boxes"`
	Demo   bool                `json:"demo,omitempty"`

	Relay     *relayState    `json:"relay,omitempty"` // only where it holds the lease
	ReadModel readModelState `json:"readModel"`
	Parked    []parkedState  `json:"parked"`
	Alerts    []Alert        `json:"alerts"`
	Problems  []string       `json:"problems"` // what could not be read
}

// standing is the adapter in a box, and its file.
type standing struct {
	Adapter string `json:"adapter"`
	File    string `json:"file"`
}

type relayState struct {
	Leading  bool      `json:"leading"`
	InFlight int       `json:"inFlight"`
	Unread   int       `json:"unread"`
	Oldest   time.Time `json:"oldest,omitzero"` // when the oldest message occurred that the broker does not have
}

type readModelState struct {
	Generation int       `json:"generation"`
	Views      []string  `json:"views"`
	AsOf       time.Time `json:"asOf,omitzero"`
	Incomplete string    `json:"incomplete,omitempty"` // why events are missing for ever
	Applied    int64     `json:"applied"`              // by this process
}

type parkedState struct {
	Where  string    `json:"where"` // "outbox" or "views", as the command calls it
	Order  string    `json:"order"`
	First  int       `json:"first"`
	Events int       `json:"events"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	Repair string    `json:"repair"` // the command
}

const (
	askEvery   = time.Second     // however many pages ask
	askTimeout = 2 * time.Second // for all that the store is asked
	mostParked = 100             // of each kind; the command lists all
)

func (c *console) snapshot(ctx context.Context) snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.known.At) >= askEvery {
		// The answer is for all pages, not only for the one that asked first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		c.known = c.look(ctx)
	}
	now := c.known
	now.Alerts = c.alerts.list()
	return now
}

func (c *console) look(ctx context.Context) snapshot {
	s := snapshot{
		At: time.Now(), Roles: c.Roles, Store: c.Store, Broker: c.Broker, Boxes: c.Ports.standing(),
		Parked: []parkedState{}, Problems: []string{}, Demo: c.Demo != nil,
	}
	failed := func(what string, err error) bool {
		if err != nil {
			s.Problems = append(s.Problems, what+": "+err.Error())
		}
		return err != nil
	}
	if c.Relay != nil {
		now := c.Relay()
		s.Relay = &relayState{Leading: now.Leading, InFlight: now.InFlight, Oldest: now.OldestInFlightAt}
		if now.Leading {
			unread, oldest, err := c.Unread(ctx)
			if !failed("unread events", err) && !oldest.IsZero() {
				s.Relay.Unread = unread
				if s.Relay.Oldest.IsZero() || oldest.Before(s.Relay.Oldest) {
					s.Relay.Oldest = oldest
				}
			}
		}
	}
	if c.Views != nil {
		s.ReadModel.Applied = c.Views().Applied
	}
	if parked, err := c.Ports.Parking.Parked(ctx); !failed("parked events", err) {
		s.park("outbox", parked)
	}
	live, err := c.Ports.ReadModelStore.Live(ctx)
	if failed("read model", err) {
		return s
	}
	s.ReadModel.Generation, s.ReadModel.Views = live.Number, live.Views
	if f, err := c.Ports.ReadModelStore.Freshness(ctx, ""); !failed("age of the read model", err) {
		s.ReadModel.AsOf, s.ReadModel.Incomplete = f.BelievedAsOf(), string(f.Incomplete)
	}
	if parked, err := c.Ports.ReadModelStore.Parked(ctx, live); !failed("orders that are parked in the views", err) {
		s.park("views", parked)
	}
	return s
}

func (s *snapshot) park(where string, orders []ports.ParkedOrder) {
	for _, p := range orders[:min(len(orders), mostParked)] {
		s.Parked = append(s.Parked, parkedState{
			where, p.OrderID, p.First, p.Messages, p.Since, p.Reason, "hexorders " + where + " retry " + p.OrderID,
		})
	}
}

// standing says for each box of the page which adapter is in it. A broker that this process neither writes to nor reads
// from is not there.
func (a Adapters) standing() map[string]standing {
	boxes := map[string]standing{}
	for box, at := range map[string]struct {
		adapter any
		method  string
	}{
		"store": {a.OrderStore, "Save"}, "outbox": {a.Outbox, "Tail"}, "parking": {a.Parking, "Park"},
		"readmodel": {a.ReadModelStore, "Commit"}, "publisher": {a.Publisher, "Publish"},
		"subscriber": {a.Subscriber, "Subscribe"},
	} {
		if at.adapter != nil {
			boxes[box] = place(at.adapter, at.method)
		}
	}
	return boxes
}

// place is where an adapter's method is written: the program knows its own source.
func place(adapter any, method string) standing {
	t := reflect.TypeOf(adapter)
	m, ok := t.MethodByName(method)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	_, folder, _ := strings.Cut(t.PkgPath(), "/")
	at := standing{Adapter: strings.TrimPrefix(folder, "adapters/"), File: folder}
	if !ok {
		return at
	}
	file, _ := runtime.FuncForPC(m.Func.Pointer()).FileLine(m.Func.Pointer())
	if path.Base(path.Dir(file)) == path.Base(folder) { // else it is promoted from a field
		at.File = path.Join(folder, path.Base(file))
	}
	return at
}
