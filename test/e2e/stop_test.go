package e2e

import (
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func TestAGracefulStopLosesNothingAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	p := w.serve("serve")
	l := &load{orders: 1 << 20, clients: 16, client: w.client()}
	rest := l.startAtPace(t, 2*time.Millisecond)

	const stops = 3
	var slowest time.Duration
	for range stops {
		p.says(holdsLease, takeOverLimit)
		answered := l.answered.Load()
		eventually(t, patience, "clients are at work", func() bool { return l.answered.Load() > answered+500 })
		asked := time.Now()
		p.signal(syscall.SIGTERM)
		seesNotReady(t, p)
		if code := p.wait(10 * time.Second); code != 0 {
			t.Errorf("exit code after SIGTERM is %d, want 0", code)
		}
		slowest = max(slowest, time.Since(asked))
		p = w.serve("serve")
	}
	rest()
	if err := l.wait(); err != nil {
		t.Error(err)
	}
	w.complete()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	w.judge(0, l.told())
	t.Logf("%d stops under load, the slowest took %.1f s; %s", stops, slowest.Seconds(), l)
}

// A relay that is stopped while it works off a backlog has published later messages of some orders and not yet earlier
// ones of others. It must not leave that state behind, for the next start would repeat what came later.
func TestAGracefulStopInTheMiddleOfABacklogRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	api := w.serve("api", "--roles", "api")
	// Baskets as they are: an order's messages travel one after the other, and a stop has time for some, not for dozens
	// (docs/adr/0001).
	const orders, changes = 80, 7
	c := w.client()
	work, ctx := errgroup.WithContext(t.Context())
	for range orders {
		work.Go(func() error {
			path, body := "/orders", `{"buyerId":"9999"}`
			for range 1 + changes {
				a, err := c.do(ctx, "POST", path, body)
				if err != nil || a.status >= 300 {
					return fmt.Errorf("POST %s: answer %s, error %w", path, a, err)
				}
				o, err := a.order()
				if err != nil {
					return err
				}
				path, body = "/orders/"+o.ID+"/items", `{"productId":"1111","amount":1}`
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}

	w.createTopic("1048588") // there is a topic to watch before there is a relay
	watch := w.watch()
	relayAddr := w.newAddr()
	relay := w.serveAt("relay", relayAddr, "--roles", "relay")
	eventually(t, 2*takeOverLimit, "the relay has begun", func() bool { return watch.count() > orders })
	atStop := watch.count()
	if code := relay.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	relay = w.serveAt("relay", relayAddr, "--roles", "relay")
	w.complete()
	for _, p := range []*process{api, relay} {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
	}
	_, report := w.judge(0, nil)
	if want := orders * (1 + changes); report.Committed != want {
		t.Errorf("%d messages are committed, want %d", report.Committed, want)
	}
	t.Logf("stopped when %d of %d messages had been seen", atStop, report.Committed)
}

// seesNotReady asks for readiness as a load balancer does, until the process no longer answers: it must have said in
// time that no more requests should come.
func seesNotReady(t *testing.T, p *process) {
	t.Helper()
	var last int
	eventually(t, patience, "the process is not ready any more", func() bool {
		status := p.readiness()
		if status != 0 {
			last = status
		}
		return last == http.StatusServiceUnavailable || status == 0
	})
	if last != http.StatusServiceUnavailable {
		t.Errorf("the last readiness before the process stopped answering was %d, want 503", last)
	}
}

func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	p := w.serve("serve")
	c := w.client()
	// A request whose body never arrives is one that a graceful stop waits for.
	hanging, err := newHangingRequest(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	if a, err := c.do(t.Context(), "GET", "/livez", ""); err != nil || a.status != http.StatusOK {
		t.Fatalf("GET /livez: answer %s, error %v", a, err)
	}
	p.signal(syscall.SIGTERM)
	eventually(t, 5*time.Second, "the process stops", func() bool { return p.readiness() != http.StatusOK })
	asked := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(2 * time.Second); code == 0 {
		t.Error("exit code after a second signal is 0, want another: requests were cut off")
	}
	t.Logf("gone %.2f s after the second signal", time.Since(asked).Seconds())
}

// newHangingRequest sends the head of a POST and half of its body.
func newHangingRequest(addr string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(c, "POST /orders HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", addr)
	return c, err
}
