package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestEventsTailOfTheEmbeddedBroker(t *testing.T) {
	t.Parallel()
	d := newEmbedded(t)
	testEventsTail(t, d.env, func() { d.serve("serve") })
}

// The store is where two processes meet: the relay of one appends, and the other sees it.
func TestEventsTailOfTheEmbeddedBrokerInMongoDB(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	w.env["HEXORDERS_BROKER"] = "inproc"
	testEventsTail(t, w.env, func() { w.serve("serve") })
}

func TestEventsTailOfKafka(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shared(t))
	// It is there before the topic, and so misses nothing, though it begins now.
	early := launch(t, "early tail", w.env, "events", "tail")
	early.says("waiting: ", patience)
	testEventsTail(t, w.env, func() { w.serve("serve") }, early)
}

// testEventsTail starts the service; early are tails that were there before.
func testEventsTail(t *testing.T, env environment, serve func(), early ...*process) {
	serve()
	fromStart := launch(t, "tail --from start", env, "events", "tail", "--from", "start") // serve creates the database
	c := newClient(env["HEXORDERS_HTTP_ADDR"])
	does := func(path, body string, want int) *document {
		t.Helper()
		a, err := c.do(t.Context(), http.MethodPost, path, body)
		if err != nil || a.status != want {
			t.Fatalf("POST %s: answer %s, error %v, want %d", path, a, err, want)
		}
		o, err := a.order()
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	create := func() string {
		t.Helper()
		return does("/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`, http.StatusCreated).ID
	}

	first := create()
	does("/orders/"+first+"/items", `{"productId":"2222","amount":8}`, http.StatusOK)
	// What a client says must not become a line of its own on an operator's terminal.
	does("/orders/"+first+"/cancel", `{"reason":"changed\n\tmy mind"}`, http.StatusOK)
	shows(t, fromStart, first, 3)
	lines := tailed(fromStart)
	want := []string{"  1  OrderCreated        buyer 9999  3 × 1111", "  2  OrderItemAdded      + 8 × 2222",
		"  3  OrderCancelled      changed<U+000A><U+0009>my mind"}
	clock := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  ` + first + `  `)
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		if rest := clock.ReplaceAllString(line, ""); rest != want[i] {
			t.Errorf("line %d is\n%s\nwant the time, the order and\n%s", i+1, line, want[i])
		}
	}

	// The one that begins now has missed those. Where it begins is known once it prints something; from there on it
	// misses nothing.
	now := launch(t, "tail now", env, "events", "tail")
	var later []string
	eventually(t, patience, "`events tail` prints what is published", func() bool {
		later = append(later, create())
		return len(tailed(now)) > 0
	})
	seenByAll := make([]string, 5)
	for i := range seenByAll {
		seenByAll[i] = create()
	}
	later = append(later, seenByAll...)
	complete := append(early, fromStart)
	for _, tail := range complete { // events of other orders may come later than those that were published after them
		eventually(t, patience, fmt.Sprintf("%s prints %d events", tail.name, 3+len(later)), func() bool {
			return len(tailed(tail)) >= 3+len(later)
		})
	}
	for _, tail := range append(complete, now) {
		for _, id := range seenByAll {
			shows(t, tail, id, 1)
		}
		tail.signal(syscall.SIGINT)
		if code := tail.wait(patience); code != 0 {
			t.Errorf("exit code of %s after SIGINT is %d, want 0", tail.name, code)
		}
	}
	if got := now.output.String(); strings.Contains(got, first) {
		t.Errorf("a tail that begins now prints what was published before:\n%s", got)
	}
	for _, tail := range complete {
		if got := len(tailed(tail)); got != 3+len(later) {
			t.Errorf("%s prints %d lines, want %d", tail.name, got, 3+len(later))
		}
	}

	events := tailJSON(t, env, 3+len(later))
	seen := map[string]cloudEvent{}
	for _, e := range events {
		var data struct {
			OrderID string
			Version json.Number
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		if _, err := time.Parse(time.RFC3339, e.Time); err != nil {
			t.Error(err)
		}
		if e.SpecVersion != "1.0" || e.Source == "" || e.Type == "" || e.DataContentType != "application/json" ||
			e.ID != e.Subject+"/"+e.AggregateVersion.String() || data.OrderID != e.Subject || data.Version != e.AggregateVersion {
			t.Errorf("not a CloudEvent of an order: %+v", e)
		}
		seen[e.ID] = e
	}
	for id, kind := range map[string]string{first + "/1": "OrderCreated", first + "/2": "OrderItemAdded",
		first + "/3": "OrderCancelled", later[0] + "/1": "OrderCreated"} {
		if seen[id].Type != kind {
			t.Errorf("event %s is %q, want %s", id, seen[id].Type, kind)
		}
	}

	counted := launch(t, "tail --count 2", env, "events", "tail", "--from", "start", "--count", "2")
	if code := counted.wait(patience); code != 0 || len(tailed(counted)) != 2 {
		t.Errorf("`events tail --count 2` ends with %d after %d lines, want 0 and 2", code, len(tailed(counted)))
	}

	// `| head -n 2`, with more to print than the pipe can hold.
	l := &load{orders: 100, clients: 8, client: c, strict: true}
	l.start(t.Context())
	if err := l.wait(); err != nil {
		t.Fatal(err)
	}
	tailJSON(t, env, len(events)+100*commands) // all are published
	endsWithItsReader(t, env, 2, "--json")
}

// tailed are the lines that a tail has printed so far, without what it says about itself.
func tailed(p *process) (lines []string) {
	for line := range strings.Lines(p.output.String()) {
		if !strings.HasPrefix(line, "waiting: ") && !strings.HasPrefix(line, `{"time":`) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// shows waits until a tail has printed so many events of an order.
func shows(t *testing.T, tail *process, id string, events int) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("%s prints %d events of order %s", tail.name, events, id), func() bool {
		return strings.Count(tail.output.String(), "  "+id+"  ") >= events
	})
}

// endsWithItsReader reads some lines and leaves; the tail must take that for its end, and for a good one.
func endsWithItsReader(t *testing.T, env environment, lines int, flags ...string) {
	t.Helper()
	c := exec.Command(program, append([]string{"events", "tail", "--from", "start"}, flags...)...)
	var said buffer
	c.Dir, c.Env, c.Stderr, c.SysProcAttr = t.TempDir(), env.list(), &said, dieWithUs()
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = c.Process.Kill() }) // the exit code tells
	defer late.Stop()
	for reader := bufio.NewReader(out); lines > 0; lines-- {
		if _, err := reader.ReadString('\n'); err != nil {
			t.Fatalf("%v: %s", err, &said)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("`events tail %s` without a reader: %v, want exit code 0\n%s", strings.Join(flags, " "), err, &said)
	}
	if text := said.String(); text != "" {
		t.Errorf("`events tail %s` without a reader says %s", strings.Join(flags, " "), text)
	}
}
