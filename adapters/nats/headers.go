package nats

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"hexorders/ports"
)

// The headers of the CloudEvents 1.0 NATS binding in binary mode (section 3.1): the attributes under "ce-", their values
// percent-encoded. aggregateversion is our extension attribute. traceparent keeps the name that W3C Trace Context gives
// it, because tracing libraries read that name.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerTime        = "ce-time"
	headerSubject     = "ce-subject"
	headerVersion     = "ce-aggregateversion"
	headerContentType = "ce-datacontenttype"
	headerTraceParent = "traceparent"
)

// codec turns messages into those of NATS and back.
type codec struct {
	subject string
	source  string
}

func (c codec) encode(m ports.Message) *nats.Msg {
	id := escape(m.ID)
	header := nats.Header{
		headerSpecVersion: {"1.0"},
		headerID:          {id},
		headerSource:      {escape(c.source)},
		headerType:        {escape(m.Type)},
		headerTime:        {m.OccurredAt.UTC().Format(time.RFC3339Nano)},
		headerSubject:     {escape(m.OrderID)},
		headerVersion:     {strconv.Itoa(m.Version)},
		headerContentType: {"application/json"},
		// The stream drops a message whose id it has stored in the last two minutes, and acknowledges it. So a message that
		// is sent again because its acknowledgement was late or lost is in the stream once.
		nats.MsgIdHdr: {id},
	}
	if m.TraceParent != "" {
		header[headerTraceParent] = []string{m.TraceParent}
	}
	return &nats.Msg{Subject: c.subject, Header: header, Data: m.Payload}
}

// decode is the inverse of encode. It ignores unknown headers, as CloudEvents asks of consumers. A message that lacks one
// of our headers was not written by hexorders.
func decode(header nats.Header, payload []byte) (ports.Message, error) {
	m := ports.Message{Payload: payload, TraceParent: first(header, headerTraceParent)}
	var wrong []error
	if v := first(header, headerSpecVersion); v != "1.0" {
		wrong = append(wrong, fmt.Errorf("%s is %q, not 1.0", headerSpecVersion, v))
	}
	for name, field := range map[string]*string{headerID: &m.ID, headerType: &m.Type, headerSubject: &m.OrderID} {
		var err error
		if *field, err = unescape(first(header, name)); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
		} else if *field == "" {
			wrong = append(wrong, errors.New("no "+name))
		}
	}
	var err error
	if m.OccurredAt, err = time.Parse(time.RFC3339Nano, first(header, headerTime)); err != nil {
		wrong = append(wrong, fmt.Errorf("%s: %w", headerTime, err))
	}
	if m.Version, err = strconv.Atoi(first(header, headerVersion)); err != nil {
		wrong = append(wrong, fmt.Errorf("%s: %w", headerVersion, err))
	}
	if wrong != nil {
		return ports.Message{}, fmt.Errorf("not an order event: %w", errors.Join(wrong...))
	}
	return m, nil
}

// first is the value of a header. The names of NATS headers differ by case, those of the binding do not.
func first(header nats.Header, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[0]
	}
	for key, values := range header {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// escape percent-encodes what the binding wants encoded (section 3.1.3.2): all but printable ASCII, and space, quote and
// percent.
func escape(s string) string {
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func unescape(s string) (string, error) {
	text, err := url.PathUnescape(s)
	if err == nil && !utf8.ValidString(text) {
		err = fmt.Errorf("%q is not UTF-8", s)
	}
	return text, err
}
