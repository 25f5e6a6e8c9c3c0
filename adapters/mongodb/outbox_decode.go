package mongodb

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/ports"
)

// batches is what the driver's cursors and change streams have in common.
type batches interface {
	Next(context.Context) bool
	RemainingBatchLength() int
	Err() error
	Close(context.Context) error
}

// ahead reads the documents of a cursor a batch at a time, and the next batch while the one before is worked on: so the
// server, the relay and the broker are busy at the same time. It holds two batches, of 16 MB at most each. A context
// that ends is an error, so that the end without one is the cursor's. When the loop over it ends, the cursor is closed.
func ahead(ctx context.Context, cursor batches, current *bson.Raw) iter.Seq2[[]bson.Raw, error] {
	return func(yield func([]bson.Raw, error) bool) {
		reading, stop := context.WithCancel(ctx)
		read := make(chan []bson.Raw) // without a buffer: one batch waits here while another is worked on
		var reader sync.WaitGroup
		reader.Go(func() {
			defer close(read)
			for cursor.Next(reading) {
				batch := append(make([]bson.Raw, 0, 1+cursor.RemainingBatchLength()), *current)
				for cursor.RemainingBatchLength() > 0 && cursor.Next(reading) {
					batch = append(batch, *current)
				}
				select {
				case read <- batch:
				case <-reading.Done():
					return
				}
			}
		})
		defer func() {
			stop()
			reader.Wait()
			steady, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			_ = cursor.Close(steady) // or else the server closes it in its own time
		}()
		for batch := range read {
			if !yield(batch, nil) {
				return
			}
		}
		err := cursor.Err()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// reader makes messages of documents. At tens of thousands of them a second every small allocation is seen in the
// profile, so it puts what they say side by side into larger pieces of memory; decoding into a struct would take four
// times as long and fifty allocations. What it copies lets go of the server's answer, which may be 16 MB.
type reader struct {
	text    strings.Builder
	payload []byte
	scratch []byte
}

// pieceSize is small enough that a text that is kept, such as a parked order's id, does not keep much else.
const pieceSize = 16 << 10

func (r *reader) message(document bson.Raw) (ports.Message, error) {
	f := fields{document: document}
	at := f.value("occurredAt", bson.TypeDateTime)
	m := ports.Message{
		ID:      r.keep(f.text("_id")),
		Type:    r.keep(f.text("type")),
		OrderID: r.keep(f.text("aggregateid")),
		Version: f.number("version"),
		Payload: r.keepBytes(f.text("payload")),
	}
	if f.err != nil {
		return ports.Message{}, f.err
	}
	m.OccurredAt = time.UnixMilli(at.DateTime()).UTC()
	if trace := document.Lookup("traceparent"); trace.Type == bson.TypeString {
		m.TraceParent = r.keep(f.text("traceparent"))
	}
	return m, nil
}

// event makes a message of an event of the change stream, and the position after it.
func (r *reader) event(event bson.Raw) (m ports.Message, committed bson.Timestamp, p ports.Position, err error) {
	f := fields{document: event}
	id, document := f.value("_id", bson.TypeEmbeddedDocument), f.value("fullDocument", bson.TypeEmbeddedDocument)
	at := f.value("clusterTime", bson.TypeTimestamp)
	if f.err != nil {
		return m, committed, "", f.err
	}
	token := fields{document: id.Document()}
	data := token.text("_data")
	if token.err != nil {
		return m, committed, "", token.err
	}
	committed.T, committed.I = at.Timestamp()
	r.scratch = append(position{moment: committed}.append(r.scratch[:0]), data...)
	m, err = r.message(document.Document())
	return m, committed, ports.Position(r.keep(r.scratch)), err
}

func (r *reader) position(p position) ports.Position {
	r.scratch = p.append(r.scratch[:0])
	return ports.Position(r.keep(r.scratch))
}

func (r *reader) keep(text []byte) string {
	if r.text.Cap()-r.text.Len() < len(text) {
		r.text.Reset() // what was handed out of the old piece stays as it is
		r.text.Grow(max(pieceSize, len(text)))
	}
	start := r.text.Len()
	r.text.Write(text)
	return r.text.String()[start:]
}

func (r *reader) keepBytes(b []byte) []byte {
	if cap(r.payload)-len(r.payload) < len(b) {
		r.payload = make([]byte, 0, max(pieceSize, len(b)))
	}
	start := len(r.payload)
	r.payload = append(r.payload, b...)
	return r.payload[start:len(r.payload):len(r.payload)]
}

// fields takes values out of a document and keeps the first error.
type fields struct {
	document bson.Raw
	err      error
}

func (f *fields) value(name string, want bson.Type) bson.RawValue {
	v := f.document.Lookup(name)
	if v.Type != want && f.err == nil {
		f.err = fmt.Errorf("decode document %s: %s is %s, want %s", f.document.Lookup("_id"), name, typeOf(v), want)
	}
	return v
}

func (f *fields) text(name string) []byte {
	if v := f.value(name, bson.TypeString); f.err == nil {
		return v.Value[4 : len(v.Value)-1] // between its length and a zero byte
	}
	return nil
}

func (f *fields) number(name string) int {
	v := f.document.Lookup(name)
	n, ok := v.AsInt64OK()
	if !ok && f.err == nil {
		f.err = fmt.Errorf("decode document %s: %s is %s, want a number", f.document.Lookup("_id"), name, typeOf(v))
	}
	return int(n)
}

func typeOf(v bson.RawValue) string {
	if v.Type == 0 {
		return "missing"
	}
	return v.Type.String()
}
