// Package console is the page at /console/. It shows the hexagon at work, one order's whole story, lists, the map of the
// services and alerts. It only reads.
//
// Read feed.go (what happened lately), decorators.go (how the feed gets to know), console.go (the page and its stream),
// state.go (what stands where, and how it is), story.go (one order), spans.go (the map), alerts.go, demo.go (the page Break
// it). The page itself is in static: hexagon.js first.
package console

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"hexorders/docs"
	"hexorders/ports"
)

// Options are what the console shows. Feed and Ports are required.
type Options struct {
	Feed   *Feed
	Spans  *Spans // nil: there are no traces
	Ports  Adapters
	Roles  []string // what this process does
	Store  string   // the names of store and broker in the settings
	Broker string
	Logger *slog.Logger // slog.Default()

	// Relay and Views are what the relay and the consumer of this process say of themselves; nil without the role.
	// Unread is how far the outbox is ahead of the relay (ADR 6).
	Relay  func() ports.RelayStatus
	Views  func() ports.ViewsStatus
	Unread func(context.Context) (messages int, oldest time.Time, err error)

	Demo *Demo // nil: there is no page Break it
}

// Adapters are what stands behind the ports now, without decorators. Publisher and Subscriber are nil in a process
// without their role.
type Adapters struct {
	OrderStore     ports.OrderStore
	Outbox         ports.Outbox
	Parking        ports.Parking
	ReadModelStore ports.ReadModelStore
	Publisher      ports.Publisher
	Subscriber     ports.Subscriber
}

//go:embed static
var static embed.FS

type console struct {
	Options
	start   string        // tells the steps of this process from those of the one before
	streams chan struct{} // one place for each
	pulse   time.Duration // how often a stream sends what has changed
	comment time.Duration // how often it says something when nothing has
	alerts  alerts

	mu    sync.Mutex
	known snapshot // of the state, and when it was made
}

// mostStreams bounds the streams of the feed. Each page has one.
const mostStreams = 20

// New makes the handler of everything below /console/.
func New(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return newConsole(o).handler()
}

func newConsole(o Options) *console {
	return &console{
		Options: o, start: strconv.FormatInt(time.Now().UnixNano(), 36), streams: make(chan struct{}, mostStreams),
		pulse: 100 * time.Millisecond, comment: 15 * time.Second,
	}
}

func (c *console) handler() http.Handler {
	files, _ := fs.Sub(static, "static") // the name is valid
	pages := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.Handle("GET /console/", http.StripPrefix("/console", pages))
	mux.Handle("GET /console", http.RedirectHandler("/console/", http.StatusMovedPermanently))
	mux.HandleFunc("GET /console/feed", c.feed)
	mux.HandleFunc("GET /console/state", c.state)
	mux.HandleFunc("GET /console/orders/{id}", c.story)
	mux.HandleFunc("GET /console/map", c.serviceMap)
	mux.HandleFunc("GET /console/runbook.md", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		_, _ = w.Write(docs.Operate) // fails when the client is gone
	})
	mux.HandleFunc("POST /console/alerts", c.takeAlerts)
	if c.Demo != nil {
		c.serveDemo(mux)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// How a stream treats its client.
const (
	writeWithin = 10 * time.Second // for one write, however long the stream lasts
	mostAtOnce  = 500              // steps that a new stream gets of those before it
	countEvery  = 10               // pulses from one look at the counts to the next
)

// feed streams steps as server-sent events (HTML, 9.2). An event's id is the process and the number of its last step, so
// that a page that comes back goes on where it was.
func (c *console) feed(w http.ResponseWriter, r *http.Request) {
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, fmt.Sprintf("All %d streams of this console are taken: close another page.", mostStreams),
			http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the events back
	control := http.NewResponseController(w)
	send := func(text []byte) error {
		_ = control.SetWriteDeadline(time.Now().Add(writeWithin))
		if _, err := w.Write(text); err != nil {
			return err
		}
		return control.Flush()
	}

	seen := int64(0)
	after := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after"))
	if process, number, _ := strings.Cut(after, "-"); process == c.start {
		seen, _ = strconv.ParseInt(number, 10, 64) // 0 for what is no number
	}
	if send([]byte("retry: 1000\n: the console of hexorders\n\n")) != nil {
		return
	}
	counts, countIn, sent := "", 0, time.Now()
	pulse := time.NewTicker(c.pulse)
	defer pulse.Stop()
	for {
		select { // many steps make one event
		case <-pulse.C:
		case <-r.Context().Done():
			return
		case <-c.Feed.closed:
			_ = send([]byte("event: end\ndata: {}\n\n"))
			return
		}
		var text bytes.Buffer
		var steps [][]byte
		if steps, seen = c.Feed.since(seen, mostAtOnce, ""); len(steps) > 0 {
			fmt.Fprintf(&text, "id: %s-%d\nevent: steps\ndata: [%s]\n\n", c.start, seen, bytes.Join(steps, []byte(",")))
		}
		if countIn--; countIn < 0 {
			countIn = countEvery
			if now := c.counts(); now != counts {
				counts = now
				fmt.Fprintf(&text, "event: counts\ndata: %s\n\n", now)
			}
		}
		if text.Len() == 0 {
			if time.Since(sent) < c.comment {
				continue
			}
			text.WriteString(": nothing happens\n\n")
		}
		if send(text.Bytes()) != nil {
			return
		}
		sent = time.Now()
	}
}
