//go:build cgo

package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/ports"
)

// One story, because starting a broker takes seconds: Kafka is away when the service starts, comes, goes while messages
// are under way, and comes back.
func TestKafkaComesAndGoes(t *testing.T) {
	t.Parallel()
	broker := newPrivateBroker(t)
	log, sessions := &journal{}, &journal{}
	p := open(t, Options{Brokers: broker.address, Topic: "steady", Logger: log.logger()})
	told := newOutcomes()
	var published []ports.Message
	publish := func(m ports.Message) {
		published = append(published, m)
		p.Publish(t.Context(), m, told.done(m))
	}

	steady := newSubscriber(t, Options{Brokers: broker.address, Topic: "steady", SessionTimeout: shortest, Logger: sessions.logger()})
	reads := startReader(t, steady, "steady")

	// Away at the start: the messages wait.
	early := make(chan struct{})
	go func() {
		defer close(early)
		for i := range 60 {
			publish(event(fmt.Sprint("early-", i%20), 1+i/20))
		}
	}()
	log.await(t, 1, "level=WARN", "cannot be reached")
	broker.up(t)
	<-early
	told.await(t, len(published))
	log.await(t, 1, "level=INFO", "can be reached again")

	// More publishers, to see later what they do without a broker.
	small := open(t, Options{Brokers: broker.address, Topic: "small", Queue: 10})
	waitForSession(t, small)
	ended := open(t, Options{Brokers: broker.address, Topic: "ended", FlushTimeout: 200 * time.Millisecond})
	waitForSession(t, ended)

	member := startReader(t, steady, "leaves")
	member.await(t, len(published))
	leaves := startReplay(t, steady, nil) // what it does without a broker is also seen later
	leaves.await(t, len(published))

	// It goes while messages are under way: ten at any time, acknowledged or not, until the broker is down.
	down := make(chan struct{})
	room := make(chan struct{}, 10)
	for i := 0; ; i++ {
		if i == 500 {
			go func() {
				defer close(down)
				broker.down(t)
			}()
		}
		m := event(fmt.Sprint("late-", i%20), 1+i/20)
		select {
		case <-down:
		case room <- struct{}{}:
			published = append(published, m)
			p.Publish(t.Context(), m, func(err error) {
				told.done(m)(err)
				<-room
			})
			continue
		}
		break
	}
	if before := len(published); before < 500 {
		t.Fatalf("only %d messages were published before the broker was down", before)
	}
	for i := range 500 {
		publish(event(fmt.Sprint("away-", i%20), 1+i/20))
	}

	t.Run("Publish waits for room in a full queue until its context ends", func(t *testing.T) {
		told := newOutcomes()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for i := range 11 {
			m := event("a", 1+i)
			small.Publish(ctx, m, told.done(m))
		}
		if err := told.await(t, 1)["a/11"]; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("message 11 where 10 have room: %v, want the context's error", err)
		}
	})

	t.Run("Close ends within its time and tells every message", func(t *testing.T) {
		told := newOutcomes()
		for i := range 50 {
			m := event("a", 1+i)
			ended.Publish(t.Context(), m, told.done(m))
		}
		start := time.Now()
		err := ended.Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Close took %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), "50 messages") {
			t.Errorf("Close: %v, want it to say that 50 messages were given up", err)
		}
		if told.count() != 50 {
			t.Errorf("%d of 50 messages were told an outcome before Close returned", told.count())
		}
		for id, err := range told.await(t, 50) {
			if err == nil || errors.Is(err, ports.ErrRefused) {
				t.Errorf("message %s: %v, want an error worth another try", id, err)
			}
		}
	})

	t.Run("a reader does not say that it has everything, and can be stopped", func(t *testing.T) {
		select {
		case <-leaves.idles: // it said so while the broker was there
		default:
		}
		select {
		case <-leaves.idles:
			t.Error("a reader reports the end of the topic, although no broker is up")
		case <-time.After(2 * idleAfter):
		}
		leaves.stop(t)
	})

	t.Run("a member whose session is over can be stopped", func(t *testing.T) {
		sessions.await(t, 2, "session timed out") // both groups'
		start := time.Now()
		member.stop(t)
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("Subscribe took %v to end", took)
		}
	})

	// Back again: everything that was not given up arrives, each message once and in its order.
	log.await(t, 2, "level=WARN", "cannot be reached")
	broker.up(t)
	for id, err := range told.await(t, len(published)) {
		if err != nil {
			t.Errorf("message %s: %v", id, err)
		}
	}
	c := connect(t, broker.address)
	got := ids(c.messages(t, "steady", len(published)))
	want := ids(published)
	if len(got) != len(want) {
		t.Errorf("the topic holds %d messages, want %d", len(got), len(want))
	}
	for _, orderID := range append(orders("early-"), append(orders("late-"), orders("away-")...)...) {
		other := func(id string) bool { return !strings.HasPrefix(id, orderID+"/") }
		got, want := slices.DeleteFunc(slices.Clone(got), other), slices.DeleteFunc(slices.Clone(want), other)
		if !slices.Equal(got, want) {
			t.Errorf("of order %s the topic has\n%v\nwant\n%v", orderID, got, want)
		}
	}
	if got := len(c.messages(t, "small", 10)); got != 10 {
		t.Errorf("the full queue held 10 messages and left %d in the topic", got)
	}

	reads.awaitAll(t, want)
	reads.stop(t)

	log.await(t, 2, "level=INFO", "can be reached again")
	if lines := log.with("reached"); len(lines) != 4 {
		t.Errorf("the log tells of two outages in %d lines, want 4:\n%s", len(lines), strings.Join(lines, ""))
	}
}

