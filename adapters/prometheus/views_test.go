package prometheus

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/ports"
)

func TestAProjectionIsWatched(t *testing.T) {
	m := New(nil)
	status := ports.ProjectionStatus{
		View: ports.OrderSummary, Generation: 2, ParkedOrders: 1, ParkedMessages: 3,
		Applied: 100, Repeats: 5, Held: 4, Foreign: 6, Conflicts: 2, Failed: 7,
	}
	m.WatchProjection(func() ports.ProjectionStatus { return status })
	m.WatchProjection(func() ports.ProjectionStatus {
		return ports.ProjectionStatus{View: ports.OrderTimeline, Applied: 42, ParkedOrders: 9}
	})
	for name, want := range map[string]float64{
		"applied_total": 100, "repeats_total": 5, "held_total": 4, "foreign_total": 6, "conflicts_total": 2, "errors_total": 7,
		"parked_orders": 1, "parked_messages": 3,
	} {
		wantValue(t, m, want, `hexorders_view_`+name+`{view="order-summary"}`)
	}
	wantValue(t, m, 42, `hexorders_view_applied_total{view="timeline"}`)
	// One that has not begun has looked for nothing.
	wantNoSample(t, m, `hexorders_view_parked_orders{view="timeline"}`)
	wantNoSample(t, m, `hexorders_view_parked_messages{view="timeline"}`)
}

func TestTheAgeOfAViewIsTheStoresToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(nil)
		var err error
		asOf := map[ports.View]time.Time{ports.OrderSummary: time.Now(), ports.BuyerActivity: time.Now().Add(time.Hour)}
		asked := 0
		m.WatchViews(func(_ context.Context, view ports.View, order string) (ports.Freshness, error) {
			asked++
			if order != "" {
				t.Errorf("asked for order %q", order)
			}
			return ports.Freshness{AsOf: asOf[view]}, err
		})
		time.Sleep(time.Minute)
		wantValue(t, m, 60, `hexorders_view_age_seconds{view="order-summary"}`)
		wantValue(t, m, 0, `hexorders_view_age_seconds{view="buyer-activity"}`) // by a clock that runs ahead
		wantNoSample(t, m, `hexorders_view_age_seconds{view="timeline"}`)       // no process fills it
		if asked != len(ports.AllViews) {
			t.Errorf("3 scrapes at the same moment asked the store %d times, want once for each view", asked)
		}
		time.Sleep(unreadEvery)
		wantValue(t, m, 65, `hexorders_view_age_seconds{view="order-summary"}`)
		err = ports.ErrUnavailable
		time.Sleep(unreadEvery)
		wantNoSample(t, m, `hexorders_view_age_seconds{`)
	})
}

func wantNoSample(t *testing.T, m *Metrics, sample string) {
	t.Helper()
	if text := scrape(t, m); strings.Contains(text, sample) {
		t.Errorf("%s is in\n%s", sample, text)
	}
}
