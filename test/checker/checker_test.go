package checker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

func TestAHealthyHistoryHasNoViolation(t *testing.T) {
	h := healthy(t)
	report := Check(h, 0)
	if len(report.Violations) > 0 {
		t.Fatalf("got %v", report)
	}
	if report.Orders != 3 || report.Committed != 9 || report.Records != 9 || report.Duplicates != 0 || report.Parked != 0 {
		t.Errorf("figures are %v, want 3 orders, 9 messages, 9 records", report)
	}
}

func TestAnEmptyHistoryHasNoViolation(t *testing.T) {
	if report := Check(History{Partitions: 12}, 0); len(report.Violations) > 0 {
		t.Errorf("got %v", report)
	}
}

// Each row spoils a healthy history in one way and names every rule, and only those, that must be reported for it.
func TestASeededBugIsReported(t *testing.T) {
	tests := map[string]struct {
		spoil func(*testing.T, *History)
		want  []Rule
	}{
		"the last message of an order is lost": {func(t *testing.T, h *History) {
			h.drop(t, "order-1/4")
		}, []Rule{Lost}},
		"a message in the middle is lost": {func(t *testing.T, h *History) {
			h.drop(t, "order-1/2")
		}, []Rule{Lost, OutOfOrder}},
		"every message is lost": {func(t *testing.T, h *History) {
			h.Topic = nil
		}, []Rule{Lost}},
		"two messages changed places": {func(t *testing.T, h *History) {
			a, b := h.record(t, "order-1/2"), h.record(t, "order-1/3")
			*a, *b = *b, *a
		}, []Rule{OutOfOrder}},
		"a later message came first and was repeated in its place": {func(t *testing.T, h *History) {
			h.Topic = slices.Insert(h.Topic, h.index(t, "order-2/1"), *h.record(t, "order-2/3"))
		}, []Rule{OutOfOrder}},
		"a message was never committed": {func(t *testing.T, h *History) {
			invented := recordOf(h, Document{ID: "order-1/5", AggregateID: "order-1", Version: 5, Type: "OrderPaid",
				Payload: `{"orderId":"order-1","version":5}`})
			h.Topic = append(h.Topic, invented)
		}, []Rule{Invented}},
		"a record is no message at all": {func(t *testing.T, h *History) {
			h.Topic = append(h.Topic, Record{Value: "hello"})
		}, []Rule{Invented}},
		"a value differs by a space": {func(t *testing.T, h *History) {
			h.record(t, "order-2/2").Value += " "
		}, []Rule{Altered}},
		"a value is another message's": {func(t *testing.T, h *History) {
			h.record(t, "order-2/2").Value = h.record(t, "order-2/3").Value
		}, []Rule{Altered}},
		"the key is the message's id": {func(t *testing.T, h *History) {
			h.record(t, "order-2/2").Key = "order-2/2"
		}, []Rule{WrongKey}},
		"ce_id is unknown": {setHeader("order-2/2", "ce_id", "42"), []Rule{WrongHeader}},
		"ce_id is another message's": {setHeader("order-2/2", "ce_id", "order-2/1"),
			[]Rule{Altered, Lost, OutOfOrder, WrongHeader}},
		"ce_specversion is wrong":      {setHeader("order-2/2", "ce_specversion", "1"), []Rule{WrongHeader}},
		"ce_type is wrong":             {setHeader("order-2/2", "ce_type", "OrderCreated"), []Rule{WrongHeader}},
		"ce_time is another moment":    {setHeader("order-2/2", "ce_time", "2026-01-01T00:00:00Z"), []Rule{WrongHeader}},
		"ce_time is no time":           {setHeader("order-2/2", "ce_time", "yesterday"), []Rule{WrongHeader}},
		"ce_subject is wrong":          {setHeader("order-2/2", "ce_subject", "order-1"), []Rule{WrongHeader}},
		"ce_aggregateversion is wrong": {setHeader("order-2/2", "ce_aggregateversion", "02"), []Rule{WrongHeader}},
		"ce_source differs":            {setHeader("order-2/2", "ce_source", "/other"), []Rule{WrongHeader}},
		"content-type is wrong":        {setHeader("order-2/2", "content-type", "text/plain"), []Rule{WrongHeader}},
		"traceparent is another":       {setHeader("order-1/1", "traceparent", "00-1-1-00"), []Rule{WrongHeader}},
		"traceparent is missing": {func(t *testing.T, h *History) {
			r := h.record(t, "order-1/1")
			r.Headers = slices.DeleteFunc(r.Headers, func(h Header) bool { return h.Name == "traceparent" })
		}, []Rule{WrongHeader}},
		"all headers are missing": {func(t *testing.T, h *History) {
			h.record(t, "order-2/2").Headers = nil
		}, []Rule{WrongHeader}},
		"a header stands there twice": {func(t *testing.T, h *History) {
			r := h.record(t, "order-2/2")
			r.Headers = append(r.Headers, r.Headers[0])
		}, []Rule{WrongHeader}},
		"a header is unknown": {func(t *testing.T, h *History) {
			r := h.record(t, "order-2/2")
			r.Headers = append(r.Headers, Header{"ce_color", "blue"})
		}, []Rule{WrongHeader}},
		"a whole order is in another partition": {func(t *testing.T, h *History) {
			for version := 1; version <= 3; version++ {
				r := h.record(t, "order-2/"+strconv.Itoa(version))
				r.Partition = (r.Partition + 1) % int32(h.Partitions)
			}
		}, []Rule{WrongPartition}},
		"one message is in another partition": {func(t *testing.T, h *History) {
			r := h.record(t, "order-2/2")
			r.Partition = (r.Partition + 1) % int32(h.Partitions)
		}, []Rule{Scattered, WrongPartition}},
		"the outbox has a gap": {func(t *testing.T, h *History) {
			h.Outbox = slices.DeleteFunc(h.Outbox, func(d Document) bool { return d.ID == "order-1/2" })
		}, []Rule{BadOutbox, Diverged, Forgotten, Invented, OutOfOrder}},
		"a document's fields contradict its payload": {func(t *testing.T, h *History) {
			h.document(t, "order-2/2").OccurredAt = morning
		}, []Rule{BadOutbox, WrongHeader}},
		"a document has another id than its fields say": {func(t *testing.T, h *History) {
			h.document(t, "order-2/3").ID = "order-2/03"
		}, []Rule{BadOutbox, Invented, Lost}},
		"a document is of another aggregate": {func(t *testing.T, h *History) {
			h.document(t, "order-2/3").AggregateType = "invoice"
		}, []Rule{BadOutbox}},
		"a document's type is unknown": {func(t *testing.T, h *History) {
			h.document(t, "order-2/3").Type = "OrderEaten"
		}, []Rule{BadOutbox, WrongHeader}},
		"an order's document has another status": {func(t *testing.T, h *History) {
			h.Orders[0].Status = order.StatusCancelled
		}, []Rule{Diverged}},
		"an order's document has another amount": {func(t *testing.T, h *History) {
			h.Orders[0].Items[0].Amount++
		}, []Rule{Diverged}},
		"an order's document lacks the last change": {func(t *testing.T, h *History) {
			h.Orders[0].Version--
		}, []Rule{Diverged}},
		"an order's document has no events": {func(t *testing.T, h *History) {
			h.Orders = append(h.Orders, order.Snapshot{ID: "order-9", Version: 1})
		}, []Rule{Diverged}},
		"an order's document is gone": {func(t *testing.T, h *History) {
			h.Orders = h.Orders[1:]
		}, []Rule{Diverged}},
		"more duplicates than can be explained": {func(t *testing.T, h *History) {
			h.repeat(allowedDuplicates + 1)
		}, []Rule{Repeated}},
		"a client was told of a change that is not committed": {func(t *testing.T, h *History) {
			h.Answered["order-1"] = 5
		}, []Rule{Forgotten}},
		"a client was told of an order that is not committed": {func(t *testing.T, h *History) {
			h.Answered["order-9"] = 1
		}, []Rule{Forgotten}},
		"a parked message was never committed": {func(t *testing.T, h *History) {
			h.Parked = []string{"order-9/1"}
		}, []Rule{BadParking}},
		"a parked message is in the topic": {func(t *testing.T, h *History) {
			h.Parked = []string{"order-1/4"}
		}, []Rule{BadParking}},
		"a message flowed past a parked one": {func(t *testing.T, h *History) {
			h.drop(t, "order-1/3")
			h.Parked = []string{"order-1/3"}
		}, []Rule{BadParking, OutOfOrder}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := healthy(t)
			test.spoil(t, &h)
			report := Check(h, allowedDuplicates)
			found := map[Rule]bool{}
			for _, v := range report.Violations {
				found[v.Rule] = true
			}
			if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, test.want) {
				t.Errorf("reported rules are %q, want %q; %v", got, test.want, report)
			}
		})
	}
}

