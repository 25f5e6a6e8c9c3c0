package mongodb

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"hexorders/core/order"
	"hexorders/ports"
)

// A generation of a view has these collections, called view.<view>.<number>.<name>:
//
//	orders     {_id, mark: {version, held, parked?, buyerId?, status?}, row?: {the summary, in OrderSummary}}
//	inbox      {at, ids: [message id, ...]}    the messages of one Commit; an id is in one document at most
//	held       {_id: message id, <the rest as in the outbox>, reason, parkedAt}
//	positions  {_id: partition, next, asOf}
//	buyers     {_id, pending, submitted, paid, cancelled, lastAt?}    in BuyerActivity
//	entries    {_id: {orderId, version}, type, at, text}              in OrderTimeline
//
// A mark and a row share a document, and so do the message ids of a Commit: what a server has to do goes by documents and
// index entries. The documents that a Commit writes by the thousand are put together by hand, without reflection.

// appendOrder appends what a change says of an order: a mark, a summary or both.
func appendOrder(b []byte, mark *ports.Mark, summary *ports.Summary) []byte {
	if mark != nil {
		b = appendMark(b, mark)
	}
	if summary != nil {
		b = appendSummary(b, summary)
	}
	return b
}

func appendMark(b []byte, m *ports.Mark) []byte {
	start, b := bsoncore.AppendDocumentElementStart(b, "mark")
	b = bsoncore.AppendInt64Element(b, "version", int64(m.Version))
	b = bsoncore.AppendInt64Element(b, "held", int64(m.Held))
	b = appendText(b, "parked", m.Parked)
	b = appendText(b, "buyerId", m.Buyer)
	b = appendText(b, "status", string(m.Status))
	return end(b, start)
}

func appendSummary(b []byte, s *ports.Summary) []byte {
	start, b := bsoncore.AppendDocumentElementStart(b, "row")
	b = bsoncore.AppendStringElement(b, "buyerId", s.Buyer)
	b = bsoncore.AppendStringElement(b, "status", string(s.Status))
	b = bsoncore.AppendInt64Element(b, "version", int64(s.Version))
	b = bsoncore.AppendInt64Element(b, "totalAmount", int64(s.TotalAmount))
	items, b := bsoncore.AppendArrayElementStart(b, "items")
	for i, item := range s.Items {
		var line int32
		line, b = bsoncore.AppendDocumentElementStart(b, strconv.Itoa(i))
		b = bsoncore.AppendStringElement(b, "productId", item.Product)
		b = bsoncore.AppendInt64Element(b, "amount", int64(item.Amount))
		b = end(b, line)
	}
	b = end(b, items)
	b = appendTime(b, "createdAt", s.CreatedAt)
	b = appendTime(b, "updatedAt", s.UpdatedAt)
	b = appendTime(b, "submittedAt", s.SubmittedAt)
	b = appendTime(b, "paidAt", s.PaidAt)
	b = appendTime(b, "cancelledAt", s.CancelledAt)
	return end(b, start)
}

// end writes the length of what began at start. That fails only for a document of more than 2 GB.
func end(b []byte, start int32) []byte {
	b, _ = bsoncore.AppendDocumentEnd(b, start)
	return b
}

func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return bsoncore.AppendStringElement(b, name, text)
}

func appendTime(b []byte, name string, at time.Time) []byte {
	if at.IsZero() {
		return b
	}
	return bsoncore.AppendDateTimeElement(b, name, at.UnixMilli())
}

// decoder reads documents of orders and keeps the first error.
type decoder struct{ err error }

// order returns nil for what the document does not have.
func (d *decoder) order(document bson.Raw) (mark *ports.Mark, summary *ports.Summary) {
	id := ""
	d.each(bsoncore.Document(document), func(name []byte, v bsoncore.Value) {
		switch string(name) { // the id comes first
		case "_id":
			id = d.text(name, v)
		case "mark":
			mark = &ports.Mark{OrderID: id}
			d.each(v.Data, func(name []byte, v bsoncore.Value) { d.mark(mark, name, v) })
		case "row":
			summary = &ports.Summary{OrderID: id}
			d.each(v.Data, func(name []byte, v bsoncore.Value) { d.summary(summary, name, v) })
		}
	})
	if d.err != nil {
		d.err = fmt.Errorf("decode document %q: %w", id, d.err)
	}
	return mark, summary
}

