package readside

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// folded are the rows that a view makes of an order's events in one batch.
func folded(t *testing.T, v View, id string, events ...order.Event) ports.RowChanges {
	t.Helper()
	var rows Rows
	o := Order{}
	for _, event := range events {
		after, err := o.after(id, event)
		if err != nil {
			t.Fatal(err)
		}
		v.Apply(o, after, Event{Type: strings.TrimPrefix(fmt.Sprintf("%T", event), "order."), Data: event}, &rows)
		o = after
	}
	changes, _ := rows.collected()
	return changes
}

func created(at time.Time) order.Event {
	return order.Created{ID: "o", Buyer: "b", Items: []order.Item{{Product: "q", Amount: 2}, {Product: "<p>", Amount: 3}}, At: at}
}

// life is an order from its creation to its payment, an hour an event.
func life() []order.Event {
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	return []order.Event{
		created(noon), order.ItemAdded{Product: "q", Amount: 5, At: at(1)}, order.AmountChanged{Product: "<p>", Amount: 1, At: at(2)},
		order.ItemRemoved{Product: "q", At: at(3)}, order.Submitted{Buyer: "b", At: at(4)}, order.Paid{At: at(5)},
	}
}

func TestTheSummaryIsTheOrder(t *testing.T) {
	for name, x := range map[string]struct {
		events []order.Event
		body   string
		fields []ports.Field
	}{
		"new": {life()[:1],
			`{"id":"o","buyerId":"b","items":[{"productId":"<p>","amount":3},{"productId":"q","amount":2}],"totalAmount":5,` +
				`"status":"pending","version":1,"createdAt":"2026-03-01T12:00:00.000Z","updatedAt":"2026-03-01T12:00:00.000Z"}`,
			[]ports.Field{{Name: "buyer", Value: "b"}, {Name: "status", Value: "pending"},
				{Name: "updatedAt", Value: noon.UnixMilli()}, {Name: "totalAmount", Value: int64(5)}}},
		"paid": {life(),
			`{"id":"o","buyerId":"b","items":[{"productId":"<p>","amount":1}],"totalAmount":1,"status":"paid","version":6,` +
				`"createdAt":"2026-03-01T12:00:00.000Z","updatedAt":"2026-03-01T17:00:00.000Z",` +
				`"submittedAt":"2026-03-01T16:00:00.000Z","paidAt":"2026-03-01T17:00:00.000Z"}`,
			[]ports.Field{{Name: "buyer", Value: "b"}, {Name: "status", Value: "paid"},
				{Name: "updatedAt", Value: noon.Add(5 * time.Hour).UnixMilli()}, {Name: "totalAmount", Value: int64(1)}}},
		"cancelled, without items": {[]order.Event{
			order.Created{ID: "o", Buyer: "b", At: noon},
			order.Cancelled{By: order.ByBuyer, At: noon.Add(time.Millisecond).In(time.FixedZone("", 7*3600))}},
			`{"id":"o","buyerId":"b","items":[],"totalAmount":0,"status":"cancelled","version":2,` +
				`"createdAt":"2026-03-01T12:00:00.000Z","updatedAt":"2026-03-01T12:00:00.001Z","cancelledAt":"2026-03-01T12:00:00.001Z"}`,
			[]ports.Field{{Name: "buyer", Value: "b"}, {Name: "status", Value: "cancelled"},
				{Name: "updatedAt", Value: noon.UnixMilli() + 1}, {Name: "totalAmount", Value: int64(0)}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := folded(t, OrderSummary, "o", x.events...)
			want := ports.RowChanges{Insert: []ports.Row{{Key: "o", Fields: x.fields, Body: []byte(x.body)}}}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v\nbody %s", got, want, got.Insert[0].Body)
			}
		})
	}
}

// A row that is there already is replaced; only an order's first event inserts.
func TestTheSummaryOfAKnownOrderIsReplaced(t *testing.T) {
	before, err := Order{}.after("o", created(noon))
	if err != nil {
		t.Fatal(err)
	}
	paid := order.Paid{At: noon}
	after, err := before.after("o", paid)
	if err != nil {
		t.Fatal(err)
	}
	var rows Rows
	OrderSummary.Apply(before, after, Event{"OrderPaid", paid}, &rows)
	if c, _ := rows.collected(); len(c.Put) != 1 || c.Put[0].Key != "o" || len(c.Insert) > 0 {
		t.Errorf("got %+v, want one row put", c)
	}
}

