//go:build cgo

package kafka

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"hexorders/ports"
)

// What the members of a group do to each other: come, go, die, and take too long.

// memberPatience is how long a test waits for members of a group to find each other and read what there is.
const memberPatience = 2 * time.Minute

// shortest is the shortest session that a broker grants unless it was told otherwise.
const shortest = 6 * time.Second

// account is a view as far as these tests need one: what took effect, and where to go on.
type account struct {
	mu       sync.Mutex
	upTo     map[string]int    // by order
	places   map[string]string // by shard
	messages int
	repeats  int
	wrong    []string
	changed  chan struct{}
}

func newAccount() *account {
	return &account{upTo: map[string]int{}, places: map[string]string{}, changed: make(chan struct{}, 1)}
}

func (a *account) add(orderID string, version int, place ports.Place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch seen := a.upTo[orderID]; {
	case version <= seen:
		a.repeats++
	case version == seen+1:
		a.upTo[orderID] = version
		a.messages++
	default:
		a.wrong = append(a.wrong, fmt.Sprintf("%s/%d came when %d was the last", orderID, version, seen))
	}
	a.places[place.Shard] = place.Next
	signal(a.changed)
}

func (a *account) addBatch(b ports.Batch) {
	for _, d := range b.Messages {
		a.add(d.OrderID, d.Version, d.Place)
	}
}

func (a *account) resume(context.Context, []string) (places []ports.Place, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for shard, next := range a.places {
		places = append(places, ports.Place{Shard: shard, Next: next})
	}
	return places, nil
}

func (a *account) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.messages
}

// await waits until so many different messages took effect.
func (a *account) await(t testing.TB, n int) {
	t.Helper()
	for timeout := time.After(memberPatience); a.count() < n; {
		select {
		case <-a.changed:
		case <-timeout:
			t.Fatalf("%d messages came, want %d", a.count(), n)
		}
	}
}

// wantAll fails unless each order has all its messages, in order.
func (a *account) wantAll(t testing.TB, orders, versions int) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.wrong) > 0 {
		t.Errorf("%d messages came too early: %.300q", len(a.wrong), a.wrong)
	}
	for n := range orders {
		if got := a.upTo[fmt.Sprint("order-", n)]; got != versions {
			t.Errorf("order-%d came as far as version %d, want %d", n, got, versions)
		}
	}
}

// manyEvents are versions from..to of so many orders.
func manyEvents(orders, from, to int) (all []ports.Message) {
	for version := from; version <= to; version++ {
		for n := range orders {
			all = append(all, event(fmt.Sprint("order-", n), version))
		}
	}
	return all
}

func receive(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(memberPatience):
		t.Fatal("the member gets nothing to do")
	}
}

// startMember subscribes until the test ends or stop is called.
func startMember(t testing.TB, s *Subscriber, resume ports.Resume, handle func(context.Context, ports.Batch) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Subscribe(ctx, "members", resume, handle) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Subscribe ended with %v, want the context's error", err)
			}
		case <-time.After(memberPatience):
			t.Error("Subscribe does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestAMemberComesAndAnotherIsKilledInTheMiddleOfALoad(t *testing.T) {
	t.Parallel()
	const orders, versions = 200, 60
	c := sharedCluster(t)
	topic := c.newTopic(t)
	options := Options{Brokers: c.brokers, Topic: topic, Partitions: 6, SessionTimeout: shortest}
	p := open(t, options)
	publish(t, p, manyEvents(orders, 1, versions/3)...)

	a := newAccount()
	killed := startProcess(t, c.brokers, topic, a)
	a.await(t, orders) // it is at work
	log := &journal{}
	options.Logger = log.logger()
	s := newSubscriber(t, options)
	works := make(chan struct{}, 1)
	stop := startMember(t, s, a.resume, func(_ context.Context, b ports.Batch) error {
		a.addBatch(b)
		signal(works)
		return nil
	})
	receive(t, works)
	publish(t, p, manyEvents(orders, versions/3+1, 2*versions/3)...)
	a.await(t, orders*versions/2)
	killed(t)
	publish(t, p, manyEvents(orders, 2*versions/3+1, versions)...)
	a.await(t, orders*versions)
	stop()
	a.wantAll(t, orders, versions)
	// The batch that the killed member was handling, and the batches that it had handled but not reported.
	if a.repeats > 2*ports.MaxBatch {
		t.Errorf("%d messages came again, want no more than was in hand", a.repeats)
	}
	t.Logf("%d of %d messages came again", a.repeats, orders*versions)
}

