package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// tape is a topic in a few partitions. Its subscriber delivers as badly as a subscriber may: with chaos it delivers what it
// has delivered before, and breaks off; whoever comes back gets another share, which others may have as well.
type tape struct {
	mu         sync.Mutex
	partitions [][]ports.Message
	group      map[int]int64 // where the groups came to
	grown      chan struct{}
	batch      int
	chaos      *rand.Rand // nil for a subscriber that behaves
	delivered  int
}

var (
	errBroken = errors.New("the subscription is broken")
	errPoison = errors.New("nobody understands this")
)

func newTape(partitions, batch int) *tape {
	return &tape{partitions: make([][]ports.Message, partitions), group: map[int]int64{}, grown: make(chan struct{}), batch: batch}
}

func (s *tape) add(messages ...ports.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range messages {
		n := 0
		for _, c := range m.OrderID {
			n += int(c)
		}
		s.partitions[n%len(s.partitions)] = append(s.partitions[n%len(s.partitions)], m)
	}
	close(s.grown)
	s.grown = make(chan struct{})
}

func (s *tape) Ends(context.Context) (map[int]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := map[int]int64{}
	for p, messages := range s.partitions {
		ends[p] = int64(len(messages))
	}
	return ends, nil
}

func (s *tape) Subscribe(ctx context.Context, group string, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	s.mu.Lock()
	var share []int
	next := map[int]int64{}
	for p := range s.partitions {
		if s.chaos == nil || group == "" || s.chaos.IntN(3) > 0 {
			share = append(share, p)
			next[p] = s.group[p]
		}
	}
	s.mu.Unlock()
	from, err := resume(ctx, share)
	if err != nil {
		return err
	}
	maps.Copy(next, from)
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
		for p, offset := range next {
			if group != "" {
				s.group[p] = max(s.group[p], offset)
			}
		}
		broken := s.chaos != nil && s.chaos.IntN(10) == 0
		s.mu.Unlock()
		if broken {
			return errBroken
		}
	}
}

func (s *tape) read(next map[int]int64) (b ports.Batch, grown chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := s.batch
	if s.chaos != nil {
		size = 1 + s.chaos.IntN(s.batch)
	}
	for p, messages := range s.partitions {
		if _, mine := next[p]; !mine {
			continue
		}
		if s.chaos != nil && len(b.Messages) == 0 && next[p] > 0 && int(next[p]) < len(messages) && s.chaos.IntN(5) == 0 {
			next[p] -= 1 + s.chaos.Int64N(next[p])
		}
		for int(next[p]) < len(messages) && len(b.Messages) < size {
			m := messages[next[p]]
			next[p]++
			b.Messages = append(b.Messages, ports.Delivery{Message: m, Partition: p, Next: next[p]})
		}
		if int(next[p]) == len(messages) {
			b.CaughtUp = append(b.CaughtUp, p)
		}
	}
	s.delivered += len(b.Messages)
	return b, s.grown
}

// flaky is an inbox that fails, now before and now after it has committed, or says that somebody else was faster.
type flaky struct {
	*memory.Views
	mu    sync.Mutex
	chaos *rand.Rand
	fail  func() (before, after error) // instead of chaos
}

func (f *flaky) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	before, after := f.draw()
	if before != nil {
		return before
	}
	if err := f.Views.Commit(ctx, g, c); err != nil {
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
	views *memory.Views
	inbox *flaky
	// poison makes a message one that cannot be applied.
	poison func(ports.Message) error
}

func newReading(t testing.TB, topic *tape) *reading {
	views := memory.NewViews()
	return &reading{t: t, topic: topic, views: views, inbox: &flaky{Views: views}}
}

func (r *reading) options(view ports.View) app.ProjectionOptions {
	return app.ProjectionOptions{
		View: view, Subscriber: r.topic, Inbox: r.inbox, Generations: r.views,
		Decode: func(m ports.Message) (order.Event, error) {
			if r.poison != nil {
				if err := r.poison(m); err != nil {
					return nil, err
				}
			}
			return eventjson.Event(m)
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// start runs projections; stop ends them and waits for them.
func (r *reading) start(projections ...*app.Projection) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, p := range projections {
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				r.t.Errorf("Run = %v, want nil", err)
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); running.Wait() })
}

