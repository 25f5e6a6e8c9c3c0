package porttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/ports"
)

var publisherChecks = []check[Broker]{
	{"an acknowledged message is at the broker, whole", acknowledgedIsThere,
		"send every field of ports.Message: key, payload and headers; call done(nil) only when the broker has said so"},
	{"10,000 messages over 100 orders, each after the last's done, keep their order, each once", tenThousandToBroker,
		"the order id is the key, so that an order is in one shard; a retry must neither repeat a message nor " +
			"overtake one"},
	{"done is called exactly once", doneOnce,
		"one path calls done: a timeout and a late acknowledgement must not both do it"},
	{"a message that is too large is ErrRefused, and the messages beside it arrive", tooLargeIsRefused,
		"another try would fail as well, and that is ports.ErrRefused; the others are not to blame"},
	{"a failed message stops nothing", failureStopsNothing,
		"an error belongs to its message: the publisher goes on"},
	{"a cancelled context ends Publish, and done is called nevertheless", cancelledPublish,
		"whoever gives a message away waits for done, also when nothing was sent"},
	{"Close calls every done before it returns", closeCallsDone,
		"flush for a bounded time, then call what is left with an error"},
	{"Publish after Close calls done with an error", publishAfterClose,
		"look at closed first, and call done"},
	{"Publish beside Close calls done once", publishBesideClose,
		"Close and Publish need one lock: a message is either refused or flushed"},
	{"closing again does nothing", closeAgain,
		"sync.Once, or a flag under the lock"},
}

// publish sends a message and waits for its done.
func publish(t testing.TB, b Broker, m ports.Message) error {
	t.Helper()
	return send(t, bounded(t), b, m).wait(t)
}

// sent is a message on its way, and what its done was called with.
type sent struct {
	ports.Message
	calls  atomic.Int32
	first  error
	called chan struct{}
}

func send(t testing.TB, ctx context.Context, b Broker, m ports.Message) *sent {
	t.Helper()
	s := &sent{Message: m, called: make(chan struct{})}
	b.Publisher.Publish(ctx, m, func(err error) {
		if s.calls.Add(1) == 1 {
			s.first = err
			close(s.called)
		}
	})
	return s
}

func (s *sent) wait(t testing.TB) error {
	t.Helper()
	select {
	case <-s.called:
		return s.first
	case <-time.After(patience):
		t.Fatalf("done of %s was not called within %v", s.ID, patience)
	}
	panic("unreachable")
}

// wantCalled fails unless done was called already, and once.
func (s *sent) wantCalled(t testing.TB) {
	t.Helper()
	if calls := s.calls.Load(); calls != 1 {
		t.Errorf("done of %s was called %d times, want once", s.ID, calls)
	}
}

func closePublisher(t testing.TB, b Broker) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- b.Publisher.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Errorf("Close: %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("Close still runs after %v", patience)
	}
}

func acknowledgedIsThere(t testing.TB, b Broker) {
	plain, rich := message(orderID(1), 1), message("заказ-注文-🛒", 7)
	rich.Payload = []byte(`{"productId":"茶 \"grün\" <1kg> & ½","amount":1}`)
	rich.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	big := message(orderID(2), 1)
	big.Payload = noise(100_000)
	want := map[string]ports.Message{}
	for _, m := range []ports.Message{plain, rich, big} {
		if err := publish(t, b, m); err != nil {
			t.Fatalf("done of %s: got error %v", m.ID, err)
		}
		want[m.ID] = m
		got := b.Read(t, len(want))
		if len(got) != len(want) {
			t.Fatalf("the topic holds %d messages, want %d", len(got), len(want))
		}
		for _, m := range got {
			wantSameMessage(t, m, want[m.ID])
		}
	}
}

