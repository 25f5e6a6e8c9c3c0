package order_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"hexorders/core/order"
)

func TestNewOrder(t *testing.T) {
	o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
	if err != nil {
		t.Fatal(err)
	}
	if o.ID() != "order-1" || o.Buyer() != "9999" || o.Status() != order.StatusPending || o.Version() != 1 {
		t.Errorf("got id %q, buyer %q, status %q, version %d; want order-1, 9999, pending, 1", o.ID(), o.Buyer(), o.Status(), o.Version())
	}
	if !o.CreatedAt().Equal(morning) || !o.UpdatedAt().Equal(morning) {
		t.Errorf("got created at %v, updated at %v; want %v for both", o.CreatedAt(), o.UpdatedAt(), morning)
	}
	wantItems(t, o, order.Item{Product: "1111", Amount: 3})
	want := []order.Event{order.Created{ID: "order-1", Buyer: "9999", Items: []order.Item{{Product: "1111", Amount: 3}}, At: morning}}
	if got := o.Changes(); !reflect.DeepEqual(got, want) {
		t.Errorf("changes: got %+v, want %+v", got, want)
	}
}

func TestNewMakesOneLineOfEachProduct(t *testing.T) {
	given := []order.Item{{Product: "b", Amount: 1}, {Product: "a", Amount: 2}, {Product: "b", Amount: 3}, {Product: "a", Amount: 4}}
	want := []order.Item{{Product: "b", Amount: 4}, {Product: "a", Amount: 6}}
	o := mustNew(t, given...)
	wantItems(t, o, want...)
	if got := o.Changes()[0].(order.Created).Items; !reflect.DeepEqual(got, want) {
		t.Errorf("items of the event: got %+v, want %+v", got, want)
	}
	if given[0].Amount != 1 {
		t.Errorf("New changed the caller's items: %+v", given)
	}
}

func TestTheLifeOfAnOrder(t *testing.T) {
	o := mustNew(t)
	steps := []struct {
		call    func(at time.Time) error
		status  order.Status
		items   []order.Item
		version int
	}{
		{func(at time.Time) error { return o.AddItem("1111", 3, at) }, order.StatusPending, []order.Item{{Product: "1111", Amount: 3}}, 2},
		{func(at time.Time) error { return o.AddItem("2222", 8, at) }, order.StatusPending,
			[]order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}}, 3},
		{func(at time.Time) error { return o.AddItem("1111", 2, at) }, order.StatusPending,
			[]order.Item{{Product: "1111", Amount: 5}, {Product: "2222", Amount: 8}}, 4},
		{func(at time.Time) error { return o.ChangeAmount("2222", 1, at) }, order.StatusPending,
			[]order.Item{{Product: "1111", Amount: 5}, {Product: "2222", Amount: 1}}, 5},
		{func(at time.Time) error { return o.RemoveItem("1111", at) }, order.StatusPending, []order.Item{{Product: "2222", Amount: 1}}, 6},
		{func(at time.Time) error { return o.Submit(at) }, order.StatusSubmitted, []order.Item{{Product: "2222", Amount: 1}}, 7},
		{func(at time.Time) error { return o.Pay(at) }, order.StatusPaid, []order.Item{{Product: "2222", Amount: 1}}, 8},
	}
	for i, step := range steps {
		at := morning.Add(time.Duration(i+1) * time.Minute)
		if err := step.call(at); err != nil {
			t.Fatalf("step %d: got error %v, want none", i+1, err)
		}
		if o.Status() != step.status || o.Version() != step.version || !o.UpdatedAt().Equal(at) || !o.CreatedAt().Equal(morning) {
			t.Errorf("step %d: got status %s, version %d, updated at %v, created at %v", i+1, o.Status(), o.Version(),
				o.UpdatedAt(), o.CreatedAt())
		}
		wantItems(t, o, step.items...)
	}
	want := []order.Item{{Product: "2222", Amount: 1}}
	if got := o.Changes()[6].(order.Submitted); got.Buyer != "9999" || !reflect.DeepEqual(got.Items, want) {
		t.Errorf("submitted: got %+v, want buyer 9999 and items %+v", got, want)
	}
}

