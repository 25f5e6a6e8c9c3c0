package porttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// morning is when everything in these checks happens. Its nanoseconds are there on purpose: a store may round to the
// millisecond, but must not lose more.
var morning = time.Date(2026, time.March, 14, 6, 30, 15, 123_456_789, time.FixedZone("CET", 3600))

func orderID(n int) string { return fmt.Sprintf("order-%06d", n) }

// newOrder is an unsaved order of version n: created with one item, then n-1 more changes.
func newOrder(t testing.TB, id string, n int) *order.Order { return newOrderOf(t, "buyer-1", id, n) }

func newOrderOf(t testing.TB, buyer, id string, n int) *order.Order {
	t.Helper()
	o, err := startOrder(buyer, id)
	if err != nil {
		t.Fatalf("the suite cannot make order %s: %v", id, err)
	}
	change(t, o, n-1)
	return o
}

func startOrder(buyer, id string) (*order.Order, error) {
	return order.New(id, buyer, []order.Item{{Product: "product-1", Amount: 3}}, morning)
}

// change records n changes that are always allowed on a pending order.
func change(t testing.TB, o *order.Order, n int) {
	t.Helper()
	if err := addPieces(o, n); err != nil {
		t.Fatalf("the suite cannot change order %s: %v", o.ID(), err)
	}
}

func addPieces(o *order.Order, n int) error {
	for range n {
		at := morning.Add(time.Duration(o.Version()) * time.Second)
		if err := o.AddItem("product-1", 1, at); err != nil {
			return err
		}
	}
	return nil
}

// message is one for the suites that need no store behind it.
func message(orderID string, version int) ports.Message {
	return ports.Message{
		ID:         fmt.Sprintf("%s/%d", orderID, version),
		Type:       "OrderItemAdded",
		OrderID:    orderID,
		Version:    version,
		Payload:    fmt.Appendf(nil, `{"orderId":%q,"version":%d,"productId":"1111","amount":3}`, orderID, version),
		OccurredAt: morning.Add(time.Duration(version) * time.Second),
	}
}

// messages are versions from..to of an order.
func messages(orderID string, from, to int) (run []ports.Message) {
	for version := from; version <= to; version++ {
		run = append(run, message(orderID, version))
	}
	return run
}

func idsOf(messages []ports.Message) (ids []string) {
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// noise is JSON of exactly that many bytes that compresses badly, so that a limit on either side of compression is met.
func noise(size int) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
	payload := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(payload) // the same each time, and its documentation promises no error
	for i, b := range payload {
		payload[i] = letters[int(b)%len(letters)]
	}
	payload[0], payload[size-1] = '"', '"'
	return payload
}

// bounded is the context of a call that is expected to answer.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func save(t testing.TB, s storage, o *order.Order) {
	t.Helper()
	if err := s.Orders.Save(bounded(t), o, ports.IdempotencyKey{}); err != nil {
		t.Fatalf("Save of order %s, version %d: %v", o.ID(), o.Version(), err)
	}
}

func load(t testing.TB, s storage, id string) *order.Order {
	t.Helper()
	o, err := s.Orders.Get(bounded(t), id)
	if err != nil {
		t.Fatalf("Get of order %s: %v", id, err)
	}
	return o
}

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %s", what, got, named(want))
	}
}

// named puts the name that an adapter has to write before the sentence that its users will read.
func named(err error) string {
	for name, sentinel := range map[string]error{
		"ports.ErrNotFound": ports.ErrNotFound, "ports.ErrConflict": ports.ErrConflict, "ports.ErrBadCursor": ports.ErrBadCursor,
		"ports.ErrFenced": ports.ErrFenced, "ports.ErrLeaseHeld": ports.ErrLeaseHeld, "ports.ErrRefused": ports.ErrRefused,
		"ports.ErrDuplicateRequest": ports.ErrDuplicateRequest, "ports.ErrUnavailable": ports.ErrUnavailable,
		"ports.ErrNotBuilt": ports.ErrNotBuilt,
		"context.Canceled":  context.Canceled,
	} {
		if errors.Is(err, sentinel) {
			return fmt.Sprintf("%s (%v)", name, err)
		}
	}
	return fmt.Sprint(err)
}