// What the guarantees allow must not be reported, or the tests with faults could never pass.
func TestWhatTheGuaranteesAllowIsNoViolation(t *testing.T) {
	t.Run("duplicates within the bound, in order", func(t *testing.T) {
		h := healthy(t)
		h.repeat(allowedDuplicates)
		report := Check(h, allowedDuplicates)
		if len(report.Violations) > 0 || report.Duplicates != allowedDuplicates {
			t.Errorf("got %v, want %d duplicates and no violation", report, allowedDuplicates)
		}
	})
	t.Run("the end of an order is parked", func(t *testing.T) {
		h := healthy(t)
		h.drop(t, "order-1/3")
		h.drop(t, "order-1/4")
		h.Parked = []string{"order-1/3", "order-1/4"}
		report := Check(h, 0)
		if len(report.Violations) > 0 || report.Parked != 2 {
			t.Errorf("got %v, want 2 parked messages and no violation", report)
		}
	})
	t.Run("more is committed than a client was told", func(t *testing.T) {
		h := healthy(t)
		h.Answered["order-1"] = 2
		delete(h.Answered, "order-2")
		if report := Check(h, 0); len(report.Violations) > 0 {
			t.Errorf("got %v", report)
		}
	})
}

// Where events are kept, orders are what these add up to, and a snapshot may be missing or old, and not wrong.
func TestAStoreOfEventsIsJudgedByItsEvents(t *testing.T) {
	for name, x := range map[string]struct {
		spoil  func(*testing.T, *History)
		want   []Rule
		orders int
	}{
		"every snapshot is there": {func(*testing.T, *History) {}, nil, 3},
		"no snapshot is there":    {func(_ *testing.T, h *History) { h.Orders = nil }, nil, 3},
		"a snapshot is old": {func(t *testing.T, h *History) {
			o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
			if err != nil {
				t.Fatal(err)
			}
			h.Orders[0] = o.Snapshot()
		}, nil, 3},
		"a snapshot has another amount":      {func(_ *testing.T, h *History) { h.Orders[0].Items[0].Amount++ }, []Rule{Diverged}, 3},
		"a snapshot is of a version to come": {func(_ *testing.T, h *History) { h.Orders[0].Version++ }, []Rule{Diverged}, 3},
		"a snapshot is of no order": {func(_ *testing.T, h *History) {
			h.Orders = append(h.Orders, order.Snapshot{ID: "order-9", Version: 1})
		}, []Rule{Diverged}, 3},
		"an order begins with another event": {func(t *testing.T, h *History) {
			h.Orders = nil
			d := h.document(t, "order-1/1")
			d.Type = "OrderSubmitted"
		}, []Rule{Diverged, WrongHeader}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			h := healthy(t)
			h.Events = true
			x.spoil(t, &h)
			report := Check(h, 0)
			found := map[Rule]bool{}
			for _, v := range report.Violations {
				found[v.Rule] = true
			}
			if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, x.want) || report.Orders != x.orders {
				t.Errorf("got %v of %v, want %v of %d orders", got, report, x.want, x.orders)
			}
		})
	}
}

