package mongodb

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/ports"
)

// answers is a cursor whose server gives one batch an answer, then fails or ends.
type answers struct {
	batches [][]string // of _id's
	err     error      // after the last batch; nil is the end
	wait    bool       // after the last batch the server has nothing, until the context ends
	asked   int
	closed  bool

	rest    []string
	current bson.Raw
}

func (a *answers) Next(ctx context.Context) bool {
	if len(a.rest) == 0 {
		if a.asked == len(a.batches) {
			if a.wait {
				<-ctx.Done()
				a.err = ctx.Err()
			}
			return false
		}
		a.rest = a.batches[a.asked]
		a.asked++
	}
	a.current, a.rest = document(bson.D{{Key: "_id", Value: a.rest[0]}}), a.rest[1:]
	return true
}

func (a *answers) RemainingBatchLength() int { return len(a.rest) }
func (a *answers) Err() error                { return a.err }

func (a *answers) Close(ctx context.Context) error {
	a.closed = true
	return ctx.Err()
}

func document(d bson.D) bson.Raw {
	raw, err := bson.Marshal(d)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestTheNextBatchIsReadWhileOneIsWorkedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{batches: [][]string{{"a", "b"}, {"c"}, {"d"}, {"e"}}}
		worked := 0
		for _, err := range ahead(t.Context(), a, &a.current) {
			if err != nil {
				t.Fatal(err)
			}
			worked++
			synctest.Wait()
			if want := min(worked+1, 4); a.asked != want {
				t.Errorf("while batch %d is worked on, %d batches were read, want %d", worked, a.asked, want)
			}
		}
	})
}

func TestWhatWasReadComesBeforeTheEndAndItsError(t *testing.T) {
	for _, want := range []error{nil, errors.New("the server is gone")} {
		a := &answers{batches: [][]string{{"a", "b"}, {"c"}}, err: want}
		var ids []string
		var end error
		for batch, err := range ahead(t.Context(), a, &a.current) {
			for _, d := range batch {
				ids = append(ids, d.Lookup("_id").StringValue())
			}
			end = err
		}
		if !slices.Equal(ids, []string{"a", "b", "c"}) || !errors.Is(end, want) || !a.closed {
			t.Errorf("got %v, then %v, closed %v; want a b c, then %v, and closed", ids, end, a.closed, want)
		}
	}
}

// A scan that took a cancelled context for the end of its documents would say that it is done.
func TestAContextThatEndsIsNoEndOfTheDocuments(t *testing.T) {
	for name, wait := range map[string]bool{"while a batch is worked on": false, "while the server has nothing": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a := &answers{batches: [][]string{{"a"}, {"b"}, {"c"}}, wait: wait}
			var end error
			for batch, err := range ahead(ctx, a, &a.current) {
				if err == nil && (!wait || batch[0].Lookup("_id").StringValue() == "c") {
					cancel()
				}
				end = err
			}
			if !errors.Is(end, context.Canceled) || !a.closed {
				t.Errorf("the last error is %v, closed %v; want context.Canceled, and closed", end, a.closed)
			}
		})
	}
}

func TestReadingCanBeLeftAtAnyBatch(t *testing.T) {
	a := &answers{batches: [][]string{{"a"}, {"b"}, {"c"}}, wait: true}
	for _, err := range ahead(t.Context(), a, &a.current) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if !a.closed {
		t.Error("the cursor is still open")
	}
}

func TestAMessageReadsBackFromItsDocument(t *testing.T) {
	at := time.Date(2026, 3, 14, 6, 30, 15, 123_000_000, time.UTC)
	var r reader
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
		read, err := r.message(raw)
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
	var r reader
	got, committed, p, err := r.event(event(func(bson.M) {}))
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
		if got, _, _, err := r.event(event(change)); err == nil {
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
			var r reader
			if m, err := r.message(raw); err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%s is %s: got %v, %v, want an error that names it", field, what, m, err)
			}
		}
	}
}
