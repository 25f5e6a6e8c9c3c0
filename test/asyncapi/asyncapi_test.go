package asyncapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

const (
	documents = "../../docs/api"
	golden    = "../../adapters/eventjson/testdata"
)

// What the program reads, what the document lists, the schemas that lie beside it and the golden files are the same types
// in the same schemas; what the program writes is what the document says that it sends.
func TestTheDescriptionCoversTheLanguage(t *testing.T) {
	d := description(t, closed)
	var want, newest []string
	for typeName, last := range eventjson.Schemas() {
		for schema := 1; schema <= last; schema++ {
			want = append(want, fmt.Sprintf("%s.%d", typeName, schema))
		}
		newest = append(newest, fmt.Sprintf("%s.%d", typeName, last))
	}
	slices.Sort(want)
	slices.Sort(newest)
	same := func(what string, got, want []string) {
		t.Helper()
		if got = slices.Compact(slices.Sorted(slices.Values(got))); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", what, got, want)
		}
	}
	same("the channel's messages", slices.Collect(maps.Keys(d.Messages)), want)
	same("the messages that are sent", d.Sent, newest)
	same("the schemas in docs/api/events", names(t, documents+"/events"), want)
	same("the golden files", names(t, golden), want)
	for name, m := range d.Messages {
		typeName, _, _ := strings.Cut(name, ".")
		if m.Type != typeName || m.Payload != "./events/"+name+".json" {
			t.Errorf("%s: name %s and payload %s", name, m.Type, m.Payload)
		}
	}
	if d.Address != "orders.events" {
		t.Errorf("the topic is %q", d.Address)
	}
}

