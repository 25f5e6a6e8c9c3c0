package prometheus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A store that is counted keeps every promise of the one that it wraps.
func TestOrderStore(t *testing.T) {
	porttest.Store(t, func(testing.TB) porttest.Storage {
		store := memory.NewStore()
		brittle := &brittleStore{OrderStore: store}
		return porttest.Storage{
			Orders: New(nil).Orders(brittle), Outbox: memory.NewOutbox(store), Encode: eventjson.Messages,
			FailCommits: func(testing.TB) func() {
				brittle.broken.Store(true)
				return func() { brittle.broken.Store(false) }
			},
		}
	}, "OrderStore")
}

type brittleStore struct {
	ports.OrderStore
	broken atomic.Bool
}

func (s *brittleStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if s.broken.Load() {
		return errors.New("the disk is full")
	}
	return s.OrderStore.Save(ctx, o, key)
}

func TestEverySaveIsCountedByItsResult(t *testing.T) {
	for err, want := range map[error]string{
		nil: "committed",
		fmt.Errorf("save order a: %w", ports.ErrConflict):                          "conflict",
		fmt.Errorf("save order a: %w", ports.ErrDuplicateRequest):                  "duplicate",
		fmt.Errorf("save order a: %w", ports.ErrUnavailable):                       "unavailable",
		fmt.Errorf("save order a: %w: %w", ports.ErrUnavailable, context.Canceled): "unavailable",
		fmt.Errorf("save order a: %w", context.Canceled):                           "interrupted",
		fmt.Errorf("save order a: %w", context.DeadlineExceeded):                   "interrupted",
		errors.New("save order a: a malformed document"):                           "failed",
	} {
		m := New(nil)
		if got := m.Orders(answering{err: err}).Save(t.Context(), nil, ports.IdempotencyKey{}); !errors.Is(got, err) {
			t.Errorf("Save: got error %v, want %v", got, err)
		}
		for _, result := range []string{"committed", "conflict", "duplicate", "unavailable", "interrupted", "failed"} {
			count := 0.0
			if result == want {
				count = 1
			}
			wantValue(t, m, count, `hexorders_saves_total{result="`+result+`"}`)
		}
	}
}

// answering is a store that answers a save with an error.
type answering struct {
	ports.OrderStore
	err error
}

func (s answering) Save(context.Context, *order.Order, ports.IdempotencyKey) error { return s.err }

func TestRequestsAreCountedByRouteAndStatus(t *testing.T) {
	m := New(nil)
	get, other := m.Requests("GET", "/orders/:id"), m.Requests("other", "other")
	get(200, 30*time.Millisecond)
	get(200, 10*time.Millisecond)
	get(404, time.Millisecond)
	other(404, time.Millisecond)
	other(0, time.Millisecond)
	other(12345, time.Millisecond)
	wantValue(t, m, 2, `hexorders_http_request_duration_seconds_count{method="GET",route="/orders/:id",status="200"}`)
	wantValue(t, m, .04, `hexorders_http_request_duration_seconds_sum{method="GET",route="/orders/:id",status="200"}`)
	wantValue(t, m, 1, `hexorders_http_request_duration_seconds_bucket{method="GET",route="/orders/:id",status="200",le="0.025"}`)
	wantValue(t, m, 1, `hexorders_http_request_duration_seconds_count{method="GET",route="/orders/:id",status="404"}`)
	wantValue(t, m, 1, `hexorders_http_request_duration_seconds_count{method="other",route="other",status="404"}`)
	wantValue(t, m, 2, `hexorders_http_request_duration_seconds_count{method="other",route="other",status="invalid"}`)
}

func TestCommitsAreCountedByTheirSize(t *testing.T) {
	m := New(nil)
	for _, saves := range []int{1, 1, 40} {
		m.Committed(saves)
	}
	wantValue(t, m, 3, `hexorders_commit_saves_count`)
	wantValue(t, m, 42, `hexorders_commit_saves_sum`)
	wantValue(t, m, 2, `hexorders_commit_saves_bucket{le="32.0"}`, `hexorders_commit_saves_bucket{le="32"}`)
}

func TestAProcessThatIsNotReadySaysSo(t *testing.T) {
	m := New(nil)
	var err error
	m.WatchReady(func(context.Context) error { return err })
	wantValue(t, m, 1, "hexorders_ready")
	err = ports.ErrUnavailable
	wantValue(t, m, 0, "hexorders_ready")
}

// A store that hangs must not take the other metrics with it: Prometheus gives up a scrape after 10 seconds.
func TestAStoreThatHangsIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(nil)
		m.WatchReady(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		wantValue(t, m, 0, "hexorders_ready")
	})
}

func TestARelayThatLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(nil)
		minuteAgo, now := time.Now(), time.Now().Add(time.Minute)
		time.Sleep(time.Minute)
		status := ports.RelayStatus{
			Leading: true, InFlight: 3, OldestInFlightAt: now, ParkedOrders: 2, ParkedMessages: 7,
			Published: 100, Redelivered: 5, Failed: 4, Refused: 1,
		}
		var asked int
		unread, oldest, err := 20, minuteAgo, error(nil)
		m.Watch(Relay{
			Status: func() ports.RelayStatus { return status },
			Unread: func(context.Context) (int, time.Time, error) { asked++; return unread, oldest, err },
		})
		for name, want := range map[string]float64{
			"lease_held": 1, "lag_messages": 23, "lag_seconds": 60, "parked_orders": 2, "parked_messages": 7,
			"published_total": 100, "redelivered_total": 5, "publish_errors_total": 4, "refused_total": 1,
		} {
			wantValue(t, m, want, "hexorders_relay_"+name)
		}
		if asked != 1 {
			t.Errorf("9 scrapes at the same moment asked the store %d times, want once", asked)
		}
		unread, oldest = 0, time.Time{}
		time.Sleep(unreadEvery)
		wantValue(t, m, 3, "hexorders_relay_lag_messages")
		wantValue(t, m, 5, "hexorders_relay_lag_seconds")

		status.InFlight, status.OldestInFlightAt = 0, time.Time{}
		wantValue(t, m, 0, "hexorders_relay_lag_seconds")

		status.InFlight, status.OldestInFlightAt = 1, time.Now().Add(time.Hour) // by a clock that runs ahead
		wantValue(t, m, 0, "hexorders_relay_lag_seconds")

		err = ports.ErrUnavailable
		time.Sleep(unreadEvery)
		wantAbsent(t, m, "hexorders_relay_lag_messages", "hexorders_relay_lag_seconds")
		wantValue(t, m, 1, "hexorders_relay_lease_held")
	})
}

// What it knew when it held the lease must not stand beside what the other relay says now.
func TestARelayThatStandsBySaysNothingOfWhatItDoesNotKnow(t *testing.T) {
	m := New(nil)
	m.Watch(Relay{
		Status: func() ports.RelayStatus { return ports.RelayStatus{InFlight: 3, ParkedOrders: 2, Published: 100} },
		Unread: func(context.Context) (int, time.Time, error) {
			t.Error("the store is asked by a relay that stands by")
			return 0, time.Time{}, nil
		},
	})
	wantValue(t, m, 0, "hexorders_relay_lease_held")
	wantValue(t, m, 100, "hexorders_relay_published_total")
	wantAbsent(t, m, "hexorders_relay_lag_messages", "hexorders_relay_lag_seconds", "hexorders_relay_parked_orders",
		"hexorders_relay_parked_messages")
}

func TestTheMetricsKeepTheConventions(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, complete()))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint finds %v, error %v", problems, err)
	}
	// And promlint would have found something.
	problems, err = promlint.New(strings.NewReader("# TYPE hexorders_time_milliseconds counter\nhexorders_time_milliseconds 1\n")).Lint()
	if err != nil || len(problems) == 0 {
		t.Errorf("promlint finds nothing wrong with what is wrong, error %v", err)
	}
}

// complete has every metric there is.
func complete() *Metrics {
	m := New(slog.New(slog.DiscardHandler))
	m.Requests("GET", "/livez")(200, time.Millisecond)
	m.Shed("overloaded")
	m.Orders(nil)
	m.WatchReady(func(context.Context) error { return nil })
	m.Watch(Relay{
		Status: func() ports.RelayStatus { return ports.RelayStatus{Leading: true} },
		Unread: func(context.Context) (int, time.Time, error) { return 0, time.Time{}, nil },
	})
	m.WatchViews(func() ports.ViewsStatus { return ports.ViewsStatus{Generation: 1} })
	m.WatchStalls(func() int64 { return 1 })
	m.WatchFreshness(func(context.Context, string) (ports.Freshness, error) { return ports.Freshness{AsOf: time.Now()}, nil })
	return m
}

// families are the names of the metrics that are ours.
func families(t *testing.T, m *Metrics) (names []string) {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if strings.HasPrefix(name, "hexorders_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("the scrape is answered %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// wantValue looks for a sample, by one of its spellings.
func wantValue(t *testing.T, m *Metrics, want float64, samples ...string) {
	t.Helper()
	text := scrape(t, m)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if slices.Contains(samples, name) {
			if value != fmt.Sprint(want) {
				t.Errorf("%s is %s, want %v", name, value, want)
			}
			return
		}
	}
	t.Errorf("there is no %s in\n%s", samples[0], text)
}

func wantAbsent(t *testing.T, m *Metrics, names ...string) {
	t.Helper()
	for _, name := range families(t, m) {
		if slices.Contains(names, name) {
			t.Errorf("%s is there, want it left out", name)
		}
	}
}