// wantMissing fails when the store has an order that it should not have.
func wantMissing(t testing.TB, s storage, id string) {
	t.Helper()
	o, err := s.Orders.Get(bounded(t), id)
	if err == nil {
		t.Errorf("the store has order %s at version %d, want none", id, o.Version())
		return
	}
	wantError(t, "Get of order "+id, err, ports.ErrNotFound)
}

// wantSame fails unless two states are the same, times to the millisecond.
func wantSame(t testing.TB, got, want order.Snapshot) {
	t.Helper()
	same := got.ID == want.ID && got.Buyer == want.Buyer && slices.Equal(got.Items, want.Items) &&
		got.Status == want.Status && got.Version == want.Version &&
		sameTime(got.CreatedAt, want.CreatedAt) && sameTime(got.UpdatedAt, want.UpdatedAt)
	if !same {
		t.Errorf("order %s\n got %.500v\nwant %.500v", want.ID, got, want)
	}
}

func wantSameMessage(t testing.TB, got, want ports.Message) {
	t.Helper()
	same := got.ID == want.ID && got.Type == want.Type && got.OrderID == want.OrderID && got.Version == want.Version &&
		string(got.Payload) == string(want.Payload) && sameTime(got.OccurredAt, want.OccurredAt) &&
		got.TraceParent == want.TraceParent
	if !same {
		t.Errorf("message %s\n got %.500v\nwant %.500v", want.ID, show(got), show(want))
	}
}

// wantMessages fails unless all of these messages come, whole. Others may come between them, and messages of two orders in
// any order. It ends at the first one that is not: the others are likely to have the same fault.
func wantMessages(t testing.TB, f *follower, want []ports.Message) {
	t.Helper()
	due := map[string]ports.Message{}
	for _, m := range want {
		due[m.ID] = m
	}
	for len(due) > 0 {
		got := f.next(t).Message
		if m, ok := due[got.ID]; ok {
			if wantSameMessage(t, got, m); t.Failed() {
				return
			}
			delete(due, got.ID)
		}
	}
}

func show(m ports.Message) string {
	return fmt.Sprintf("%s %s, order %s, version %d, at %s, trace %q: %s",
		m.ID, m.Type, m.OrderID, m.Version, m.OccurredAt.UTC().Format("2006-01-02T15:04:05.000Z"), m.TraceParent, m.Payload)
}

func sameTime(a, b time.Time) bool { return a.UnixMilli() == b.UnixMilli() }

// wantCancelled fails unless a call with a cancelled context returns at once, saying that it was cancelled.
func wantCancelled(t testing.TB, what string, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- call(ctx) }()
	select {
	case err := <-ended:
		wantError(t, what+" with a cancelled context", err, context.Canceled)
	case <-time.After(prompt):
		t.Errorf("%s with a cancelled context still runs after %v", what, prompt)
	}
}

// ledger reads messages off and knows for each order how far it got.
type ledger struct {
	t       testing.TB
	upTo    map[string]int
	repeats int
}

func newLedger(t testing.TB) *ledger { return &ledger{t: t, upTo: map[string]int{}} }

// add fails the check when a message comes before an earlier one of its order.
func (l *ledger) add(m ports.Message) {
	l.t.Helper()
	switch seen := l.upTo[m.OrderID]; {
	case m.Version <= seen:
		l.repeats++
	case m.Version == seen+1:
		l.upTo[m.OrderID] = m.Version
	default:
		l.t.Fatalf("message %s came when order %s was at version %d: some were left out or changed places",
			m.ID, m.OrderID, seen)
	}
}

