package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// get sends a request on an open connection and reads its answer.
func get(t *testing.T, connection net.Conn, path string) answer {
	t.Helper()
	send(t, connection, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.Close {
		response.Header.Set("Connection", "close") // ReadResponse takes it out
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func TestAConnectionBeyondTheBoundIsToldSoAndClosed(t *testing.T) {
	s := startWith(t, knownRoles, map[string]string{"HEXORDERS_HTTP_MAX_CONNECTIONS": "2"})
	var within []net.Conn
	for range 2 {
		within = append(within, dial(t, s.URL()))
		if got := get(t, within[len(within)-1], "/livez").status; got != http.StatusOK {
			t.Fatalf("a connection within the bound: %d, want 200", got)
		}
	}
	refused := get(t, dial(t, s.URL()), "/orders")
	if refused.status != http.StatusServiceUnavailable || !strings.Contains(refused.body, `"code":"too-many-connections"`) ||
		refused.header.Get("Retry-After") != "1" || refused.header.Get("Connection") != "close" {
		t.Errorf("one connection more: %d %v %s, want 503 too-many-connections, Retry-After and Connection: close",
			refused.status, refused.header, refused.body)
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if got := get(t, dial(t, s.URL()), path); got.status != http.StatusOK || got.header.Get("Connection") != "close" {
			t.Errorf("a probe of %s on one connection more: %d %v, want 200 and Connection: close", path, got.status, got.header)
		}
	}
	if got := get(t, within[0], "/metrics").body; !strings.Contains(got, `hexorders_http_shed_total{code="too-many-connections"} 1`) {
		t.Errorf("the refusal is not counted:\n%s", got)
	}
	silent := dial(t, s.URL())
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one connection more that is silent: %v, want its end", err)
	}

	if err := within[0].Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for get(t, dial(t, s.URL()), "/orders").status != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("a place that became free is not given away")
		}
	}
}

// Accepting fails then, again and again. Half of the descriptors are kept from connections, so that the store goes on.
func TestAServiceOutOfFileDescriptorsComesBack(t *testing.T) {
	few := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 40 && exec "$0"`, os.Args[0])
	p := startCommand(t, few, "HEXORDERS_STORE=sqlite", "HEXORDERS_SQLITE_PATH="+filepath.Join(t.TempDir(), "hexorders.db"))
	listens := p.log.waitFor(t, "hexorders listens")["msg"].(string)
	url := strings.TrimPrefix(listens, "hexorders listens on ")
	order := func() (status int) {
		const body = `{"buyerId":"9999"}`
		c := dial(t, url)
		send(t, c, "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			len(body), body)
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	var crowd []net.Conn
	for range 100 {
		crowd = append(crowd, dial(t, url))
	}
	began := time.Now()
	p.log.waitFor(t, "too many open files")
	for _, c := range crowd {
		_ = c.Close()
	}
	for got := order(); got != http.StatusCreated; got = order() {
		if time.Since(began) > time.Minute {
			t.Fatalf("a minute after the crowd has left an order gets %d, want 201", got)
		}
	}
	p.signal(t, syscall.SIGTERM)
	lines := 0
	for entry := range p.log.lines {
		if strings.Contains(entry["msg"].(string), "too many open files") {
			lines++
		}
		if entry["msg"] == "stopped" {
			break
		}
	}
	if most := 10 + int(time.Since(began).Seconds()); lines > most { // from 5 ms on the pause doubles, up to a second
		t.Errorf("%d lines say so, want at most %d: accepting does not pause", lines, most)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