func (r *reading) startView(view ports.View) (*app.Projection, func()) {
	p := app.NewProjection(r.options(view))
	stop := r.start(p)
	r.t.Cleanup(stop) // also when the test ends before it should
	return p, stop
}

// awaitEnd waits, on the bubble's clock, until everything in the topic was dealt with.
func (r *reading) awaitEnd(t interface{ Fatalf(string, ...any) }, views ...ports.View) {
	ends, _ := r.topic.Ends(context.Background())
	maps.DeleteFunc(ends, func(_ int, end int64) bool { return end == 0 })
	for _, view := range views {
		for waited := 0; ; waited++ {
			live, err := r.views.Live(context.Background(), view)
			positions, err2 := r.views.Positions(context.Background(), live)
			if err := errors.Join(err, err2); err != nil {
				t.Fatalf("%v", err)
			}
			maps.DeleteFunc(positions, func(_ int, at int64) bool { return at == 0 })
			if maps.Equal(positions, ends) {
				break
			}
			if waited == 10_000 {
				t.Fatalf("%s is at %v, and the topic ends at %v", view, positions, ends)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// history is an order's life, made up by chance.
func history(t interface{ Fatal(...any) }, chance *rand.Rand, id, buyer string) []ports.Message {
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

func messagesOf(t interface{ Fatal(...any) }, o *order.Order) []ports.Message {
	messages, err := eventjson.Messages(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// basket is an order with so many events.
func basket(t interface{ Fatal(...any) }, id, buyer string, events int) []ports.Message {
	o, err := order.New(id, buyer, nil, noon)
	for i := 1; err == nil && i < events; i++ {
		err = o.AddItem("p", 1, noon.Add(time.Duration(i)*time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	return messagesOf(t, o)
}

// wantFold compares the live views with what their orders' events come to, however they came.
func (r *reading) wantFold(t interface {
	Fatalf(string, ...any)
	Errorf(string, ...any)
}, messages []ports.Message, views ...ports.View) {
	byOrder := map[string][]ports.Message{}
	for _, m := range messages {
		byOrder[m.OrderID] = append(byOrder[m.OrderID], m)
	}
	summaries, activity := map[string]ports.Summary{}, map[string]ports.Activity{}
	buyers := map[string]bool{}
	for id, list := range byOrder {
		slices.SortFunc(list, func(a, b ports.Message) int { return a.Version - b.Version })
		list = slices.CompactFunc(list, func(a, b ports.Message) bool { return a.Version == b.Version })
		byOrder[id] = list
		s := wantSummary(t, list)
		summaries[id], buyers[s.Buyer] = s, true
		a := activity[s.Buyer]
		a.Buyer = s.Buyer
		switch s.Status {
		case order.StatusPending:
			a.Pending++
		case order.StatusSubmitted:
			a.Submitted++
		case order.StatusPaid:
			a.Paid++
		case order.StatusCancelled:
			a.Cancelled++
		}
		for _, m := range list {
			if m.OccurredAt.After(a.LastAt) {
				a.LastAt = m.OccurredAt
			}
		}
		activity[s.Buyer] = a
	}
	ctx := context.Background()
	if slices.Contains(views, ports.OrderSummary) {
		got := map[string]ports.Summary{}
		for buyer := range buyers {
			list, _, err := r.views.Summaries(ctx, ports.SummaryQuery{Buyer: buyer, Page: ports.Page{Limit: 200}})
			if err != nil {
				t.Fatalf("%v", err)
			}
			for _, s := range list {
				got[s.OrderID] = s
			}
		}
		if !reflect.DeepEqual(got, summaries) {
			t.Errorf("summaries:\n got %+v\nwant %+v", got, summaries)
		}
	}
	if slices.Contains(views, ports.BuyerActivity) {
		for buyer := range buyers {
			if got, err := r.views.Activity(ctx, buyer); err != nil || got != activity[buyer] {
				t.Errorf("activity: got %+v, error %v, want %+v", got, err, activity[buyer])
			}
		}
	}
	if slices.Contains(views, ports.OrderTimeline) {
		for id, list := range byOrder {
			got, _, err := r.views.Timeline(ctx, id, ports.Page{Limit: 200})
			if err != nil {
				t.Fatalf("%v", err)
			}
			if !slices.EqualFunc(got, list, func(e ports.TimelineEntry, m ports.Message) bool {
				return e.OrderID == id && e.Version == m.Version && e.Type == m.Type && e.At.Equal(m.OccurredAt) && e.Text != ""
			}) {
				t.Errorf("timeline:\n got %+v\nwant %+v", got, list)
			}
		}
	}
}

// wantSummary is reckoned from the aggregate, not from the fold.
func wantSummary(t interface{ Fatalf(string, ...any) }, messages []ports.Message) ports.Summary {
	var events []order.Event
	var s ports.Summary
	for _, m := range messages {
		event, err := eventjson.Event(m)
		if err != nil {
			t.Fatalf("%v", err)
		}
		switch event.(type) {
		case order.Submitted:
			s.SubmittedAt = m.OccurredAt
		case order.Paid:
			s.PaidAt = m.OccurredAt
		case order.Cancelled:
			s.CancelledAt = m.OccurredAt
		}
		events = append(events, event)
	}
	o, err := order.Replay(events)
	if err != nil {
		t.Fatalf("%v", err)
	}
	s.OrderID, s.Version, s.Buyer, s.Status = o.ID(), o.Version(), o.Buyer(), o.Status()
	s.CreatedAt, s.UpdatedAt, s.Items = o.CreatedAt(), o.UpdatedAt(), o.Items()
	slices.SortFunc(s.Items, func(a, b order.Item) int { return strings.Compare(a.Product, b.Product) })
	for _, item := range s.Items {
		s.TotalAmount += item.Amount
	}
	if len(s.Items) == 0 {
		s.Items = s.Items[:0:0]
	}
	return s
}

// Messages come shuffled, some twice; the subscriber delivers them again and breaks off; the store fails before and
// after it has committed; one message cannot be applied at first. The views are what the events come to.
func TestTheViewsAreTheFoldOfTheEventsHoweverTheyCome(t *testing.T) {
	t.Parallel()
	for _, view := range ports.AllViews {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rapid.Check(inBubble{t}, func(rt *rapid.T) { chaos(t, rt, 1, view) })
			})
		})
	}
}

// Two projections whose shares change all the time, and overlap.
func TestProjectionsThatWorkOnTheSameMessagesDoNotHurtEachOther(t *testing.T) {
	t.Parallel()
	for _, view := range ports.AllViews {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rapid.Check(inBubble{t}, func(rt *rapid.T) { chaos(t, rt, 2, view) })
			})
		})
	}
}

// inBubble keeps rapid from asking for the test's deadline, which a bubble does not allow.
type inBubble struct{ *testing.T }

func chaos(t *testing.T, rt *rapid.T, projections int, view ports.View) {
	chance := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
	var messages []ports.Message
	for i := range rapid.IntRange(1, 8).Draw(rt, "orders") {
		messages = append(messages, history(rt, chance, fmt.Sprint("order-", i), fmt.Sprint("buyer-", i%3))...)
	}
	sent := messages
	if rapid.Bool().Draw(rt, "repeated") {
		sent = append(slices.Clone(sent), sent[chance.IntN(len(sent)):]...)
	}
	if rapid.Bool().Draw(rt, "shuffled") {
		sent = slices.Clone(sent)
		chance.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	}
	r := newReading(t, newTape(rapid.IntRange(1, 3).Draw(rt, "partitions"), rapid.IntRange(1, 30).Draw(rt, "batch")))
	if rapid.Bool().Draw(rt, "bad deliveries") {
		r.topic.chaos = chance
	}
	if rapid.Bool().Draw(rt, "bad commits") {
		r.inbox.chaos = rand.New(rand.NewPCG(chance.Uint64(), 2))
	}
	var all []*app.Projection
	for range projections {
		options := r.options(view)
		options.Remember = rapid.IntRange(1, 4).Draw(rt, "remember")
		all = append(all, app.NewProjection(options))
	}
	var poison ports.Message
	if rapid.Bool().Draw(rt, "poisoned") {
		poison = messages[chance.IntN(len(messages))]
	}
	var cured atomic.Bool
	r.poison = func(m ports.Message) error {
		if m.ID == poison.ID && !cured.Load() {
			return errPoison
		}
		return nil
	}
	defer r.start(all...)()
	late := 0
	if rapid.Bool().Draw(rt, "some of it later") {
		late = len(sent) / 2
	}
	r.topic.add(sent[late:]...)
	time.Sleep(2 * time.Second)
	r.topic.add(sent[:late]...)
	r.awaitEnd(rt, view)
	cured.Store(true)
	err := ports.ErrUnavailable
	for poison.ID != "" && (errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrConflict)) {
		err = all[0].Retry(t.Context(), poison.OrderID)
	}
	r.wantFold(rt, messages, view)
	if held, err := all[0].Parked(t.Context()); err != nil || len(held) > 0 {
		rt.Errorf("kept back in the end: %v, error %v", held, err)
	}
}

// The commit went well and its answer was lost: nothing is counted twice.
func TestACommitWhoseAnswerIsLostTakesEffectOnce(t *testing.T) {
	t.Parallel()
	for _, view := range ports.AllViews {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newReading(t, newTape(2, 10))
				answered := false
				r.inbox.fail = func() (before, after error) {
					if answered = !answered; answered {
						return nil, ports.ErrUnavailable
					}
					return nil, nil
				}
				var messages []ports.Message
				for i := range 10 {
					messages = append(messages, basket(t, fmt.Sprint("order-", i), "b", 3)...)
				}
				p, stop := r.startView(view)
				r.topic.add(messages...)
				r.awaitEnd(t, view)
				stop()
				r.wantFold(t, messages, view)
				if s := p.Status(); s.Failed == 0 || s.Conflicts == 0 {
					t.Errorf("status %+v, want answers that were lost, and conflicts that told of it", s)
				}
			})
		})
	}
}

func TestAProjectionOutlivesAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		var away atomic.Bool
		away.Store(true)
		r.inbox.fail = func() (before, after error) {
			if away.Load() {
				return ports.ErrUnavailable, nil
			}
			return nil, nil
		}
		messages := basket(t, "o", "b", 30)
		p, _ := r.startView(ports.OrderSummary)
		r.topic.add(messages...)
		time.Sleep(time.Hour)
		if s := p.Status(); s.Applied != 0 || s.Failed < 100 {
			t.Errorf("after an hour without a store: %+v, want no message applied and many tries", s)
		}
		away.Store(false)
		time.Sleep(10 * time.Second)
		if s := p.Status(); s.Applied != 30 || s.Repeats != 0 {
			t.Errorf("when it came back: %+v, want 30 applied", s)
		}
		r.wantFold(t, messages, ports.OrderSummary)
	})
}

// The position is the view's own: what the group did for another generation does not count.
func TestAViewBeginsAtTheFirstMessageWhereverItsGroupIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		r.topic.group = map[int]int64{0: 2, 1: 2, 2: 2}
		var messages []ports.Message
		for i := range 6 {
			messages = append(messages, basket(t, fmt.Sprint("order-", i), "b", 4)...)
		}
		r.topic.add(messages...)
		r.startView(ports.BuyerActivity)
		r.awaitEnd(t, ports.BuyerActivity)
		r.wantFold(t, messages, ports.BuyerActivity)
	})
}