func TestWhatAnOrderHandsOutIsNotItsOwn(t *testing.T) {
	given := []order.Item{{Product: "1111", Amount: 3}, {Product: "2222", Amount: 8}}
	o := mustNew(t, given...)
	if err := o.Submit(noon); err != nil {
		t.Fatal(err)
	}
	w := watch(o)

	given[0].Amount = 99
	o.Items()[0].Amount = 99
	o.Snapshot().Items[0].Amount = 99
	o.Changes()[0] = order.Paid{At: noon}
	_ = append(o.Changes()[:1], order.Paid{At: noon})
	w.wantUnchanged(t)

	// The item lists inside of the events are theirs alone: writing into them falsifies the event, not the order.
	o.Changes()[0].(order.Created).Items[0].Amount = 99
	o.Changes()[1].(order.Submitted).Items[0].Amount = 99
	watch(o).wantSame(t, w.before)

	o = mustNew(t, order.Item{Product: "1111", Amount: 3})
	w = watch(o)
	s := o.Snapshot()
	restored, err := order.Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	events := o.Changes()
	replayed, err := order.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	s.Items[0].Amount = 99
	watch(restored).wantSame(t, w.before)
	if err := o.Pay(noon); err != nil {
		t.Fatal(err)
	}
	watch(replayed).wantSame(t, w.before)
}

func TestEventsAreNotChangedByWhatComesLater(t *testing.T) {
	o := mustNew(t, order.Item{Product: "1111", Amount: 3})
	before := o.Changes()
	if err := o.AddItem("1111", 2, noon); err != nil {
		t.Fatal(err)
	}
	if err := o.RemoveItem("1111", noon); err != nil {
		t.Fatal(err)
	}
	want := []order.Item{{Product: "1111", Amount: 3}}
	for _, events := range [][]order.Event{before, o.Changes()} {
		if got := events[0].(order.Created).Items; !reflect.DeepEqual(got, want) {
			t.Errorf("items of the first event: got %+v, want %+v", got, want)
		}
	}
	// Nor by what becomes of an order that was made of the same events.
	twin, err := order.Replay(before)
	if err != nil {
		t.Fatal(err)
	}
	if err := twin.AddItem("1111", 4, noon); err != nil {
		t.Fatal(err)
	}
	if got := before[0].(order.Created).Items; !reflect.DeepEqual(got, want) {
		t.Errorf("items of the event, replayed and gone on: got %+v, want %+v", got, want)
	}
}

func TestCommittedForgetsTheChangesAndNothingElse(t *testing.T) {
	o := mustNew(t, order.Item{Product: "1111", Amount: 3})
	if err := o.AddItem("2222", 8, noon); err != nil {
		t.Fatal(err)
	}
	before := o.Snapshot()
	o.Committed()
	if got := o.Changes(); len(got) != 0 {
		t.Errorf("changes: got %+v, want none", got)
	}
	watch(o).wantSame(t, before)

	if err := o.Pay(noon); err != nil {
		t.Fatal(err)
	}
	want := []order.Event{order.Paid{At: noon}}
	if got := o.Changes(); !reflect.DeepEqual(got, want) || o.Version() != 3 {
		t.Errorf("after another change: got %+v at version %d, want %+v at 3", got, o.Version(), want)
	}
	o.Committed()
	o.Committed()
	if got := len(o.Changes()); got != 0 {
		t.Errorf("changes: got %d, want none", got)
	}
}

func TestRestoreKeepsEveryField(t *testing.T) {
	want := order.Snapshot{
		ID: "order-1", Buyer: "9999", Items: []order.Item{{Product: "1111", Amount: 3}}, Status: order.StatusPaid,
		Version: 7, CreatedAt: morning, UpdatedAt: noon,
	}
	o, err := order.Restore(want)
	if err != nil {
		t.Fatal(err)
	}
	watch(o).wantSame(t, want)
	if len(o.Changes()) != 0 {
		t.Errorf("changes: got %+v, want none", o.Changes())
	}
	got := order.Snapshot{
		ID: o.ID(), Buyer: o.Buyer(), Items: o.Items(), Status: o.Status(),
		Version: o.Version(), CreatedAt: o.CreatedAt(), UpdatedAt: o.UpdatedAt(),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("field by field: got %+v, want %+v", got, want)
	}
}

