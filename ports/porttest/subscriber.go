package porttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/ports"
)

// Feed is what the Subscriber suite runs against: a subscriber to an empty topic, and a way to fill that.
type Feed struct {
	Subscriber ports.Subscriber
	// Append adds messages to the topic, those of an order in the order given, and returns when they are there.
	Append func(t testing.TB, messages ...ports.Message)
	// Delete deletes all messages that are in the topic, as a retention does. Only the suite Replayable needs it.
	Delete func(t testing.TB)
}

// Subscriber checks the promises of ports.Subscriber that hold for every broker; those about places are in the suite
// Replayable, because a broker that can go on from a place can deliver again. A member that dies without a word is for the
// adapter's own tests. The checks run side by side: most of their time goes into waiting for members to find each other.
func Subscriber(t *testing.T, open func(t testing.TB) Feed) {
	runSideBySide(t, subscriberChecks, open)
}

func runSideBySide(t *testing.T, checks []check[Feed], open func(t testing.TB) Feed) {
	t.Helper()
	for _, c := range number(checks) {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			c.run(t, open)
		})
	}
}

var subscriberChecks = []check[Feed]{
	{"a new group reads from the first message on, and goes on with what comes", readsFromTheFirst,
		"without a position the beginning is the first message, not the end"},
	{"a message comes as it was published", deliversWhole,
		"read every field of ports.Message back from key, payload and headers"},
	{"an order's messages come in order, from one shard", deliversInOrder,
		"hand a shard's messages on in their order, from one goroutine"},
	{"batches hold at most MaxBatch messages, and come one at a time", deliversInBatches,
		"cut at ports.MaxBatch, and call handle only when the last call has returned"},

	{"a failed batch ends Subscribe, and is delivered again with all that follows", deliversAgain,
		"the position moves after handle has returned nil, and not before"},
	{"a group goes on where it came to", groupGoesOn,
		"store the position under the group's name"},
	{"groups do not move each other", groupsApart,
		"each group has a position of its own"},

	{"what a member leaves the others get", memberLeaves,
		"give the shards back when Subscribe ends"},
	{"what a failed member leaves the others get", memberFails,
		"what handle has refused stays where it was: the next member begins there"},

	{"an empty topic is caught up with at the beginning, and about once a second", caughtUpAtFirst,
		"call handle with CaughtUp though there is no message"},
	{"a shard is caught up with when its last message is delivered, and not before", caughtUpAtLast,
		"compare the position behind the batch with the end of the shard"},

	{"the end of its context ends Subscribe, and the handler's context", subscribeEnds,
		"hand handle a context that ends with the caller's"},
}

// leaving is how soon Subscribe must return: it may have a broker to say goodbye to.
const leaving = 20 * time.Second

// reading is a call of Subscribe or Replay.
type reading func(ctx context.Context, handle func(context.Context, ports.Batch) error) error

func subscription(f Feed, group string, resume ports.Resume) reading {
	return func(ctx context.Context, handle func(context.Context, ports.Batch) error) error {
		return f.Subscriber.Subscribe(ctx, group, resume, handle)
	}
}

// newSubscription is by a group of its own, which reads everything.
func newSubscription(f Feed) reading { return subscription(f, newGroup(), unknown) }

// member is a running Subscribe or Replay. Its batches go to a channel, which members may share, and each waits for its answer.
type member struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // why Subscribe ended, once ended is closed
}

// handed is a batch in the hands of a member.
type handed struct {
	ports.Batch
	to     *member
	answer chan<- error
}

func join(t testing.TB, f Feed, group string, resume ports.Resume, batches chan<- handed) *member {
	return begin(t, subscription(f, group, resume), batches)
}

