package e2e

import (
	"context"
	"testing"
	"time"
)

func TestNothingIsLostWhenTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	p := w.serve("serve")
	k := startKilling(w, 2000*scale, 32, 5*scale)
	for k.more() {
		k.untilMidStage(p)
		p.kill()
		p = w.serve("serve")
	}
	k.finish(p)
	w.viewsAre(w.serve("serve"))
}

// The store that keeps events keeps the same promises. It is smaller, for what follows the outbox is the same.
func TestNothingIsLostOfAStoreOfEventsWhenTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, shared(t), "mongodb-events")
	p := w.serve("serve")
	k := startKilling(w, 400*scale, 32, 2*scale)
	for k.more() {
		k.untilMidStage(p)
		p.kill()
		p = w.serve("serve")
	}
	k.finish(p)
	w.viewsAre(w.serve("serve"))
}

func TestNothingIsLostWhenSeparateProcessesAreKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	relayAddr := w.newAddr()
	startAPI := func() *process { return w.serve("api", "--roles", "api") }
	startRelay := func() *process { return w.serveAt("relay", relayAddr, "--roles", "relay") }
	api, relay := startAPI(), startRelay()
	k := startKilling(w, 500*scale, 32, 4*scale)
	for k.more() {
		k.untilMidStage(relay)
		if k.stage%2 == 1 {
			api.kill()
			api = startAPI()
		} else {
			relay.kill()
			relay = startRelay()
		}
	}
	k.finish(api, relay)
}

// killing is a load that goes forward in stages. In the middle of each, while clients and relay are both at work,
// something is killed; the rest of the stage arrives while the survivors wait for the relay, whose lease first has to
// run out.
type killing struct {
	w     *world
	load  *load
	begin chan struct{}
	kills int
	stage int // from 1 on; the last one ends without a kill
}

func startKilling(w *world, orders, clients, kills int) *killing {
	w.t.Helper()
	k := &killing{w: w, kills: kills, begin: make(chan struct{}, orders*commands)}
	k.load = &load{orders: orders, clients: clients, client: w.client(), begin: k.begin}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Duration(5*scale)*time.Minute)
	w.t.Cleanup(cancel)
	k.load.start(ctx)
	return k
}

func (k *killing) more() bool {
	k.stage++
	return k.stage <= k.kills
}

// quota is how many commands a stage has.
func (k *killing) quota() int { return k.load.orders * commands / (k.kills + 1) }

func (k *killing) release(n int) {
	for range n {
		k.begin <- struct{}{}
	}
}

func (k *killing) untilMidStage(relay *process) {
	k.w.t.Helper()
	relay.says(holdsLease, patience)
	k.release(k.quota())
	middle := int64((k.stage-1)*k.quota() + k.quota()/2)
	eventually(k.w.t, patience, "half of the stage's commands are answered", func() bool {
		return k.load.answered.Load() >= middle
	})
}

func (k *killing) finish(running ...*process) {
	t := k.w.t
	t.Helper()
	k.release(cap(k.begin) - k.kills*k.quota())
	if err := k.load.wait(); err != nil {
		t.Fatal(err)
	}
	k.w.complete()
	for _, p := range running {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
	}
	// A kill repeats what was published since the last checkpoint: a tenth of a second's worth, or on a machine so busy
	// that the relay had only just begun, all that it published in its life, which is a stage. A relay that makes no
	// checkpoints repeats every stage before, again and again: 1 + 2 + 3 + ... of them.
	_, report := k.w.judge(k.kills*k.quota(), k.load.told())
	total := k.load.orders * commands
	if report.Orders < k.load.orders || report.Committed < total {
		t.Errorf("%d orders with %d messages are committed, want at least %d with %d", report.Orders, report.Committed,
			k.load.orders, total)
	}
	t.Logf("%d kills, %d duplicates; %s", k.kills, report.Duplicates, k.load)
}
