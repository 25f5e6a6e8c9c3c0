package checker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// A topic in NATS: the stream is asked for one message after the other with the requests of JetStream's own API, and not
// through the client's JetStream, which the program under test uses. The stream is one partition, and its records look like
// those of Kafka, so that the same rules hold.

// streamRequest is one request about the stream.
func (r *Reader) streamRequest(ctx context.Context, what, body string, into any) error {
	stream := strings.ReplaceAll(r.source.Topic, ".", "_")
	reply, err := r.nats.RequestWithContext(ctx, "$JS.API.STREAM."+what+"."+stream, []byte(body))
	if err != nil {
		return err
	}
	var failed struct {
		Error *struct {
			Code        int
			Description string
		}
	}
	if err := json.Unmarshal(reply.Data, &failed); err != nil {
		return err
	}
	if failed.Error != nil {
		return fmt.Errorf("stream %s: %d %s", stream, failed.Error.Code, failed.Error.Description)
	}
	return json.Unmarshal(reply.Data, into)
}

// streamEnd is the number of the newest message. None is ever deleted in a test, so there are as many.
func (r *Reader) streamEnd(ctx context.Context) (int64, error) {
	var info struct {
		State struct {
			Messages int64
			Last     int64 `json:"last_seq"`
		}
	}
	if err := r.streamRequest(ctx, "INFO", "", &info); err != nil {
		return 0, err
	}
	if info.State.Messages != info.State.Last {
		return 0, fmt.Errorf("the stream has %d messages, and its newest is number %d", info.State.Messages, info.State.Last)
	}
	return info.State.Last, nil
}

func (r *Reader) readStream(ctx context.Context) (records []Record, err error) {
	end, err := r.streamEnd(ctx)
	if err != nil {
		return nil, err
	}
	for n := range end {
		var got struct {
			Message struct{ Hdrs, Data []byte }
		}
		if err := r.streamRequest(ctx, "MSG.GET", fmt.Sprintf(`{"seq":%d}`, n+1), &got); err != nil {
			return nil, fmt.Errorf("message %d: %w", n+1, err)
		}
		record, err := recordOfHeaders(got.Message.Hdrs)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", n+1, err)
		}
		record.Offset, record.Value = n, string(got.Message.Data)
		records = append(records, record)
	}
	return records, nil
}

// recordOfHeaders reads the headers as the CloudEvents binding for NATS has them, and names them as that for Kafka does.
func recordOfHeaders(raw []byte) (r Record, err error) {
	reader := textproto.NewReader(bufio.NewReader(bytes.NewReader(raw)))
	if version, err := reader.ReadLine(); err != nil || version != "NATS/1.0" {
		return r, fmt.Errorf("the headers begin with %q (%w)", version, err)
	}
	headers, err := reader.ReadMIMEHeader()
	if err != nil {
		return r, err
	}
	for name, values := range headers {
		name = strings.ToLower(name)
		for _, value := range values {
			if attribute, found := strings.CutPrefix(name, "ce-"); found {
				if value, err = url.PathUnescape(value); err != nil {
					return r, err
				}
				if name = "ce_" + attribute; attribute == "datacontenttype" {
					name = "content-type"
				}
			}
			switch {
			case name == "ce_subject":
				r.Key = value
			case name == "nats-msg-id" && slices.Equal(values, headers["Ce-Id"]): // it says the same
				continue
			}
			r.Headers = append(r.Headers, Header{name, value})
		}
	}
	return r, nil
}

// openNATS connects, and tries again for as long as there is no server.
func openNATS(address string) (*nats.Conn, error) {
	return nats.Connect(address, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
}
