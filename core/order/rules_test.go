package order_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"hexorders/core/order"
)

var (
	morning = time.Date(2026, time.March, 14, 8, 0, 0, 0, time.UTC)
	noon    = morning.Add(4 * time.Hour)
)

// TestWhatIsAllowedWhen is the table of what each command answers in each status: nil where it is allowed. A call that
// is refused changes nothing.
func TestWhatIsAllowedWhen(t *testing.T) {
	// The columns are order.Statuses().
	whilePending := func(answer error) []error {
		return []error{answer, order.ErrAlreadySubmitted, order.ErrAlreadyPaid, order.ErrAlreadyCancelled}
	}
	untilPaid := func(answer error) []error {
		return []error{answer, answer, order.ErrAlreadyPaid, order.ErrAlreadyCancelled}
	}
	matrix := []struct {
		command, how string
		call         func(*order.Order) error
		event        order.Event // what is recorded where it is allowed
		want         []error
	}{
		{"AddItem", "a new one",
			func(o *order.Order) error { return o.AddItem("2222", 8, noon) },
			order.ItemAdded{Product: "2222", Amount: 8, At: noon},
			whilePending(nil)},
		{"AddItem", "more of one",
			func(o *order.Order) error { return o.AddItem("1111", 8, noon) },
			order.ItemAdded{Product: "1111", Amount: 8, At: noon},
			whilePending(nil)},
		{"AddItem", "an impossible amount",
			func(o *order.Order) error { return o.AddItem("2222", 0, noon) }, nil,
			whilePending(order.ErrInvalidAmount)},
		{"AddItem", "without id",
			func(o *order.Order) error { return o.AddItem("", 1, noon) }, nil,
			whilePending(order.ErrInvalidID)},
		{"ChangeAmount", "to 5",
			func(o *order.Order) error { return o.ChangeAmount("1111", 5, noon) },
			order.AmountChanged{Product: "1111", Amount: 5, At: noon},
			whilePending(nil)},
		{"ChangeAmount", "to an impossible one",
			func(o *order.Order) error { return o.ChangeAmount("1111", -1, noon) }, nil,
			whilePending(order.ErrInvalidAmount)},
		{"ChangeAmount", "of an item that is not there",
			func(o *order.Order) error { return o.ChangeAmount("2222", 5, noon) }, nil,
			whilePending(order.ErrNoSuchItem)},
		{"RemoveItem", "one",
			func(o *order.Order) error { return o.RemoveItem("1111", noon) },
			order.ItemRemoved{Product: "1111", At: noon},
			whilePending(nil)},
		{"RemoveItem", "one that is not there",
			func(o *order.Order) error { return o.RemoveItem("2222", noon) }, nil,
			whilePending(order.ErrNoSuchItem)},
		{"Submit", "with items",
			func(o *order.Order) error { return o.Submit(noon) },
			order.Submitted{Buyer: "9999", Items: []order.Item{{Product: "1111", Amount: 3}}, At: noon},
			whilePending(nil)},
		{"Pay", "with items",
			func(o *order.Order) error { return o.Pay(noon) },
			order.Paid{At: noon},
			untilPaid(nil)},
		{"Cancel", "as the buyer",
			func(o *order.Order) error { return o.Cancel(order.ByBuyer, "changed my mind", noon) },
			order.Cancelled{By: order.ByBuyer, Reason: "changed my mind", At: noon},
			untilPaid(nil)},
		{"Cancel", "as the system",
			func(o *order.Order) error { return o.Cancel(order.BySystem, "not paid in time", noon) },
			order.Cancelled{By: order.BySystem, Reason: "not paid in time", At: noon},
			untilPaid(nil)},
		{"Cancel", "as someone else",
			func(o *order.Order) error { return o.Cancel("stranger", "", noon) }, nil,
			untilPaid(order.ErrInvalidCancelledBy)},
		{"Cancel", "without a reason",
			func(o *order.Order) error { return o.Cancel(order.ByBuyer, "", noon) },
			order.Cancelled{By: order.ByBuyer, At: noon},
			untilPaid(nil)},
		{"Cancel", "with an impossible reason",
			func(o *order.Order) error {
				return o.Cancel(order.ByBuyer, strings.Repeat("x", order.MaxReasonLength+1), noon)
			}, nil,
			untilPaid(order.ErrInvalidReason)},
	}
	statuses, tested := order.Statuses(), map[string]bool{}
	for _, row := range matrix {
		if tested[row.command] = true; len(row.want) != len(statuses) {
			t.Fatalf("core/order/rules_test.go: whilePending and untilPaid have %d answers, want one for each of %v", len(row.want), statuses)
		}
		for column, status := range statuses {
			for made, o := range orders(t, status) {
				t.Run(fmt.Sprintf("%s/%s/%s/%s", row.command, row.how, status, made), func(t *testing.T) {
					err := row.call(o.Order)
					if !errors.Is(err, row.want[column]) {
						t.Fatalf("got error %v, want %v", err, row.want[column])
					}
					if err != nil {
						o.wantUnchanged(t)
						return
					}
					o.wantRecorded(t, row.event)
				})
			}
		}
	}
	for _, command := range commandsOf() {
		if !tested[command] {
			t.Errorf("core/order/rules_test.go: the matrix has no row for the command %s", command)
		}
	}
}

