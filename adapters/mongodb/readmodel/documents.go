package readmodel

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"hexorders/ports"
)

// The collections. Each generation has its own, because to drop a collection is quick, however much is in it.
//
//	readmodel                {_id: "generations", live: {number, views, shapes}, shadow: {number, views, shapes}, newest}
//	readmodel.<n>.places     {_id: shard, next, asOf?, gap?: {reason, detail}}
//	readmodel.<n>.progress   {_id: order id, version, newest, buffered, parked?, state?, digest}
//	readmodel.<n>.buffered   {_id: "<order id>/<version>", <the rest as in the collection parked>}
//	readmodel.<n>.<view>     {_id: key, f?: {<field>: value, ...}, body?, c?: {<counter>: number, ...}}
//
// state and body are JSON texts. What a Commit writes by the thousand is put together by hand, without reflection.
const (
	generationsCollection = "readmodel"
	generationsID         = "generations"

	places   = "places"
	progress = "progress"
	buffered = "buffered"
)

func encodeProgress(p ports.Progress) bson.Raw {
	start, b := bsoncore.AppendDocumentStart(make([]byte, 0, 128+len(p.OrderID)+len(p.Parked)+len(p.State)))
	b = bsoncore.AppendStringElement(b, "_id", p.OrderID)
	b = bsoncore.AppendInt64Element(b, "version", int64(p.Version))
	b = bsoncore.AppendInt64Element(b, "newest", int64(p.Newest))
	b = bsoncore.AppendInt64Element(b, "buffered", int64(p.Buffered))
	b = appendText(b, "parked", []byte(p.Parked))
	b = appendText(b, "state", p.State)
	b = bsoncore.AppendInt64Element(b, "digest", int64(p.Digest))
	return end(b, start)
}

func encodeRow(row ports.Row) bson.Raw {
	start, b := bsoncore.AppendDocumentStart(make([]byte, 0, 64+len(row.Key)+32*len(row.Fields)+len(row.Body)))
	b = bsoncore.AppendStringElement(b, "_id", row.Key)
	if len(row.Fields) > 0 {
		var fields int32
		fields, b = bsoncore.AppendDocumentElementStart(b, "f")
		for _, f := range row.Fields {
			switch value := f.Value.(type) {
			case string:
				b = bsoncore.AppendStringElement(b, f.Name, value)
			case int64:
				b = bsoncore.AppendInt64Element(b, f.Name, value)
			default:
				panic(fmt.Sprintf("the field %s of the row %q is a %T", f.Name, row.Key, value)) // ports.Field allows no other
			}
		}
		b = end(b, fields)
	}
	return end(appendText(b, "body", row.Body), start)
}

// encodeAddition makes the update statement of one. To add nothing still makes the row.
func encodeAddition(a ports.Addition) bson.Raw {
	start, b := bsoncore.AppendDocumentStart(make([]byte, 0, 256))
	var q, u int32
	q, b = bsoncore.AppendDocumentElementStart(b, "q")
	b = end(bsoncore.AppendStringElement(b, "_id", a.Key), q)
	u, b = bsoncore.AppendDocumentElementStart(b, "u")
	for _, counts := range []struct {
		operator string
		list     []ports.Count
	}{{"$inc", a.Add}, {"$max", a.Max}} {
		var operator int32
		operator, b = bsoncore.AppendDocumentElementStart(b, counts.operator)
		for _, c := range counts.list {
			b = bsoncore.AppendInt64Element(b, "c."+c.Name, c.Value)
		}
		b = end(b, operator)
	}
	return end(bsoncore.AppendBooleanElement(end(b, u), "upsert", true), start)
}

// appendText appends a string element, and nothing for an empty text.
func appendText(b []byte, name string, text []byte) []byte {
	if len(text) == 0 {
		return b
	}
	b = bsoncore.AppendHeader(b, bsoncore.TypeString, name)
	b = bsoncore.AppendInt32(b, int32(len(text)+1))
	return append(append(b, text...), 0)
}

// end writes the length of what began at start. That fails only for a document of more than 2 GB.
func end(b []byte, start int32) []byte {
	b, _ = bsoncore.AppendDocumentEnd(b, start)
	return b
}

type progressDocument struct {
	OrderID  string `bson:"_id"`
	Version  int    `bson:"version"`
	Newest   int    `bson:"newest"`
	Buffered int    `bson:"buffered"`
	Parked   string `bson:"parked"`
	State    []byte `bson:"state"` // a string
	Digest   uint32 `bson:"digest"`
}

type rowDocument struct {
	Key      string `bson:"_id"`
	Fields   bson.D `bson:"f"`
	Body     []byte `bson:"body"` // a string
	Counters bson.D `bson:"c"`
}

func (d rowDocument) row() ports.Row {
	row := ports.Row{Key: d.Key, Body: d.Body}
	for _, f := range d.Fields {
		row.Fields = append(row.Fields, ports.Field{Name: f.Key, Value: f.Value})
	}
	for _, c := range d.Counters {
		value, _ := c.Value.(int64) // $inc and $max keep the type
		row.Counters = append(row.Counters, ports.Count{Name: c.Key, Value: value})
	}
	return row
}

type placeDocument struct {
	Shard string      `bson:"_id"`
	Next  string      `bson:"next"`
	AsOf  time.Time   `bson:"asOf"`
	Gap   gapDocument `bson:"gap"`
}

type gapDocument struct {
	Reason ports.GapReason `bson:"reason"`
	Detail string          `bson:"detail"`
}

// bufferedDocument is a document of mongodb.Parking, without its id and its reason.
type bufferedDocument struct {
	OrderID     string    `bson:"aggregateid"`
	Version     int       `bson:"version"`
	Type        string    `bson:"type"`
	Payload     string    `bson:"payload"`
	OccurredAt  time.Time `bson:"occurredAt"`
	TraceParent string    `bson:"traceparent,omitempty"`
	ParkedAt    time.Time `bson:"parkedAt"`
}

func newBufferedDocument(m ports.Message, now time.Time) bufferedDocument {
	return bufferedDocument{m.OrderID, m.Version, m.Type, string(m.Payload), m.OccurredAt, m.TraceParent, now}
}