func TestEveryGoldenFileIsAsDescribed(t *testing.T) {
	d := description(t, closed)
	for _, file := range goldenFiles(t) {
		if err := d.Check(recordOf(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestEveryExampleIsAsDescribed(t *testing.T) {
	d := description(t, closed)
	text, err := os.ReadFile(documents + "/asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Messages map[string]struct {
				Examples []struct {
					Headers map[string]string
					Payload map[string]any
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for name := range d.Messages {
		examples := document.Components.Messages[name].Examples
		for _, x := range examples {
			payload, err := json.Marshal(x.Payload)
			if err != nil {
				t.Fatal(err)
			}
			r := Record{x.Headers["ce_subject"], x.Headers, string(payload)}
			if got, err := d.name(r); err != nil || got != name {
				t.Errorf("an example of %s is one of %s, error %v", name, got, err)
			}
			if err := d.Check(r); err != nil {
				t.Errorf("an example: %v", err)
			}
		}
		if len(examples) == 0 {
			t.Errorf("%s has no example", name)
		}
	}
}

// Every command of the program, and what its store then hands to the relay.
func TestEveryMessageOfAStoreIsAsDescribed(t *testing.T) {
	d := description(t, closed)
	store := memory.NewStore()
	n := 0
	orders := app.NewOrders(store, app.OrdersOptions{NewID: func() string { n++; return fmt.Sprintf("order-%d", n) }})
	ctx := t.Context()
	one := ports.Target{ID: "order-1"}
	for _, command := range []func() (*order.Order, error){
		func() (*order.Order, error) {
			return orders.Create(ctx, "<ü> & 茶", []order.Item{{Product: "1111", Amount: 3}}, ports.IdempotencyKey{})
		},
		func() (*order.Order, error) { return orders.AddItem(ctx, one, "🛒", order.MaxAmount) },
		func() (*order.Order, error) { return orders.ChangeAmount(ctx, one, "1111", 1) },
		func() (*order.Order, error) { return orders.RemoveItem(ctx, one, "🛒") },
		func() (*order.Order, error) { return orders.Submit(ctx, one) },
		func() (*order.Order, error) { return orders.Pay(ctx, one) },
		func() (*order.Order, error) { return orders.Create(ctx, "9999", nil, ports.IdempotencyKey{}) },
		func() (*order.Order, error) {
			return orders.Cancel(ctx, ports.Target{ID: "order-2"}, order.ByBuyer, strings.Repeat("🛒", order.MaxReasonLength))
		},
		func() (*order.Order, error) { return orders.Create(ctx, "9999", nil, ports.IdempotencyKey{}) },
		func() (*order.Order, error) {
			return orders.Cancel(ctx, ports.Target{ID: "order-3"}, order.BySystem, "")
		},
	} {
		if _, err := command(); err != nil {
			t.Fatal(err)
		}
	}
	written := map[string]bool{}
	for i := range n {
		messages, err := store.Messages(ctx, fmt.Sprintf("order-%d", i+1), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			written[m.Type] = true
			if err := d.Check(record(m)); err != nil {
				t.Errorf("%s %s: %v", m.Type, m.Payload, err)
			}
		}
	}
	for typeName := range eventjson.Schemas() {
		if !written[typeName] {
			t.Errorf("nothing wrote %s", typeName)
		}
	}
}

// Each field of each golden file is left out, or is something else, and each time that is found.
func TestAWrongMessageIsFound(t *testing.T) {
	d := description(t, closed)
	for _, file := range goldenFiles(t) {
		right := recordOf(t, file)
		wrong := func(what string, change func(payload map[string]any)) {
			var payload map[string]any
			if err := json.Unmarshal([]byte(right.Value), &payload); err != nil {
				t.Fatal(err)
			}
			change(payload)
			value, err := json.Marshal(payload)
			if err != nil {
				t.Fatal(err)
			}
			if d.Check(Record{right.Key, right.Headers, string(value)}) == nil {
				t.Errorf("%s, %s: nothing is found in %s", file, what, value)
			}
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(right.Value), &fields); err != nil {
			t.Fatal(err)
		}
		for field := range fields {
			wrong("without "+field, func(p map[string]any) { delete(p, field) })
			for _, value := range append([]any{nil, true, -1, 1.5, map[string]any{}}, impossible[field]...) {
				wrong(fmt.Sprintf("%s is %.20v", field, value), func(p map[string]any) { p[field] = value })
			}
		}
		wrong("a field too many", func(p map[string]any) { p["note"] = "" })
		wrong("another schema", func(p map[string]any) { p["schema"] = 99 })
		wrong("a schema that is no number", func(p map[string]any) { p["schema"] = "1" })

		wrongHeaders := func(what string, change func(headers map[string]string)) {
			headers := maps.Clone(right.Headers)
			change(headers)
			if d.Check(Record{right.Key, headers, right.Value}) == nil {
				t.Errorf("%s, %s: nothing is found in %v", file, what, headers)
			}
		}
		for header := range right.Headers {
			wrongHeaders("without "+header, func(h map[string]string) { delete(h, header) })
			for _, value := range append([]string{""}, impossibleHeader[header]...) {
				wrongHeaders(fmt.Sprintf("%s is %q", header, value), func(h map[string]string) { h[header] = value })
			}
		}
		wrongHeaders("a header too many", func(h map[string]string) { h["ce_datacontenttype"] = "application/json" })
		wrongHeaders("a trace of another form", func(h map[string]string) { h["traceparent"] = "1-2-3" })
		for _, key := range []string{"", "a\x00b", strings.Repeat("k", order.MaxIDLength+1)} {
			if d.Check(Record{key, right.Headers, right.Value}) == nil {
				t.Errorf("%s: the key may be %q", file, key)
			}
		}
	}
}

// impossible values of a field, besides those of another type.
var impossible = map[string][]any{
	"orderId":    {"", strings.Repeat("x", order.MaxIDLength+1), "a\nb"},
	"version":    {0, "1"},
	"occurredAt": {"", "yesterday", "2026-03-14", "2026-03-14T08:00:00.123+01:00", "2026-13-14T08:00:00Z"},
	"buyerId":    {"", strings.Repeat("x", order.MaxIDLength+1), "\u0085"},
	"productId":  {"", strings.Repeat("x", order.MaxIDLength+1), "\x7f"},
	"amount":     {0, order.MaxAmount + 1, "3"},
	"reason":     {strings.Repeat("🛒", order.MaxReasonLength+1)},
	"by":         {"", "Buyer", "admin"},
	"items": {
		"none", []any{nil}, []any{map[string]any{"productId": "1111"}}, []any{map[string]any{"amount": 3}},
		[]any{map[string]any{"productId": "1111", "amount": 0}}, []any{map[string]any{"productId": "1111", "amount": 3, "price": 1}},
		slices.Repeat([]any{map[string]any{"productId": "1111", "amount": 3}}, order.MaxItems+1),
	},
}

var impossibleHeader = map[string][]string{
	"ce_specversion":      {"0.3", "1"},
	"ce_id":               {"order-1", "order-1/0", "order-1/"},
	"ce_source":           {"%zz"},
	"ce_type":             {"OrderShipped", "ordercreated"},
	"ce_time":             {"yesterday", "2026-03-14"},
	"ce_subject":          {"a\nb", strings.Repeat("x", order.MaxIDLength+1)},
	"ce_aggregateversion": {"0", "-1", "01", "seven"},
	"content-type":        {"text/plain"},
}

// A reader who takes the schemas as they are is not stopped by a field that comes without a new number.
func TestTheSchemasLetNewFieldsPass(t *testing.T) {
	asReaders, asWritten := description(t, open), description(t, closed)
	for _, file := range goldenFiles(t) {
		r := recordOf(t, file)
		r.Value = strings.Replace(r.Value, "{", `{"note":{"of":"tomorrow"},`, 1)
		if err := asReaders.Check(r); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if asWritten.Check(r) == nil {
			t.Errorf("%s: the program may write a field that is not described", file)
		}
	}
}

func description(t *testing.T, o openness) *Description {
	t.Helper()
	d, err := read(documents, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// names are a folder's types and schemas, by its files.
func names(t *testing.T, folder string) (found []string) {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parts := strings.Split(filepath.Base(file), ".")
		found = append(found, parts[0]+"."+parts[1])
	}
	return found
}

func goldenFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(golden + "/*.json")
	if err != nil || len(files) < len(eventjson.Schemas()) {
		t.Fatalf("%d golden files, error %v", len(files), err)
	}
	return files
}

func recordOf(t *testing.T, file string) Record {
	t.Helper()
	payload, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	typeName, _, _ := strings.Cut(filepath.Base(file), ".")
	at := time.Date(2026, time.March, 14, 8, 0, 0, 123_000_000, time.UTC)
	return record(ports.Message{ID: "order-1/7", Type: typeName, OrderID: "order-1", Version: 7, Payload: payload, OccurredAt: at})
}

// record has what adapters/kafka makes of a message; the real ones are for test/e2e.
func record(m ports.Message) Record {
	return Record{m.OrderID, map[string]string{
		"ce_specversion": "1.0", "ce_id": m.ID, "ce_source": "/hexorders", "ce_type": m.Type,
		"ce_time": m.OccurredAt.Format(time.RFC3339Nano), "ce_subject": m.OrderID,
		"ce_aggregateversion": fmt.Sprint(m.Version), "content-type": "application/json",
	}, string(m.Payload)}
}