func tenThousandToBroker(t testing.TB, b Broker) {
	const orders, each = 100, 100
	ctx := bounded(t)
	var all sync.WaitGroup
	want := map[string]int{}
	for n := range orders {
		id := orderID(n)
		want[id] = each
		all.Go(func() {
			for version := 1; version <= each; version++ {
				s := send(t, ctx, b, message(id, version))
				select {
				case <-s.called:
					if s.first != nil {
						t.Errorf("done of %s: got error %v", s.ID, s.first)
						return
					}
				case <-ctx.Done():
					t.Errorf("done of %s was not called within %v", s.ID, patience)
					return
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	l := newLedger(t)
	for _, m := range b.Read(t, orders*each) {
		l.add(m)
		wantSameMessage(t, m, message(m.OrderID, m.Version))
	}
	l.wantAll(want)
	l.wantOnce()
}

func doneOnce(t testing.TB, b Broker) {
	const messages = 200
	var all []*sent
	for n := range messages {
		m := message(orderID(n), 1)
		if n%50 == 25 {
			m.Payload = noise(b.TooLarge)
		}
		all = append(all, send(t, bounded(t), b, m))
	}
	for _, s := range all {
		_ = s.wait(t) // accepted or refused, done must come
	}
	// Whatever a publisher still holds, it has to let go of by now.
	closePublisher(t, b)
	for _, s := range all {
		s.wantCalled(t)
	}
}

func tooLargeIsRefused(t testing.TB, b Broker) {
	const neighbours = 40
	ctx := bounded(t)
	var accepted, tooLarge []*sent
	want := map[string]int{}
	for n := range neighbours {
		accepted = append(accepted, send(t, ctx, b, message(orderID(n), 1)))
		want[orderID(n)] = 1
		if n%10 == 5 {
			large := message(orderID(1000+n), 1)
			large.Payload = noise(b.TooLarge)
			tooLarge = append(tooLarge, send(t, ctx, b, large))
		}
	}
	for _, s := range tooLarge {
		wantError(t, fmt.Sprintf("done of a message of %d bytes", len(s.Payload)), s.wait(t), ports.ErrRefused)
	}
	for _, s := range accepted {
		if err := s.wait(t); err != nil {
			t.Errorf("done of %s, beside one too large: got error %v", s.ID, err)
		}
	}
	for _, s := range tooLarge { // the order of the refused message is not shut out
		m := message(s.OrderID, 1)
		if err := publish(t, b, m); err != nil {
			t.Errorf("done of %s, later and small enough: got error %v", s.ID, err)
		}
		want[s.OrderID] = 1
	}
	if t.Failed() {
		return
	}
	l := newLedger(t)
	for _, m := range b.Read(t, len(want)) {
		l.add(m)
		if len(m.Payload) >= b.TooLarge {
			t.Errorf("the topic holds the refused message %s", m.ID)
		}
	}
	l.wantAll(want)
	l.wantOnce()
}

func failureStopsNothing(t testing.TB, b Broker) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	large := message(orderID(1), 1)
	large.Payload = noise(b.TooLarge)
	accepted := 10
	for n := range 10 {
		if send(t, ended, b, message(orderID(100+n), 1)).wait(t) == nil { // whether it arrives is open
			accepted++
		}
		if err := publish(t, b, large); err == nil {
			t.Errorf("a message of %d bytes was accepted", b.TooLarge)
		}
		if err := publish(t, b, message(orderID(2), n+1)); err != nil {
			t.Errorf("done of a message after a failed one: got error %v", err)
		}
	}
	if t.Failed() {
		return
	}
	l := newLedger(t)
	for _, m := range b.Read(t, accepted) {
		if m.OrderID == orderID(2) {
			l.add(m)
		}
	}
	l.wantAll(map[string]int{orderID(2): 10})
	l.wantOnce()
}

func cancelledPublish(t testing.TB, b Broker) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 20 {
		returned := make(chan *sent, 1)
		go func() { returned <- send(t, ctx, b, message(orderID(n), 1)) }()
		select {
		case s := <-returned:
			err := s.wait(t)
			if errors.Is(err, ports.ErrRefused) {
				t.Errorf("done of a cancelled message: got %v, want nil or that it was cancelled", err)
			}
		case <-time.After(prompt):
			t.Fatalf("Publish with a cancelled context still runs after %v", prompt)
		}
	}
}

func closeCallsDone(t testing.TB, b Broker) {
	const messages = 500
	ctx := bounded(t)
	var all []*sent
	for n := range messages {
		all = append(all, send(t, ctx, b, message(orderID(n), 1)))
	}
	closePublisher(t, b)
	accepted := 0
	for _, s := range all {
		s.wantCalled(t)
		if t.Failed() {
			return
		}
		if s.first == nil {
			accepted++
		}
	}
	if accepted < messages {
		t.Errorf("Close gave up on %d of %d messages though the broker is there", messages-accepted, messages)
	}
	if got := len(b.Read(t, accepted)); got != messages {
		t.Errorf("the topic holds %d messages, want %d", got, messages)
	}
}

func publishAfterClose(t testing.TB, b Broker) {
	if err := publish(t, b, message(orderID(1), 1)); err != nil {
		t.Fatalf("done: got error %v", err)
	}
	closePublisher(t, b)
	err := publish(t, b, message(orderID(1), 2))
	if err == nil {
		t.Error("a message published after Close was accepted")
	}
	if errors.Is(err, ports.ErrRefused) {
		t.Errorf("a message published after Close is not refused permanently: %v", err)
	}
	if got := len(b.Read(t, 1)); got != 1 {
		t.Errorf("the topic holds %d messages, want the one published before Close", got)
	}
}

// publishBesideClose goes on publishing until Close has returned, so that something is in flight when Close is called.
func publishBesideClose(t testing.TB, b Broker) {
	const writers, most = 8, 3000 // most keeps a publisher that takes everything from filling the memory
	ctx := bounded(t)
	var (
		all      sync.WaitGroup
		mu       sync.Mutex
		messages []*sent // whose Publish has returned
	)
	begun, closed := make(chan struct{}, writers), make(chan struct{})
	for w := range writers {
		all.Go(func() {
			for version, last := 1, false; !last; version++ {
				switch version {
				case 25:
					begun <- struct{}{}
				case most:
					_ = await(ctx, closed)
				}
				select {
				case <-closed:
					last = true // one comes after Close for sure
				default:
				}
				s := send(t, ctx, b, message(orderID(w), version))
				mu.Lock()
				messages = append(messages, s)
				mu.Unlock()
			}
		})
	}
	_ = await(ctx, begun)
	closePublisher(t, b)
	mu.Lock()
	forgotten := slices.IndexFunc(messages, func(s *sent) bool { return s.calls.Load() == 0 })
	mu.Unlock()
	close(closed)
	all.Wait()
	if forgotten >= 0 {
		t.Fatalf("done of %s was not called when Close returned", messages[forgotten].ID)
	}
	accepted := 0
	for _, s := range messages {
		if s.wait(t) == nil {
			accepted++
		}
		s.wantCalled(t)
	}
	if got := len(b.Read(t, accepted)); got < accepted {
		t.Errorf("the topic holds %d messages, want the %d accepted", got, accepted)
	}
}

func closeAgain(t testing.TB, b Broker) {
	if err := publish(t, b, message(orderID(1), 1)); err != nil {
		t.Fatalf("done: got error %v", err)
	}
	closePublisher(t, b)
	closePublisher(t, b)
	if got := len(b.Read(t, 1)); got != 1 {
		t.Errorf("the topic holds %d messages, want 1", got)
	}
}
