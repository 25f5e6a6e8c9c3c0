package prometheus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/ports"
)

func TestTheConsumerOfTheViewsIsWatched(t *testing.T) {
	m := New(nil)
	status := ports.ViewsStatus{Applied: 100, ParkedOrders: 9}
	m.WatchViews(func() ports.ViewsStatus { return status })
	wantValue(t, m, 100, `hexorders_view_applied_total`)
	// One that has not begun has looked for nothing.
	wantAbsent(t, m, `hexorders_view_parked_orders`, `hexorders_view_parked_messages`)
	status = ports.ViewsStatus{
		Generation: 2, ParkedOrders: 1, ParkedMessages: 3,
		Applied: 101, Duplicates: 5, Buffered: 4, Foreign: 6, Forked: 8, Conflicts: 2, Failed: 7,
	}
	for name, want := range map[string]float64{
		"applied_total": 101, "duplicates_total": 5, "buffered_total": 4, "foreign_total": 6, "forked_total": 8,
		"conflicts_total": 2, "errors_total": 7,
		"parked_orders": 1, "parked_messages": 3,
	} {
		wantValue(t, m, want, `hexorders_view_`+name)
	}
}

func TestTheAgeOfTheViewsIsTheStoresToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(nil)
		var err error
		asOf, incomplete := time.Now(), ports.GapReason("")
		asked := 0
		m.WatchFreshness(func(_ context.Context, order string) (ports.Freshness, error) {
			asked++
			if order != "" {
				t.Errorf("asked for order %q", order)
			}
			return ports.Freshness{AsOf: asOf, Incomplete: incomplete}, err
		})
		time.Sleep(time.Minute)
		wantValue(t, m, 60, `hexorders_view_age_seconds`)
		wantValue(t, m, 60, `hexorders_view_age_seconds`)
		if asked != 1 {
			t.Errorf("2 scrapes at the same moment asked the store %d times, want once", asked)
		}
		time.Sleep(unreadEvery)
		wantValue(t, m, 65, `hexorders_view_age_seconds`)
		asOf = time.Now().Add(unreadEvery + 5*time.Second)
		time.Sleep(unreadEvery)
		wantValue(t, m, 0, `hexorders_view_age_seconds`) // by a clock that runs ahead
		asOf = time.Now().Add(time.Hour)                 // by one that was set back since
		time.Sleep(unreadEvery)
		wantAbsent(t, m, `hexorders_view_age_seconds`)
		asOf = time.Time{} // no process fills them
		time.Sleep(unreadEvery)
		wantAbsent(t, m, `hexorders_view_age_seconds`)
		wantValue(t, m, 0, `hexorders_view_incomplete{reason="another-topic"}`)
		incomplete = ports.GapOtherLog
		time.Sleep(unreadEvery)
		wantAbsent(t, m, `hexorders_view_age_seconds`)
		wantValue(t, m, 1, `hexorders_view_incomplete{reason="another-topic"}`)
		wantValue(t, m, 0, `hexorders_view_incomplete{reason="messages-deleted"}`)
		asOf, err = time.Now(), ports.ErrUnavailable
		time.Sleep(unreadEvery)
		wantAbsent(t, m, `hexorders_view_age_seconds`, `hexorders_view_incomplete{reason="another-topic"}`)
	})
}