func TestWhatIsNoMessageOfAnOrderIsPassedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 100))
		messages := basket(t, "o", "b", 3)
		odd := func(change func(*ports.Message)) ports.Message {
			m := messages[1]
			change(&m)
			return m
		}
		sent := []ports.Message{
			{}, messages[0],
			odd(func(m *ports.Message) { m.ID = "" }),
			odd(func(m *ports.Message) { m.ID = "o/3" }),
			odd(func(m *ports.Message) { m.ID = "p/2" }),
			odd(func(m *ports.Message) { m.ID, m.Version = "o/0", 0 }),
			odd(func(m *ports.Message) { m.ID, m.OrderID = "/2", "" }),
			odd(func(m *ports.Message) { m.ID = "o/02" }),
			messages[1], messages[2],
		}
		p, _ := r.startView(ports.OrderSummary)
		r.topic.add(sent...)
		r.awaitEnd(t, ports.OrderSummary)
		r.wantFold(t, messages, ports.OrderSummary)
		if s := p.Status(); s.Foreign != 7 || s.Applied != 3 || s.Repeats+s.Held+s.Parked != 0 {
			t.Errorf("status %+v, want 7 foreign messages and 3 applied", s)
		}
	})
}

func TestAViewSaysUpToWhenItKnowsEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 2))
		wantAsOf := func(when string, p *app.Projection, want time.Time) {
			t.Helper()
			f, err := r.views.Freshness(t.Context(), ports.OrderSummary, "")
			if err != nil || !f.AsOf.Equal(want) {
				t.Errorf("%s: as of %s, error %v, want %s", when, f.AsOf, err, want)
			}
			if s := p.Status(); !s.AsOf.Equal(want) {
				t.Errorf("%s: the status says as of %s, want %s", when, s.AsOf, want)
			}
		}
		time.Sleep(time.Until(noon.Add(time.Hour)))
		commits := 2 // of two messages each, before the store goes away
		r.inbox.fail = func() (before, after error) {
			if commits--; commits < 0 {
				return ports.ErrUnavailable, nil
			}
			return nil, nil
		}
		allow := func(n int) {
			r.inbox.mu.Lock()
			defer r.inbox.mu.Unlock()
			commits = n
		}
		messages := basket(t, "o", "b", 6)
		r.topic.add(messages...)
		p, stop := r.startView(ports.OrderSummary)
		synctest.Wait()
		wantAsOf("with two messages to come", p, messages[3].OccurredAt)
		stop()

		allow(1000)
		p, stop = r.startView(ports.OrderSummary)
		defer stop()
		synctest.Wait()
		wantAsOf("with none to come", p, time.Now())
		time.Sleep(10*time.Second + 500*time.Millisecond)
		known := time.Now().Add(-500 * time.Millisecond)
		wantAsOf("ten seconds later", p, known)
		allow(1)
		r.topic.add(basket(t, "p", "b", 3)...) // which took their time: they occurred long ago
		synctest.Wait()
		wantAsOf("in the midst of what took its time", p, known)
		if s := p.Status(); s.Applied != 4 { // two of the first order, whose others the projection before it applied
			t.Errorf("status %+v, want 4 applied", s)
		}
	})
}

