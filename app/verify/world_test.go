package verify_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/adapters/sqlite"
	"hexorders/app/readside"
	"hexorders/app/verify"
	"hexorders/core/order"
	"hexorders/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service at rest: a store, a topic, a read model.
type world struct {
	t       testing.TB
	store   verify.Store
	topic   inproc.Log
	views   ports.ReadModelStore
	parking ports.Parking
	now     time.Time
	orders  map[string]*order.Order
}

func newMemory(t testing.TB) *world {
	return &world{
		t: t, store: memory.NewStore(), topic: memory.NewTopic(), parking: memory.NewParking(),
		views: memory.NewReadModel(readside.Tables(readside.All)), now: time.Now().Add(-time.Hour), orders: map[string]*order.Order{},
	}
}

// openFile opens a database file, with a way to change it behind the service's back.
func openFile(t testing.TB, path string) (*world, *sql.DB) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = behind.Close()
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &world{
		t: t, store: sqlite.NewStore(db), topic: sqlite.NewTopic(db), parking: sqlite.NewParking(db),
		views: sqlite.NewReadModel(db, readside.Tables(readside.All)), now: time.Now().Add(-time.Hour), orders: map[string]*order.Order{},
	}, behind
}

func (w *world) fail(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// save commits an order's changes and returns their messages, which are not in the topic yet.
func (w *world) save(o *order.Order) []ports.Message {
	w.t.Helper()
	messages, err := eventjson.Messages(w.t.Context(), o)
	w.fail(err)
	w.fail(w.store.Save(w.t.Context(), o, ports.IdempotencyKey{}))
	w.orders[o.ID()] = o
	return messages
}

func (w *world) publish(messages ...ports.Message) {
	w.t.Helper()
	w.fail(w.topic.Append(w.t.Context(), messages))
}

// repeat publishes the first messages of the topic once more.
func (w *world) repeat(messages int) {
	w.t.Helper()
	first, _, err := w.topic.Read(w.t.Context(), 0, messages)
	w.fail(err)
	w.publish(first...)
}

// create makes and publishes an order with that many versions.
func (w *world) create(id string, versions int) {
	w.t.Helper()
	o, err := order.New(id, "buyer-"+id[len(id)-1:], []order.Item{{Product: "tea", Amount: 2}}, w.tick())
	w.fail(err)
	w.publish(w.save(o)...)
	for o.Version() < versions {
		w.fail(o.AddItem("pot", 1, w.tick()))
		w.publish(w.save(o)...)
	}
}

func (w *world) tick() time.Time {
	w.now = w.now.Add(1700 * time.Millisecond)
	return w.now
}

// live creates orders of all kinds, and publishes some events twice. One order at least is paid.
func (w *world) live(random *rand.Rand, orders int) {
	w.t.Helper()
	w.create("order-paid-1", 2)
	paid := w.orders["order-paid-1"]
	w.fail(paid.Pay(w.tick()))
	w.publish(w.save(paid)...)
	for n := range orders {
		id := fmt.Sprintf("order-%04d", n)
		products := []string{"tea", "pot", "cup", "a, \"b\" <c>"}
		var items []order.Item
		for _, product := range products[:random.IntN(4)] {
			items = append(items, order.Item{Product: product, Amount: 1 + random.IntN(9)})
		}
		o, err := order.New(id, fmt.Sprintf("buyer-%d", random.IntN(6)), items, w.tick())
		w.fail(err)
		messages := w.save(o)
		for range random.IntN(8) {
			switch random.IntN(7) { // what the rules reject changes nothing
			case 0, 1:
				_ = o.AddItem(products[random.IntN(4)], 1+random.IntN(9), w.tick())
			case 2:
				_ = o.ChangeAmount(products[random.IntN(4)], 1+random.IntN(9), w.tick())
			case 3:
				_ = o.RemoveItem(products[random.IntN(4)], w.tick())
			case 4:
				_ = o.Submit(w.tick())
			case 5:
				_ = o.Pay(w.tick())
			case 6:
				_ = o.Cancel(order.ByBuyer, "no tea", w.tick())
			}
			messages = append(messages, w.save(o)...)
		}
		w.publish(messages...)
		if random.IntN(4) == 0 {
			w.publish(messages[random.IntN(len(messages)):]...)
		}
	}
}

func (w *world) readsideOptions() readside.Options {
	return readside.Options{
		Subscriber: inproc.NewSubscriber(w.topic), Store: w.views, Decode: eventjson.Event, Logger: slog.New(slog.DiscardHandler),
		LookEvery: time.Hour,
	}
}

// rebuild makes the views of what the topic has.
func (w *world) rebuild() {
	w.t.Helper()
	w.fail(readside.Rebuild(w.t.Context(), w.readsideOptions(), func(readside.RebuildProgress) {}))
}

// rebuildFromStore makes the views of what the store has.
func (w *world) rebuildFromStore() {
	w.t.Helper()
	o := w.readsideOptions()
	o.Orders, o.FromStore = w.store, true
	w.fail(readside.Rebuild(w.t.Context(), o, func(readside.RebuildProgress) {}))
}

// consume lets the views apply what the topic has, as a consumer does.
func (w *world) consume() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- readside.New(w.readsideOptions()).Run(ctx) }()
	for {
		live, err := w.views.Live(ctx)
		w.fail(err)
		places, err := w.views.Places(ctx, live)
		w.fail(err)
		ahead, err := inproc.NewSubscriber(w.topic).Ahead(ctx, places)
		w.fail(err)
		if ahead[""] == 0 {
			break
		}
		time.Sleep(time.Millisecond) // there is nothing to wait for: the store tells nobody
	}
	cancel()
	w.fail(<-ended)
}

