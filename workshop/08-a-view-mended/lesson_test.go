//go:build exercise

package lesson_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/sqlite"
	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

// A shop has three orders of buyer 9999 in one file of SQLite, with its topic and its read model: order-1 is refunded,
// order-2 is paid, order-3 is new. Yesterday's versions of the reading side have fed the views.
var keep = flag.String("keep", "", "leave the file there, as version 1 of the reading side left it")

// Step 1: version 1 had never heard of refunds and parked order-1. Version 2 knows the event and applies it at a retry.
func TestAParkedOrderGoesOnAfterARetry(t *testing.T) {
	s := newShop(t, cmp.Or(*keep, filepath.Join(t.TempDir(), "shop.db")))
	s.feed(version1)
	if parked, err := s.engine(version1).Parked(t.Context()); err != nil || len(parked) != 1 || parked[0].OrderID != "order-1" {
		t.Fatalf("version 1 has parked %+v, error %v, want order-1", parked, err)
	}
	if *keep != "" {
		return
	}
	if err := s.engine(version2).Retry(t.Context(), "order-1"); err != nil {
		t.Fatalf("order-1 stays parked after the retry: %v", err)
	}
	if parked, err := s.engine(version2).Parked(t.Context()); err != nil || len(parked) != 0 {
		t.Errorf("parked: got %+v and error %v, want none", parked, err)
	}
	if body := s.summary("order-1"); body.Status != "refunded" || body.Version != 3 {
		t.Errorf("order-1 in the list of orders: got %+v, want status refunded and version 3", body)
	}
}

// Step 2: no view refuses an event that it does not know. It shows what it can, and the reader wonders.
func TestTheTimelineHasWords(t *testing.T) {
	s := newShop(t, filepath.Join(t.TempDir(), "shop.db"))
	s.feed(today)
	if last := s.lastOfTimeline("order-1"); last.Type != "OrderRefunded" || last.Text == "" || last.Text == last.Type {
		t.Errorf("the timeline of order-1 ends with %q, want words for its refund", last.Text)
	}
}

// Step 3: version 2 did not count refunded orders. A counter is a column, and the table of yesterday does not have it.
func TestANewColumnNeedsARebuild(t *testing.T) {
	s := newShop(t, filepath.Join(t.TempDir(), "shop.db"))
	s.feed(version2)
	err := readside.Rebuild(t.Context(), s.options(today), func(readside.RebuildProgress) {})
	if err != nil {
		t.Fatalf("rebuild: %v", err)
	}
	row, err := s.model(today).Row(t.Context(), "buyer-activity", "9999")
	if err != nil {
		t.Fatal(err)
	}
	if got := row.Counter("refunded"); got != 1 {
		t.Errorf("after a rebuild buyer 9999 has %d refunded orders, want 1", got)
	}
	if pending, paid := row.Counter("pending"), row.Counter("paid"); pending != 1 || paid != 1 {
		t.Errorf("after a rebuild buyer 9999 has %d pending and %d paid orders, want 1 of each", pending, paid)
	}
	if s.summary("order-1").RefundedAt == "" {
		t.Error("after a rebuild order-1 has no refundedAt in the list of orders")
	}
}

// version is a version of the reading side.
type version struct {
	views  []readside.View
	decode func(ports.Message) (order.Event, error)
}

var (
	version1 = version{yesterdaysViews(), func(m ports.Message) (order.Event, error) {
		if m.Type == "OrderRefunded" {
			return nil, fmt.Errorf("message %s of type %q: %w", m.ID, m.Type, eventjson.ErrUnknownType)
		}
		return eventjson.Event(m)
	}}
	version2 = version{yesterdaysViews(), eventjson.Event}
	today    = version{readside.All, eventjson.Event}
)

// yesterdaysViews count no refunded orders.
func yesterdaysViews() []readside.View {
	views := slices.Clone(readside.All)
	for i, v := range views {
		if v.Name != "buyer-activity" {
			continue
		}
		views[i].Counters = slices.DeleteFunc(slices.Clone(v.Counters), func(name string) bool { return name == "refunded" })
		views[i].Apply = func(before, after readside.Order, event readside.Event, rows *readside.Rows) {
			if after.Status == "refunded" {
				after.Status = "a status that nobody knew"
			}
			v.Apply(before, after, event, rows)
		}
	}
	return views
}

// shop is what outlives every process.
type shop struct {
	t     *testing.T
	db    *sqlite.DB
	topic *sqlite.Topic
}

func newShop(t *testing.T, path string) *shop {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &shop{t, db, sqlite.NewTopic(db)}
	store, broker := sqlite.NewStore(db), inproc.NewBroker(s.topic)
	for _, o := range orders(t) {
		if err := store.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
			t.Fatal(err)
		}
		messages, err := store.Messages(t.Context(), o.ID(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			published := make(chan error, 1)
			broker.Publish(t.Context(), m, func(err error) { published <- err })
			if err := <-published; err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := broker.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func orders(t *testing.T) (all []*order.Order) {
	t.Helper()
	morning := time.Date(2026, time.March, 14, 8, 0, 0, 0, time.UTC)
	for i := range 3 {
		o, err := order.New(fmt.Sprintf("order-%d", i+1), "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
		if err == nil && i < 2 {
			err = o.Pay(morning.Add(time.Hour))
		}
		if err == nil && i < 1 {
			err = o.Refund(morning.Add(2 * time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

func (s *shop) model(v version) *sqlite.ReadModel {
	return sqlite.NewReadModel(s.db, readside.Tables(v.views))
}

func (s *shop) options(v version) readside.Options {
	return readside.Options{
		Views: v.views, Subscriber: inproc.NewSubscriber(s.topic), Store: s.model(v), Decode: v.decode,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func (s *shop) engine(v version) *readside.Engine { return readside.New(s.options(v)) }

// feed runs the reading side until it has come to the end of the topic, which is the only event of order-3.
func (s *shop) feed(v version) {
	s.t.Helper()
	ctx, stop := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.engine(v).Run(ctx) }()
	_, _, err := readside.NewQueries(s.model(v), readside.QueriesOptions{Wait: 20 * time.Second}).
		Row(ctx, "order-summary", "order-3", ports.EventRef{OrderID: "order-3", Version: 1})
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		s.t.Fatalf("feed the views: %v", err)
	}
}

// summary is an order in the list of orders.
func (s *shop) summary(id string) (body struct {
	Status, RefundedAt string
	Version            int
}) {
	s.t.Helper()
	row, err := s.model(today).Row(s.t.Context(), "order-summary", id)
	if err == nil {
		err = json.Unmarshal(row.Body, &body)
	}
	if err != nil {
		s.t.Fatalf("%s in the list of orders: %v", id, err)
	}
	return body
}

func (s *shop) lastOfTimeline(id string) (entry struct{ Type, Text string }) {
	s.t.Helper()
	page, err := s.model(today).List(s.t.Context(),
		ports.Query{View: "timeline", Prefix: readside.TimelinePrefix(id), Page: ports.Page{Limit: 10}})
	if err != nil || len(page.Rows) == 0 {
		s.t.Fatalf("the timeline of %s has %d entries, error %v", id, len(page.Rows), err)
	}
	if err := json.Unmarshal(page.Rows[len(page.Rows)-1].Body, &entry); err != nil {
		s.t.Fatal(err)
	}
	return entry
}
