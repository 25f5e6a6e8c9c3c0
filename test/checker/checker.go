// Package checker decides after the fact whether the service kept its promises: what MongoDB committed is in Kafka,
// nothing else is, and each order's messages stand there in version order. End-to-end and fault tests call it last.
//
// Check is pure: values in, violations out, so that it can itself be tested with histories that are wrong on purpose.
// Reading the servers is in read.go. It shares no code with the adapters it judges; what it takes from the program is
// the meaning of the events (core/order, adapters/eventjson), which their own tests hold.
package checker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// History is what both servers hold once everything has come to rest, and what the clients remember.
type History struct {
	Orders     []order.Snapshot // or, when the store keeps events, the snapshots that it has taken
	Outbox     []Document
	Parked     []string // ids of the messages that are parked
	Topic      []Record // by partition, then by offset
	Partitions int      // of the topic
	Events     bool     // the store keeps events: they are the outbox, and an order is what they add up to

	// Answered has, for each order that a client was told of, the highest version it was told. nil: nobody remembers.
	Answered map[string]int
}

// Document is a committed message as it stands in the outbox.
type Document struct {
	ID            string
	AggregateType string
	AggregateID   string
	Type          string
	Version       int
	Payload       string
	OccurredAt    time.Time
	TraceParent   string
}

// Record is a message as it stands in the topic.
type Record struct {
	Partition int32
	Offset    int64
	Key       string
	Value     string
	Headers   []Header // a name may stand there twice, which is wrong
}

type Header struct{ Name, Value string }

// Rule names a promise.
type Rule string

const (
	Lost           Rule = "lost"            // a committed message is neither in the topic nor parked
	Invented       Rule = "invented"        // a record is of no committed message
	Altered        Rule = "altered"         // a record's value is not the committed payload, byte by byte
	WrongKey       Rule = "wrong key"       // a record's key is not the order's id
	WrongHeader    Rule = "wrong header"    // a header is missing, doubled, unknown or says something else
	WrongPartition Rule = "wrong partition" // not the one that a Java client would choose for the key
	Scattered      Rule = "scattered"       // an order's messages are in more than one partition
	OutOfOrder     Rule = "out of order"    // an order's message came before an earlier one
	Repeated       Rule = "repeated"        // more duplicates than allowed
	BadParking     Rule = "bad parking"     // what is parked is not the end of an order that the topic lacks
	BadOutbox      Rule = "bad outbox"      // documents that are not versions 1..n of an order, or contradict themselves
	Diverged       Rule = "diverged"        // an order's document is not what its events add up to
	Forgotten      Rule = "forgotten"       // a client was told of something that is not committed
)

// Violation is a broken promise.
type Violation struct {
	Rule   Rule
	About  string // the message or the order
	Detail string
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Rule, v.About, v.Detail) }

// Report is the verdict and the figures behind it.
type Report struct {
	Violations []Violation
	Orders     int
	Committed  int // messages in the outbox
	Records    int // in the topic
	Duplicates int // records of a message that was in the topic before
	Parked     int // messages
}

// String is one line of figures and, below it, the first violations of each rule.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d orders, %d committed messages, %d records, %d duplicates, %d parked, %d violations",
		r.Orders, r.Committed, r.Records, r.Duplicates, r.Parked, len(r.Violations))
	const shown = 5 // of each rule: a broken relay breaks thousands, and the first few tell the story
	count := map[Rule]int{}
	for _, v := range r.Violations {
		if count[v.Rule]++; count[v.Rule] <= shown {
			fmt.Fprintf(&b, "\n  %s", v)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(count)) {
		if count[rule] > shown {
			fmt.Fprintf(&b, "\n  %s: %d more", rule, count[rule]-shown)
		}
	}
	return b.String()
}

// Check judges a history. maxDuplicates is how many repeated records the faults of the test can explain.
func Check(h History, maxDuplicates int) Report {
	c := newCheck(h)
	c.outbox()
	c.orders()
	c.topic()
	c.whereabouts()
	c.parking()
	c.answers()

	duplicates := len(h.Topic) - len(c.delivered) - c.unknown
	if duplicates > maxDuplicates {
		c.violated(Repeated, "topic", "%d duplicates, at most %d can be explained", duplicates, maxDuplicates)
	}
	orders := len(h.Orders)
	if h.Events {
		orders = len(c.byOrder)
	}
	return Report{
		Violations: c.violations,
		Orders:     orders, Committed: len(h.Outbox), Records: len(h.Topic),
		Duplicates: duplicates, Parked: len(h.Parked),
	}
}

type check struct {
	History
	byID       map[string]*Document
	byOrder    map[string][]*Document // in version order
	delivered  map[string]bool        // message ids that the topic holds
	unknown    int                    // records of no committed message
	parked     map[string]bool
	murmur2    kgo.TopicPartitioner
	violations []Violation
}

