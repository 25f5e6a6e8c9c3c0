package console

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Span is a finished span, of any service. cmd makes it of what the tracer reports.
type Span struct {
	Trace   string    `json:"trace"`
	ID      string    `json:"id"`
	Parent  string    `json:"parent,omitempty"`
	Links   []string  `json:"-"` // the ids of spans that a batch has brought together
	Service string    `json:"service"`
	Name    string    `json:"name"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Failed  bool      `json:"failed,omitempty"`
	Order   string    `json:"-"` // the id of the order that it is about; "" for none or many
}

// spansKept bounds the memory; the oldest go first.
const spansKept = 4096

// Spans are the newest spans. The zero value is ready, and nil has none.
type Spans struct {
	mu   sync.Mutex
	ring []Span
	next int
}

// Add takes a span and never waits for a page.
func (s *Spans) Add(span Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ring) < spansKept {
		s.ring = append(s.ring, span)
		return
	}
	s.ring[s.next] = span
	s.next = (s.next + 1) % spansKept
}

func (s *Spans) all() []Span {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ring)
}

// mostBars is how many spans of an order are shown.
const mostBars = 200

// of returns the spans of all traces in which a span is about the order, by their start.
func (s *Spans) of(order string) []Span {
	all, traces := s.all(), map[string]bool{}
	for _, span := range all {
		if span.Order == order && span.Trace != "" {
			traces[span.Trace] = true
		}
	}
	found := slices.DeleteFunc(all, func(span Span) bool { return !traces[span.Trace] })
	slices.SortStableFunc(found, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return append([]Span{}, found[:min(len(found), mostBars)]...) // never nil: an empty list is []
}

// Arrow is the calls from one service to another.
type Arrow struct {
	From   string  `json:"from"`
	To     string  `json:"to"`
	Calls  int     `json:"calls"`
	Errors int     `json:"errors"`
	P95    float64 `json:"p95"` // milliseconds, of the called side: 95 of 100 calls took no longer
}

// fold makes arrows of spans: one call for each span whose parent, or a link, is a span of another service. A parent that
// is not among the spans (any more) makes none. A span whose parent is of its own service is no call: a transaction of two
// services that share a store has links to both.
func fold(spans []Span) []Arrow {
	service := make(map[string]string, len(spans))
	for _, s := range spans {
		service[s.ID] = s.Service
	}
	type pair struct{ from, to string }
	calls := map[pair][]Span{}
	for _, s := range spans {
		if service[s.Parent] == s.Service {
			continue
		}
		for _, cause := range append([]string{s.Parent}, s.Links...) {
			if from := service[cause]; from != "" && from != s.Service {
				calls[pair{from, s.Service}] = append(calls[pair{from, s.Service}], s)
			}
		}
	}
	arrows := []Arrow{} // never nil: an empty list is []
	for p, of := range calls {
		slices.SortFunc(of, func(a, b Span) int { return cmp.Compare(a.took(), b.took()) })
		a := Arrow{From: p.from, To: p.to, Calls: len(of)}
		a.P95 = float64(of[(len(of)*95+99)/100-1].took().Microseconds()) / 1000 // the nearest rank
		for _, s := range of {
			if s.Failed {
				a.Errors++
			}
		}
		arrows = append(arrows, a)
	}
	slices.SortFunc(arrows, func(a, b Arrow) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return arrows
}

func (s Span) took() time.Duration { return s.End.Sub(s.Start) }

// serviceMap answers with the arrows, and says whether there are traces at all.
func (c *console) serviceMap(w http.ResponseWriter, _ *http.Request) {
	spans := c.Spans.all()
	services := map[string]int{}
	for _, s := range spans {
		services[s.Service]++
	}
	writeJSON(w, map[string]any{
		"traced": c.Spans != nil, "spans": len(spans), "services": services, "arrows": fold(spans),
	})
}