func (d *decoder) mark(m *ports.Mark, name []byte, v bsoncore.Value) {
	switch string(name) {
	case "version":
		m.Version = d.number(name, v)
	case "held":
		m.Held = d.number(name, v)
	case "parked":
		m.Parked = d.text(name, v)
	case "buyerId":
		m.Buyer = d.text(name, v)
	case "status":
		m.Status = order.Status(d.text(name, v))
	}
}

func (d *decoder) summary(s *ports.Summary, name []byte, v bsoncore.Value) {
	switch string(name) {
	case "buyerId":
		s.Buyer = d.text(name, v)
	case "status":
		s.Status = order.Status(d.text(name, v))
	case "version":
		s.Version = d.number(name, v)
	case "totalAmount":
		s.TotalAmount = d.number(name, v)
	case "items":
		d.each(v.Data, func(_ []byte, v bsoncore.Value) {
			var item order.Item
			d.each(v.Data, func(name []byte, v bsoncore.Value) {
				switch string(name) {
				case "productId":
					item.Product = d.text(name, v)
				case "amount":
					item.Amount = d.number(name, v)
				}
			})
			s.Items = append(s.Items, item)
		})
	case "createdAt":
		s.CreatedAt = d.time(name, v)
	case "updatedAt":
		s.UpdatedAt = d.time(name, v)
	case "submittedAt":
		s.SubmittedAt = d.time(name, v)
	case "paidAt":
		s.PaidAt = d.time(name, v)
	case "cancelledAt":
		s.CancelledAt = d.time(name, v)
	}
}

// each calls do for the elements of a document or an array.
func (d *decoder) each(document bsoncore.Document, do func(name []byte, v bsoncore.Value)) {
	_, rest, ok := bsoncore.ReadLength(document)
	for ok && len(rest) > 1 { // the last byte is a zero
		var element bsoncore.Element
		if element, rest, ok = bsoncore.ReadElement(rest); ok {
			do(element.KeyBytes(), element.Value())
		}
	}
	if !ok && d.err == nil {
		d.err = errors.New("it is cut off")
	}
}

func (d *decoder) text(name []byte, v bsoncore.Value) string {
	text, ok := v.StringValueOK()
	d.want(ok, name, v, "a string")
	return text
}

func (d *decoder) number(name []byte, v bsoncore.Value) int {
	n, ok := v.AsInt64OK()
	d.want(ok, name, v, "a number")
	return int(n)
}

func (d *decoder) time(name []byte, v bsoncore.Value) time.Time {
	ms, ok := v.DateTimeOK()
	d.want(ok, name, v, "a date")
	return time.UnixMilli(ms).UTC()
}

func (d *decoder) want(ok bool, name []byte, v bsoncore.Value, what string) {
	if !ok && d.err == nil {
		d.err = fmt.Errorf("%s is %s, want %s", name, v.Type, what)
	}
}

type positionDocument struct {
	Partition int       `bson:"_id"`
	Next      int64     `bson:"next"`
	AsOf      time.Time `bson:"asOf,omitempty"`
}

// heldDocument is one without its reason, the only thing that may change.
type heldDocument struct {
	Message  messageDocument `bson:",inline"`
	ParkedAt time.Time       `bson:"parkedAt"`
}

type activityDocument struct {
	Buyer     string    `bson:"_id"`
	Pending   int       `bson:"pending"`
	Submitted int       `bson:"submitted"`
	Paid      int       `bson:"paid"`
	Cancelled int       `bson:"cancelled"`
	LastAt    time.Time `bson:"lastAt"`
}

type entryID struct {
	OrderID string `bson:"orderId"`
	Version int64  `bson:"version"`
}

type entryDocument struct {
	ID   entryID   `bson:"_id"`
	Type string    `bson:"type"`
	At   time.Time `bson:"at"`
	Text string    `bson:"text"`
}

func (d entryDocument) entry() ports.TimelineEntry {
	return ports.TimelineEntry{OrderID: d.ID.OrderID, Version: int(d.ID.Version), Type: d.Type, At: d.At, Text: d.Text}
}

// appendEntry appends an entry without its id.
func appendEntry(b []byte, e ports.TimelineEntry) []byte {
	b = bsoncore.AppendStringElement(b, "type", e.Type)
	b = bsoncore.AppendDateTimeElement(b, "at", e.At.UnixMilli())
	return bsoncore.AppendStringElement(b, "text", e.Text)
}

func appendEntryID(b []byte, e ports.TimelineEntry) []byte {
	start, b := bsoncore.AppendDocumentElementStart(b, "_id")
	b = bsoncore.AppendStringElement(b, "orderId", e.OrderID)
	b = bsoncore.AppendInt64Element(b, "version", int64(e.Version))
	return end(b, start)
}
