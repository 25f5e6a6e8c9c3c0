package main

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/test/otlp"
)

// Without an endpoint the console shows the spans of its own process.
func TestTheConsoleShowsTheSpansOfAnOrder(t *testing.T) {
	s := start(t, knownRoles)
	created := s.do(t, "POST", "/orders", `{"buyerId":"ada"}`, nil)
	var o struct{ ID string }
	if err := json.Unmarshal([]byte(created.body), &o); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"hexorders-api POST /orders", "hexorders-api Orders.Create", "hexorders-api OrderStore.Save",
		"hexorders-relay send topic", "hexorders-views process topic", "hexorders-views update views",
	}
	var got []string
	deadline := time.Now().Add(20 * time.Second)
	for ; len(got) < len(want) && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var story struct {
			Spans []struct{ Service, Name string }
		}
		if err := json.Unmarshal([]byte(s.do(t, "GET", "/console/orders/"+o.ID, "", nil).body), &story); err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, span := range story.Spans {
			got = append(got, span.Service+" "+span.Name)
		}
	}
	if !slices.Equal(got, want) { // they come by their start
		t.Errorf("the order's spans are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	services := s.do(t, "GET", "/console/map", "", nil).body
	for _, arrow := range []string{
		`"from":"hexorders-api","to":"hexorders-relay","calls":1`, `"from":"hexorders-relay","to":"hexorders-views","calls":1`,
	} {
		if !strings.Contains(services, arrow) {
			t.Errorf("the map is %s, without %s", services, arrow)
		}
	}
	events := s.do(t, "GET", "/orders/"+o.ID+"/events", "", nil).body
	if strings.Contains(events, "traceparent") {
		t.Errorf("a trace that only the console knows is in the events: %s", events)
	}
}

// The spans of a process that stops are sent, long before the next batch would be.
func TestAStopSendsTheLastSpans(t *testing.T) {
	var receiver otlp.Receiver
	server := httptest.NewServer(&receiver)
	defer server.Close()
	s := startWith(t, []string{roleAPI}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_BSP_SCHEDULE_DELAY": "600000"})
	s.do(t, "POST", "/orders", `{"buyerId":"ada"}`, nil)
	s.stop()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
	if n := len(receiver.Spans()); n != 3 {
		t.Errorf("%d spans came, want those of the request, its command and its save", n)
	}
}

func TestDoctorAndConfigSpeakOfTraces(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "memory")
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	var receiver otlp.Receiver
	server := httptest.NewServer(&receiver)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "key=hidden")
	if out, _, _ := runCommand(t, "doctor"); !strings.Contains(out, "ok    traces     their receiver answers at "+server.URL) {
		t.Errorf("doctor prints\n%s", out)
	}
	server.Close()
	if out, _, _ := runCommand(t, "doctor"); !strings.Contains(out, "note  traces     spans would be lost: start the receiver") {
		t.Errorf("doctor prints\n%s", out)
	}
	if out, _, _ := runCommand(t, "config"); !strings.Contains(out, server.URL) || strings.Contains(out, "hidden") {
		t.Errorf("config prints\n%s", out)
	}
	t.Setenv("OTEL_TRACES_SAMPLER", "sometimes")
	_, errOut, code := runCommand(t, "config")
	if code != exitUsage || !strings.Contains(errOut, "OTEL_TRACES_SAMPLER=sometimes: want one of") {
		t.Errorf("exit code %d\n%s", code, errOut)
	}
}
