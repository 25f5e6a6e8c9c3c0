package console

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What Alertmanager 0.25 posts, with the parts that are not read.
const posted = `{"version":"4","groupKey":"{}:{}","status":"firing","receiver":"console","groupLabels":{},"commonLabels":{},
"commonAnnotations":{},"externalURL":"http://vm:9093","truncatedAlerts":0,"alerts":[{"status":"%s",
"labels":{"alertname":"HexordersDown","severity":"page","instance":"127.0.0.1:8080"},
"annotations":{"summary":"A process of hexorders does not answer.","runbook":"docs/operate.md#hexordersdown"},
"startsAt":"2026-11-29T12:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://vm:9090/graph","fingerprint":"%s"}]}`

func TestAnAlertFiresUntilItIsResolved(t *testing.T) {
	server := build(t).serve()
	alerts := func() []Alert { return get[snapshot](t, server.URL+"/console/state").Alerts }
	post := func(state, fingerprint string) {
		t.Helper()
		status, _, text := ask(t, "POST", server.URL+"/console/alerts", "application/json", fmt.Sprintf(posted, state, fingerprint))
		if status != http.StatusNoContent {
			t.Fatalf("%d %s", status, text)
		}
	}
	if got := alerts(); len(got) != 0 {
		t.Fatalf("at first %+v fire", got)
	}
	post("firing", "a")
	post("firing", "a")
	post("firing", "b")
	want := Alert{"HexordersDown", "page", "A process of hexorders does not answer.", "docs/operate.md#hexordersdown",
		time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
	if got := alerts(); len(got) != 2 || got[0] != want {
		t.Errorf("%+v fire, want two like %+v", got, want)
	}
	post("resolved", "a")
	post("resolved", "b")
	if got := alerts(); len(got) != 0 {
		t.Errorf("%+v still fire", got)
	}
}

func TestAlertsAreBounded(t *testing.T) {
	h := build(t)
	var c *console
	server := h.serve(func(is *console) { c = is })
	long := strings.Repeat("ä", 2*longestText)
	var all []string
	for i := range 2 * mostAlerts {
		all = append(all, fmt.Sprintf(`{"status":"firing","fingerprint":"%d","annotations":{"summary":"%s"}}`, i, long))
	}
	status, _, text := ask(t, "POST", server.URL+"/console/alerts", "application/json", `{"alerts":[`+strings.Join(all, ",")+`]}`)
	if status != http.StatusNoContent {
		t.Fatalf("%d %s", status, text)
	}
	list := c.alerts.list()
	if len(list) != mostAlerts || len([]rune(list[0].Summary)) != longestText+1 {
		t.Errorf("%d alerts fire, with %d characters", len(list), len([]rune(list[0].Summary)))
	}
	forgotten := c.alerts.firing["1"]
	forgotten.reported = time.Now().Add(-forgetAfter - time.Second)
	c.alerts.firing["1"] = forgotten
	if left := len(c.alerts.list()); left != mostAlerts-1 {
		t.Errorf("%d alerts are left, want one less: nobody reported it for long", left)
	}
}

// An alert that lasts must be repeated before it is forgotten.
func TestAlertmanagerPostsWhereTheConsoleListensAndOftenEnough(t *testing.T) {
	file, err := os.ReadFile("../../deploy/alertmanager/alertmanager.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?ms)^  repeat_interval: (\S+)$.*^      - url: http://hexorders:8080(\S+)$`).FindSubmatch(file)
	if found == nil {
		t.Fatalf("there is no interval or no URL in\n%s", file)
	}
	if every, err := time.ParseDuration(string(found[1])); err != nil || every > forgetAfter/2 {
		t.Errorf("alerts are repeated every %s, error %v, and forgotten after %s", found[1], err, forgetAfter)
	}
	server := build(t).serve()
	if status, _, text := ask(t, "POST", server.URL+string(found[2]), "application/json", "{}"); status != http.StatusNoContent {
		t.Errorf("POST %s: %d %s", found[2], status, text)
	}
}

func TestOnlyAlertmanagerCanPost(t *testing.T) {
	server := build(t).serve()
	for name, x := range map[string]struct {
		contentType, body string
		want              int
	}{
		"a form of another page": {"text/plain", "{}", http.StatusUnsupportedMediaType},
		"no type":                {"", "{}", http.StatusUnsupportedMediaType},
		"no JSON":                {"application/json", "{", http.StatusBadRequest},
		"too long":               {"application/json", `{"more":"` + strings.Repeat("x", longestAlert) + `"}`, http.StatusBadRequest},
		"with a charset":         {"application/json; charset=utf-8", "{}", http.StatusNoContent},
	} {
		if status, _, text := ask(t, "POST", server.URL+"/console/alerts", x.contentType, x.body); status != x.want {
			t.Errorf("%s: %d %s, want %d", name, status, text, x.want)
		}
	}
}