// commandsOf returns the names of the aggregate's commands: the methods that return an error and nothing else.
func commandsOf() (names []string) {
	aggregate := reflect.TypeFor[*order.Order]()
	for i := range aggregate.NumMethod() {
		method := aggregate.Method(i)
		if method.Type.NumOut() == 1 && method.Type.Out(0) == reflect.TypeFor[error]() {
			names = append(names, method.Name)
		}
	}
	return names
}

// TestAnEmptyOrder is the other half of the table: what an order without items may not do, which is only ever pending
// or cancelled.
func TestAnEmptyOrder(t *testing.T) {
	for _, c := range []struct {
		name          string
		call          func(*order.Order) error
		whilePending  error
		onceCancelled error
	}{
		{"submit", func(o *order.Order) error { return o.Submit(noon) }, order.ErrEmpty, order.ErrAlreadyCancelled},
		{"pay", func(o *order.Order) error { return o.Pay(noon) }, order.ErrEmpty, order.ErrAlreadyCancelled},
		{"cancel", func(o *order.Order) error { return o.Cancel(order.ByBuyer, "", noon) }, nil, order.ErrAlreadyCancelled},
		{"add an item", func(o *order.Order) error { return o.AddItem("1111", 1, noon) }, nil, order.ErrAlreadyCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			for status, want := range map[order.Status]error{
				order.StatusPending: c.whilePending, order.StatusCancelled: c.onceCancelled,
			} {
				o, err := order.New("order-1", "9999", nil, morning)
				if err != nil {
					t.Fatal(err)
				}
				if status == order.StatusCancelled {
					if err := o.Cancel(order.ByBuyer, "", morning); err != nil {
						t.Fatal(err)
					}
				}
				watched := watch(o)
				if err := c.call(o); !errors.Is(err, want) {
					t.Errorf("%s: got error %v, want %v", status, err, want)
				} else if err != nil {
					watched.wantUnchanged(t)
				}
			}
		})
	}

	emptied := orders(t, order.StatusPending)["made by commands"]
	if err := emptied.RemoveItem("1111", noon); err != nil {
		t.Fatal(err)
	}
	if err := emptied.Submit(noon); !errors.Is(err, order.ErrEmpty) {
		t.Errorf("submit once the last item was removed: got error %v, want %v", err, order.ErrEmpty)
	}
}

// orders makes the same order in each way that there is.
func orders(t *testing.T, status order.Status) map[string]watched {
	t.Helper()
	o := mustNew(t, order.Item{Product: "1111", Amount: 3})
	var err error
	switch status {
	case order.StatusSubmitted:
		err = o.Submit(morning)
	case order.StatusPaid:
		err = o.Pay(morning)
	case order.StatusCancelled:
		err = o.Cancel(order.ByBuyer, "out of stock", morning)
	}
	if err != nil || o.Status() != status {
		t.Fatalf("core/order/rules_test.go, orders: it makes no order %s, but one %s with error %v", status, o.Status(), err)
	}
	restored, err := order.Restore(o.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	replayed, err := order.Replay(o.Changes())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]watched{"made by commands": watch(o), "restored": watch(restored), "replayed": watch(replayed)}
}

func mustNew(t testing.TB, items ...order.Item) *order.Order {
	t.Helper()
	o, err := order.New("order-1", "9999", items, morning)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return o
}

// watched is an order and what it was like before.
type watched struct {
	*order.Order
	before  order.Snapshot
	changes []order.Event
}

func watch(o *order.Order) watched { return watched{o, o.Snapshot(), o.Changes()} }

func (w watched) wantUnchanged(t testing.TB) {
	t.Helper()
	if got := w.Snapshot(); !reflect.DeepEqual(got, w.before) {
		t.Errorf("a refused call changed the order:\n got %+v\nwant %+v", got, w.before)
	}
	if got := w.Changes(); !reflect.DeepEqual(got, w.changes) {
		t.Errorf("a refused call recorded something:\n got %+v\nwant %+v", got, w.changes)
	}
}