// wantAll fails unless these orders came as far as that, and no others.
func (l *ledger) wantAll(want map[string]int) {
	l.t.Helper()
	for id, version := range want {
		if l.upTo[id] != version {
			l.t.Errorf("messages of order %s: got them up to version %d, want %d", id, l.upTo[id], version)
		}
	}
	for id, version := range l.upTo {
		if want[id] == 0 {
			l.t.Errorf("messages of order %s up to version %d, want none", id, version)
		}
	}
}

func (l *ledger) wantOnce() {
	l.t.Helper()
	if l.repeats > 0 {
		l.t.Errorf("%d messages came more than once", l.repeats)
	}
}

// follower runs a Tail and hands its messages over one by one.
type follower struct {
	messages chan delivery
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error // why Tail ended, once ended is closed

	record  *record
	after   ports.Position
	emitted []string      // ids; record guards it
	failed  chan struct{} // closed when those who write beside it have failed; nil where nobody does
}

type delivery struct {
	ports.Message
	at ports.Position
}

func follow(t testing.TB, s storage, after ports.Position) *follower {
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{messages: make(chan delivery), cancel: cancel, ended: make(chan struct{}), record: s.record, after: after}
	go func() {
		defer close(f.ended)
		f.err = s.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
			select {
			case f.messages <- delivery{m, p}:
				f.record.emitted(f, m.ID, p)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() { f.stop(t) })
	return f
}

// followBeside ends its check when one of those who write has failed: a message would not come.
func followBeside(t testing.TB, s storage, after ports.Position, writers *crew) *follower {
	f := follow(t, s, after)
	f.failed = writers.failed
	return f
}

// next waits for the next message, which must come.
func (f *follower) next(t testing.TB) delivery {
	t.Helper()
	select {
	case d := <-f.messages:
		return d
	case <-f.ended:
		t.Fatalf("Tail ended while a message was due: %v", f.err)
	case <-f.failed:
		t.FailNow() // the crew has said why
	case <-time.After(patience):
		t.Fatalf("Tail emitted nothing for %v while a message was due: %s", patience, f.record.missing(f))
	}
	panic("unreachable")
}

func (f *follower) take(t testing.TB, n int) []delivery {
	t.Helper()
	taken := make([]delivery, n)
	for i := range taken {
		taken[i] = f.next(t)
	}
	return taken
}

func (f *follower) stop(t testing.TB) {
	t.Helper()
	f.cancel()
	select {
	case <-f.ended:
	case <-time.After(prompt):
		t.Errorf("Tail still runs %v after its context was cancelled", prompt)
	}
}

// markerPrefix is the last character that Unicode lets anyone use, so that end marks sort after every other id.
const markerPrefix = "\U0010FFFD"

var markers atomic.Int64

// logged returns the messages that stand in the outbox now. It saves one more order as an end mark and reads up to
// it. The mark is the last commit and has the highest id, so it comes last whether a log is in the order of commits or
// of ids.
func logged(t testing.TB, s storage) []ports.Message {
	t.Helper()
	mark := fmt.Sprintf("%s%09d", markerPrefix, markers.Add(1))
	if err := s.Orders.Save(bounded(t), newOrderOf(t, "marker", mark, 1), ports.IdempotencyKey{}); err != nil {
		t.Fatalf("Save of one more order, to mark the end of the outbox: %v", err)
	}
	f := follow(t, s, "")
	defer f.stop(t)
	var found []ports.Message
	for {
		d := f.next(t)
		if d.OrderID == mark {
			return found
		}
		if !strings.HasPrefix(d.OrderID, markerPrefix) {
			found = append(found, d.Message)
		}
	}
}

// wantLogged fails unless the outbox holds exactly the messages 1..n of each of these orders, in order.
func wantLogged(t testing.TB, s storage, want map[string]int) {
	t.Helper()
	l := newLedger(t)
	for _, m := range logged(t, s) {
		l.add(m)
	}
	l.wantAll(want)
	l.wantOnce()
}