func TestABuyersOrdersAreCountedByStatus(t *testing.T) {
	for n, want := range map[int][]ports.Count{
		1: {{Name: "pending", Value: 1}},
		4: {{Name: "pending", Value: 1}},
		5: {{Name: "pending", Value: 0}, {Name: "submitted", Value: 1}},
		6: {{Name: "pending", Value: 0}, {Name: "submitted", Value: 0}, {Name: "paid", Value: 1}},
	} {
		got := folded(t, BuyerActivity, "o", life()[:n]...)
		last := []ports.Count{{Name: "lastAt", Value: noon.Add(time.Duration(n-1) * time.Hour).UnixMilli()}}
		if want := (ports.RowChanges{Add: []ports.Addition{{Key: "b", Add: want, Max: last}}}); !reflect.DeepEqual(got, want) {
			t.Errorf("after %d events: got %+v, want %+v", n, got, want)
		}
	}
	got := folded(t, BuyerActivity, "o", order.Created{ID: "o", Buyer: "b"}, order.Cancelled{By: order.ByBuyer})
	want := ports.RowChanges{Add: []ports.Addition{{Key: "b",
		Add: []ports.Count{{Name: "pending", Value: 0}, {Name: "cancelled", Value: 1}}, Max: []ports.Count{{Name: "lastAt", Value: 0}}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events without a time: got %+v, want %+v", got, want)
	}
}

func TestTheTimelineTellsEachEvent(t *testing.T) {
	events := append(life(), order.Cancelled{By: order.BySystem, Reason: "not paid", At: noon},
		order.Cancelled{By: order.ByBuyer, At: noon})
	events[4] = order.Submitted{Items: []order.Item{{Product: "p", Amount: 1}}, At: noon}
	got := folded(t, Timeline, "o", events...)
	want := []string{
		"created for buyer b, with 2 items", "5 × q added", "amount of <p> changed to 1", "q removed", "submitted with 1 item",
		"paid", "cancelled by the system: not paid", "cancelled by the buyer",
	}
	if len(got.Insert) != len(want) || len(got.Put)+len(got.Delete)+len(got.Add) > 0 {
		t.Fatalf("got %+v, want %d rows inserted", got, len(want))
	}
	for i, row := range got.Insert {
		var e entry
		if err := json.Unmarshal(row.Body, &e); err != nil {
			t.Fatal(err)
		}
		wantEntry := entry{
			Version: i + 1, Type: strings.TrimPrefix(fmt.Sprintf("%T", events[i]), "order."),
			OccurredAt: timestamp(events[i].OccurredAt()), Text: want[i],
		}
		if wantKey := fmt.Sprintf("o\x1f00000000%d", i+1); row.Key != wantKey || e != wantEntry {
			t.Errorf("row %q: %+v, want %q: %+v", row.Key, e, wantKey, wantEntry)
		}
	}
	body := `{"version":3,"type":"AmountChanged","occurredAt":"2026-03-01T14:00:00.000Z","text":"amount of <p> changed to 1"}`
	if string(got.Insert[2].Body) != body {
		t.Errorf("body:\n got %s\nwant %s", got.Insert[2].Body, body)
	}
}

// Renamed is an event of a type that no view knows, as it is when the core gets a new one.
type Renamed struct{ order.Event }

// An event that is new in the core goes through every view: the views that do not care show the order as it is now, and
// the timeline has its name.
func TestAnEventThatIsNewInTheCorePassesEveryView(t *testing.T) {
	for _, v := range All {
		got := folded(t, v, "o", created(noon), Renamed{order.Paid{At: noon.Add(time.Hour)}})
		switch v.Name {
		case "order-summary":
			if !strings.Contains(string(got.Insert[0].Body), `"version":2`) {
				t.Errorf("%s: %s, want version 2", v.Name, got.Insert[0].Body)
			}
		case "timeline":
			if !strings.Contains(string(got.Insert[1].Body), `"text":"readside.Renamed"`) {
				t.Errorf("%s: %s, want the name of the event", v.Name, got.Insert[1].Body)
			}
		}
	}
}

func TestEveryTableNamesWhatItsViewWrites(t *testing.T) {
	tables := Tables(All)
	for i, v := range All {
		var fields []string
		for _, index := range v.Indexes {
			fields = append(fields, index.Equal, index.Sort, index.Filter)
		}
		slices.Sort(fields)
		fields = slices.DeleteFunc(slices.Compact(fields), func(f string) bool { return f == "" })
		got := folded(t, v, "o", life()...)
		for _, row := range slices.Concat(got.Insert, got.Put) {
			var written []string
			for _, f := range row.Fields {
				written = append(written, f.Name)
			}
			if slices.Sort(written); !slices.Equal(written, fields) {
				t.Errorf("%s writes the fields %v, and its indexes name %v", v.Name, written, fields)
			}
			if !json.Valid(row.Body) {
				t.Errorf("%s writes the body %s, want JSON", v.Name, row.Body)
			}
		}
		for _, a := range got.Add {
			for _, c := range slices.Concat(a.Add, a.Max) {
				if !slices.Contains(tables[i].Counters, c.Name) {
					t.Errorf("%s writes the counter %s, and its table has %v", v.Name, c.Name, tables[i].Counters)
				}
			}
		}
		if tables[i].Name != v.Name || !reflect.DeepEqual(tables[i].Indexes, v.Indexes) {
			t.Errorf("table %+v of view %+v", tables[i], v)
		}
	}
}

// An order that is loaded goes on as one that is remembered.
func TestAnOrderReadsBackFromItsDocument(t *testing.T) {
	o := Order{}
	events := append(life(), order.Cancelled{By: order.ByBuyer, At: noon.Add(9 * time.Hour)})
	for i, event := range events {
		after, err := o.after("o", event)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := decodeOrder(after.Document())
		if err != nil {
			t.Fatal(err)
		}
		remembered := after
		remembered.document = nil
		if !reflect.DeepEqual(decoded, remembered) {
			t.Errorf("event %d: decoded\n %+v, want\n %+v", i+1, decoded, remembered)
		}
		o = decoded
	}
	for _, bad := range []string{`?`, `[]`, `{"createdAt":"yesterday"}`} {
		if o, err := decodeOrder([]byte(bad)); err == nil {
			t.Errorf("%s: got %+v, want an error", bad, o)
		}
	}
}

// The message names the order, not the payload, and the first event creates it.
func TestAnEventThatDoesNotFollowIsAnError(t *testing.T) {
	o, err := Order{}.after("the message's", created(noon))
	if err != nil || o.ID != "the message's" {
		t.Errorf("order %+v, error %v, want the message's id", o, err)
	}
	if _, err := o.after("o", created(noon)); err == nil {
		t.Error("an order was created twice")
	}
	if _, err := (Order{}).after("o", order.Paid{At: noon}); err == nil {
		t.Error("an order began with its payment")
	}
}
