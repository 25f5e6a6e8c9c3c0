package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve serves the console of a house, and lets a test change it before.
func (h *house) serve(change ...func(*console)) *httptest.Server {
	c := newConsole(Options{Feed: h.feed, Ports: h.ports, Roles: []string{"api", "relay", "views"}, Store: "memory", Broker: "inproc"})
	c.pulse = 5 * time.Millisecond
	for _, f := range change {
		f(c)
	}
	server := httptest.NewUnstartedServer(c.handler())
	server.Config.ReadTimeout, server.Config.WriteTimeout = h.timeout, h.timeout
	server.Start()
	h.t.Cleanup(func() {
		h.feed.Close()
		server.Close()
	})
	return server
}

// stream is a client of the feed.
type stream struct {
	t      *testing.T
	answer *http.Response
	lines  *bufio.Scanner
}

func listen(t *testing.T, url, lastEventID string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return &stream{t, answer, bufio.NewScanner(answer.Body)}
}

// next is the next event of a kind, or the next comment for the kind ":".
func (s *stream) next(kind string) (id, data string) {
	s.t.Helper()
	is := ""
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch {
		case kind == ":" && strings.HasPrefix(s.lines.Text(), ":"):
			return "", value
		case field == "id":
			id = value
		case field == "event":
			is = value
		case field == "data" && is == kind:
			return id, value
		case s.lines.Text() == "":
			id, is = "", ""
		}
	}
	s.t.Fatalf("the stream ended before an event %q: %v", kind, s.lines.Err())
	return "", ""
}

func (s *stream) steps(n int) (lastID string, steps []Step) {
	s.t.Helper()
	for len(steps) < n {
		id, data := s.next("steps")
		var some []Step
		if err := json.Unmarshal([]byte(data), &some); err != nil {
			s.t.Fatal(err)
		}
		lastID, steps = id, append(steps, some...)
	}
	return lastID, steps
}

func TestAStreamGoesOnWhereItWas(t *testing.T) {
	h := build(t)
	server := h.serve()
	h.create()
	s := listen(t, server.URL+"/console/feed", "")
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "Cache-Control": "no-store"} {
		if got := s.answer.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	id, steps := s.steps(2)
	if len(steps) != 2 || steps[0].Method != "Save" || steps[1].Method != "Create" {
		t.Errorf("a new stream gets %+v", steps)
	}
	second := h.create()
	for name, again := range map[string]*stream{
		"Last-Event-ID": listen(t, server.URL+"/console/feed", id),
		"after":         listen(t, server.URL+"/console/feed?after="+id, ""),
	} {
		if _, steps := again.steps(2); len(steps) != 2 || steps[0].Order != second.ID() {
			t.Errorf("a stream with %s %s gets %+v, want the steps of %s", name, id, steps, second.ID())
		}
	}
	// The numbers of another process say nothing here.
	if _, steps := listen(t, server.URL+"/console/feed", "before-4").steps(4); len(steps) != 4 {
		t.Errorf("a stream of another process gets %d steps, want all 4", len(steps))
	}
}

func TestAStreamOutlivesTheTimeoutsOfTheServer(t *testing.T) {
	h := build(t)
	h.timeout = 100 * time.Millisecond
	server := h.serve(func(c *console) { c.comment = 150 * time.Millisecond })
	s := listen(t, server.URL+"/console/feed", "")
	s.next("counts")
	for range 4 { // 600 ms, six times what a request may take
		if _, text := s.next(":"); text == "" {
			t.Error("an empty comment")
		}
	}
	h.create()
	s.steps(2)
	if _, data := s.next("counts"); !strings.Contains(data, `"Orders":[1,0]`) {
		t.Errorf("the counts are %s, want one command", data)
	}
}

func TestTheStreamsAreBounded(t *testing.T) {
	h := build(t)
	server := h.serve()
	streams := make([]*stream, mostStreams)
	for i := range streams {
		streams[i] = listen(t, server.URL+"/console/feed", "")
		streams[i].next("counts")
	}
	refused := listen(t, server.URL+"/console/feed", "")
	text, _ := io.ReadAll(refused.answer.Body)
	if refused.answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "All 20 streams") ||
		refused.answer.Header.Get("Retry-After") == "" {
		t.Errorf("stream %d got %s: %s", mostStreams+1, refused.answer.Status, text)
	}
	_ = streams[0].answer.Body.Close()
	deadline := time.Now().Add(time.Minute)
	for listen(t, server.URL+"/console/feed", "").answer.StatusCode != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("the place of a stream that went is not given away")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCloseEndsTheStreamsAtOnce(t *testing.T) {
	h := build(t)
	server := h.serve()
	s := listen(t, server.URL+"/console/feed", "")
	s.next("counts")
	began := time.Now()
	h.feed.Close()
	s.next("end")
	if s.lines.Scan(); s.lines.Scan() {
		t.Errorf("after the end comes %q", s.lines.Text())
	}
	if err := server.Config.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %s", took)
	}
}

