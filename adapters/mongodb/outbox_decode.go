package mongodb

import (
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/ports"
)

// messageDecoder decodes messages from BSON documents. At tens of thousands of messages a second each small
// allocation shows in the profile, so it copies strings and payloads into larger pieces of memory. Decoding into a
// struct takes four times as long and fifty allocations. The copies do not reference the server's response, which may
// be 16 MB.
type messageDecoder struct {
	text    strings.Builder
	payload []byte
	scratch []byte
}

// pieceSize is small, because a string that stays in use, such as a parked order's id, keeps its whole piece in memory.
const pieceSize = 16 << 10

func (d *messageDecoder) message(document bson.Raw) (ports.Message, error) {
	f := fields{document: document}
	at := f.value("occurredAt", bson.TypeDateTime)
	m := ports.Message{
		ID:      d.copyString(f.text("_id")),
		Type:    d.copyString(f.text("type")),
		OrderID: d.copyString(f.text("aggregateid")),
		Version: f.number("version"),
		Payload: d.copyBytes(f.text("payload")),
	}
	if f.err != nil {
		return ports.Message{}, f.err
	}
	m.OccurredAt = time.UnixMilli(at.DateTime()).UTC()
	if trace := document.Lookup("traceparent"); trace.Type == bson.TypeString {
		m.TraceParent = d.copyString(f.text("traceparent"))
	}
	return m, nil
}

// event decodes an event of the change stream: its message, its commit time and the position after it.
func (d *messageDecoder) event(event bson.Raw) (m ports.Message, committed bson.Timestamp, p ports.Position, err error) {
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
	d.scratch = append(position{moment: committed}.appendText(d.scratch[:0]), data...)
	m, err = d.message(document.Document())
	return m, committed, ports.Position(d.copyString(d.scratch)), err
}

func (d *messageDecoder) position(p position) ports.Position {
	d.scratch = p.appendText(d.scratch[:0])
	return ports.Position(d.copyString(d.scratch))
}

func (d *messageDecoder) copyString(text []byte) string {
	if d.text.Cap()-d.text.Len() < len(text) {
		d.text.Reset() // strings in the old piece stay valid
		d.text.Grow(max(pieceSize, len(text)))
	}
	start := d.text.Len()
	d.text.Write(text)
	return d.text.String()[start:]
}

func (d *messageDecoder) copyBytes(b []byte) []byte {
	if cap(d.payload)-len(d.payload) < len(b) {
		d.payload = make([]byte, 0, max(pieceSize, len(b)))
	}
	start := len(d.payload)
	d.payload = append(d.payload, b...)
	return d.payload[start:len(d.payload):len(d.payload)]
}

// fields reads values of a document and keeps the first error.
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