func TestMembersThatComeAndGoRepeatNothing(t *testing.T) {
	t.Parallel()
	const orders, versions, rounds = 100, 36, 3
	c := sharedCluster(t)
	topic := c.newTopic(t)
	options := Options{Brokers: c.brokers, Topic: topic, Partitions: 4, SessionTimeout: time.Minute} // longer than any pause
	p := open(t, options)
	s := newSubscriber(t, options)
	a := newAccount()
	var stops []func()
	for round := range rounds {
		works := make(chan struct{}, 1)
		// No resume: what one member handled, the next must find in the group's own position.
		stops = append(stops, startMember(t, s, nil, func(_ context.Context, b ports.Batch) error {
			a.addBatch(b)
			signal(works)
			return nil
		}))
		publish(t, p, manyEvents(orders, round*versions/rounds+1, round*versions/rounds+versions/rounds/2)...)
		receive(t, works) // it has its share, and the member before it the rest
		if round > 0 {
			stops[round-1]()
		}
		publish(t, p, manyEvents(orders, round*versions/rounds+versions/rounds/2+1, (round+1)*versions/rounds)...)
		a.await(t, orders*(round+1)*versions/rounds)
	}
	stops[rounds-1]()
	a.wantAll(t, orders, versions)
	if a.repeats > 0 {
		t.Errorf("%d messages came again though every member said goodbye", a.repeats)
	}
}

func TestAHandlerMayTakeLongAndStaysAMember(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	topic := c.newTopic(t)
	log := &journal{}
	options := Options{Brokers: c.brokers, Topic: topic, Partitions: 2, SessionTimeout: shortest}
	p := open(t, options)
	options.Logger = log.logger()
	s := newSubscriber(t, options)
	s.maxPoll = 2 * shortest
	publish(t, p, manyEvents(10, 1, 1)...)
	a := newAccount()
	slow, begun := true, make(chan struct{})
	stop := startMember(t, s, nil, func(ctx context.Context, b ports.Batch) error {
		if slow && len(b.Messages) > 0 {
			slow = false
			close(begun)
			select {
			case <-time.After(s.maxPoll + 2*pollEvery): // longer than it would be waited for
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		a.addBatch(b)
		return nil
	})
	<-begun
	publish(t, p, manyEvents(10, 2, 5)...) // they have to wait, and must not be lost
	a.await(t, 50)
	stop()
	a.wantAll(t, 10, 5)
	if lines := log.with("maximum poll interval"); len(lines) > 0 {
		t.Errorf("the member was thrown out: %q", lines)
	}
}

func TestAHandlerThatTakesTooLongForTheOthersDoesNotCount(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	topic := c.newTopic(t)
	log := &journal{}
	options := Options{Brokers: c.brokers, Topic: topic, Partitions: 2, SessionTimeout: shortest}
	p := open(t, options)
	options.Logger = log.logger()
	s := newSubscriber(t, options)
	s.maxPoll = shortest
	publish(t, p, manyEvents(20, 1, 2)...)
	a := newAccount()
	stuck, begun := true, make(chan struct{})
	stopOne := startMember(t, s, nil, func(ctx context.Context, b ports.Batch) error {
		if stuck && len(b.Messages) > 0 {
			stuck = false
			close(begun)
			<-ctx.Done() // until it is told that it is in vain
			return nil   // as if nothing had happened
		}
		a.addBatch(b)
		return nil
	})
	<-begun
	stopOther := startMember(t, s, nil, func(_ context.Context, b ports.Batch) error { // it wants its share
		a.addBatch(b)
		return nil
	})
	log.await(t, 1, "is replaced by a new one", errTooLong.Error())
	a.await(t, 40)
	publish(t, p, manyEvents(20, 3, 4)...)
	a.await(t, 80)
	stopOne()
	stopOther()
	a.wantAll(t, 20, 4)
}

// The environment of a member in a process of its own.
const (
	memberTopic   = "HEXORDERS_TEST_MEMBER_TOPIC"
	memberBrokers = "HEXORDERS_TEST_MEMBER_BROKERS"
)

// beMember is what such a process does: a line for each message, once it is handled.
func beMember() {
	s, err := NewSubscriber(Options{
		Brokers: os.Getenv(memberBrokers), Topic: os.Getenv(memberTopic), SessionTimeout: shortest,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err == nil {
		err = s.Subscribe(context.Background(), "members", nil, func(_ context.Context, b ports.Batch) error {
			var lines bytes.Buffer
			for _, d := range b.Messages {
				fmt.Fprintln(&lines, d.OrderID, d.Version, d.Place.Shard, d.Place.Next)
			}
			_, err := os.Stdout.Write(lines.Bytes())
			return err
		})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// startProcess starts a member whose messages go into an account, and returns what kills it.
func startProcess(t testing.TB, brokers, topic string, a *account) (kill func(testing.TB)) {
	t.Helper()
	process := exec.CommandContext(t.Context(), os.Args[0])
	process.Env = append(os.Environ(), memberTopic+"="+topic, memberBrokers+"="+brokers)
	var stderr bytes.Buffer
	process.Stderr = &stderr
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var orderID string
			var version int
			var place ports.Place
			// A line that the kill cut off is of a message that was not reported.
			if _, err := fmt.Sscan(lines.Text(), &orderID, &version, &place.Shard, &place.Next); err == nil {
				a.add(orderID, version, place)
			}
		}
	}()
	return func(t testing.TB) {
		t.Helper()
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-read
		if err := process.Wait(); err == nil {
			t.Fatalf("the member was not killed: %s", stderr.String())
		}
	}
}
