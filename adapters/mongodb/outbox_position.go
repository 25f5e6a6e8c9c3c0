package mongodb

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"hexorders/ports"
)

// position is what a ports.Position of this outbox holds. It is one of two:
//
//	stream|1763829382.5|8263...     In the change stream, after the event with this resume token.
//	stream|1763829382.5|            In the change stream, after this moment; the scan up to it is done.
//	scan|1763829382.5|0|7|0198-...  In the scan of the documents that occurred at 0 (Unix ms) or later, after version 7
//	                                of order 0198-...; then in the change stream, after this moment.
//
// The moment is a MongoDB cluster time, seconds and a counter, of the event or of the start of the scan. It is the
// server's clock: a rescan that started from what the messages say about their time would trust the clock of whoever
// wrote the last one.
type position struct {
	moment bson.Timestamp
	token  string

	scanning bool
	since    int64 // Unix ms
	after    key
}

// key is a message's place in the outbox's own order.
type key struct {
	order   string
	version int
}

func (k key) before(other key) bool {
	return k.order < other.order || k.order == other.order && k.version < other.version
}

func (p position) encode() ports.Position { return ports.Position(p.append(nil)) }

func (p position) append(b []byte) []byte {
	// Every message gets one of these, hence no fmt.
	if p.scanning {
		b = append(b, "scan|"...)
	} else {
		b = append(b, "stream|"...)
	}
	b = strconv.AppendUint(b, uint64(p.moment.T), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(p.moment.I), 10)
	b = append(b, '|')
	if !p.scanning {
		return append(b, p.token...)
	}
	b = strconv.AppendInt(b, p.since, 10)
	b = append(b, '|')
	b = strconv.AppendInt(b, int64(p.after.version), 10)
	b = append(b, '|')
	return append(b, p.after.order...) // last, because an id may contain anything
}

// parsePosition reads a position back; "" is a scan of everything that has not begun.
func parsePosition(text ports.Position) (position, error) {
	if text == "" {
		return position{scanning: true}, nil
	}
	kind, rest, _ := strings.Cut(string(text), "|")
	moment, rest, _ := strings.Cut(rest, "|")
	seconds, counter, _ := strings.Cut(moment, ".")
	var n numbers
	p := position{moment: bson.Timestamp{T: n.uint32(seconds), I: n.uint32(counter)}, scanning: kind == "scan"}
	switch kind {
	case "scan":
		since, rest, _ := strings.Cut(rest, "|")
		version, id, _ := strings.Cut(rest, "|")
		p.since = n.int64(since)
		p.after = key{id, int(n.int64(version))}
	case "stream":
		p.token = rest
		if _, err := hex.DecodeString(rest); err != nil {
			n.err = err
		}
	default:
		n.err = fmt.Errorf("%q is no kind of position", kind)
	}
	if n.err != nil {
		// Guessing would publish all that was ever published once more, or worse, skip some of it.
		return position{}, fmt.Errorf("outbox position %q is not one of this outbox's (%w): to publish everything again, delete "+
			"the document that holds it from the collection %s", text, n.err, relayCollection)
	}
	return p, nil
}

// rescan is where to go on when the stream can no longer go on from p. All that was committed later than p occurred no
// earlier than margin before it.
func (p position) rescan(margin time.Duration) position {
	return position{scanning: true, since: time.Unix(int64(p.moment.T), 0).Add(-margin).UnixMilli()}
}

// numbers parses several numbers and keeps the first error.
type numbers struct{ err error }

func (n *numbers) uint32(text string) uint32 {
	v, err := strconv.ParseUint(text, 10, 32)
	n.keep(err)
	return uint32(v)
}

func (n *numbers) int64(text string) int64 {
	v, err := strconv.ParseInt(text, 10, 64)
	n.keep(err)
	return v
}

func (n *numbers) keep(err error) {
	if n.err == nil {
		n.err = err
	}
}
