package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestOrdersAreTakenWhileKafkaIsAway(t *testing.T) {
	own := newPrivate(t)
	own.do(t, "up", "kafka")
	w := newWorld(t, servers{shared(t).mongoURI, own.brokers})
	p := w.serve("api and relay", "--roles", "api,relay")
	p.says(holdsLease, takeOverLimit)
	feeders := []*process{w.serveAt("one feeder", w.newAddr(), "--roles", "views")}
	feeders[0].says(hasShare, patience)

	// 125 commands a second for a minute are more messages than the relay holds in memory.
	l := &load{orders: 1 << 20, clients: 8, client: w.client(), strict: true}
	rest := l.startAtPace(t, 8*time.Millisecond)
	eventually(t, takeOverLimit, "clients are at work", func() bool { return l.answered.Load() > 200 })

	// Kafka goes away when partitions have just moved from one feeder to the other.
	feeders = append(feeders, w.serveAt("other feeder", w.newAddr(), "--roles", "views"))
	feeders[1].says(hasShare, patience)
	own.do(t, "down", "kafka")
	before, away := l.created.Load(), time.Now()
	var worked []time.Duration
	for _, f := range feeders {
		worked = append(worked, f.processorTime())
	}
	late := time.NewTimer(outage)
	// Only now, so that the minute begins before the other tests do and not after some of them: it is the longest part.
	t.Parallel()
	<-late.C // the subject of the test, not a way to wait for something else
	during := l.created.Load() - before
	if status := p.readiness(); status != http.StatusOK {
		t.Errorf("readiness is %d while Kafka is away, want 200: orders are still taken", status)
	}
	for i, f := range feeders {
		if worked[i] = f.processorTime() - worked[i]; worked[i] > outage/10 {
			t.Errorf("%s was at work for %s of %s, though there was nothing to read", f.name, worked[i], outage)
		}
	}
	own.do(t, "up", "kafka")
	back := time.Now()
	rest()
	if err := l.wait(); err != nil {
		t.Errorf("a command did not succeed while Kafka was away: %v", err)
	}
	if least := int64(outage.Seconds() * 5); during < least {
		t.Errorf("%d orders were created while Kafka was away, want at least %d", during, least)
	}

	w.complete()
	caughtUp := time.Since(back)
	w.viewsAre(p)
	viewsCaughtUp := time.Since(back)
	memory := peakMemory(p)
	for _, p := range append(feeders, p) {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
	}
	// What the broker had stored without having answered when it went may be sent again: a second's worth at most. On a
	// machine so busy that the relay lost its lease over the backlog, also what it had sent since its checkpoint.
	most := 125
	if p.output.contains("relay lost the lease") {
		most += 4096
	}
	_, report := w.judge(most, l.told())
	t.Logf("Kafka was away for %s, POST /orders answered 201 %d times meanwhile, complete %.1f s after its return, the views after %.1f s; "+
		"%d duplicates; peak memory %d MiB; processor time of those who only feed views %s; %s", back.Sub(away).Round(time.Second), during,
		caughtUp.Seconds(), viewsCaughtUp.Seconds(), report.Duplicates, memory, worked, l)
}

// Neither a start, nor a stop, nor a kill without Kafka loses anything: what was read from the outbox and never
// acknowledged is published once both are back.
func TestTheProcessStartsStopsAndDiesWhileKafkaIsAway(t *testing.T) {
	t.Parallel()
	own := newPrivate(t)
	w := newWorld(t, servers{shared(t).mongoURI, own.brokers})
	started := time.Now()
	p := w.serve("serve")
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("ready after %s without Kafka, want at most 10 s", took)
	}
	p.says("Kafka cannot be reached", takeOverLimit)
	p.says(own.brokers, takeOverLimit)
	const orders = 100
	place := func() *load {
		l := &load{orders: orders, clients: 4, client: w.client(), strict: true}
		l.start(t.Context())
		if err := l.wait(); err != nil {
			t.Fatalf("a command did not succeed without Kafka: %v", err)
		}
		return l
	}
	first := place()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM without Kafka is %d, want 0", code)
	}
	p = w.serve("serve")
	own.do(t, "up", "kafka")
	back := time.Now()
	w.complete()
	caughtUp := time.Since(back)

	own.do(t, "down", "kafka")
	second := place()
	p.kill()
	p = w.serve("serve")
	own.do(t, "up", "kafka")
	w.complete()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	told := second.told()
	maps.Copy(told, first.told())
	_, report := w.judge(0, told) // at the kill there was nothing that Kafka had and no checkpoint
	if want := 2 * orders * commands; report.Committed != want {
		t.Errorf("%d messages are committed, want %d", report.Committed, want)
	}
	t.Logf("complete %.1f s after Kafka was there; %s", caughtUp.Seconds(), first)
}

func TestTheServiceRecoversFromALostMongoDB(t *testing.T) {
	t.Parallel()
	own := newPrivate(t)
	own.do(t, "up", "mongodb")
	w := newWorld(t, servers{own.mongoURI, shared(t).brokers})
	p := w.serve("serve")
	p.says(holdsLease, takeOverLimit)
	l := &load{orders: 1 << 20, clients: 8, client: w.client()}
	rest := l.startAtPace(t, 5*time.Millisecond)
	eventually(t, takeOverLimit, "clients are at work", func() bool { return l.answered.Load() > 300 })

	own.do(t, "down", "mongodb")
	sent := time.Now()
	a, err := w.client().do(t.Context(), "POST", "/orders", `{"buyerId":"9999"}`)
	refusedAfter := time.Since(sent)
	if err != nil {
		t.Fatalf("POST /orders without MongoDB: %v, want an answer", err)
	}
	if a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"code":"unavailable"`) {
		t.Errorf("POST /orders without MongoDB: answer %s, want 503 with code unavailable", a)
	}
	if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Errorf("Retry-After is %q, want a number of seconds", a.header.Get("Retry-After"))
	}
	if status := p.readiness(); status != http.StatusServiceUnavailable {
		t.Errorf("readiness without MongoDB is %d, want 503", status)
	}

	own.do(t, "up", "mongodb")
	back := time.Now()
	eventually(t, patience, "the service is ready again, by itself", func() bool { return p.readiness() == http.StatusOK })
	readyAfter := time.Since(back)
	answered := l.answered.Load()
	eventually(t, patience, "clients are at work again", func() bool { return l.answered.Load() > answered+300 })
	rest()
	if err := l.wait(); err != nil {
		t.Error(err)
	}

	w.complete()
	w.viewsAre(p)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code after SIGTERM is %d, want 0", code)
	}
	_, report := w.judge(400, l.told()) // two seconds' worth of messages, published and not in a checkpoint
	t.Logf("503 after %.1f s, ready %.1f s after MongoDB was back, %d duplicates; %s",
		refusedAfter.Seconds(), readyAfter.Seconds(), report.Duplicates, l)
}

// processorTime is what the process has used so far.
func (p *process) processorTime() time.Duration {
	p.t.Helper()
	return time.Duration(p.scrape().value("process_cpu_seconds_total") * float64(time.Second))
}

// peakMemory is the most that the process had in memory, in MiB, where the kernel tells while it runs (Linux), else 0.
func peakMemory(p *process) (mib int) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(after, &mib)
	return mib >> 10
}
