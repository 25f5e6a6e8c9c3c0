//go:build cgo

package kafka

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

func TestARecordIsACloudEventInBinaryMode(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	m := ports.Message{
		ID:          "0195a1c2/3",
		Type:        "OrderItemAdded",
		OrderID:     "0195a1c2",
		Version:     3,
		Payload:     []byte(`{"orderId":"0195a1c2","version":3}`),
		OccurredAt:  time.Date(2025, 3, 1, 13, 2, 3, 456_789_000, time.FixedZone("", 3600)),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	untraced := event("0195a1c2", 4)
	start := time.Now()
	publish(t, open(t, Options{Brokers: c.brokers, Topic: topic, Source: "/shop"}), m)
	publish(t, open(t, Options{Brokers: c.brokers, Topic: topic}), untraced)

	records := c.read(t, topic, 2)
	want := map[string]string{
		"ce_specversion":      "1.0",
		"ce_id":               "0195a1c2/3",
		"ce_source":           "/shop",
		"ce_type":             "OrderItemAdded",
		"ce_time":             "2025-03-01T12:02:03.456789Z",
		"ce_subject":          "0195a1c2",
		"ce_aggregateversion": "3",
		"content-type":        "application/json",
		"traceparent":         m.TraceParent,
	}
	if got := headersOf(t, records[0]); !maps.Equal(got, want) {
		t.Errorf("headers are\n%v\nwant\n%v", got, want)
	}
	if key, value := string(records[0].Key), string(records[0].Value); key != m.OrderID || value != string(m.Payload) {
		t.Errorf("record is %s: %s, want %s: %s", key, value, m.OrderID, m.Payload)
	}
	// Not the event's own, or brokers forget the producer: see wrap.
	if at := records[0].Timestamp; at.Before(start.Truncate(time.Millisecond)) || at.After(time.Now()) {
		t.Errorf("the record's time is %v, want that of sending, after %v", at, start)
	}

	plain := headersOf(t, records[1])
	if traceParent, there := plain["traceparent"]; there {
		t.Errorf("a message without a trace has traceparent %q", traceParent)
	}
	if plain["ce_source"] != "/hexorders" {
		t.Errorf("ce_source is %q unless told otherwise, want /hexorders", plain["ce_source"])
	}
}

func TestUnwrapReadsWhatWrapWrote(t *testing.T) {
	e := envelope{topic: "any", source: []byte("/hexorders")}
	long := event(strings.Repeat("é", 64), 1_000_000)
	long.OccurredAt = time.Date(2025, 12, 31, 23, 59, 59, 999_999_999, time.UTC)
	traced := event("b", 2)
	traced.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, m := range []ports.Message{event("a", 1), long, traced} {
		got, err := unwrap(&e.wrap(m, nil).message)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, m)
		}
	}
}

func TestUnwrapSaysWhatIsWrongWithAStrangersRecord(t *testing.T) {
	e := envelope{topic: "any", source: []byte("/hexorders")}
	for header, values := range map[string][]string{
		"ce_specversion":      {"", "2.0"},
		"ce_id":               {""},
		"ce_type":             {""},
		"ce_time":             {"", "yesterday"},
		"ce_aggregateversion": {"", "many"},
	} {
		for _, value := range values {
			record := e.wrap(event("a", 1), nil).message
			for i, h := range record.Headers {
				if h.Key == header {
					record.Headers[i].Value = []byte(value)
				}
			}
			if m, err := unwrap(&record); err == nil || !strings.Contains(err.Error(), header) {
				t.Errorf("%s %q: got %+v, %v, want an error about it", header, value, m, err)
			}
		}
	}
	if _, err := unwrap(&kafka.Message{}); err == nil {
		t.Error("a record without headers was read as a message")
	}
}

// Java clients, ksqlDB and Debezium put a key where murmur2 says. An order's events must stand where they would.
func TestAnOrderLivesInThePartitionWhereJavaClientsLookForIt(t *testing.T) {
	// From Kafka's own UtilsTest.testMurmur2: what follows is only worth something when our murmur2 is theirs.
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Fatalf("murmur2(%q) is %d, want %d", key, got, want)
		}
	}

	c := sharedCluster(t)
	topic := c.newTopic(t)
	var messages []ports.Message
	for i := range 100 {
		messages = append(messages, event(fmt.Sprintf("0195a1c2-7c4e-7000-8000-%0*d", i%13, i), 1))
	}
	publish(t, open(t, Options{Brokers: c.brokers, Topic: topic}), messages...)
	used := map[int32]bool{}
	for _, record := range c.read(t, topic, len(messages)) {
		want := int32(murmur2(record.Key)&0x7fffffff) % 12
		if got := record.TopicPartition.Partition; got != want {
			t.Errorf("key %s is in partition %d, want %d", record.Key, got, want)
		}
		used[record.TopicPartition.Partition] = true
	}
	if len(used) < 10 {
		t.Errorf("100 orders use %d of 12 partitions", len(used))
	}
}

// murmur2 is org.apache.kafka.common.utils.Utils.murmur2.
func murmur2(data []byte) uint32 {
	const m = 0x5bd1e995
	h := 0x9747b28c ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h *= m
		h ^= k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}

func headersOf(t testing.TB, record *kafka.Message) map[string]string {
	t.Helper()
	headers := map[string]string{}
	for _, h := range record.Headers {
		if _, twice := headers[h.Key]; twice {
			t.Errorf("header %s is there twice", h.Key)
		}
		headers[h.Key] = string(h.Value)
	}
	return headers
}
