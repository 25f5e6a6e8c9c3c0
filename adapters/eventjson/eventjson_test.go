package eventjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hexorders/core/order"
	"hexorders/ports"
)

func TestEncodeAndTheTableOfDecodersKnowTheSameNames(t *testing.T) {
	encoded := map[string]reflect.Type{}
	for _, event := range oneOfEach(t) {
		typeName, _ := encode("order-1", 1, event)
		if typeName == "" {
			t.Errorf("encode does not know %T", event)
			continue
		}
		if other, taken := encoded[typeName]; taken {
			t.Errorf("%s is the name of both %v and %T", typeName, other, event)
		}
		encoded[typeName] = reflect.TypeOf(event)
	}
	if got, want := slices.Sorted(maps.Keys(decoders)), slices.Sorted(maps.Keys(encoded)); !slices.Equal(got, want) {
		t.Errorf("names:\n decoders have %v\nencode gives %v", got, want)
	}
	for typeName, decode := range decoders {
		event, _, err := decode([]byte(`{}`))
		if err != nil {
			t.Errorf("%s: %v", typeName, err)
		}
		if got, want := reflect.TypeOf(event), encoded[typeName]; got != want {
			t.Errorf("%s is decoded to %v and encoded from %v", typeName, got, want)
		}
	}
}

// oneOfEach makes every event that the aggregate can record, by calling everything on it that records: an event that
// is new in the core and unknown here shows up without anyone adding it to a list.
func oneOfEach(t *testing.T) []order.Event {
	t.Helper()
	byType := map[reflect.Type]order.Event{}
	calls := []func(*order.Order){}
	probe := reflect.TypeFor[*order.Order]()
	for i := range probe.NumMethod() {
		method := probe.Method(i)
		if method.Type.NumOut() != 1 || method.Type.Out(0) != reflect.TypeFor[error]() {
			continue // not a command
		}
		calls = append(calls, func(o *order.Order) {
			args := []reflect.Value{reflect.ValueOf(o)}
			for in := 1; in < method.Type.NumIn(); in++ {
				switch kind := method.Type.In(in); kind {
				case reflect.TypeFor[order.CancelledBy]():
					args = append(args, reflect.ValueOf(order.BySystem))
				case reflect.TypeFor[string]():
					args = append(args, reflect.ValueOf("1111"))
				case reflect.TypeFor[int]():
					args = append(args, reflect.ValueOf(5))
				case reflect.TypeFor[time.Time]():
					args = append(args, reflect.ValueOf(morning))
				default:
					t.Fatalf("%s takes a %v, which this test cannot make", method.Name, kind)
				}
			}
			if err, _ := method.Func.Call(args)[0].Interface().(error); err != nil {
				t.Fatalf("%s: %v", method.Name, err)
			}
		})
	}
	if len(calls) < 6 {
		t.Fatalf("found %d commands of an order, want at least 6", len(calls))
	}
	for _, call := range calls {
		o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
		if err != nil {
			t.Fatal(err)
		}
		call(o)
		for _, event := range o.Changes() {
			byType[reflect.TypeOf(event)] = event
		}
	}
	return slices.Collect(maps.Values(byType))
}

func TestEveryEventReadsBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		id, version := drawID(t, "order"), rapid.IntRange(1, 1_000_000).Draw(t, "version")
		if created, ok := want.(order.Created); ok {
			id = created.ID
		}
		typeName, body := encode(id, version, want)
		payload, err := json.Marshal(body)
		if err != nil {
			t.Fatalf("%#v: %v", want, err)
		}
		got, err := Event(ports.Message{Type: typeName, Payload: payload})
		if err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		if !got.OccurredAt().Equal(want.OccurredAt()) {
			t.Fatalf("occurred at: got %v, want %v", got.OccurredAt(), want.OccurredAt())
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n got %#v\nwant %#v", payload, got, want)
		}
		var head envelope
		if err := json.Unmarshal(payload, &head); err != nil || head.OrderID != id || head.Version != version {
			t.Fatalf("envelope: got %+v and error %v, want order %q, version %d", head, err, id, version)
		}
	})
}

func drawID(t *rapid.T, label string) string {
	return rapid.StringN(1, order.MaxIDLength, -1).Draw(t, label)
}

func drawEvent(t *rapid.T) order.Event {
	at := time.UnixMicro(rapid.Int64Range(0, 4_000_000_000_000_000).Draw(t, "at")).UTC()
	product := func() string { return drawID(t, "product") }
	amount := func() int { return rapid.IntRange(1, order.MaxAmount).Draw(t, "amount") }
	items := func() (items []order.Item) {
		for range rapid.IntRange(0, 4).Draw(t, "lines") {
			items = append(items, order.Item{Product: product(), Amount: amount()})
		}
		return items
	}
	switch rapid.IntRange(0, 6).Draw(t, "event") {
	case 0:
		return order.Created{ID: drawID(t, "id"), Buyer: drawID(t, "buyer"), Items: items(), At: at}
	case 1:
		return order.ItemAdded{Product: product(), Amount: amount(), At: at}
	case 2:
		return order.AmountChanged{Product: product(), Amount: amount(), At: at}
	case 3:
		return order.ItemRemoved{Product: product(), At: at}
	case 4:
		return order.Submitted{Buyer: drawID(t, "buyer"), Items: items(), At: at}
	case 5:
		return order.Paid{At: at}
	}
	by := rapid.SampledFrom([]order.CancelledBy{order.ByBuyer, order.BySystem}).Draw(t, "by")
	return order.Cancelled{By: by, Reason: rapid.StringN(0, order.MaxReasonLength, -1).Draw(t, "reason"), At: at}
}

