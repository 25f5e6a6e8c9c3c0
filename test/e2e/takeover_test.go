package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
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
	rest := l.startAtPace(t, 20*time.Millisecond)
	eventually(t, patience, "the first relay publishes", func() bool { return watch.count() > 100 })
	w.keepsUp(watch) // it is done with what had piled up while Kafka made the topic

	first.kill()
	killed := time.Now()
	repeated := w.sinceCheckpoint()
	afterKill := w.sees(watch, killed)
	second.says(holdsLease, takeOverLimit)

	// Stopped, the holder is alive and knows of nothing: the worst kind of absence.
	third := w.serveAt("third relay", w.newAddr(), "--roles", "relay")
	third.says("another relay holds the lease", takeOverLimit)
	w.keepsUp(watch) // the second relay is done with what had piled up
	second.signal(syscall.SIGSTOP)
	stopped := time.Now()
	// What is under way can come twice more: from the relay that takes over, and from this one when it wakes, out of its
	// client library's queue.
	repeated += 2 * w.sinceCheckpoint()
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

	w.complete()
	for _, p := range []*process{api, second, third} {
		if code := p.stop(); code != 0 {
			t.Errorf("exit code of %s after SIGTERM is %d, want 0", p.name, code)
		}
	}
	// Each incident may repeat what was published since the last checkpoint. The stopped relay must not add the seconds
	// that it slept through, which are four or more: when it wakes up, its lease has run out.
	_, report := w.judge(repeated, l.told())
	t.Logf("taken over %.1f s after SIGKILL, %.1f s after SIGSTOP; %d duplicates; %s",
		afterKill.Seconds(), afterStop.Seconds(), report.Duplicates, l)
}

// keepsUp waits until what is committed is published half a second later, and that is noted.
func (w *world) keepsUp(watch *watch) {
	w.t.Helper()
	eventually(w.t, patience, "the relay keeps up", func() bool { return w.published(watch, time.Now()) < time.Second/2 })
	w.checkpoints(2)
}

// sinceCheckpoint counts the messages that are committed, but not covered by the relay's checkpoint.
func (w *world) sinceCheckpoint() int {
	w.t.Helper()
	outbox, position := w.mongo.Database(w.source.Database).Collection("outbox"), w.position()
	token := position[strings.LastIndex(position, "|")+1:] // stream|1763829382.5|8263...
	inserts := mongo.Pipeline{{{Key: "$match", Value: bson.D{{Key: "operationType", Value: "insert"}}}}}
	stream, err := outbox.Watch(w.t.Context(), inserts,
		options.ChangeStream().SetMaxAwaitTime(time.Millisecond).SetResumeAfter(bson.D{{Key: "_data", Value: token}}))
	if err != nil {
		w.t.Fatalf("the checkpoint is %q: %v", position, err)
	}
	defer func() { _ = stream.Close(w.t.Context()) }()
	all, err := outbox.CountDocuments(w.t.Context(), bson.D{})
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	// No more than there are by now, since clients are at work.
	for deadline := time.Now().Add(2 * time.Second); n < int(all) && time.Now().Before(deadline) && stream.TryNext(w.t.Context()); {
		n++
	}
	if err := stream.Err(); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// sees places a new order and returns how long after an incident it was published.
func (w *world) sees(watch *watch, since time.Time) time.Duration {
	w.t.Helper()
	took := w.published(watch, since)
	if took > takeOverLimit {
		w.t.Errorf("a new order was published %s after the incident, want at most %s", took, takeOverLimit)
	}
	return took
}

func (w *world) published(watch *watch, since time.Time) time.Duration {
	w.t.Helper()
	a, err := w.client().do(w.t.Context(), "POST", "/orders", `{"buyerId":"incident"}`)
	if err != nil || a.status != 201 {
		w.t.Fatalf("POST /orders: answer %s, error %v", a, err)
	}
	o, err := a.order()
	if err != nil {
		w.t.Fatal(err)
	}
	return watch.sees(o.ID+"/1", 3*takeOverLimit).Sub(since)
}