// The expected values are from Kafka's own UtilsTest.testMurmur2, so that the rule is Java's and not only franz-go's.
func TestPartitionIsJavas(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		c := newCheck(History{Partitions: 12})
		if got, want := c.partitionOf(key), (hash&0x7fffffff)%12; got != want {
			t.Errorf("key %q goes to partition %d, want %d", key, got, want)
		}
	}
}

const allowedDuplicates = 4

var morning = time.Date(2026, time.March, 14, 6, 30, 15, 0, time.UTC)

// healthy is what three orders leave behind when nothing goes wrong.
func healthy(t *testing.T) History {
	t.Helper()
	h := History{Partitions: 4, Answered: map[string]int{"order-1": 4, "order-2": 3, "order-3": 2}}
	traced := ports.WithTraceParent(context.Background(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	h.add(t, traced, "order-1", func(o *order.Order, at time.Time) error { return o.AddItem("2222", 8, at) },
		func(o *order.Order, at time.Time) error { return o.Submit(at) },
		func(o *order.Order, at time.Time) error { return o.Pay(at) })
	h.add(t, context.Background(), "order-2",
		func(o *order.Order, at time.Time) error { return o.ChangeAmount("1111", 2, at) },
		func(o *order.Order, at time.Time) error { return o.RemoveItem("1111", at) })
	h.add(t, context.Background(), "order-3",
		func(o *order.Order, at time.Time) error { return o.Cancel(order.BySystem, "too late", at) })
	return h
}

func (h *History) add(t *testing.T, ctx context.Context, id string, commands ...func(*order.Order, time.Time) error) {
	t.Helper()
	o, err := order.New(id, "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
	if err != nil {
		t.Fatal(err)
	}
	for i, command := range commands {
		if err := command(o, morning.Add(time.Duration(i+1)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	h.Orders = append(h.Orders, o.Snapshot())
	for _, m := range messages {
		d := Document{
			ID: m.ID, AggregateType: "order", AggregateID: m.OrderID, Type: m.Type, Version: m.Version,
			Payload: string(m.Payload), OccurredAt: m.OccurredAt, TraceParent: m.TraceParent,
		}
		h.Outbox = append(h.Outbox, d)
		h.Topic = append(h.Topic, recordOf(h, d))
	}
}

func recordOf(h *History, d Document) Record {
	r := Record{
		Partition: newCheck(*h).partitionOf(d.AggregateID), Offset: int64(len(h.Topic)),
		Key: d.AggregateID, Value: d.Payload,
		Headers: []Header{
			{"ce_specversion", "1.0"},
			{"ce_id", d.ID},
			{"ce_source", "/hexorders"},
			{"ce_type", d.Type},
			{"ce_time", d.OccurredAt.Format(time.RFC3339)},
			{"ce_subject", d.AggregateID},
			{"ce_aggregateversion", strconv.Itoa(d.Version)},
			{"content-type", "application/json"},
		},
	}
	if d.TraceParent != "" {
		r.Headers = append(r.Headers, Header{"traceparent", d.TraceParent})
	}
	return r
}

func (h *History) index(t *testing.T, id string) int {
	t.Helper()
	i := slices.IndexFunc(h.Topic, func(r Record) bool { return r.header("ce_id") == id })
	if i < 0 {
		t.Fatalf("the healthy history has no record %s", id)
	}
	return i
}

func (h *History) record(t *testing.T, id string) *Record {
	t.Helper()
	return &h.Topic[h.index(t, id)]
}

func (h *History) document(t *testing.T, id string) *Document {
	t.Helper()
	i := slices.IndexFunc(h.Outbox, func(d Document) bool { return d.ID == id })
	if i < 0 {
		t.Fatalf("the healthy history has no document %s", id)
	}
	return &h.Outbox[i]
}

func (h *History) drop(t *testing.T, id string) {
	t.Helper()
	i := h.index(t, id)
	h.Topic = slices.Delete(h.Topic, i, i+1)
}

// repeat sends the first n messages again, as a relay does that has lost its last checkpoint.
func (h *History) repeat(n int) { h.Topic = append(h.Topic, h.Topic[:n]...) }

func setHeader(id, name, value string) func(*testing.T, *History) {
	return func(t *testing.T, h *History) {
		t.Helper()
		r := h.record(t, id)
		i := slices.IndexFunc(r.Headers, func(h Header) bool { return h.Name == name })
		if i < 0 {
			t.Fatalf("record %s has no header %s", id, name)
		}
		r.Headers[i].Value = value
	}
}

func ExampleReport() {
	report := Report{Orders: 1, Committed: 2, Records: 1, Violations: []Violation{
		{Lost, "order-1/2", "committed at 2026-03-14T06:30:15Z, neither in the topic nor parked"},
	}}
	fmt.Println(report)
	// Output:
	// 1 orders, 2 committed messages, 1 records, 0 duplicates, 0 parked, 1 violations
	//   lost: order-1/2: committed at 2026-03-14T06:30:15Z, neither in the topic nor parked
}
