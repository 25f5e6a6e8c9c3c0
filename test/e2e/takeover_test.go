package e2e

import (
	"syscall"
	"testing"
	"time"
)

// takeOverLimit is what an operator is promised.
const takeOverLimit = 10 * time.Second

func TestASecondRelayTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	api := w.serve("api", "--roles", "api")
	first := w.serveAt("first relay", w.newAddr(), "--roles", "relay")
	first.says(holdsLease, takeOverLimit)
	second := w.serveAt("second relay", w.newAddr(), "--roles", "relay")
	watch := w.watch()

	// Clients are at work all the time, so that a relay that loses the lease has messages under way.
	l := &load{orders: 1 << 20, clients: 8, client: w.client()}
	began := time.Now()
	rest := l.startAtPace(t, 5*time.Millisecond)
	eventually(t, takeOverLimit, "the first relay publishes", func() bool { return watch.count() > 100 })
	w.checkpoints(2) // it is done with what had piled up while Kafka made the topic, and has noted it

	first.kill()
	killed := time.Now()
	afterKill := w.sees(watch, killed)
	second.says(holdsLease, takeOverLimit)

	// Stopped, the holder is alive and knows of nothing: the worst kind of absence.
	third := w.serveAt("third relay", w.newAddr(), "--roles", "relay")
	third.says("another relay holds the lease", takeOverLimit)
	w.sees(watch, time.Now())
	w.checkpoints(2) // the second relay is done with what had piled up and has noted it
	second.signal(syscall.SIGSTOP)
	stopped := time.Now()
	afterStop := w.sees(watch, stopped)
	third.says(holdsLease, takeOverLimit)

	published := watch.count()
	second.signal(syscall.SIGCONT)
	second.says("relay lost the lease", takeOverLimit)
	eventually(t, takeOverLimit, "the third relay goes on", func() bool { return watch.count() > published+100 })
	rest()
	if err := l.wait(); err != nil {
		t.Error(err)
	}
	worked := time.Since(began)

	w.complete(30 * time.Second)
	for _, p := range []*process{api, second, third} {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
	}
	// Each incident may repeat what was published since the last checkpoint, a tenth of a second ago or, on a busy
	// machine, somewhat more. The stopped relay must not add the seconds that it slept through, which are four or more:
	// when it wakes up, its lease has run out.
	aSecond := float64(l.answered.Load()) / worked.Seconds()
	_, report := w.judge(int(3*aSecond), l.told())
	t.Logf("taken over %.1f s after SIGKILL, %.1f s after SIGSTOP; %d duplicates; %s",
		afterKill.Seconds(), afterStop.Seconds(), report.Duplicates, l)
}

// sees places a new order and returns how long after an incident it was published.
func (w *world) sees(watch *watch, since time.Time) time.Duration {
	w.t.Helper()
	a, err := w.client().do(w.t.Context(), "POST", "/orders", `{"buyerId":"incident"}`)
	if err != nil || a.status != 201 {
		w.t.Fatalf("POST /orders: answer %s, error %v", a, err)
	}
	o, err := a.order()
	if err != nil {
		w.t.Fatal(err)
	}
	took := watch.sees(o.ID+"/1", 3*takeOverLimit).Sub(since)
	if took > takeOverLimit {
		w.t.Errorf("a new order was published %s after the incident, want at most %s", took, takeOverLimit)
	}
	return took
}
