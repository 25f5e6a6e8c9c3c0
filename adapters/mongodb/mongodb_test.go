package mongodb_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hexorders/core/order"
	"hexorders/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// at is when everything in these tests happens: now, in the precision of MongoDB.
var at = time.Now().UTC().Truncate(time.Millisecond)

// newOrder is an order with n changes, none of them saved.
func newOrder(t testing.TB, id string, n int) *order.Order {
	t.Helper()
	o, err := order.New(id, "buyer-1", []order.Item{{Product: "p", Amount: 1}}, at)
	if err != nil {
		t.Fatal(err)
	}
	change(t, o, n-1)
	return o
}

// change makes n more changes.
func change(t testing.TB, o *order.Order, n int) {
	t.Helper()
	for range n {
		if err := o.AddItem("p", 1, at); err != nil {
			t.Fatal(err)
		}
	}
}

func save(t testing.TB, store ports.OrderStore, orders ...*order.Order) {
	t.Helper()
	for _, o := range orders {
		if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
			t.Fatal(err)
		}
	}
}

// received is a message with the position that came with it.
type received struct {
	ports.Message
	position ports.Position
}

var errEnough = errors.New("enough")

// tail returns the next n messages after a position.
func tail(t testing.TB, outbox ports.Outbox, after ports.Position, n int) []received {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var got []received
	err := outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		got = append(got, received{m, p})
		if len(got) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("after %d of %d messages Tail ended with: %v", len(got), n, err)
	}
	return got
}

// wantOnce checks that the messages are versions 1 to n of each order, each once and in order.
func wantOnce(t testing.TB, got []received, want map[string]int) {
	t.Helper()
	last := map[string]int{}
	for i, m := range got {
		if m.Version != last[m.OrderID]+1 {
			t.Errorf("message %d is version %d of %s, after version %d", i, m.Version, m.OrderID, last[m.OrderID])
		}
		last[m.OrderID] = m.Version
	}
	for id, versions := range want {
		if last[id] != versions {
			t.Errorf("%s: got versions up to %d, want %d", id, last[id], versions)
		}
	}
	if len(last) != len(want) {
		t.Errorf("got messages of %d orders, want %d", len(last), len(want))
	}
}

func wantSame(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

func ids(prefix string, n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%03d", prefix, i))
	}
	return ids
}