func TestRestoreRefusesWhatIsNoOrder(t *testing.T) {
	good := order.Snapshot{ID: "order-1", Buyer: "9999", Status: order.StatusPending, Version: 1, CreatedAt: morning, UpdatedAt: morning}
	if _, err := order.Restore(good); err != nil {
		t.Fatalf("an order: got error %v, want none", err)
	}
	for name, spoil := range map[string]func(*order.Snapshot){
		"no id":              func(s *order.Snapshot) { s.ID = "" },
		"no version":         func(s *order.Snapshot) { s.Version = 0 },
		"a negative version": func(s *order.Snapshot) { s.Version = -1 },
		"no status":          func(s *order.Snapshot) { s.Status = "" },
		"another status":     func(s *order.Snapshot) { s.Status = "shipped" },
		"another spelling":   func(s *order.Snapshot) { s.Status = "canceled" },
	} {
		s := good
		spoil(&s)
		if o, err := order.Restore(s); !errors.Is(err, order.ErrInvalidHistory) || o != nil {
			t.Errorf("%s: got %v and error %v, want %v", name, o, err, order.ErrInvalidHistory)
		}
	}
}

func TestReplayRefusesWhatIsNoHistory(t *testing.T) {
	created := order.Created{ID: "order-1", Buyer: "9999", At: morning}
	added := order.ItemAdded{Product: "1111", Amount: 3, At: morning}
	for name, events := range map[string][]order.Event{
		"no events":             nil,
		"not created first":     {added},
		"created in the middle": {added, created},
		"created twice":         {created, added, created},
		"nothing":               {nil},
	} {
		if o, err := order.Replay(events); !errors.Is(err, order.ErrInvalidHistory) || o != nil {
			t.Errorf("%s: got %v and error %v, want %v", name, o, err, order.ErrInvalidHistory)
		}
	}
	if _, err := order.Replay([]order.Event{created, created}); !strings.Contains(err.Error(), "event 2 is order.Created") {
		t.Errorf("created twice: error %q does not name event 2", err)
	}
}

func TestReplayAfterRefusesWhatDoesNotFollow(t *testing.T) {
	good := order.Snapshot{ID: "order-1", Buyer: "9999", Status: order.StatusPending, Version: 1, CreatedAt: morning, UpdatedAt: morning}
	if o, err := order.ReplayAfter(order.Snapshot{}, nil); !errors.Is(err, order.ErrInvalidHistory) || o != nil {
		t.Errorf("no snapshot: got %v and error %v, want %v", o, err, order.ErrInvalidHistory)
	}
	again := []order.Event{order.Created{ID: "order-1", Buyer: "9999", At: morning}}
	if o, err := order.ReplayAfter(good, again); !errors.Is(err, order.ErrInvalidHistory) || o != nil {
		t.Errorf("created again: got %v and error %v, want %v", o, err, order.ErrInvalidHistory)
	}
	if o, err := order.ReplayAfter(good, nil); err != nil || o.Version() != 1 || len(o.Changes()) != 0 {
		t.Errorf("no events after it: got %+v and error %v, want the order as it was", o, err)
	}
}

func TestReplayDoesNotJudgeThePast(t *testing.T) {
	history := []order.Event{
		order.Created{ID: "order-1", Buyer: "9999", At: morning},
		order.ItemAdded{Product: "1111", Amount: order.MaxAmount + 1, At: morning}, // allowed before there was a limit
		order.AmountChanged{Product: "gone", Amount: 1, At: morning},
		order.ItemRemoved{Product: "gone", At: morning},
		order.Paid{At: noon},
		order.Cancelled{By: order.BySystem, Reason: "paid twice", At: noon},
	}
	o, err := order.Replay(history)
	if err != nil {
		t.Fatal(err)
	}
	watch(o).wantSame(t, order.Snapshot{
		ID: "order-1", Buyer: "9999", Items: []order.Item{{Product: "1111", Amount: order.MaxAmount + 1}},
		Status: order.StatusCancelled, Version: len(history), CreatedAt: morning, UpdatedAt: noon,
	})
	if len(o.Changes()) != 0 {
		t.Errorf("changes: got %+v, want none", o.Changes())
	}
}

func (w watched) wantSame(t testing.TB, want order.Snapshot) {
	t.Helper()
	if !reflect.DeepEqual(w.before, want) {
		t.Errorf("state:\n got %+v\nwant %+v", w.before, want)
	}
}