func begin(t testing.TB, read reading, batches chan<- handed) *member {
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		m.err = read(ctx, func(ctx context.Context, b ports.Batch) error {
			answer := make(chan error)
			select {
			case batches <- handed{b, m, answer}:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case err := <-answer:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() { m.leave(t) })
	return m
}

// wantEnd waits for the end of a Subscribe that was told to end, and checks why.
func (m *member) wantEnd(t testing.TB, want error) {
	t.Helper()
	select {
	case <-m.ended:
		wantError(t, "reading", m.err, want)
	case <-time.After(leaving):
		t.Fatalf("reading still goes on after %v", leaving)
	}
}

func (m *member) leave(t testing.TB) {
	t.Helper()
	m.cancel()
	select {
	case <-m.ended:
	case <-time.After(leaving):
		t.Errorf("reading still goes on %v after its context ended", leaving)
	}
}

func (h handed) reply(t testing.TB, err error) {
	t.Helper()
	select {
	case h.answer <- err:
	case <-h.to.ended:
		t.Fatalf("reading ended while a batch was being handled: %v", h.to.err)
	case <-time.After(patience):
		t.Fatal("the subscriber does not wait for what a handler returns")
	}
}

// next waits for the next batch, which must come.
func next(t testing.TB, batches <-chan handed) handed {
	t.Helper()
	select {
	case h := <-batches:
		return h
	case <-time.After(patience):
		t.Fatalf("no batch came for %v", patience)
	}
	panic("unreachable")
}

// nextWithMessages passes over batches that say only how things stand.
func nextWithMessages(t testing.TB, batches <-chan handed) handed {
	t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		h := next(t, batches)
		if len(h.Messages) > 0 {
			return h
		}
		h.reply(t, nil)
	}
	t.Fatalf("no message came for %v", patience)
	panic("unreachable")
}

// take handles batches until every one of these messages has come, and returns what came, repeats included.
func take(t testing.TB, batches <-chan handed, want ...ports.Message) (taken []ports.Delivery) {
	t.Helper()
	due := map[string]bool{}
	for _, m := range want {
		due[m.ID] = true
	}
	for len(due) > 0 {
		h := nextWithMessages(t, batches)
		for _, d := range h.Messages {
			delete(due, d.ID)
		}
		taken = append(taken, h.Messages...)
		h.reply(t, nil)
	}
	return taken
}

// readAll is take by a member that joins for it and leaves.
func readAll(t testing.TB, f Feed, group string, resume ports.Resume, want ...ports.Message) []ports.Delivery {
	t.Helper()
	return takeAll(t, subscription(f, group, resume), want...)
}

func takeAll(t testing.TB, read reading, want ...ports.Message) []ports.Delivery {
	t.Helper()
	batches := make(chan handed)
	m := begin(t, read, batches)
	defer m.leave(t)
	return take(t, batches, want...)
}

// wantDeliveries fails unless exactly these messages were delivered, each once, of any order.
func wantDeliveries(t testing.TB, got []ports.Delivery, want ...ports.Message) {
	t.Helper()
	var ids []string
	for _, d := range got {
		ids = append(ids, d.ID)
	}
	wanted := idsOf(want)
	slices.Sort(ids)
	slices.Sort(wanted)
	if !slices.Equal(ids, wanted) {
		t.Errorf("delivered %d messages, want %d:\n got %.500v\nwant %.500v", len(ids), len(wanted), ids, wanted)
	}
}

func newGroup() string { return fmt.Sprintf("porttest-%016x", rand.Uint64()) }

func unknown(context.Context, []string) ([]ports.Place, error) { return nil, nil }

// manyOrders are versions from..to of so many orders.
func manyOrders(orders, from, to int) (all []ports.Message) {
	for n := range orders {
		all = append(all, messages(orderID(n), from, to)...)
	}
	return all
}

func readsFromTheFirst(t testing.TB, f Feed) {
	early, late := manyOrders(5, 1, 2), manyOrders(5, 3, 4)
	f.Append(t, early...)
	batches := make(chan handed)
	join(t, f, newGroup(), unknown, batches)
	wantDeliveries(t, take(t, batches, early...), early...)
	f.Append(t, late...)
	wantDeliveries(t, take(t, batches, late...), late...)
}

func deliversWhole(t testing.TB, f Feed) {
	plain, rich, large := message(orderID(1), 1), message("заказ-注文-🛒", 7), message(orderID(2), 1)
	rich.Type = "OrderSubmitted"
	rich.Payload = []byte(`{"productId":"茶 \"grün\" <1kg> & ½",  "amount":1}`)
	rich.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	large.Payload = noise(100_000)
	want := map[string]ports.Message{plain.ID: plain, rich.ID: rich, large.ID: large}
	f.Append(t, plain, rich, large)
	for _, d := range readAll(t, f, newGroup(), unknown, plain, rich, large) {
		wantSameMessage(t, d.Message, want[d.ID])
	}
}

func deliversInOrder(t testing.TB, f Feed) { inOrder(t, f, newSubscription(f)) }

func inOrder(t testing.TB, f Feed, read reading) {
	t.Helper()
	const orders, versions = 20, 30
	var all []ports.Message
	want := map[string]int{}
	for version := 1; version <= versions; version++ {
		for n := range orders {
			all = append(all, message(orderID(n), version))
			want[orderID(n)] = versions
		}
	}
	f.Append(t, all...)
	l, shard := newLedger(t), map[string]string{}
	for _, d := range takeAll(t, read, all...) {
		l.add(d.Message)
		if before, seen := shard[d.OrderID]; seen && before != d.Place.Shard {
			t.Fatalf("order %s: messages came from the shards %q and %q", d.OrderID, before, d.Place.Shard)
		}
		shard[d.OrderID] = d.Place.Shard
	}
	l.wantAll(want)
}

func deliversInBatches(t testing.TB, f Feed) { inBatches(t, f, newSubscription(f)) }

func inBatches(t testing.TB, f Feed, read reading) {
	t.Helper()
	all := manyOrders(25, 1, ports.MaxBatch/10)
	f.Append(t, all...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var calls atomic.Int32
	var mu sync.Mutex // for a subscriber that breaks this promise
	due := map[string]bool{}
	for _, m := range all {
		due[m.ID] = true
	}
	err := read(ctx, func(ctx context.Context, b ports.Batch) error {
		if n := calls.Add(1); n != 1 {
			t.Errorf("%d calls of the handler at a time, want 1", n)
		}
		defer calls.Add(-1)
		if len(b.Messages) > ports.MaxBatch {
			t.Errorf("a batch of %d messages, want %d at most", len(b.Messages), ports.MaxBatch)
		}
		mu.Lock()
		for _, d := range b.Messages {
			delete(due, d.ID)
		}
		left := len(due)
		mu.Unlock()
		if left == 0 {
			cancel()
			return nil
		}
		select { // a look for a second call while this one lasts
		case <-time.After(glance):
		case <-ctx.Done():
		}
		return nil
	})
	wantError(t, "reading", err, context.Canceled)
	if len(due) > 0 {
		t.Errorf("%d of %d messages were left out", len(due), len(all))
	}
}

func deliversAgain(t testing.TB, f Feed) {
	first, second := manyOrders(10, 1, 2), manyOrders(10, 3, 4)
	group, failure := newGroup(), errors.New("the handler failed")
	f.Append(t, first...)
	for range 2 { // the failed batch, and the same once more
		batches := make(chan handed)
		m := join(t, f, group, unknown, batches)
		nextWithMessages(t, batches).reply(t, failure)
		m.wantEnd(t, failure)
	}
	f.Append(t, second...)
	all := append(slices.Clone(first), second...)
	wantDeliveries(t, readAll(t, f, group, unknown, all...), all...)
}

func groupGoesOn(t testing.TB, f Feed) {
	group := newGroup()
	for version := 1; version <= 5; version += 2 {
		some := manyOrders(10, version, version+1)
		f.Append(t, some...)
		wantDeliveries(t, readAll(t, f, group, unknown, some...), some...)
	}
}

func groupsApart(t testing.TB, f Feed) {
	one, other := newGroup(), newGroup()
	first, second := manyOrders(5, 1, 1), manyOrders(5, 2, 2)
	all := append(slices.Clone(first), second...)
	f.Append(t, first...)
	wantDeliveries(t, readAll(t, f, one, unknown, first...), first...)
	f.Append(t, second...)
	wantDeliveries(t, readAll(t, f, other, unknown, all...), all...)
	wantDeliveries(t, readAll(t, f, one, unknown, second...), second...)
}

func memberLeaves(t testing.TB, f Feed) {
	group, batches := newGroup(), make(chan handed)
	one := join(t, f, group, unknown, batches)
	other := join(t, f, group, unknown, batches)
	version := 1
	for _, leaves := range []*member{one, other} {
		some := manyOrders(50, version, version+1)
		f.Append(t, some...)
		take(t, batches, some...)
		leaves.cancel() // with no farewell to the batch that it may be handling
		leaves.leave(t)
		version += 2
		join(t, f, group, unknown, batches)
	}
	last := manyOrders(50, version, version)
	f.Append(t, last...)
	take(t, batches, last...)
}

func memberFails(t testing.TB, f Feed) {
	group, batches, failure := newGroup(), make(chan handed), errors.New("the handler failed")
	all := manyOrders(50, 1, 3)
	f.Append(t, all...)
	join(t, f, group, unknown, batches)
	join(t, f, group, unknown, batches)
	h := nextWithMessages(t, batches)
	h.reply(t, failure)
	h.to.wantEnd(t, failure)
	take(t, batches, all...) // the other has not had a message of the failed batch yet
}

func caughtUpAtFirst(t testing.TB, f Feed) {
	batches := make(chan handed)
	join(t, f, newGroup(), unknown, batches)
	began := time.Now()
	for n := range 3 {
		h := next(t, batches)
		if len(h.Messages) > 0 || len(h.CaughtUp) == 0 {
			t.Fatalf("an empty topic: got a batch of %d messages, caught up with the shards %q; want none, and some",
				len(h.Messages), h.CaughtUp)
		}
		if unique := slices.Compact(slices.Sorted(slices.Values(shardsOf(h.CaughtUp)))); len(unique) != len(h.CaughtUp) {
			t.Errorf("batch %d says twice that a shard is caught up with: %q", n+1, h.CaughtUp)
		}
		h.reply(t, nil)
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("three batches without messages came within %v, want about a second between them", took)
	}
	some := manyOrders(5, 1, 1)
	f.Append(t, some...)
	wantDeliveries(t, take(t, batches, some...), some...)
}

func caughtUpAtLast(t testing.TB, f Feed) { caughtUpWithLast(t, f, newSubscription(f)) }

func caughtUpWithLast(t testing.TB, f Feed, read reading) {
	t.Helper()
	all := messages(orderID(1), 1, 2*ports.MaxBatch+100)
	f.Append(t, all...)
	batches := make(chan handed)
	begin(t, read, batches)
	delivered, shard := 0, "none"
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		h := next(t, batches)
		for _, d := range h.Messages {
			shard = d.Place.Shard
		}
		delivered += len(h.Messages)
		says := slices.Contains(shardsOf(h.CaughtUp), shard)
		h.reply(t, nil)
		if says && delivered < len(all) {
			t.Fatalf("shard %q is said to be caught up with after %d of %d messages", shard, delivered, len(all))
		}
		if says {
			return
		}
	}
	t.Errorf("%v after %d messages nobody has said that shard %q is caught up with", patience, delivered, shard)
}

func shardsOf(places []ports.Place) (shards []string) {
	for _, p := range places {
		shards = append(shards, p.Shard)
	}
	return shards
}

func subscribeEnds(t testing.TB, f Feed) {
	readingEnds(t, f, func() reading { return newSubscription(f) })
}

func readingEnds(t testing.TB, f Feed, read func() reading) {
	t.Helper()
	some := manyOrders(5, 1, 1)
	f.Append(t, some...)
	batches := make(chan handed)
	idle := begin(t, read(), batches)
	take(t, batches, some...)
	idle.cancel()
	idle.wantEnd(t, context.Canceled)

	busy := begin(t, read(), batches)
	nextWithMessages(t, batches) // and no answer: only the end of its context lets the handler go
	busy.cancel()
	busy.wantEnd(t, context.Canceled)

	late, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- read()(late, func(context.Context, ports.Batch) error { return nil })
	}()
	select {
	case err := <-ended:
		wantError(t, "reading with a cancelled context", err, context.Canceled)
	case <-time.After(leaving):
		t.Errorf("reading with a cancelled context still goes on after %v", leaving)
	}
}
