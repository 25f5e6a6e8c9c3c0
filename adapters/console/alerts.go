package console

import (
	"cmp"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Alert is an alert that fires.
type Alert struct {
	Name     string    `json:"name"`
	Severity string    `json:"severity"`
	Summary  string    `json:"summary"`
	Runbook  string    `json:"runbook"`
	Since    time.Time `json:"since"`
}

// notification is what Alertmanager posts to a webhook, as far as it is read.
type notification struct {
	Alerts []struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
		Fingerprint string            `json:"fingerprint"`
	} `json:"alerts"`
}

const (
	mostAlerts   = 50        // that fire at the same time; further ones are not shown
	longestAlert = 256 << 10 // of a notification, in bytes
	longestText  = 500       // of each text that is shown, in characters
	// forgetAfter is longer than Alertmanager's repeat_interval in deploy: an alert whose end was never reported goes.
	forgetAfter = 5 * time.Hour
)

// alerts are those that fire, by their fingerprint.
type alerts struct {
	mu     sync.Mutex
	firing map[string]firing
}

type firing struct {
	Alert
	reported time.Time
}

func (a *alerts) take(n notification, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.firing == nil {
		a.firing = map[string]firing{}
	}
	for _, alert := range n.Alerts {
		if alert.Status != "firing" {
			delete(a.firing, alert.Fingerprint)
			continue
		}
		if _, known := a.firing[alert.Fingerprint]; !known && len(a.firing) >= mostAlerts {
			continue
		}
		a.firing[alert.Fingerprint] = firing{Alert{
			Name: short(alert.Labels["alertname"]), Severity: short(alert.Labels["severity"]), Since: alert.StartsAt,
			Summary: short(alert.Annotations["summary"]), Runbook: short(alert.Annotations["runbook"]),
		}, now}
	}
}

func short(text string) string {
	if characters := []rune(text); len(characters) > longestText {
		return string(characters[:longestText]) + "…"
	}
	return text
}

// list is by severity (page comes before ticket), then by name.
func (a *alerts) list() []Alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []Alert{} // never nil: an empty list is []
	for fingerprint, f := range a.firing {
		if time.Since(f.reported) > forgetAfter {
			delete(a.firing, fingerprint)
			continue
		}
		list = append(list, f.Alert)
	}
	slices.SortFunc(list, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Name, b.Name), a.Since.Compare(b.Since))
	})
	return list
}

// takeAlerts is a webhook of Alertmanager. A page of another origin cannot send JSON here: its browser asks first, and
// nothing here allows it.
func (c *console) takeAlerts(w http.ResponseWriter, r *http.Request) {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		http.Error(w, "Send JSON, as Alertmanager does.", http.StatusUnsupportedMediaType)
		return
	}
	var n notification
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, longestAlert)).Decode(&n); err != nil {
		http.Error(w, "This is no notification of Alertmanager: "+err.Error(), http.StatusBadRequest)
		return
	}
	c.alerts.take(n, time.Now())
	w.WriteHeader(http.StatusNoContent)
}
