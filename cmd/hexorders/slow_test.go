package main

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Half of the slow clients do not get beyond the head of a request, the other half not beyond its body.
func TestSlowClientsDoNotStopTheOthers(t *testing.T) {
	s := start(t, knownRoles, func(s *Service) {
		s.server.ReadHeaderTimeout, s.server.ReadTimeout, s.server.WriteTimeout = time.Hour, time.Hour, time.Hour
	})
	const clients = 64
	var slow []*slowClient
	for n := range clients {
		slow = append(slow, startSlowClient(t, s.URL(), n%2 == 0))
	}
	for range 100 {
		if got := s.do(t, "POST", "/orders", `{"buyerId":"9999"}`, nil).status; got != http.StatusCreated {
			t.Fatalf("beside %d slow clients: %d, want 201", clients, got)
		}
	}
	for n, c := range slow {
		select {
		case <-c.ended:
			t.Errorf("slow client %d was gone before the others were served: this proves nothing", n)
		default:
		}
	}
	s.stop()
	if err := s.wait(t); err != nil { // nor do they stop the stop
		t.Errorf("the stop failed: %v", err)
	}
}

func TestSlowClientsAreSentAway(t *testing.T) {
	s := start(t, knownRoles, func(s *Service) {
		s.server.ReadHeaderTimeout, s.server.ReadTimeout = 300*time.Millisecond, 600*time.Millisecond
	})
	head, body := startSlowClient(t, s.URL(), true), startSlowClient(t, s.URL(), false)
	if got := head.answer(t); got != "" {
		t.Errorf("a client that did not send a request got %q", got)
	}
	if got := body.answer(t); !strings.HasPrefix(got, "HTTP/1.1 408 ") || !strings.Contains(got, `"code":"body-timeout"`) {
		t.Errorf("a client that did not send its body got %q, want 408 and body-timeout", got)
	}
	if got := s.do(t, "GET", "/orders?buyerId=9999", "", nil).body; got != `{"orders":[]}`+"\n" {
		t.Errorf("afterwards there is %s", got)
	}
}

func TestTheServerIsBounded(t *testing.T) {
	s := newServer(http.NotFoundHandler(), newConnections(1), slog.New(slog.DiscardHandler))
	for name, bound := range map[string]time.Duration{
		"ReadHeaderTimeout": s.ReadHeaderTimeout, "ReadTimeout": s.ReadTimeout, "WriteTimeout": s.WriteTimeout,
		"IdleTimeout": s.IdleTimeout,
	} {
		if bound <= 0 || bound > 2*time.Minute {
			t.Errorf("%s is %v", name, bound)
		}
	}
	if s.ReadHeaderTimeout > s.ReadTimeout || s.ReadTimeout > s.WriteTimeout {
		t.Error("a request must be read before it is answered")
	}
	if s.MaxHeaderBytes <= 0 || s.MaxHeaderBytes > 64<<10 {
		t.Errorf("MaxHeaderBytes is %d", s.MaxHeaderBytes)
	}
}

func TestAHeaderHasALimit(t *testing.T) {
	s := start(t, knownRoles)
	answer := s.do(t, "GET", "/livez", "", map[string]string{"X-Long": strings.Repeat("x", 40<<10)})
	if answer.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 40 KiB: %d, want 431", answer.status)
	}
}

// slowClient sends a request so slowly that it never ends.
type slowClient struct {
	connection net.Conn
	received   *bufio.Reader
	ended      chan struct{} // closed when the server takes no more
}

func startSlowClient(t *testing.T, url string, inHead bool) *slowClient {
	t.Helper()
	c := &slowClient{connection: dial(t, url), ended: make(chan struct{})}
	if err := c.connection.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	c.received = bufio.NewReader(c.connection)
	if inHead {
		send(t, c.connection, "POST /orders HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
	} else {
		send(t, c.connection,
			"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n")
		if line, err := c.received.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := c.received.ReadString('\n'); err != nil { // the empty line after it
			t.Fatal(err)
		}
		send(t, c.connection, `{"buyerId":"9999" `)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		defer close(c.ended)
		for {
			<-time.After(100 * time.Millisecond)
			if _, err := io.WriteString(c.connection, " "); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = c.connection.Close()
		sending.Wait()
	})
	return c
}

// answer is all that the server says before it closes the connection.
func (c *slowClient) answer(t *testing.T) string {
	t.Helper()
	text, err := io.ReadAll(c.received)
	if errors.Is(err, os.ErrDeadlineExceeded) { // a reset is an end as well: what was sent meanwhile was not read
		t.Errorf("the connection is still open: %v", err)
	}
	return string(text)
}
