//go:build prometheus

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Prometheus and Alertmanager of Debian watch the program, with the files of deploy. Only addresses are replaced: what is
// measured here is what an operator gets. `make test-alerts` runs it; it mostly waits.

// How long an alert may take: 60 s of the rule, and twice as many intervals as deploy's files add up to.
const (
	bannerWithin = 60*time.Second + 2*(5+5+5)*time.Second
	goesWithin   = 2 * (5 + 5 + 10) * time.Second
)

func TestPrometheusAKilledRelayBecomesABanner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	api := w.serve("api", "--roles", "api,views")
	relayAddr := w.newAddr()
	startRelay := func() *process { return w.serveAt("relay", relayAddr, "--roles", "relay") }
	relay := startRelay()
	observe(t, api.addr, api.addr, relayAddr)
	if alerts := api.alerts(); len(alerts) > 0 {
		t.Fatalf("everything works, and the console shows %v", alerts)
	}

	for range scale {
		killed := time.Now()
		relay.kill()
		shown := map[string]time.Duration{}
		eventually(t, bannerWithin, "the console shows that a process is down and that no relay publishes", func() bool {
			for name := range api.alerts() {
				if shown[name] == 0 {
					shown[name] = time.Since(killed).Round(100 * time.Millisecond)
				}
			}
			return shown["HexordersDown"] > 0 && shown["HexordersNobodyPublishes"] > 0
		})
		for name, runbook := range api.alerts() {
			api.explains(name, runbook)
		}
		if len(shown) > 2 {
			t.Errorf("beside the two alerts of a relay that is gone the console shows others: %v", shown)
		}

		back := time.Now()
		relay = startRelay()
		eventually(t, goesWithin, "the banners are gone", func() bool { return len(api.alerts()) == 0 })
		t.Logf("from kill to banner: %v; from start to none: %v", shown, time.Since(back).Round(100*time.Millisecond))
	}
}

// alerts are the banners of the process's console: the runbooks by the names of the alerts.
func (p *process) alerts() map[string]string {
	p.t.Helper()
	var state struct {
		Alerts []struct{ Name, Runbook string }
	}
	ask(p.t, "http://"+p.addr+"/console/state", &state)
	found := map[string]string{}
	for _, a := range state.Alerts {
		found[a.Name] = a.Runbook
	}
	return found
}

// explains: the page makes a link of a runbook that begins like this, to the section of the manual with that heading.
func (p *process) explains(alert, runbook string) {
	p.t.Helper()
	a, err := newClient(p.addr).do(p.t.Context(), http.MethodGet, "/console/runbook.md", "")
	if err != nil || runbook != "docs/operate.md#"+strings.ToLower(alert) || !strings.Contains(string(a.body), "\n### "+alert+"\n") {
		p.t.Errorf("the runbook of %s is %q, error %v, and the manual of the console has no such section", alert, runbook, err)
	}
}

// A panel whose metric has another name stays empty, and nothing says so.
func TestPrometheusEveryQueryOfTheDashboardGivesASeries(t *testing.T) {
	t.Parallel()
	text := deployed(t, "grafana/dashboards/hexorders.json")
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, shared(t))
	p := w.serve("serve")
	m := observe(t, p.addr, p.addr)
	asked := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			asked++
			expression := strings.ReplaceAll(target.Expr, "$__rate_interval", "20s") // Grafana makes it four scrapes
			eventually(t, patience, panel.Title+" has a value: "+expression, func() bool {
				a, err := w.client().do(t.Context(), "POST", "/orders", `{"buyerId":"9","items":[{"productId":"1","amount":1}]}`)
				if err != nil || a.status != http.StatusCreated {
					t.Fatalf("answer %.500s, error %v", a, err)
				}
				values := m.query(expression)
				return len(values) > 0 && !slices.ContainsFunc(values, math.IsNaN)
			})
		}
	}
	if asked < 20 {
		t.Errorf("the dashboard has %d queries: the search is broken", asked)
	}
	metrics := p.scrape()
	for _, name := range regexp.MustCompile(`\b(hexorders|process|go)_\w+`).FindAllString(text, -1) {
		if family := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, ""); !metrics.has(family) {
			t.Errorf("the dashboard asks for %s, and the service has no such metric", name)
		}
	}
	t.Logf("%d queries, each with a value", asked)
}

