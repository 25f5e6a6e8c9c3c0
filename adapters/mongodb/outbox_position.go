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

// position is the content of a ports.Position of this outbox. It is of one of two kinds:
//
//	stream|1763829382.5|8263...     In the change stream, after the event with this resume token.
//	stream|1763829382.5|            In the change stream, after this moment; the scan up to it is done.
//	scan|1763829382.5|0|7|0198-...  In the scan of the documents that occurred at 0 (Unix ms) or later, after version 7
//	                                of order 0198-...; then in the change stream, after this moment.
//
// The moment is a MongoDB cluster time (seconds and a counter) of the event or of the start of the scan. A rescan
// starts from this server time and not from a message's occurredAt, which comes from the clock of the process that
// saved it.
type position struct {
	moment bson.Timestamp
	token  string

	scanning bool
	since    int64 // Unix ms
	after    messageKey
}

// messageKey is the key of byVersion, the order in which a scan reads messages.
type messageKey struct {
	order   string
	version int
}

func (k messageKey) before(other messageKey) bool {
	return k.order < other.order || k.order == other.order && k.version < other.version
}

func (p position) text() ports.Position { return ports.Position(p.appendText(nil)) }

func (p position) appendText(b []byte) []byte {
	// Each message gets a position, so this uses strconv instead of fmt.
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
	return append(b, p.after.order...) // last, because an id may contain any character
}

// parsePosition parses a position; "" is a scan of everything that has not started.
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
		p.after = messageKey{id, int(n.int64(version))}
	case "stream":
		p.token = rest
		if _, err := hex.DecodeString(rest); err != nil {
			n.err = err
		}
	default:
		n.err = fmt.Errorf("%q is no kind of position", kind)
	}
	if n.err != nil {
		// A guess would publish all messages again or, worse, skip some.
		return position{}, fmt.Errorf("outbox position %q is not one of this outbox's (%w): to publish everything again, delete "+
			"the document that holds it from the collection %s", text, n.err, relayCollection)
	}
	return p, nil
}

// rescan returns the position to continue from when the stream cannot be resumed at p. Each message that was committed
// after p occurred at most margin before it.
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
