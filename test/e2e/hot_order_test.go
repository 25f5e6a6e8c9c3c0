package e2e

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	hotClients = 50
	hotEach    = 10
)

// hotAnswer is one command on the hot order: its answer and how long the client waited for it.
type hotAnswer struct {
	client int
	answer answer
	took   time.Duration
}

// Fifty clients add items to one order in one process. None is told of a conflict, and the queue is fair: the client that
// waited longest in all waited little more than the others.
func TestClientsOfOneHotOrderWaitForEachOther(t *testing.T) {
	w := newWorld(t, shared(t))
	p := w.serve("api", "--roles", "api")
	id, answers := w.addToOneOrder(t, w.client())
	took := make([]time.Duration, hotClients)
	for _, a := range answers {
		if a.answer.status != http.StatusOK {
			t.Fatalf("a client got %s, want 200", a.answer)
		}
		took[a.client] += a.took
	}
	slices.Sort(took)
	if median, longest := took[hotClients/2], took[hotClients-1]; longest > 3*median {
		t.Errorf("a client waited %s in all, the median is %s: want at most 3 times as much", longest, median)
	} else {
		t.Logf("longest %s, median %s, shortest %s", longest, median, took[0])
	}
	w.holds(t, id, hotClients*hotEach)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
}

// Two processes do not wait for each other: a command may lose its race there. Then its client is told so, and what was
// answered with 200 is in the order, once.
func TestTwoProcessesLoseNothingOnOneHotOrder(t *testing.T) {
	w := newWorld(t, shared(t))
	w.serve("first", "--roles", "api")
	other := w.newAddr()
	w.serveAt("second", other, "--roles", "api")
	id, answers := w.addToOneOrder(t, w.client(), newClient(other))
	versions := map[int]bool{}
	for _, a := range answers {
		switch a.answer.status {
		case http.StatusOK:
			o, err := a.answer.order()
			if err != nil {
				t.Fatal(err)
			}
			if versions[o.Version] {
				t.Errorf("two commands were answered with version %d", o.Version)
			}
			versions[o.Version] = true
		case http.StatusConflict:
			if a.answer.code() != "version-conflict" {
				t.Errorf("a client got %s, want the code version-conflict", a.answer)
			}
		default:
			t.Errorf("a client got %s, want 200 or 409", a.answer)
		}
	}
	t.Logf("%d of %d commands were carried out, the others lost their race", len(versions), len(answers))
	if len(versions) == 0 {
		t.Error("no command was carried out")
	}
	w.holds(t, id, len(versions))
	stale, err := w.client().do(t.Context(), "POST", "/orders/"+id+"/pay", "", "If-Match", `"1"`)
	if err != nil || stale.status != http.StatusPreconditionFailed {
		t.Errorf("a command for an old version: %s, error %v, want 412", stale, err)
	}
}

// addToOneOrder lets the clients add one piece at a time to a new order, as fast as they are answered.
func (w *world) addToOneOrder(t *testing.T, services ...*client) (id string, answers []hotAnswer) {
	t.Helper()
	created, err := services[0].do(t.Context(), "POST", "/orders", `{"buyerId":"9999"}`)
	if err != nil || created.status != http.StatusCreated {
		t.Fatalf("create: %s, error %v", created, err)
	}
	o, err := created.order()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var running sync.WaitGroup
	for n := range hotClients {
		service := services[n%len(services)]
		running.Go(func() {
			for range hotEach {
				began := time.Now()
				a, err := service.do(t.Context(), "POST", "/orders/"+o.ID+"/items", `{"productId":"1111","amount":1}`)
				if err != nil {
					t.Errorf("add an item: %v", err)
					return
				}
				mu.Lock()
				answers = append(answers, hotAnswer{n, a, time.Since(began)})
				mu.Unlock()
			}
		})
	}
	running.Wait()
	return o.ID, answers
}

// holds compares the order with what its clients were told.
func (w *world) holds(t *testing.T, id string, pieces int) {
	t.Helper()
	got, err := w.client().do(t.Context(), "GET", "/orders/"+id, "")
	if err != nil {
		t.Fatal(err)
	}
	o, err := got.order()
	if err != nil {
		t.Fatal(err)
	}
	held := "nothing"
	if len(o.Items) == 1 {
		held = strconv.Itoa(o.Items[0].Amount)
	}
	if held != strconv.Itoa(pieces) || o.Version != 1+pieces {
		t.Errorf("the order holds %s pieces at version %d, want %d at version %d", held, o.Version, pieces, 1+pieces)
	}
}