// Prometheus' and Alertmanager's own tools agree with the files, also with what a shop is to uncomment.
func TestPrometheusAndAlertmanagerTakeTheFiles(t *testing.T) {
	t.Parallel()
	alertmanager := deployed(t, "alertmanager/alertmanager.yaml")
	full := filepath.Join(t.TempDir(), "full.yaml")
	uncommented := regexp.MustCompile(`(?m)^( +)#(  |- |\w)`).ReplaceAllString(alertmanager, "$1$2")
	if err := os.WriteFile(full, []byte(uncommented), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ command, want string }{
		{"promtool check config deploy/prometheus/prometheus.yaml", "is valid prometheus config file"},
		{"promtool test rules deploy/prometheus/alerts_test.yaml", "SUCCESS"},
		{"amtool check-config deploy/alertmanager/alertmanager.yaml", "1 receivers"},
		{"amtool check-config " + full, "3 receivers"},
		{"amtool config routes test --config.file=" + full + " severity=page", "on-call,console\n"},
		{"amtool config routes test --config.file=" + full + " severity=ticket", "mailbox,console\n"},
	} {
		words := strings.Fields(x.command)
		c := exec.Command(filepath.Join(prometheusFolder(t), words[0]), words[1:]...)
		c.Dir = repository
		if output, err := c.CombinedOutput(); err != nil || !strings.Contains(string(output), x.want) {
			t.Errorf("%s: error %v, want %q in\n%s", x.command, err, x.want, output)
		}
	}
}

// monitor is a Prometheus.
type monitor struct {
	t   testing.TB
	url string
}

// observe starts Prometheus over these processes and Alertmanager, which posts to the console of one of them. When it returns
// the two know each other: an alert that fires before is dropped, and sent again only after a minute.
func observe(t testing.TB, console string, targets ...string) *monitor {
	t.Helper()
	folder, programs := t.TempDir(), prometheusFolder(t)
	prometheus, alertmanager := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	write := func(file, content string, replaced ...string) {
		for i := 0; i < len(replaced); i += 2 {
			if !strings.Contains(content, replaced[i]) {
				t.Fatalf("deploy's %s does not name %s", file, replaced[i])
			}
		}
		content = strings.NewReplacer(replaced...).Replace(content)
		if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alerts.yaml", deployed(t, "prometheus/alerts.yaml"))
	write("prometheus.yaml", deployed(t, "prometheus/prometheus.yaml"),
		`"hexorders:8080"`, `"`+strings.Join(targets, `", "`)+`"`, "alertmanager:9093", alertmanager)
	write("alertmanager.yaml", deployed(t, "alertmanager/alertmanager.yaml"), "//hexorders:8080/", "//"+console+"/")

	launchOther(t, filepath.Join(programs, "alertmanager"), "alertmanager", nil,
		"--config.file="+filepath.Join(folder, "alertmanager.yaml"), "--storage.path="+filepath.Join(folder, "alertmanager"),
		"--web.listen-address="+alertmanager, "--cluster.listen-address=") // it is alone
	launchOther(t, filepath.Join(programs, "prometheus"), "prometheus", nil,
		"--config.file="+filepath.Join(folder, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(folder, "prometheus"),
		"--web.listen-address="+prometheus)

	m := &monitor{t, "http://" + prometheus}
	eventually(t, patience, "Prometheus knows Alertmanager and has scraped every process", func() bool {
		if !listens(prometheus) || !listens(alertmanager) {
			return false
		}
		var known struct {
			Data struct{ ActiveAlertmanagers []any }
		}
		ask(t, m.url+"/api/v1/alertmanagers", &known)
		return len(known.Data.ActiveAlertmanagers) == 1 && len(m.query(`up{job="hexorders"} == 1`)) == len(targets)
	})
	return m
}

func listens(address string) bool {
	response, err := http.Get("http://" + address + "/-/ready")
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// query are the values that an expression has now.
func (m *monitor) query(expression string) (values []float64) {
	m.t.Helper()
	var answer struct {
		Status, Error string
		Data          struct{ Result []struct{ Value [2]any } }
	}
	ask(m.t, m.url+"/api/v1/query?query="+url.QueryEscape(expression), &answer)
	if answer.Status != "success" {
		m.t.Fatalf("%s: Prometheus says %s", expression, answer.Error)
	}
	for _, series := range answer.Data.Result {
		value, err := strconv.ParseFloat(series.Value[1].(string), 64)
		if err != nil {
			m.t.Fatal(err)
		}
		values = append(values, value)
	}
	return values
}

func ask(t testing.TB, url string, into any) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

func deployed(t testing.TB, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, "deploy", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// prometheusFolder has the programs of Debian's packages.
func prometheusFolder(t testing.TB) string {
	t.Helper()
	folder, err := fetchPrometheus()
	if err != nil {
		t.Fatalf("scripts/services fetch prometheus: %v", err)
	}
	return folder
}

var fetchPrometheus = sync.OnceValues(func() (string, error) {
	c := exec.Command(filepath.Join(repository, "scripts", "services"), "fetch", "prometheus")
	c.Env = append(cleanEnvironment(), "SERVICES_DIST="+setting("SERVICES_DIST", filepath.Join(repository, ".services", "dist")))
	c.Stderr = os.Stderr
	output, err := c.Output()
	return strings.TrimSpace(string(output)), err
})
