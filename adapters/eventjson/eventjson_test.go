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
			t.Errorf("adapters/eventjson/eventjson.go: encode does not know %T", event)
			continue
		}
		if other, taken := encoded[typeName]; taken {
			t.Errorf("%s is the name of both %v and %T", typeName, other, event)
		}
		encoded[typeName] = reflect.TypeOf(event)
	}
	for typeName := range encoded {
		if decoders[typeName] == nil {
			t.Errorf("adapters/eventjson/eventjson.go: decoders has no row for %s", typeName)
		}
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

// oneOfEach makes every event that the aggregate can record, by calling each command of it: an event that is new in the
// core and unknown here shows up without anyone adding it to a list.
func oneOfEach(t *testing.T) []order.Event {
	t.Helper()
	commands := commandsOf(t)
	if len(commands) < 6 {
		t.Fatalf("found %d commands of an order, want at least 6", len(commands))
	}
	byType := map[reflect.Type]order.Event{}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		for _, event := range carriedOut(t, commands, name).Changes() {
			byType[reflect.TypeOf(event)] = event
		}
	}
	return slices.Collect(maps.Values(byType))
}

// carriedOut is an order after a command. Most commands are allowed on a new order; another one first needs a command
// that brings the order into the status that allows it, or two.
func carriedOut(t *testing.T, commands map[string]func(*order.Order) error, name string) *order.Order {
	t.Helper()
	ways := [][]string{{}}
	refusals := []string{"core/order: no order lets " + name + " happen"}
	for range 3 {
		var longer [][]string
		for _, way := range ways {
			o, err := order.New("order-1", "9999", []order.Item{{Product: "1111", Amount: 3}}, morning)
			for _, before := range way {
				err = errors.Join(err, commands[before](o))
			}
			if err != nil {
				continue // this way does not lead anywhere
			}
			if err = commands[name](o); err == nil {
				return o
			}
			refusals = append(refusals, fmt.Sprintf("an order that is %s, after %v: %v", o.Status(), way, err))
			for other := range commands {
				longer = append(longer, append(slices.Clone(way), other))
			}
		}
		ways = longer
	}
	t.Fatal(strings.Join(refusals[:min(len(refusals), 8)], "\n"))
	return nil
}

// commandsOf finds the commands of the aggregate and makes up their arguments.
func commandsOf(t *testing.T) map[string]func(*order.Order) error {
	t.Helper()
	commands := map[string]func(*order.Order) error{}
	aggregate := reflect.TypeFor[*order.Order]()
	for i := range aggregate.NumMethod() {
		method := aggregate.Method(i)
		if method.Type.NumOut() != 1 || method.Type.Out(0) != reflect.TypeFor[error]() {
			continue // not a command
		}
		var args []reflect.Value
		for in := 1; in < method.Type.NumIn(); in++ {
			value, known := argument[method.Type.In(in)]
			if !known {
				t.Fatalf("adapters/eventjson/eventjson_test.go, argument: %s takes a %v, and none is there", method.Name, method.Type.In(in))
			}
			args = append(args, reflect.ValueOf(value))
		}
		commands[method.Name] = func(o *order.Order) error {
			err, _ := method.Func.Call(slices.Concat([]reflect.Value{reflect.ValueOf(o)}, args))[0].Interface().(error)
			return err
		}
	}
	return commands
}

// argument has a value for each type that a command takes.
var argument = map[reflect.Type]any{
	reflect.TypeFor[order.CancelledBy](): order.BySystem,
	reflect.TypeFor[string]():            "1111",
	reflect.TypeFor[int]():               5,
	reflect.TypeFor[time.Time]():         morning,
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

// drawEvent makes up an event of any type that there is a decoder for.
func drawEvent(t *rapid.T) order.Event {
	typeName := rapid.SampledFrom(slices.Sorted(maps.Keys(decoders))).Draw(t, "type")
	empty, _, err := decoders[typeName]([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	event := reflect.New(reflect.TypeOf(empty)).Elem()
	for i := range event.NumField() {
		draw, known := drawField[event.Field(i).Type()]
		if !known {
			t.Fatalf("adapters/eventjson/eventjson_test.go, drawField: %T has a %v, and none is there", empty, event.Field(i).Type())
		}
		event.Field(i).Set(reflect.ValueOf(draw(t, event.Type().Field(i).Name)))
	}
	return event.Interface().(order.Event)
}

// drawField makes up a field of an event by its type.
var drawField = map[reflect.Type]func(t *rapid.T, name string) any{
	reflect.TypeFor[string](): func(t *rapid.T, name string) any { return rapid.StringN(0, order.MaxReasonLength, -1).Draw(t, name) },
	reflect.TypeFor[int]():    func(t *rapid.T, name string) any { return rapid.IntRange(1, order.MaxAmount).Draw(t, name) },
	reflect.TypeFor[time.Time](): func(t *rapid.T, name string) any {
		return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, name)).UTC()
	},
	reflect.TypeFor[order.CancelledBy](): func(t *rapid.T, name string) any {
		return rapid.SampledFrom([]order.CancelledBy{order.ByBuyer, order.BySystem}).Draw(t, name)
	},
	reflect.TypeFor[[]order.Item](): func(t *rapid.T, name string) any {
		var items []order.Item // nil when it is empty
		for range rapid.IntRange(0, 4).Draw(t, name) {
			items = append(items, order.Item{Product: drawID(t, "product"), Amount: rapid.IntRange(1, order.MaxAmount).Draw(t, "amount")})
		}
		return items
	},
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
