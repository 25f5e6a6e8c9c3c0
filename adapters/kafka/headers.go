//go:build cgo

package kafka

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// The headers of the CloudEvents 1.0 Kafka binding in binary mode (section 3.2): the attributes as UTF-8 strings under
// "ce_", the media type as content-type. aggregateversion is our extension attribute. traceparent keeps the name that
// W3C Trace Context gives it, because tracing libraries read that name.
const (
	headerSpecVersion = "ce_specversion"
	headerID          = "ce_id"
	headerSource      = "ce_source"
	headerType        = "ce_type"
	headerTime        = "ce_time"
	headerSubject     = "ce_subject"
	headerVersion     = "ce_aggregateversion"
	headerContentType = "content-type"
	headerTraceParent = "traceparent"

	headerCount = 9
)

var (
	specVersion = []byte("1.0")
	contentType = []byte("application/json")
)

// delivery is one message that is being published: the record for librdkafka, in one allocation, and the callback for
// the outcome.
type delivery struct {
	message kafka.Message
	headers [headerCount]kafka.Header
	done    func(error)
}

// envelope makes the records of one topic. It holds the parts that all of them share.
type envelope struct {
	topic  string
	source []byte
}

// wrap turns a message into a Kafka record. Key and headers share one buffer: at tens of thousands of messages a second
// small allocations show in the profile.
func (e *envelope) wrap(m ports.Message, done func(error)) *delivery {
	d := &delivery{done: done}
	buffer := make([]byte, 0, len(m.ID)+len(m.Type)+len(m.OrderID)+len(m.TraceParent)+len(time.RFC3339Nano)+20)
	text := func(s string) []byte {
		start := len(buffer)
		buffer = append(buffer, s...)
		return buffer[start:len(buffer):len(buffer)]
	}

	key := text(m.OrderID)
	start := len(buffer)
	buffer = m.OccurredAt.UTC().AppendFormat(buffer, time.RFC3339Nano)
	at := buffer[start:len(buffer):len(buffer)]
	start = len(buffer)
	buffer = strconv.AppendInt(buffer, int64(m.Version), 10)
	version := buffer[start:len(buffer):len(buffer)]

	headers := append(d.headers[:0],
		kafka.Header{Key: headerSpecVersion, Value: specVersion},
		kafka.Header{Key: headerID, Value: text(m.ID)},
		kafka.Header{Key: headerSource, Value: e.source},
		kafka.Header{Key: headerType, Value: text(m.Type)},
		kafka.Header{Key: headerTime, Value: at},
		kafka.Header{Key: headerSubject, Value: key},
		kafka.Header{Key: headerVersion, Value: version},
		kafka.Header{Key: headerContentType, Value: contentType},
	)
	if m.TraceParent != "" {
		headers = append(headers, kafka.Header{Key: headerTraceParent, Value: text(m.TraceParent)})
	}

	// The record's timestamp is the time of sending; the time of the event is in ce_time. A broker forgets a producer
	// whose last record has a timestamp older than a day, and then does not recognise that producer's retries: with
	// the event's time, a broker that was killed wrote messages of a backlog twice. It also rejects times an hour
	// ahead of its own.
	d.message = kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &e.topic, Partition: kafka.PartitionAny},
		Key:            key,
		Value:          m.Payload,
		Headers:        headers,
		Opaque:         d,
	}
	return d
}

// unwrap is the inverse of wrap. It ignores unknown headers, as CloudEvents asks of consumers. A record that lacks one
// of our headers was not written by hexorders.
func unwrap(record *kafka.Message) (ports.Message, error) {
	m := ports.Message{OrderID: string(record.Key), Payload: record.Value}
	var specVersion, at, version string
	for _, h := range record.Headers {
		switch value := string(h.Value); h.Key {
		case headerSpecVersion:
			specVersion = value
		case headerID:
			m.ID = value
		case headerType:
			m.Type = value
		case headerTime:
			at = value
		case headerVersion:
			version = value
		case headerTraceParent:
			m.TraceParent = value
		}
	}

	var wrong []error
	if specVersion != "1.0" {
		wrong = append(wrong, fmt.Errorf("%s is %q, not 1.0", headerSpecVersion, specVersion))
	}
	if m.ID == "" {
		wrong = append(wrong, errors.New("no "+headerID))
	}
	if m.Type == "" {
		wrong = append(wrong, errors.New("no "+headerType))
	}
	var err error
	if m.OccurredAt, err = time.Parse(time.RFC3339Nano, at); err != nil {
		wrong = append(wrong, fmt.Errorf("%s: %w", headerTime, err))
	}
	if m.Version, err = strconv.Atoi(version); err != nil {
		wrong = append(wrong, fmt.Errorf("%s: %w", headerVersion, err))
	}
	if wrong != nil {
		return ports.Message{}, fmt.Errorf("record %s is not an order event: %w", record, errors.Join(wrong...))
	}
	return m, nil
}
