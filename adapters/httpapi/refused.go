package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/google/uuid"
)

var (
	errMalformedRequest    = errors.New("the request breaks the rules of HTTP")
	errUnknownExpectation  = errors.New("the header Expect takes nothing but 100-continue")
	errHeadersTooLarge     = errors.New("the headers are too large")
	errUnsupportedEncoding = errors.New("the header Transfer-Encoding takes nothing but chunked")
	errUnsupportedVersion  = errors.New("the service speaks HTTP/1.1")
)

// WithProblems makes problems of the answers that net/http gives by itself: to a request that it cannot read, and to an
// Expect that it does not know. It sees them on plain connections; below TLS they stay as they are.
func WithProblems(l net.Listener, log *slog.Logger) net.Listener { return refusingListener{l, log} }

type refusingListener struct {
	net.Listener
	log *slog.Logger
}

func (l refusingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return refusingConn{tcp, l.log}, nil
	}
	return conn, err
}

// refusingConn embeds the connection itself, because net/http asks for more of its methods than net.Conn has.
type refusingConn struct {
	*net.TCPConn
	log *slog.Logger
}

func (c refusingConn) Write(answer []byte) (int, error) {
	refusal := refusalIn(answer)
	if refusal == nil {
		return c.TCPConn.Write(answer)
	}
	kind, id := kindOf(refusal), uuid.Must(uuid.NewV7()).String()
	_, text, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	c.log.Info("request", "requestId", id, "status", kind.status, "client", c.RemoteAddr().String(), "code", kind.code,
		"err", string(text))
	body, err := json.Marshal(problemJSON{Type: typePrefix + kind.code, Title: kind.title, Status: kind.status,
		Detail: sentence(refusal.Error()), Code: kind.code, RequestID: id})
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(c.TCPConn, "HTTP/1.1 %d %s\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n"+
		"Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n%s: %s\r\n\r\n%s",
		kind.status, http.StatusText(kind.status), len(body), mediaProblem, headerRequestID, id, body)
	return len(answer), err
}

// refusalIn recognizes an answer of net/http: 417 is never ours, and no other of ours has a header of these two lines.
func refusalIn(answer []byte) error {
	line, header, _ := bytes.Cut(answer, []byte("\r\n"))
	status, found := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !found {
		return nil
	}
	code, _, _ := bytes.Cut(status, []byte(" "))
	if string(code) == "417" {
		return errUnknownExpectation
	}
	if !bytes.HasPrefix(header, []byte("Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")) {
		return nil
	}
	return map[string]error{"400": errMalformedRequest, "431": errHeadersTooLarge, "501": errUnsupportedEncoding,
		"505": errUnsupportedVersion}[string(code)]
}