func (w watched) wantRecorded(t testing.TB, want order.Event) {
	t.Helper()
	if got := w.Version(); got != w.before.Version+1 {
		t.Errorf("version: got %d, want %d", got, w.before.Version+1)
	}
	if got := w.UpdatedAt(); !got.Equal(want.OccurredAt()) {
		t.Errorf("updated at: got %v, want %v", got, want.OccurredAt())
	}
	changes := w.Changes()
	if len(changes) != len(w.changes)+1 {
		t.Fatalf("changes: got %d, want %d", len(changes), len(w.changes)+1)
	}
	if got := changes[len(changes)-1]; !reflect.DeepEqual(got, want) {
		t.Errorf("event: got %#v, want %#v", got, want)
	}
}

func TestIDs(t *testing.T) {
	cases := []struct {
		name, id string
		want     error
	}{
		{"none", "", order.IDLength},
		{"one character", "x", nil},
		{"64 characters", strings.Repeat("x", 64), nil},
		{"65 characters", strings.Repeat("x", 65), order.IDLength},
		{"64 characters of two bytes", strings.Repeat("ß", 64), nil},
		{"65 characters of two bytes", strings.Repeat("ß", 65), order.IDLength},
		{"64 characters of four bytes", strings.Repeat("🛒", 64), nil},
		{"65 characters of four bytes", strings.Repeat("🛒", 65), order.IDLength},
		{"a space", " ", order.IDBlank},
		{"blanks of several kinds", " \u00a0\u3000\u2009", order.IDBlank},
		{"the first and the last of the spaces by width", "\u2000\u200a", order.IDBlank},
		{"characters that are empty", "\u200d\u3164\u2800", order.IDBlank},
		{"a space at the beginning", " a", order.IDBlankAtEnd},
		{"a space at the end", "a ", order.IDBlankAtEnd},
		{"an ideographic space at the end", "a\u3000", order.IDBlankAtEnd},
		{"a soft hyphen at the end", "a\u00ad", order.IDBlankAtEnd},
		{"a space inside", "a b", nil},
		{"a line break", "a\nb", order.IDControl},
		{"a tab at the end", "a\t", order.IDControl},
		{"a zero byte", "a\x00b", order.IDControl},
		{"the last of the first control characters", "a\x1fb", order.IDControl},
		{"delete", "a\x7fb", order.IDControl},
		{"the last of the second control characters", "a\u009fb", order.IDControl},
		{"a no-break space, the first after them", "a\u00a0b", nil},
		{"a line separator", "a\u2028b", order.IDLineSeparator},
		{"a paragraph separator", "a\u2029b", order.IDLineSeparator},
		{"an Arabic letter mark", "a\u061cb", order.IDDirection},
		{"a left-to-right mark", "a\u200eb", order.IDDirection},
		{"a right-to-left mark", "a\u200fb", order.IDDirection},
		{"the character before the embeddings", "a\u2027b", nil},
		{"the first embedding", "a\u202ab", order.IDDirection},
		{"a right-to-left override", "a\u202eb", order.IDDirection},
		{"the character after the overrides", "a\u202fb", nil},
		{"the first isolate", "a\u2066b", order.IDDirection},
		{"the end of an isolate", "a\u2069b", order.IDDirection},
		{"a zero width space", "a\u200bb", order.IDInvisible},
		{"a word joiner", "a\u2060b", order.IDInvisible},
		{"a byte order mark", "\ufeffa", order.IDInvisible},
		{"letters from right to left", "\u05d0\u05d1", nil},
		{"a joiner inside an emoji", "👩\u200d🚀", nil},
		{"one dot", ".", order.IDDots},
		{"two dots", "..", order.IDDots},
		{"three dots", "...", nil},
		{"dots in a name", "a..b", nil},
		{"not UTF-8", "a\xffb", order.IDEncoding},
		{"half a character", "\xf0\x9f\x9b", order.IDEncoding},
		{"the replacement character itself", "\ufffd", nil},
	}
	// An id is an id, whatever it names.
	uses := map[string]func(id string) error{
		"id":    func(id string) error { _, err := order.New(id, "9999", nil, morning); return err },
		"buyer": func(id string) error { _, err := order.New("order-1", id, nil, morning); return err },
		"product": func(id string) error {
			o := mustNew(t)
			return o.AddItem(id, 1, morning)
		},
	}
	for _, c := range cases {
		for field, use := range uses {
			t.Run(c.name+"/"+field, func(t *testing.T) {
				err := use(c.id)
				if c.want == nil {
					if err != nil {
						t.Fatalf("got error %v, want none", err)
					}
					return
				}
				wantInputError(t, err, c.want, field, -1)
				wantInputError(t, err, order.ErrInvalidID, field, -1)
			})
		}
	}
}