func newCheck(h History) *check {
	return &check{
		History:   h,
		byID:      make(map[string]*Document, len(h.Outbox)),
		byOrder:   map[string][]*Document{},
		delivered: make(map[string]bool, len(h.Topic)),
		parked:    map[string]bool{},
		murmur2:   kgo.StickyKeyPartitioner(nil).ForTopic(""),
	}
}

func (c *check) violated(rule Rule, about, format string, args ...any) {
	c.violations = append(c.violations, Violation{rule, about, fmt.Sprintf(format, args...)})
}

// outbox: each order's documents are its versions 1..n, and each says the same in its fields and in its payload.
func (c *check) outbox() {
	for i := range c.Outbox {
		d := &c.Outbox[i]
		c.byID[d.ID] = d
		c.byOrder[d.AggregateID] = append(c.byOrder[d.AggregateID], d)

		if want := messageID(d.AggregateID, d.Version); d.ID != want {
			c.violated(BadOutbox, d.ID, "its fields say %s", want)
		}
		if d.AggregateType != "order" {
			c.violated(BadOutbox, d.ID, "aggregatetype is %q, want %q", d.AggregateType, "order")
		}
		said, err := readEnvelope(d.Payload)
		switch {
		case err != nil:
			c.violated(BadOutbox, d.ID, "payload: %v", err)
		case said.id() != d.ID || !said.OccurredAt.Equal(d.OccurredAt):
			c.violated(BadOutbox, d.ID, "payload is of %s at %s, want %s at %s", said.id(), clock(said.OccurredAt),
				d.ID, clock(d.OccurredAt))
		}
	}
	for id, documents := range c.byOrder {
		slices.SortFunc(documents, func(a, b *Document) int { return cmp.Compare(a.Version, b.Version) })
		for i, d := range documents {
			if d.Version != i+1 {
				c.violated(BadOutbox, id, "version %d stands where %d should be", d.Version, i+1)
				break
			}
		}
	}
}

// orders: an order's document is what its events add up to, and there is none without the other. Of a store that keeps
// events it is a snapshot, of a version that may be long past, and it need not be there.
func (c *check) orders() {
	stored := make(map[string]bool, len(c.Orders))
	for _, got := range c.Orders {
		stored[got.ID] = true
		documents := c.byOrder[got.ID]
		if c.Events {
			documents = documents[:min(max(got.Version, 0), len(documents))]
		}
		if want, ok := c.fold(got.ID, documents); ok && !sameState(got, want) {
			c.violated(Diverged, got.ID, "document is %+v, its events say %+v", got, want)
		}
	}
	for id, documents := range c.byOrder {
		switch {
		case stored[id]:
		case c.Events:
			c.fold(id, documents)
		default:
			c.violated(Diverged, id, "has %d events and no document", len(documents))
		}
	}
}

// fold is what events add up to, unless that cannot be said.
func (c *check) fold(id string, documents []*Document) (state order.Snapshot, ok bool) {
	var events []order.Event
	for _, d := range documents {
		event, err := eventjson.Event(ports.Message{ID: d.ID, Type: d.Type, Payload: []byte(d.Payload)})
		if err != nil {
			c.violated(BadOutbox, d.ID, "%v", err)
		}
		events = append(events, event)
	}
	if slices.Contains(events, nil) {
		return state, false // already said, and not to be replayed
	}
	o, err := order.Replay(events)
	if err != nil {
		c.violated(Diverged, id, "its %d events: %v", len(events), err)
		return state, false
	}
	return o.Snapshot(), true
}

// topic: each record is a committed message, whole and in its place.
func (c *check) topic() {
	partitions := map[string]int32{}
	highest := map[string]int{} // by order, of the first occurrences so far
	source := ""
	for _, r := range c.Topic {
		place := fmt.Sprintf("partition %d, offset %d", r.Partition, r.Offset)
		d := c.documentOf(r)
		if d == nil {
			c.unknown++
			c.violated(Invented, place, "no committed message is %.200q with headers %v", r.Value, r.Headers)
			continue
		}
		if r.Value != d.Payload {
			c.violated(Altered, d.ID, "%s: value is %.500q, committed was %.500q", place, r.Value, d.Payload)
		}
		if r.Key != d.AggregateID {
			c.violated(WrongKey, d.ID, "%s: key is %q", place, r.Key)
		}
		if source == "" {
			source = r.header("ce_source")
		}
		c.headers(r, d, source, place)

		if want := c.partitionOf(d.AggregateID); r.Partition != want {
			c.violated(WrongPartition, d.ID, "%s: murmur2 of the order's id says partition %d", place, want)
		}
		if first, seen := partitions[d.AggregateID]; seen && first != r.Partition {
			c.violated(Scattered, d.ID, "%s: an earlier message of the order is in partition %d", place, first)
		} else if !seen {
			partitions[d.AggregateID] = r.Partition
		}

		if c.delivered[d.ID] {
			continue
		}
		c.delivered[d.ID] = true
		if want := highest[d.AggregateID] + 1; d.Version != want {
			c.violated(OutOfOrder, d.ID, "%s: stands where version %d of the order should be", place, want)
		}
		highest[d.AggregateID] = max(highest[d.AggregateID], d.Version)
	}
}