func (w *world) options() verify.Options {
	return verify.Options{
		Store: w.store, Topic: inproc.NewSubscriber(w.topic), Decode: eventjson.Event, ReadModel: w.views, Parking: w.parking,
		Settle: time.Millisecond, Folder: w.t.TempDir(),
	}
}

func (w *world) check() *verify.Report {
	w.t.Helper()
	report, err := verify.Check(w.t.Context(), w.options())
	w.fail(err)
	return report
}

// inWords are the differences, a line each.
func inWords(r *verify.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v", r.Counts)
	for _, d := range r.Differences {
		fmt.Fprintf(&b, "\n  %s: order %q version %d, view %q key %q: %s", d.Kind, d.Order, d.Version, d.View, d.Key, d.Detail)
	}
	for _, u := range r.Unproven {
		fmt.Fprintf(&b, "\n  unproven: %s", u)
	}
	return b.String()
}

// counted is a store whose reads are counted.
type counted struct {
	verify.Store
	gets, scans int
}

func (s *counted) Get(ctx context.Context, id string) (*order.Order, error) {
	s.gets++
	return s.Store.Get(ctx, id)
}

func (s *counted) ScanMessages(ctx context.Context, after ports.EventRef, limit int) ([]ports.Message, error) {
	s.scans++
	return s.Store.ScanMessages(ctx, after, limit)
}

// wantAgreement fails for any difference. Where all agrees at once, nothing is read twice or waited for.
func (w *world) wantAgreement() {
	w.t.Helper()
	store, options := &counted{Store: w.store}, w.options()
	options.Store = store
	last := map[string]verify.Progress{}
	options.Report = func(p verify.Progress) {
		if p.Done < last[p.Step].Done || p.Total > 0 && p.Done > p.Total {
			w.t.Errorf("the progress goes from %+v to %+v", last[p.Step], p)
		}
		last[p.Step] = p
	}
	r, err := verify.Check(w.t.Context(), options)
	w.fail(err)
	want := map[string]verify.Progress{ // and none of a step "settle"
		"rows":    {Step: "rows", Done: r.Rows},
		"store":   {Step: "store", Done: r.Events, Total: max(r.Events, r.Records)},
		"compare": {Step: "compare", Done: r.Rows, Total: r.Rows},
	}
	if r.Records > 0 {
		want["topic"] = verify.Progress{Step: "topic", Done: r.Records, Total: r.Records}
	}
	if !maps.Equal(last, want) {
		w.t.Errorf("the progress is in the end %+v, want %+v", last, want)
	}
	if store.gets > 0 || store.scans > 2 { // a page and the last one, which is empty
		w.t.Errorf("%d orders and %d pages of messages were read once more", store.gets, store.scans-2)
	}
	if !r.Agree() || len(r.Unproven) > 0 || r.Unknown > 0 || r.UnprovenRows > 0 {
		w.t.Errorf("nothing is wrong, and verify says %s", inWords(r))
	}
}

// wantCounts fails unless these are the differences.
func wantCounts(t testing.TB, r *verify.Report, want map[verify.Kind]int64) {
	t.Helper()
	if fmt.Sprint(r.Counts) != fmt.Sprint(want) {
		t.Errorf("got %s\nwant %v", inWords(r), want)
	}
}

// template is a database with a life behind it, as bytes.
func template(t *testing.T, random *rand.Rand, orders int) []byte {
	path := filepath.Join(t.TempDir(), "template.db")
	t.Run("template", func(t *testing.T) { // so that the file is closed
		w, _ := openFile(t, path)
		w.live(random, orders)
		w.rebuild()
		w.wantAgreement()
	})
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