func TestIDsAreComparedByCodePoints(t *testing.T) {
	composed, decomposed := "caf\u00e9", "cafe\u0301"
	o := mustNew(t, order.Item{Product: composed, Amount: 1}, order.Item{Product: decomposed, Amount: 2})
	wantItems(t, o, order.Item{Product: composed, Amount: 1}, order.Item{Product: decomposed, Amount: 2})
}

// Rules on ids are for what is new. An order that was stored before there was a rule can be read, changed and emptied.
func TestStoredOrdersKeepTheirIDs(t *testing.T) {
	for _, id := range []string{" ", "a ", "a\u202eb", "\ufeff", "a\u2028b", "..", "a\nb"} {
		lines := []order.Item{{Product: id, Amount: 1}}
		replayed, err := order.Replay([]order.Event{order.Created{ID: id, Buyer: id, Items: lines, At: morning}})
		if err != nil {
			t.Fatalf("replay %q: %v", id, err)
		}
		o, err := order.Restore(replayed.Snapshot())
		if err != nil {
			t.Fatalf("restore %q: %v", id, err)
		}
		if o.ID() != id || o.Buyer() != id {
			t.Errorf("got %q of %q, want %q of %q", o.ID(), o.Buyer(), id, id)
		}
		wantItems(t, o, lines...)
		if err := o.ChangeAmount(id, 2, noon); err != nil {
			t.Errorf("change the amount of %q: %v", id, err)
		}
		if err := o.RemoveItem(id, noon); err != nil {
			t.Errorf("remove %q: %v", id, err)
		}
	}
}

func TestAmounts(t *testing.T) {
	const most = order.MaxAmount
	add := func(amount int) func(*order.Order) error {
		return func(o *order.Order) error { return o.AddItem("1111", amount, noon) }
	}
	change := func(amount int) func(*order.Order) error {
		return func(o *order.Order) error { return o.ChangeAmount("1111", amount, noon) }
	}
	for _, c := range []struct {
		name   string
		before int // pieces of the product in the order, 0 for no line
		call   func(*order.Order) error
		want   int // 0 for ErrInvalidAmount
	}{
		{"add the least", 0, add(1), 1},
		{"add the most", 0, add(most), most},
		{"add one too many", 0, add(most + 1), 0},
		{"add none", 0, add(0), 0},
		{"add less than none", 0, add(-1), 0},
		{"add the largest number there is", 0, add(math.MaxInt), 0},
		{"add the smallest number there is", 0, add(math.MinInt), 0},
		{"add up to the most", most - 1, add(1), most},
		{"add up to one too many", most, add(1), 0},
		{"add the most to the most", most, add(most), 0},
		{"add up beyond the largest number", most, add(math.MaxInt), 0},
		{"add up to a number in range by way of a negative one", most, add(-1), 0},
		{"change to the least", 5, change(1), 1},
		{"change to the most", 5, change(most), most},
		{"change to what it is", 5, change(5), 5},
		{"change to one too many", 5, change(most + 1), 0},
		{"change to none", 5, change(0), 0},
		{"change to less than none", 5, change(-1), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := mustNew(t)
			if c.before > 0 {
				o = mustNew(t, order.Item{Product: "1111", Amount: c.before})
			}
			w := watch(o)
			err := c.call(o)
			if c.want == 0 {
				wantInputError(t, err, order.ErrInvalidAmount, "amount", -1)
				w.wantUnchanged(t)
				return
			}
			if err != nil {
				t.Fatalf("got error %v, want none", err)
			}
			wantItems(t, o, order.Item{Product: "1111", Amount: c.want})
		})
	}
}

func TestAnOrderHasAtMost500Lines(t *testing.T) {
	lines := make([]order.Item, order.MaxItems)
	for i := range lines {
		lines[i] = order.Item{Product: fmt.Sprintf("product-%d", i), Amount: 1}
	}
	one := order.Item{Product: "one more", Amount: 1}

	if order.MaxItems != 500 {
		t.Errorf("the limit: got %d, want 500", order.MaxItems)
	}
	o := mustNew(t, lines...)
	w := watch(o)
	wantInputError(t, o.AddItem(one.Product, one.Amount, noon), order.ErrTooManyItems, "items", -1)
	w.wantUnchanged(t)
	if err := o.AddItem("product-7", 1, noon); err != nil {
		t.Errorf("more of a product that has a line: got error %v, want none", err)
	}
	if err := o.RemoveItem("product-7", noon); err != nil {
		t.Fatal(err)
	}
	if err := o.AddItem(one.Product, one.Amount, noon); err != nil {
		t.Errorf("a line in the place of one that was removed: got error %v, want none", err)
	}
	if got := len(o.Items()); got != 500 {
		t.Errorf("lines: got %d, want 500", got)
	}

	_, err := order.New("order-1", "9999", append(lines, one), morning)
	wantInputError(t, err, order.ErrTooManyItems, "items", 500)
	twice, err := order.New("order-1", "9999", append(lines, lines...), morning)
	if err != nil || len(twice.Items()) != 500 {
		t.Errorf("1,000 items of 500 products: got error %v, want an order of 500 lines", err)
	}
}