func TestMessagesAreNumberedAcrossCommits(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
	if err != nil {
		t.Fatal(err)
	}
	must(t, o.AddItem("2222", 8, morning.Add(time.Second)))
	wantMessages(t, t.Context(), o, []ports.Message{
		{ID: "order-1/1", Type: "OrderCreated", OrderID: "order-1", Version: 1, OccurredAt: morning},
		{ID: "order-1/2", Type: "OrderItemAdded", OrderID: "order-1", Version: 2, OccurredAt: morning.Add(time.Second)},
	})

	o.Committed()
	wantMessages(t, t.Context(), o, nil)

	must(t, o.Submit(morning.Add(2*time.Second)))
	must(t, o.Pay(morning.Add(3*time.Second)))
	wantMessages(t, ports.WithTraceParent(t.Context(), trace), o, []ports.Message{
		{ID: "order-1/3", Type: "OrderSubmitted", OrderID: "order-1", Version: 3,
			OccurredAt: morning.Add(2 * time.Second), TraceParent: trace},
		{ID: "order-1/4", Type: "OrderPaid", OrderID: "order-1", Version: 4, OccurredAt: morning.Add(3 * time.Second), TraceParent: trace},
	})
}

// wantMessages compares all but the payload, and reads that back.
func wantMessages(t *testing.T, ctx context.Context, o *order.Order, want []ports.Message) {
	t.Helper()
	got, err := Messages(ctx, o)
	if err != nil {
		t.Fatalf("Messages: %v", err)
	}
	if len(got) != len(want) {
		t.Fatalf("got %d messages, want %d", len(got), len(want))
	}
	for i, event := range o.Changes() {
		back, err := Event(got[i])
		if err != nil || !reflect.DeepEqual(back, event) {
			t.Errorf("message %d read back: got %#v and error %v, want %#v", i, back, err, event)
		}
		var head envelope
		if err := json.Unmarshal(got[i].Payload, &head); err != nil || head.Version != want[i].Version || head.OrderID != "order-1" {
			t.Errorf("message %d: envelope %+v and error %v, want order-1 and version %d", i, head, err, want[i].Version)
		}
		got[i].Payload = nil
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("message %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAMessageOfUnknownTypeIsAnError(t *testing.T) {
	for _, typeName := range []string{"", "OrderShipped", "ordercreated", "Created"} {
		event, err := Event(ports.Message{ID: "order-1/9", Type: typeName, Payload: []byte(`{}`)})
		if !errors.Is(err, ErrUnknownType) || event != nil {
			t.Errorf("type %q: got %v and error %v, want %v", typeName, event, err, ErrUnknownType)
		}
	}
}

func TestASchemaOfTomorrowIsAnErrorOfItsOwn(t *testing.T) {
	for typeName, newest := range Schemas() {
		for schema, newer := range map[int]bool{newest: false, newest + 1: true, 1_000_000: true} {
			m := ports.Message{ID: "order-1/9", Type: typeName, Payload: fmt.Appendf(nil, `{"schema":%d,"amount":{"of":3}}`, schema)}
			if _, err := Event(m); errors.Is(err, ErrNewerSchema) != newer || newer && !strings.Contains(err.Error(), "order-1/9") {
				t.Errorf("%s, schema %d: got error %v", typeName, schema, err)
			}
		}
	}
}

func TestASchemaThatCannotBeIsAnError(t *testing.T) {
	for _, schema := range []string{"0", "-1", "1.5", `"2"`, "[]"} {
		_, err := Event(ports.Message{Type: "OrderPaid", Payload: []byte(`{"schema":` + schema + `}`)})
		if err == nil || errors.Is(err, ErrNewerSchema) {
			t.Errorf("schema %s: got error %v", schema, err)
		}
	}
}

func TestAMessageThatIsNotJSONIsAnError(t *testing.T) {
	for _, payload := range []string{"", "{", "null null", `{"amount":"three"}`, `[]`, `null`} {
		_, err := Event(ports.Message{ID: "order-1/9", Type: "OrderItemAdded", Payload: []byte(payload)})
		if err == nil || errors.Is(err, ErrUnknownType) || !strings.Contains(err.Error(), "order-1/9") {
			t.Errorf("payload %q: got error %v, want one that names the message", payload, err)
		}
	}
}

// Also on the way through the upcasters, which add fields of their own.
func TestAFieldThatIsNewToUsIsNoError(t *testing.T) {
	for typeName, want := range map[string]order.Event{
		"OrderPaid":      order.Paid{At: morning},
		"OrderCancelled": order.Cancelled{By: order.ByBuyer, At: morning},
	} {
		event, err := Event(ports.Message{Type: typeName,
			Payload: []byte(`{"orderId":"1","version":1,"occurredAt":"2026-03-14T08:00:00.123Z","with":{"card":1}}`)})
		if err != nil || event != want {
			t.Errorf("%s: got %#v and error %v, want %#v", typeName, event, err, want)
		}
	}
}

// Any payload is read or refused, never a crash: an old one goes through the upcasters too.
func FuzzEvent(f *testing.F) {
	for file := range golden {
		typeName, _, _ := strings.Cut(file, ".")
		content, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(typeName, content)
	}
	f.Add("OrderCancelled", []byte("null"))
	f.Add("OrderCancelled", []byte(`{"schema":1,"schema":null,"by":3}`))
	f.Fuzz(func(t *testing.T, typeName string, payload []byte) {
		event, err := Event(ports.Message{Type: typeName, Payload: payload})
		if (event == nil) != (err != nil) {
			t.Fatalf("%s %q: got %#v and error %v", typeName, payload, event, err)
		}
	})
}
