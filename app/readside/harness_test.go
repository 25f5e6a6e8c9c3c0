package readside_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

// The tests run in a bubble of synctest: an hour of the engine's clock takes no time.

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

var (
	errBroken = errors.New("the subscription is broken")
	errPoison = errors.New("nobody understands this")
)

// tape is a topic of a few shards. Its subscriber delivers as badly as a subscriber may: with chaos it delivers messages
// again, and breaks off; a member that comes back gets another share, which others may have as well.
type tape struct {
	mu        sync.Mutex
	shards    [][]ports.Message
	group     map[int]int // where the group has come to
	grown     chan struct{}
	batch     int
	chaos     *rand.Rand // nil for a subscriber that behaves
	delivered int
}

func newTape(shards, batch int) *tape {
	return &tape{shards: make([][]ports.Message, shards), group: map[int]int{}, grown: make(chan struct{}), batch: batch}
}

func (s *tape) add(messages ...ports.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range messages {
		n := 0
		for _, c := range m.OrderID {
			n += int(c)
		}
		s.shards[n%len(s.shards)] = append(s.shards[n%len(s.shards)], m)
	}
	close(s.grown)
	s.grown = make(chan struct{})
}

// Places are "at 7", and "" at the beginning.
func place(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint("at ", n)
}

func offset(place string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(place, "at "))
	return n
}

func shard(n int) string { return fmt.Sprint("shard ", n) }

// ends are where the shards end, by name.
func (s *tape) ends() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := map[string]string{}
	for n, messages := range s.shards {
		ends[shard(n)] = place(len(messages))
	}
	return ends
}

func (s *tape) Ahead(_ context.Context, from []ports.Place) (map[string]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := map[string]int64{}
	for n, messages := range s.shards {
		ahead[shard(n)] = int64(len(messages))
	}
	for _, p := range from {
		ahead[p.Shard] -= int64(offset(p.Next))
	}
	return ahead, nil
}

func (s *tape) Subscribe(ctx context.Context, _ string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	s.mu.Lock()
	share := map[int]int{}
	for n := range s.shards {
		if s.chaos == nil || s.chaos.IntN(3) > 0 {
			share[n] = s.group[n]
		}
	}
	s.mu.Unlock()
	return s.deliver(ctx, share, resume, handle, func(next map[int]int) {
		for n, at := range next {
			s.group[n] = max(s.group[n], at)
		}
	})
}

func (s *tape) Replay(ctx context.Context, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	all := map[int]int{}
	for n := range s.shards {
		all[n] = 0
	}
	return s.deliver(ctx, all, resume, handle, func(map[int]int) {})
}

func (s *tape) deliver(ctx context.Context, next map[int]int, resume ports.Resume,
	handle func(context.Context, ports.Batch) error, handled func(map[int]int)) error {
	var share []string
	for n := range next {
		share = append(share, shard(n))
	}
	from, err := resume(ctx, share)
	if err != nil {
		return err
	}
	for n := range next {
		for _, p := range from {
			if p.Shard == shard(n) {
				next[n] = offset(p.Next)
			}
		}
	}
	for first := true; ; first = false {
		b, grown := s.read(next)
		if len(b.Messages) == 0 && !first {
			select {
			case <-grown:
				continue
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := handle(ctx, b); err != nil {
			return err
		}
		s.mu.Lock()
		handled(next)
		broken := s.chaos != nil && s.chaos.IntN(10) == 0
		s.mu.Unlock()
		if broken {
			return errBroken
		}
	}
}

func (s *tape) read(next map[int]int) (b ports.Batch, grown chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := s.batch
	if s.chaos != nil {
		size = 1 + s.chaos.IntN(s.batch)
	}
	for n, messages := range s.shards {
		if _, mine := next[n]; !mine {
			continue
		}
		if s.chaos != nil && len(b.Messages) == 0 && next[n] > 0 && next[n] < len(messages) && s.chaos.IntN(5) == 0 {
			next[n] -= 1 + s.chaos.IntN(min(next[n], 3))
		}
		for next[n] < len(messages) && len(b.Messages) < size {
			m := messages[next[n]]
			next[n]++
			b.Messages = append(b.Messages, ports.Delivery{Message: m, Place: ports.Place{Shard: shard(n), Next: place(next[n])}})
		}
		if next[n] == len(messages) {
			b.CaughtUp = append(b.CaughtUp, ports.Place{Shard: shard(n), Next: place(next[n])})
		}
	}
	s.delivered += len(b.Messages)
	return b, s.grown
}

// flaky is a store whose commits fail, before and after they have taken effect, or lose to another consumer.
type flaky struct {
	ports.ReadModelStore
	mu    sync.Mutex
	chaos *rand.Rand
	fail  func() (before, after error) // instead of chaos
}

func (f *flaky) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	before, after := f.draw()
	if before != nil {
		return before
	}
	if err := f.ReadModelStore.Commit(ctx, g, c); err != nil {
		return err
	}
	return after
}

func (f *flaky) draw() (before, after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.fail != nil:
		return f.fail()
	case f.chaos == nil:
		return nil, nil
	}
	outcomes := []error{ports.ErrUnavailable, ports.ErrConflict}
	switch f.chaos.IntN(8) {
	case 0:
		return outcomes[f.chaos.IntN(2)], nil
	case 1:
		return nil, outcomes[f.chaos.IntN(2)]
	}
	return nil, nil
}