// documentOf finds what a record is about: by its id header or, when that one is wrong, by what its value says.
func (c *check) documentOf(r Record) *Document {
	if d := c.byID[r.header("ce_id")]; d != nil {
		return d
	}
	said, err := readEnvelope(r.Value)
	if err != nil {
		return nil
	}
	return c.byID[said.id()]
}

// headers: CloudEvents 1.0 in binary mode, each header once, and no others.
func (c *check) headers(r Record, d *Document, source, place string) {
	want := map[string]string{
		"ce_specversion":      "1.0",
		"ce_id":               d.ID,
		"ce_source":           source,
		"ce_type":             d.Type,
		"ce_time":             r.header("ce_time"), // compared below: one instant can be written in many ways
		"ce_subject":          d.AggregateID,
		"ce_aggregateversion": strconv.Itoa(d.Version),
		"content-type":        "application/json",
	}
	if d.TraceParent != "" {
		want["traceparent"] = d.TraceParent
	}
	if source == "" {
		c.violated(WrongHeader, d.ID, "%s: ce_source is empty", place)
	}
	if at, err := time.Parse(time.RFC3339Nano, want["ce_time"]); err != nil || !at.Equal(d.OccurredAt) {
		c.violated(WrongHeader, d.ID, "%s: ce_time is %q, want %s", place, want["ce_time"], clock(d.OccurredAt))
	}
	for _, h := range r.Headers {
		value, known := want[h.Name]
		switch {
		case !known:
			c.violated(WrongHeader, d.ID, "%s: %s is unknown or stands there twice", place, h.Name)
		case h.Value != value:
			c.violated(WrongHeader, d.ID, "%s: %s is %q, want %q", place, h.Name, h.Value, value)
		}
		delete(want, h.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		c.violated(WrongHeader, d.ID, "%s: %s is missing", place, name)
	}
}

// whereabouts: every committed message is in the topic or parked.
func (c *check) whereabouts() {
	for _, id := range c.Parked {
		c.parked[id] = true
	}
	for _, d := range c.Outbox {
		if !c.delivered[d.ID] && !c.parked[d.ID] {
			c.violated(Lost, d.ID, "committed at %s, neither in the topic nor parked", clock(d.OccurredAt))
		}
	}
}

// parking: what is parked is committed and not in the topic, and an order's later messages are parked with it.
func (c *check) parking() {
	for _, id := range c.Parked {
		d := c.byID[id]
		if d == nil {
			c.violated(BadParking, id, "is parked and was never committed")
			continue
		}
		if c.delivered[id] {
			c.violated(BadParking, id, "is parked and in the topic")
		}
		next := messageID(d.AggregateID, d.Version+1)
		if c.byID[next] != nil && !c.parked[next] {
			c.violated(BadParking, next, "is not parked, the order's message before it is")
		}
	}
}

// answers: what a client was told is committed.
func (c *check) answers() {
	for id, version := range c.Answered {
		if committed := len(c.byOrder[id]); committed < version {
			c.violated(Forgotten, id, "a client was told of version %d, %d are committed", version, committed)
		}
	}
}

// envelope is what every payload says of itself.
type envelope struct {
	OrderID    string    `json:"orderId"`
	Version    int       `json:"version"`
	OccurredAt time.Time `json:"occurredAt"`
}

func readEnvelope(payload string) (envelope, error) {
	var e envelope
	return e, json.Unmarshal([]byte(payload), &e)
}

func (e envelope) id() string { return messageID(e.OrderID, e.Version) }

func messageID(orderID string, version int) string { return orderID + "/" + strconv.Itoa(version) }

func (r Record) header(name string) string {
	for _, h := range r.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// partitionOf is where Kafka's own Java client puts a key: murmur2, made positive, modulo the partitions. This is
// franz-go's implementation of it, not the one that the program under test uses.
func (c *check) partitionOf(key string) int32 {
	return int32(c.murmur2.Partition(&kgo.Record{Key: []byte(key)}, c.Partitions))
}

func sameState(a, b order.Snapshot) bool {
	return a.ID == b.ID && a.Buyer == b.Buyer && slices.Equal(a.Items, b.Items) && a.Status == b.Status &&
		a.Version == b.Version && a.CreatedAt.Equal(b.CreatedAt) && a.UpdatedAt.Equal(b.UpdatedAt)
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