// Kafka shuts down at the worst moment: some partitions have just moved to a new member, which is about to read them. What
// a broker says while it shuts down has made both members deaf before (see faults_test.go), so the exact moment varies.
func TestBothMembersReadOnAfterAnOutageInTheMiddleOfARebalance(t *testing.T) {
	t.Parallel()
	const orders = 60
	broker := newPrivateBroker(t)
	broker.up(t)
	// The sessions outlive the outage: members that lost theirs would begin anew, which mends everything.
	options := Options{Brokers: broker.address, Topic: "moves", Partitions: 6, SessionTimeout: time.Minute}
	p := open(t, options)
	publish(t, p, manyEvents(orders, 1, 1)...)

	a := newAccount()
	type member struct {
		s    *Subscriber
		news chan struct{}
	}
	members := [2]member{}
	start := func(n int, resume ports.Resume) {
		members[n] = member{newSubscriber(t, options), make(chan struct{}, 1)}
		startMember(t, members[n].s, resume, func(_ context.Context, b ports.Batch) error {
			a.addBatch(b)
			if len(b.Messages) > 0 {
				signal(members[n].news)
			}
			return nil
		})
	}
	start(0, nil)
	a.await(t, orders)

	moment := time.Duration(rand.IntN(400)) * time.Millisecond
	down := make(chan struct{})
	goDown := sync.OnceFunc(func() {
		go func() {
			defer close(down)
			broker.down(t)
		}()
		time.Sleep(moment)
	})
	start(1, func(context.Context, []string) ([]ports.Place, error) { // partitions are assigned to it
		goDown()
		return nil, nil
	})
	<-down
	broker.up(t)
	began := time.Now()
	for n := range members {
		select {
		case <-members[n].news:
		default:
		}
	}
	version := 1
	for n := range members {
		for deadline := time.Now().Add(2 * memberPatience); ; {
			version++
			publish(t, p, manyEvents(orders, version, version)...)
			a.await(t, orders*version)
			select {
			case <-members[n].news:
			default:
				if time.Now().After(deadline) {
					t.Fatalf("member %d got nothing after the outage", n)
				}
				continue
			}
			break
		}
	}
	t.Logf("Kafka began to go down %s before the partitions were read; both members read on %s after its return; consumers "+
		"that were replaced: %d, %d", moment, time.Since(began).Round(time.Millisecond), members[0].s.Stalls(), members[1].s.Stalls())
	a.wantAll(t, orders, version)
}

func orders(prefix string) (ids []string) {
	for i := range 20 {
		ids = append(ids, fmt.Sprint(prefix, i))
	}
	return ids
}

// privateBroker is a broker of the test's own, which it may stop.
type privateBroker struct {
	address string
	env     []string
}

func newPrivateBroker(t testing.TB) *privateBroker {
	t.Helper()
	downloads, err := filepath.Abs("../../.services/dist")
	if err != nil {
		t.Fatal(err)
	}
	b := &privateBroker{}
	dir := t.TempDir()
	// A server that the environment names is not one to stop.
	b.env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "HEXORDERS_") })
	b.env = append(b.env, "SERVICES_NATIVE=1", "SERVICES_DIR="+dir, "SERVICES_KAFKA_PORT=free",
		"SERVICES_KAFKA_HEAP=256m", "SERVICES_DIST="+cmp.Or(os.Getenv("SERVICES_DIST"), downloads))
	t.Cleanup(func() { b.services(t, "reset") })
	b.services(t, "env") // chooses the port, on which nothing listens yet
	port, err := os.ReadFile(filepath.Join(dir, "kafka.port"))
	if err != nil {
		t.Fatal(err)
	}
	b.address = "127.0.0.1:" + strings.TrimSpace(string(port))
	return b
}

func (b *privateBroker) up(t testing.TB) {
	t.Helper()
	if !b.services(t, "up") {
		t.FailNow() // what follows would wait for it in vain
	}
}

func (b *privateBroker) down(t testing.TB) { b.services(t, "down") }

func (b *privateBroker) services(t testing.TB, command string) bool {
	t.Helper()
	// Not the test's context: the last of these runs when that has ended.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	services := exec.CommandContext(ctx, "../../scripts/services", command, "kafka")
	services.Env = b.env
	output, err := services.CombinedOutput()
	if err != nil {
		t.Errorf("scripts/services %s kafka: %v\n%s", command, err, output)
	}
	return err == nil
}