// reading is the reading side, and all that outlives its processes.
type reading struct {
	t     testing.TB
	topic *tape
	model *memory.ReadModel
	store *flaky
	// poison makes a message one that cannot be applied.
	poison func(ports.Message) error
}

func newReading(t testing.TB, topic *tape) *reading {
	model := memory.NewReadModel(readside.Tables(readside.All))
	return &reading{t: t, topic: topic, model: model, store: &flaky{ReadModelStore: model}}
}

func (r *reading) options() readside.Options {
	return readside.Options{
		Subscriber: r.topic, Store: r.store, Logger: slog.New(slog.DiscardHandler),
		Decode: func(m ports.Message) (order.Event, error) {
			if r.poison != nil {
				if err := r.poison(m); err != nil {
					return nil, err
				}
			}
			return eventjson.Event(m)
		},
	}
}

// run runs engines; stop ends them and waits for them.
func (r *reading) run(engines ...*readside.Engine) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, e := range engines {
		running.Go(func() {
			if err := e.Run(ctx); err != nil {
				r.t.Errorf("Run = %v, want nil", err)
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); running.Wait() })
}

func (r *reading) start() (*readside.Engine, func()) {
	e := readside.New(r.options())
	stop := r.run(e)
	r.t.Cleanup(stop) // also when the test ends before it should
	return e, stop
}