func TestReasons(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		ok           bool
	}{
		{"none", "", true},
		{"500 characters", strings.Repeat("x", 500), true},
		{"501 characters", strings.Repeat("x", 501), false},
		{"500 characters of four bytes", strings.Repeat("🛒", 500), true},
		{"501 characters of four bytes", strings.Repeat("🛒", 501), false},
		{"lines", "first\nsecond\r\nthird", true},
		{"a tab", "a\tb", true},
		{"a zero byte", "a\x00b", false},
		{"an escape", "\x1b[2J", false},
		{"delete", "a\x7fb", false},
		{"a control character of the second kind", "a\u009bb", false},
		{"not UTF-8", "\xff", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := watch(mustNew(t))
			err := w.Cancel(order.ByBuyer, c.reason, noon)
			if c.ok {
				if err != nil {
					t.Fatalf("got error %v, want none", err)
				}
				w.wantRecorded(t, order.Cancelled{By: order.ByBuyer, Reason: c.reason, At: noon})
				return
			}
			wantInputError(t, err, order.ErrInvalidReason, "reason", -1)
			w.wantUnchanged(t)
		})
	}
}

func TestWhoCancels(t *testing.T) {
	for by, ok := range map[order.CancelledBy]bool{order.ByBuyer: true, order.BySystem: true, "": false, "Buyer": false, "admin": false} {
		w := watch(mustNew(t))
		err := w.Cancel(by, "no need", noon)
		if ok {
			if err != nil {
				t.Fatalf("by %q: got error %v, want none", by, err)
			}
			w.wantRecorded(t, order.Cancelled{By: by, Reason: "no need", At: noon})
			continue
		}
		wantInputError(t, err, order.ErrInvalidCancelledBy, "by", -1)
		w.wantUnchanged(t)
	}
}

func TestNewSaysWhichItemIsWrong(t *testing.T) {
	good := order.Item{Product: "1111", Amount: 3}
	for _, c := range []struct {
		name  string
		items []order.Item
		field string
		line  int
		want  error
	}{
		{"the first has no product", []order.Item{{Amount: 1}, good}, "product", 0, order.ErrInvalidID},
		{"the second has no amount", []order.Item{good, {Product: "2222"}}, "amount", 1, order.ErrInvalidAmount},
		{"the third adds up to too many", []order.Item{good, {Product: "2222", Amount: 1}, {Product: "1111", Amount: order.MaxAmount - 2}},
			"amount", 2, order.ErrInvalidAmount},
		{"two are wrong, the first of them counts", []order.Item{good, {Product: "\n", Amount: 1}, {}}, "product", 1, order.ErrInvalidID},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := order.New("order-1", "9999", c.items, morning)
			if o != nil {
				t.Errorf("got an order %+v, want none", o.Snapshot())
			}
			wantInputError(t, err, c.want, c.field, c.line)
		})
	}
}

func TestInputErrorReadsWell(t *testing.T) {
	_, err := order.New("order-1", "9999", []order.Item{{Product: "1111"}}, morning)
	if got, want := fmt.Sprint(err), "item 1, amount: amount must be from 1 to 1000000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = order.New("", "9999", nil, morning)
	if got, want := fmt.Sprint(err), "id: id must have 1 to 64 characters"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func wantInputError(t testing.TB, err, want error, field string, line int) {
	t.Helper()
	var input *order.InputError
	if !errors.Is(err, want) || !errors.As(err, &input) {
		t.Fatalf("got error %v, want an InputError that is %v", err, want)
	}
	if input.Field != field || input.Line != line {
		t.Errorf("error names field %q, line %d; want %q, %d", input.Field, input.Line, field, line)
	}
}

func wantItems(t testing.TB, o *order.Order, want ...order.Item) {
	t.Helper()
	if got := o.Items(); len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("items: got %+v, want %+v", got, want)
	}
}
