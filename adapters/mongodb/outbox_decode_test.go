package mongodb

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/ports"
)

func document(d bson.D) bson.Raw {
	raw, err := bson.Marshal(d)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestAMessageReadsBackFromItsDocument(t *testing.T) {
	at := time.Date(2026, 3, 14, 6, 30, 15, 123_000_000, time.UTC)
	var d messageDecoder
	var want, got []ports.Message
	for i := range 500 { // more than fits into one piece, and every other one larger than a piece
		m := ports.Message{
			ID: fmt.Sprintf("order-%d/%d", i, i+1), Type: "OrderPaid", OrderID: fmt.Sprintf("order-%d", i), Version: i + 1,
			Payload: []byte(strings.Repeat("ü", 1+i%2*pieceSize)), OccurredAt: at,
		}
		if i%3 == 0 {
			m.TraceParent = fmt.Sprintf("00-%d-01", i)
		}
		raw, err := bson.Marshal(newMessageDocument(m))
		if err != nil {
			t.Fatal(err)
		}
		read, err := d.message(raw)
		if err != nil {
			t.Fatal(err)
		}
		clear(raw) // the driver's memory is its own
		want, got = append(want, m), append(got, read)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("message %d\n got %.200v\nwant %.200v", i, got[i], want[i])
		}
	}
}

func TestAnEventReadsBackWithItsPosition(t *testing.T) {
	m := ports.Message{ID: "o/1", Type: "OrderPaid", OrderID: "o", Version: 1, Payload: []byte("{}"), OccurredAt: time.UnixMilli(5).UTC()}
	moment := bson.Timestamp{T: 7, I: 9}
	event := func(change func(bson.M)) bson.Raw {
		e := bson.M{"_id": bson.M{"_data": "82AB"}, "clusterTime": moment, "fullDocument": newMessageDocument(m)}
		change(e)
		raw, err := bson.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	var d messageDecoder
	got, committed, p, err := d.event(event(func(bson.M) {}))
	if err != nil || !reflect.DeepEqual(got, m) || committed != moment || p != "stream|7.9|82AB" {
		t.Errorf("got %v, committed %v, position %q, %v", got, committed, p, err)
	}
	for name, change := range map[string]func(bson.M){
		"no token":       func(e bson.M) { delete(e, "_id") },
		"no token in it": func(e bson.M) { e["_id"] = bson.M{"_data": 1} },
		"no time":        func(e bson.M) { e["clusterTime"] = "now" },
		"no document":    func(e bson.M) { delete(e, "fullDocument") },
		"no version":     func(e bson.M) { e["fullDocument"] = bson.M{"_id": "o/1"} },
	} {
		if got, _, _, err := d.event(event(change)); err == nil {
			t.Errorf("an event with %s: got %v, want an error", name, got)
		}
	}
}

func TestADocumentWithAFieldThatIsMissingOrWrongIsRefused(t *testing.T) {
	whole := bson.M{"_id": "o/1", "type": "OrderPaid", "aggregateid": "o", "version": 1, "payload": "{}", "occurredAt": time.UnixMilli(5)}
	for field := range whole {
		for what, value := range map[string]any{"missing": nil, "of another type": true} {
			d := bson.M{}
			for k, v := range whole {
				d[k] = v
			}
			d[field] = value
			if value == nil {
				delete(d, field)
			}
			raw, err := bson.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			var decoder messageDecoder
			if m, err := decoder.message(raw); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s is %s: got %v, %v, want an error that names it", field, what, m, err)
			}
		}
	}
}