// The view is dropped, or restored as it was some time ago, under a projection that has read further.
func TestAViewThatWasRestoredIsMadeUpFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(3, 10))
		messages := lives(t, 60)
		third := len(messages) / 3
		r.startView(ports.BuyerActivity)
		r.topic.add(messages[:third]...)
		r.awaitEnd(t, ports.BuyerActivity)
		r.topic.add(messages[third : 2*third]...)
		r.awaitEnd(t, ports.BuyerActivity)
		synctest.Wait()
		r.views = memory.NewViews()
		r.inbox.Views = r.views
		r.topic.add(messages[2*third:]...)
		r.awaitEnd(t, ports.BuyerActivity)
		r.wantFold(t, messages, ports.BuyerActivity)
	})
}

// script is a subscriber that delivers these batches, and then nothing.
type script []ports.Batch

func (s script) Ends(context.Context) (map[int]int64, error) { return nil, nil }

func (s script) Subscribe(ctx context.Context, _ string, _ ports.Resume, handle func(context.Context, ports.Batch) error) error {
	for _, b := range s {
		if err := handle(ctx, b); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestAPositionNeverGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReading(t, newTape(1, 10))
		time.Sleep(time.Until(noon.Add(time.Hour)))
		var all []ports.Delivery
		for i, m := range basket(t, "o", "b", 5) {
			all = append(all, ports.Delivery{Message: m, Partition: 4, Next: int64(i + 1)})
		}
		var commits []ports.Change
		options := r.options(ports.OrderSummary)
		options.Subscriber = script{{Messages: all[:4]}, {Messages: all[:2]}, {Messages: all[1:3], CaughtUp: []int{4, 5}}}
		options.Inbox = witnessed{r.views, &commits}
		defer r.start(app.NewProjection(options))()
		synctest.Wait()
		var got [][]ports.PositionChange
		for _, c := range commits {
			got = append(got, c.Positions)
		}
		want := [][]ports.PositionChange{ // and none for what was only repeats
			{{Partition: 4, From: 0, To: 4, AsOf: all[3].OccurredAt}},
			{{Partition: 4, From: 4, To: 4, AsOf: time.Now()}, {Partition: 5, AsOf: time.Now()}},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("positions:\n got %v\nwant %v", got, want)
		}
	})
}

// witnessed is an inbox that somebody looks at.
type witnessed struct {
	ports.Inbox
	commits *[]ports.Change
}

func (w witnessed) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	*w.commits = append(*w.commits, c)
	return w.Inbox.Commit(ctx, g, c)
}