// A client that does not read is cut off, and the feed has not waited for it.
func TestNothingWaitsForAPage(t *testing.T) {
	h := build(t)
	h.serve()
	began := time.Now()
	for range 10 * ringSize {
		h.feed.step(atOutbox, Step{Order: "o"}, time.Now(), nil)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%d steps took %s", 10*ringSize, took)
	}
}

func ask(t *testing.T, method, url, contentType, body string) (status int, header http.Header, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(content)
}

func get[T any](t *testing.T, url string) (v T) {
	t.Helper()
	status, _, text := ask(t, "GET", url, "", "")
	if err := json.Unmarshal([]byte(text), &v); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s, error %v", url, status, text, err)
	}
	return v
}

func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	server := build(t).serve()
	for path, media := range map[string]string{
		"/console/": "text/html", "/console/main.js": "javascript", "/console/style.css": "text/css",
		"/console/contracts.json": "application/json", "/console/icon.svg": "image/svg+xml", "/console/runbook.md": "text/markdown",
		"/console/state": "application/json", "/console/map": "application/json",
	} {
		status, header, text := ask(t, "GET", server.URL+path, "", "")
		if status != http.StatusOK || !strings.Contains(header.Get("Content-Type"), media) || text == "" {
			t.Errorf("%s: %d %s, %d bytes", path, status, header.Get("Content-Type"), len(text))
		}
		if policy := header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'self';") {
			t.Errorf("%s has the policy %q", path, policy)
		}
		if strings.HasSuffix(path, ".js") || strings.HasSuffix(path, "/") {
			for _, inline := range []string{"onclick=", "style=", "<style", "<script>", "innerHTML", "http://", "https://"} {
				if strings.Contains(text, inline) && !(inline == "http://" && strings.Contains(text, "www.w3.org")) {
					t.Errorf("%s has %q", path, inline)
				}
			}
		}
	}
	if status, header, _ := ask(t, "GET", server.URL+"/console", "", ""); status != http.StatusOK {
		t.Errorf("/console: %d %s", status, header.Get("Location"))
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if status, _, _ := ask(t, method, server.URL+"/console/state", "application/json", "{}"); status != http.StatusMethodNotAllowed {
			t.Errorf("%s /console/state: %d, want 405", method, status)
		}
	}
	if status, _, _ := ask(t, "GET", server.URL+"/console/nothing.js", "", ""); status != http.StatusNotFound {
		t.Errorf("a file that is not there: %d", status)
	}
}

func TestTheStateNamesAdaptersAndTheirFiles(t *testing.T) {
	h := build(t)
	h.work()
	o := h.create()
	h.want(o.ID(), "OrderStore Save 1", "Orders Create 1", "Outbox Tail 1", "Publisher Publish 1", "Subscriber Subscribe 1",
		"ReadModelStore Commit 1")
	server := h.serve(func(c *console) {
		c.Relay, c.Views = h.relay.Status, h.engine.Status
		c.Unread = func(context.Context) (int, time.Time, error) { return 2, time.UnixMilli(1000), nil }
	})
	s := get[snapshot](t, server.URL+"/console/state")
	for box, want := range map[string]standing{
		"store": {"memory", "adapters/memory/store.go"}, "outbox": {"memory", "adapters/memory/outbox.go"},
		"parking": {"memory", "adapters/memory/parking.go"}, "readmodel": {"memory", "adapters/memory/readmodel.go"},
		"publisher": {"inproc", "adapters/inproc/inproc.go"}, "subscriber": {"inproc", "adapters/inproc/subscriber.go"},
	} {
		if s.Boxes[box] != want {
			t.Errorf("box %s has %+v, want %+v", box, s.Boxes[box], want)
		}
	}
	if s.Store != "memory" || s.Broker != "inproc" || fmt.Sprint(s.Roles) != "[api relay views]" || len(s.Problems) > 0 ||
		len(s.Parked) > 0 || s.ReadModel.Generation != 1 || s.ReadModel.Applied != 1 || s.ReadModel.AsOf.IsZero() {
		t.Errorf("the state is %+v", s)
	}
	if r := s.Relay; r == nil || !r.Leading || r.Unread != 2 || !r.Oldest.Equal(time.UnixMilli(1000)) {
		t.Errorf("the relay is %+v", s.Relay)
	}
}

func TestAProcessWithoutRolesShowsWhatItSees(t *testing.T) {
	h := build(t)
	h.ports.Publisher, h.ports.Subscriber = nil, nil
	server := h.serve(func(c *console) { c.Roles = []string{"api"} })
	s := get[snapshot](t, server.URL+"/console/state")
	if s.Relay != nil || len(s.Boxes) != 4 || s.Boxes["publisher"] != (standing{}) {
		t.Errorf("without relay and views the state is %+v", s)
	}
}