// tb is what tests and properties have in common.
type tb interface {
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// awaitEnd waits, on the bubble's clock, until the read model includes everything in the topic.
func (r *reading) awaitEnd(t tb) {
	ends := r.topic.ends()
	maps.DeleteFunc(ends, func(_, end string) bool { return end == "" })
	for waited := 0; ; waited++ {
		live, err := r.model.Live(context.Background())
		places, err2 := r.model.Places(context.Background(), live)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		at := map[string]string{}
		for _, p := range places {
			if p.Next != "" {
				at[p.Shard] = p.Next
			}
		}
		if maps.Equal(at, ends) {
			synctest.Wait()
			return
		}
		if waited == 10_000 {
			t.Fatalf("the read model is at %v, and the topic ends at %v", at, ends)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// history is an order's life, made up by chance.
func history(t tb, chance *rand.Rand, id, buyer string) []ports.Message {
	at := noon.Add(time.Duration(chance.IntN(10_000)) * time.Second)
	product := func() string { return fmt.Sprint("product-", chance.IntN(4)) }
	o, err := order.New(id, buyer, []order.Item{{Product: product(), Amount: 1 + chance.IntN(9)}}, at)
	if err != nil {
		t.Fatal(err)
	}
	for range chance.IntN(12) {
		at = at.Add(time.Duration(chance.IntN(100)) * time.Second)
		switch chance.IntN(10) { // refused or not: what happened is in the order
		case 0, 1, 2, 3:
			_ = o.AddItem(product(), 1+chance.IntN(9), at)
		case 4, 5:
			_ = o.ChangeAmount(product(), 1+chance.IntN(9), at)
		case 6:
			_ = o.RemoveItem(product(), at)
		case 7:
			_ = o.Submit(at)
		case 8:
			_ = o.Pay(at)
		case 9:
			_ = o.Cancel(order.ByBuyer, "changed my mind", at)
		}
	}
	return messagesOf(t, o)
}

// lives are some orders' messages, one order after the other.
func lives(t tb, orders int) (messages []ports.Message) {
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range orders {
		messages = append(messages, history(t, chance, fmt.Sprint("order-", i), fmt.Sprint("buyer-", i%7))...)
	}
	return messages
}

func messagesOf(t interface{ Fatal(...any) }, o *order.Order) []ports.Message {
	messages, err := eventjson.Messages(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// basket is an order with so many events.
func basket(t tb, id, buyer string, events int) []ports.Message {
	o, err := order.New(id, buyer, nil, noon)
	for i := 1; err == nil && i < events; i++ {
		err = o.AddItem("p", 1, noon.Add(time.Duration(i)*time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	return messagesOf(t, o)
}

// rowsOf reads all rows of a view, as the API would.
func (r *reading) rowsOf(t tb, view string) map[string]ports.Row {
	rows := map[string]ports.Row{}
	q := ports.Query{View: view, Page: ports.Page{Limit: 3}}
	for {
		page, err := r.model.List(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			rows[row.Key] = row
		}
		if q.Page.Cursor = page.Next; page.Next == "" {
			return rows
		}
	}
}

// wantFold compares all rows of the live read model with what the events come to. That is computed from the aggregate,
// not from the views.
func (r *reading) wantFold(t tb, messages []ports.Message) {
	byOrder := map[string][]ports.Message{}
	for _, m := range messages {
		byOrder[m.OrderID] = append(byOrder[m.OrderID], m)
	}
	want := map[string]map[string]any{"order-summary": {}, "buyer-activity": {}, "timeline": {}}
	for id, list := range byOrder {
		slices.SortFunc(list, func(a, b ports.Message) int { return a.Version - b.Version })
		list = slices.CompactFunc(list, func(a, b ports.Message) bool { return a.Version == b.Version })
		o, document := wantDocument(t, list)
		want["order-summary"][id] = document
		activity, _ := want["buyer-activity"][o.Buyer()].(map[string]int64)
		if activity == nil {
			activity = map[string]int64{}
			want["buyer-activity"][o.Buyer()] = activity
		}
		activity[string(o.Status())]++
		for _, m := range list {
			activity["lastAt"] = max(activity["lastAt"], m.OccurredAt.UnixMilli())
			want["timeline"][fmt.Sprintf("%s\x1f%09d", id, m.Version)] = [3]any{float64(m.Version), m.Type, stamp(m.OccurredAt)}
		}
	}
	for view, rows := range want {
		got := map[string]any{}
		for key, row := range r.rowsOf(t, view) {
			got[key] = contentOf(t, view, row)
		}
		if !reflect.DeepEqual(got, rows) {
			t.Errorf("%s:\n got %v\nwant %v", view, got, rows)
		}
	}
}

func contentOf(t tb, view string, row ports.Row) any {
	if view == "buyer-activity" {
		counters := map[string]int64{}
		for _, c := range row.Counters {
			if c.Value != 0 {
				counters[c.Name] = c.Value
			}
		}
		return counters
	}
	var body map[string]any
	if err := json.Unmarshal(row.Body, &body); err != nil {
		t.Fatal(err)
	}
	if view == "timeline" {
		if body["text"] == "" {
			t.Errorf("the entry %s has no text", row.Body)
		}
		return [3]any{body["version"], body["type"], body["occurredAt"]}
	}
	return body
}

// wantDocument is how the API shows an order in lists.
func wantDocument(t tb, messages []ports.Message) (*order.Order, map[string]any) {
	var events []order.Event
	document := map[string]any{}
	for _, m := range messages {
		event, err := eventjson.Event(m)
		if err != nil {
			t.Fatal(err)
		}
		switch event.(type) {
		case order.Submitted:
			document["submittedAt"] = stamp(m.OccurredAt)
		case order.Paid:
			document["paidAt"] = stamp(m.OccurredAt)
		case order.Cancelled:
			document["cancelledAt"] = stamp(m.OccurredAt)
		}
		events = append(events, event)
	}
	o, err := order.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	lines := o.Items()
	slices.SortFunc(lines, func(a, b order.Item) int { return strings.Compare(a.Product, b.Product) })
	items, total := []any{}, 0
	for _, line := range lines {
		items = append(items, map[string]any{"productId": line.Product, "amount": float64(line.Amount)})
		total += line.Amount
	}
	document["id"], document["buyerId"], document["status"] = o.ID(), o.Buyer(), string(o.Status())
	document["items"], document["totalAmount"], document["version"] = items, float64(total), float64(o.Version())
	document["createdAt"], document["updatedAt"] = stamp(o.CreatedAt()), stamp(o.UpdatedAt())
	return o, document
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// wantParked compares the orders that have buffered messages: "order from first: messages, reason".
func wantParked(t *testing.T, e *readside.Engine, want ...string) {
	t.Helper()
	parked, err := e.Parked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range parked {
		got = append(got, fmt.Sprintf("%s from %d: %d, %s", o.OrderID, o.First, o.Messages, o.Reason))
	}
	if !slices.Equal(got, want) {
		t.Errorf("parked:\n got %q\nwant %q", got, want)
	}
}
