package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hexorders/adapters/eventjson"
	"hexorders/ports"
)

const someOrder = "01a20439-6aa1-7b23-b815-43b70de36f06"

func TestAnEventIsALineInColumns(t *testing.T) {
	basket := `"buyerId":"9999","items":[{"productId":"1111","amount":3},{"productId":"2222","amount":8}]`
	for _, x := range []struct{ typeName, fields, want string }{
		{"OrderCreated", basket, "OrderCreated        buyer 9999  3 × 1111, 8 × 2222"},
		{"OrderCreated", `"buyerId":"9999","items":[]`, "OrderCreated        buyer 9999"},
		{"OrderItemAdded", `"productId":"2222","amount":8`, "OrderItemAdded      + 8 × 2222"},
		{"OrderAmountChanged", `"productId":"2222","amount":1`, "OrderAmountChanged  1 × 2222"},
		{"OrderItemRemoved", `"productId":"2222"`, "OrderItemRemoved    - 2222"},
		{"OrderSubmitted", basket, "OrderSubmitted      buyer 9999  3 × 1111, 8 × 2222"},
		{"OrderPaid", "", "OrderPaid"},
		{"OrderCancelled", `"reason":"changed my mind"`, "OrderCancelled      changed my mind"},
		{"OrderCancelled", `"schema":2,"by":"buyer","reason":"changed my mind"`, "OrderCancelled      changed my mind"},
		{"OrderCancelled", `"schema":2,"by":"system","reason":"not paid in time"`, "OrderCancelled      by the system  not paid in time"},
		{"OrderCancelled", `"schema":2,"by":"system","reason":""`, "OrderCancelled      by the system"},
		{"OrderCancelled", `"reason":"one\r\ntwo\n\u001b[2K\u202e?"`,
			"OrderCancelled      one<U+000D><U+000A>two<U+000A><U+001B>[2K<U+202E>?"},
	} {
		var out bytes.Buffer
		if err := printLine(&out, message(x.typeName, x.fields)); err != nil {
			t.Fatal(err)
		}
		if full := "2026-11-22 17:06:41.441  " + someOrder + "   12  " + x.want + "\n"; out.String() != full {
			t.Errorf("got\n%swant\n%s", &out, full)
		}
	}
}

// A reader of today meets events of tomorrow.
func TestAnEventOfANewerVersionIsALineToo(t *testing.T) {
	var out bytes.Buffer
	m := message("OrderFramed", "")
	m.Payload = []byte("{\n \"frame\": 1\n}")
	if err := printLine(&out, m); err != nil || strings.Count(out.String(), "\n") != 1 ||
		!strings.HasSuffix(out.String(), "OrderFramed         {\"frame\":1}\n") {
		t.Errorf("error %v, got %q", err, &out)
	}
}

// An event that carries nothing but when it happened needs no words: its type says all.
func TestEveryEventTypeHasWords(t *testing.T) {
	for typeName, newest := range eventjson.Schemas() {
		payload, err := os.ReadFile(fmt.Sprintf("../../adapters/eventjson/testdata/%s.%d.json", typeName, newest))
		if err != nil {
			t.Fatal(err)
		}
		var carries map[string]any
		if err := json.Unmarshal(payload, &carries); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"orderId", "version", "occurredAt", "schema"} {
			delete(carries, field)
		}
		if words := inWords(ports.Message{Type: typeName, Payload: payload}); (words == "") != (len(carries) == 0) {
			t.Errorf("cmd/hexorders/events_tail.go: inWords says %q of %s, which carries %v", words, typeName, carries)
		}
	}
}

func TestAnEventOfANewerSchemaIsShownAsItIs(t *testing.T) {
	var out bytes.Buffer
	m := message("OrderCancelled", `"schema":99,"who":"?"`)
	if err := printLine(&out, m); err != nil || !strings.HasSuffix(out.String(), "OrderCancelled      "+string(m.Payload)+"\n") {
		t.Errorf("error %v, got %q", err, &out)
	}
}

func TestEveryEventIsACloudEventOnALine(t *testing.T) {
	m := message("OrderCancelled", `"reason":"<a> & \"b\"\n"`)
	m.OccurredAt = time.Date(2026, 11, 22, 17, 6, 41, 441e6, time.FixedZone("", 3600))
	m.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var out bytes.Buffer
	if err := printCloudEvent(&out, m); err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"` + m.ID + `","source":"/hexorders","type":"OrderCancelled","time":"2026-11-22T16:06:41.441Z",` +
		`"subject":"` + someOrder + `","aggregateversion":12,"traceparent":"` + m.TraceParent +
		`","datacontenttype":"application/json","data":` +
		string(m.Payload) + "}\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
	if !json.Valid(out.Bytes()) || !utf8.Valid(out.Bytes()) {
		t.Error("it is not JSON")
	}
}

// message is version 12 of some order.
func message(typeName, fields string) ports.Message {
	at := time.Date(2026, 11, 22, 17, 6, 41, 441e6, time.Local)
	payload := `{"orderId":"` + someOrder + `","version":12,"occurredAt":"` + at.UTC().Format(time.RFC3339Nano) + `"`
	if fields != "" {
		payload += "," + fields
	}
	return ports.Message{ID: someOrder + "/12", OrderID: someOrder, Version: 12, Type: typeName,
		Payload: []byte(payload + "}"), OccurredAt: at}
}

func TestATailEndsAfterCountEvents(t *testing.T) {
	published(t)
	for _, x := range []struct {
		args string
		want int
	}{
		{"--count 1", 1}, {"--count 2", 2}, {"--count 3 --json", 3},
	} {
		if lines := strings.Count(prints(t, "events tail --from start "+x.args), "\n"); lines != x.want {
			t.Errorf("%s prints %d lines, want %d", x.args, lines, x.want)
		}
	}
}
