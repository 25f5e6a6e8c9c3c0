package main

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTheConsoleIsOnByDefaultAndCanBeTurnedOff(t *testing.T) {
	const page, feed = "/console/", "/console/feed"
	off := startWith(t, knownRoles, map[string]string{"HEXORDERS_CONSOLE": "off"})
	for _, path := range []string{"/console", page, feed} {
		if got := off.do(t, "GET", path, "", nil).status; got != http.StatusNotFound {
			t.Errorf("off, %s: %d, want 404", path, got)
		}
	}
	for _, roles := range [][]string{knownRoles, {"relay"}} {
		on := start(t, roles)
		if got := on.do(t, "GET", page, "", nil); got.status != http.StatusOK ||
			!strings.HasPrefix(got.header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("on, with the roles %q: %d with the policy %q", roles, got.status, got.header.Get("Content-Security-Policy"))
		}
		state := on.do(t, "GET", "/console/state", "", nil).body
		if want := `"roles":["` + strings.Join(roles, `","`) + `"],"store":"memory","broker":"inproc"`; !strings.Contains(state, want) {
			t.Errorf("the state is %s, want %s", state, want)
		}
		stranger := map[string]string{"Sec-Fetch-Site": "cross-site"}
		if got := on.do(t, "POST", "/console/alerts", "{}", stranger).status; got != http.StatusForbidden {
			t.Errorf("a page of another origin posts alerts: %d, want 403", got)
		}
	}
}

// A stream of the console would never finish. It ends with the stop, whose time is for requests of clients.
func TestAStreamOfTheConsoleDoesNotHoldUpTheStop(t *testing.T) {
	s := start(t, knownRoles)
	answer, err := http.Get(s.URL() + "/console/feed")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "event: counts") {
	}
	began := time.Now()
	s.stop()
	if err := s.wait(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took >= requestsTimeout {
		t.Errorf("the stop took %s, as long as it waits for requests", took)
	}
	ended := false
	for lines.Scan() {
		ended = ended || lines.Text() == "event: end"
	}
	if !ended {
		t.Error("the stream broke off without its end")
	}
}

// What watches the service does not count as its work.
func TestTheConsoleIsNotInTheMetrics(t *testing.T) {
	s := start(t, knownRoles)
	s.do(t, "GET", "/console/state", "", nil)
	s.do(t, "GET", "/livez", "", nil)
	metrics := s.do(t, "GET", "/metrics", "", nil).body
	if strings.Contains(metrics, "console") || !strings.Contains(metrics, `route="/livez"`) {
		t.Error("the console is in the metrics, or nothing is")
	}
}
