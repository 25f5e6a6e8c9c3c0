package order_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hexorders/core/order"
)

// command is a call with its arguments, so that the same one can be made on two orders.
type command struct {
	name    string
	product string
	amount  int
	by      order.CancelledBy
	reason  string
	at      time.Time
}

func (c command) do(o *order.Order) error {
	switch c.name {
	case "AddItem":
		return o.AddItem(c.product, c.amount, c.at)
	case "ChangeAmount":
		return o.ChangeAmount(c.product, c.amount, c.at)
	case "RemoveItem":
		return o.RemoveItem(c.product, c.at)
	case "Submit":
		return o.Submit(c.at)
	case "Pay":
		return o.Pay(c.at)
	case "Cancel":
		return o.Cancel(c.by, c.reason, c.at)
	}
	return errNoSuchCommand
}

var errNoSuchCommand = errors.New("do does not know the command")

func TestThePropertiesCallEveryCommand(t *testing.T) {
	for _, name := range commandsOf() {
		if err := (command{name: name}).do(mustNew(t)); errors.Is(err, errNoSuchCommand) {
			t.Errorf("core/order/properties_test.go, do: it cannot call %s", name)
		}
	}
}

var (
	// Few products, so that commands meet; amounts on both sides of every limit.
	products = rapid.SampledFrom([]string{"1111", "2222", "3333", "", "\x00"})
	amounts  = rapid.OneOf(rapid.SampledFrom([]int{-1, 0, 1, order.MaxAmount - 1, order.MaxAmount,
		order.MaxAmount + 1}), rapid.IntRange(1, 9))
	times = rapid.Custom(func(t *rapid.T) time.Time {
		return morning.Add(time.Duration(rapid.IntRange(-1_000_000, 1_000_000).Draw(t, "seconds")) * time.Second)
	})
	items = rapid.Custom(func(t *rapid.T) order.Item {
		return order.Item{Product: products.Draw(t, "product"), Amount: amounts.Draw(t, "amount")}
	})
	commands = rapid.Custom(func(t *rapid.T) command {
		return command{
			// An order that is over answers the same for ever, so what ends it comes seldom.
			name: rapid.SampledFrom(slices.Concat(
				[]string{"AddItem", "AddItem", "ChangeAmount", "RemoveItem"}, commandsOf())).Draw(t, "command"),
			product: products.Draw(t, "product"),
			amount:  amounts.Draw(t, "amount"),
			by:      rapid.SampledFrom([]order.CancelledBy{order.ByBuyer, order.BySystem, ""}).Draw(t, "by"),
			reason:  rapid.SampledFrom([]string{"", "out of stock", strings.Repeat("x", order.MaxReasonLength+1)}).Draw(t, "reason"),
			at:      times.Draw(t, "at"),
		}
	})
)

func drawOrder(t *rapid.T) *order.Order {
	o, err := order.New("order-1", "9999", rapid.SliceOfN(items, 0, 3).Draw(t, "items"), times.Draw(t, "created at"))
	if err != nil {
		o, err = order.New("order-1", "9999", nil, times.Draw(t, "created at, without items"))
	}
	if err != nil {
		t.Fatalf("New without items: %v", err)
	}
	return o
}

func TestAnyCallsReplayToTheSameState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOrder(t)
		for _, c := range rapid.SliceOfN(commands, 0, 40).Draw(t, "calls") {
			_ = c.do(o) // refused or not: the property holds for both
		}
		events := o.Changes()
		if len(events) != o.Version() {
			t.Fatalf("%d events and version %d: versions are not 1 to n", len(events), o.Version())
		}
		for n := range events {
			sofar, err := order.Replay(events[:n+1])
			if err != nil {
				t.Fatalf("Replay of %d events: %v", n+1, err)
			}
			if sofar.Version() != n+1 || !sofar.UpdatedAt().Equal(events[n].OccurredAt()) {
				t.Fatalf("event %d made version %d of %v", n+1, sofar.Version(), sofar.UpdatedAt())
			}
		}
		replayed, err := order.Replay(events)
		if err != nil {
			t.Fatalf("Replay: %v", err)
		}
		wantSameState(t, replayed, o)
	})
}

func TestARefusedCallChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOrder(t)
		for _, c := range rapid.SliceOfN(commands, 1, 40).Draw(t, "calls") {
			before, changes := o.Snapshot(), o.Changes()
			err := c.do(o)
			if err == nil {
				if o.Version() != before.Version+1 || len(o.Changes()) != len(changes)+1 || !o.UpdatedAt().Equal(c.at) {
					t.Fatalf("%+v was carried out: version %d to %d, changes %d to %d", c, before.Version, o.Version(),
						len(changes), len(o.Changes()))
				}
				if !reflect.DeepEqual(o.Changes()[:len(changes)], changes) {
					t.Fatalf("%+v changed what was recorded before it", c)
				}
				continue
			}
			if !reflect.DeepEqual(o.Snapshot(), before) || !reflect.DeepEqual(o.Changes(), changes) {
				t.Fatalf("%+v was refused (%v), and yet\n got %+v\nwant %+v", c, err, o.Snapshot(), before)
			}
		}
	})
}

// A state store and an event store must not make different orders: however an order was brought back, it answers the
// next calls as the one that never left.
func TestARestoredOrderGoesOnAsTheOneThatNeverLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOrder(t)
		for _, c := range rapid.SliceOfN(commands, 0, 20).Draw(t, "calls before") {
			_ = c.do(o)
		}
		restored, err := order.Restore(o.Snapshot())
		if err != nil {
			t.Fatalf("Restore: %v", err)
		}
		replayed, err := order.Replay(o.Changes())
		if err != nil {
			t.Fatalf("Replay: %v", err)
		}
		events := o.Changes()
		n := rapid.IntRange(1, len(events)).Draw(t, "events in the snapshot")
		early, err := order.Replay(events[:n])
		if err != nil {
			t.Fatalf("Replay of %d events: %v", n, err)
		}
		resumed, err := order.ReplayAfter(early.Snapshot(), events[n:])
		if err != nil {
			t.Fatalf("ReplayAfter %d events: %v", n, err)
		}
		wantSameState(t, resumed, o)
		o.Committed()
		for _, c := range rapid.SliceOfN(commands, 1, 20).Draw(t, "calls after") {
			want := c.do(o)
			for name, twin := range map[string]*order.Order{"restored": restored, "replayed": replayed, "resumed": resumed} {
				if got := c.do(twin); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("%s, %+v: got %v, want %v", name, c, got, want)
				}
				wantSameState(t, twin, o)
				if !reflect.DeepEqual(twin.Changes(), o.Changes()) {
					t.Fatalf("%s, %+v: got changes %+v, want %+v", name, c, twin.Changes(), o.Changes())
				}
			}
		}
	})
}

// The items are what anyone would reckon with a list of pieces on paper, and no line ever breaks a limit.
func TestItemsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOrder(t)
		paper := map[string]int{}
		for _, i := range o.Items() {
			paper[i.Product] = i.Amount
		}
		for _, c := range rapid.SliceOfN(commands, 1, 40).Draw(t, "calls") {
			if c.do(o) != nil {
				continue
			}
			switch c.name {
			case "AddItem":
				paper[c.product] += c.amount
			case "ChangeAmount":
				paper[c.product] = c.amount
			case "RemoveItem":
				delete(paper, c.product)
			}
		}
		got := map[string]int{}
		for _, i := range o.Items() {
			if i.Amount < 1 || i.Amount > order.MaxAmount {
				t.Fatalf("a line of %d pieces", i.Amount)
			}
			got[i.Product] += i.Amount
		}
		if !maps.Equal(got, paper) || len(o.Items()) != len(paper) {
			t.Fatalf("items: got %+v, want %+v", o.Items(), paper)
		}
		if final := o.Status(); slices.Contains([]order.Status{order.StatusSubmitted, order.StatusPaid}, final) && len(paper) == 0 {
			t.Fatalf("an order without items is %s", final)
		}
	})
}

func wantSameState(t *rapid.T, got, want *order.Order) {
	a, b := got.Snapshot(), want.Snapshot()
	if len(a.Items) == 0 && len(b.Items) == 0 {
		a.Items, b.Items = nil, nil // no items are no items, nil or not
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("state:\n got %+v\nwant %+v", a, b)
	}
}
