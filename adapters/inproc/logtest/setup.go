package logtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"hexorders/ports"
)

const (
	// patience is how long a check waits for something that must come. It is long, because only a broken adapter or
	// a very busy machine ever needs it.
	patience = 2 * time.Minute
	// prompt is how soon a call must return once its context has ended: a second, and another for a busy machine.
	prompt = 2 * time.Second
	// glance is how long a check looks for something that must not happen.
	glance = 50 * time.Millisecond
)

// morning is when everything in these checks happens. Its nanoseconds are there on purpose: a store may round to the
// millisecond, but must not lose more.
var morning = time.Date(2026, time.March, 14, 6, 30, 15, 123_456_789, time.FixedZone("CET", 3600))

func orderID(n int) string { return fmt.Sprintf("order-%06d", n) }

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

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %s", what, got, want)
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

func show(m ports.Message) string {
	return fmt.Sprintf("%s %s, order %s, version %d, at %s, trace %q: %s",
		m.ID, m.Type, m.OrderID, m.Version, m.OccurredAt.UTC().Format(time.RFC3339Nano), m.TraceParent, m.Payload)
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
