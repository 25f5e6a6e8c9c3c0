//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"hexorders/ports"
)

// Texts that a stranger would send: up a line and erase it, a window's title, one character that begins a sequence, text
// that runs backwards, a forged line, a byte that is not UTF-8, and the four characters that tint takes for ESC.
var hostile = []string{
	"x\x1b[1A\x1b[2K", "x\x1b]0;title\a", "x\u009b2J", "x\u202egnp", "x\n12:00:00.000 INF forged", "x\r\x7f\b", "x\x9b2J\xff",
	`x \x1b[2J "`, "x\u2028y", "x\U000E0041",
}

// its own: what tint colours with.
var tintColours = regexp.MustCompile(`\x1b\[(0|2|22|91|92|93)(;[0-9]+)*m`)

// A terminal gets from the service only what the service wrote: nothing that a request carries moves the cursor, erases a
// line or sets the window's title.
func TestNoRequestWritesToTheTerminal(t *testing.T) {
	screen := openTerminal(t)
	address := freeAddress(t)
	for name, value := range map[string]string{"STORE": "memory", "BROKER": "inproc", "HTTP_ADDR": address, "LOG_LEVEL": "debug"} {
		t.Setenv("HEXORDERS_"+name, value)
	}
	t.Setenv("NO_COLOR", "")
	defaultLogger := slog.Default()
	t.Cleanup(func() { slog.SetDefault(defaultLogger) })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() { ended <- run(ctx, []string{"serve"}, screen.tty, screen.tty) }()
	screen.waitFor("hexorders listens on")

	sendRaw(t, address, "GET /orders/x%1b%5b1A%1b%5b2K%9b%e2%80%ae%0a HTTP/1.1\r\nHost: "+address+"\r\nConnection: close\r\n\r\n")
	for _, text := range hostile {
		agent := strings.NewReplacer("\x1b", "\t", "\n", "\t", "\r", "\t", "\x7f", "\t", "\b", "\t", "\a", "\t").Replace(text)
		sendRaw(t, address, "GET /orders/"+agent+" HTTP/1.1\r\nHost: "+address+"\r\nConnection: close\r\n\r\n")
		sendRaw(t, address, "POST /orders HTTP/1.1\r\nHost: "+address+"\r\nUser-Agent: "+agent+"\r\nX-Request-Id: "+agent+
			"\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n")
		sendRaw(t, address, "GET / "+text+" HTTP/1.1\r\n\r\n")
	}
	screen.waitFor("userAgent=\"x <U+005C>x1b[2J")
	screen.waitFor("path=/orders/x%1b%5b1A%1b%5b2K%9b%e2%80%ae%0a")
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	said := screen.said()
	if !tintColours.MatchString(said) {
		t.Error("the terminal has no colours: the test has not seen what a person sees")
	}
	for _, line := range strings.Split(said, "\r\n") {
		if plain := tintColours.ReplaceAllString(line, ""); visible(plain) != plain {
			t.Errorf("the terminal gets %q", line)
		} else if plain != "" && !regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d\d\d (DBG|INF|WRN|ERR) `).MatchString(plain) {
			t.Errorf("the terminal gets the line %q", plain)
		}
	}
}

// A text that any library logs, in a message, a key, a value, an error, a group or a struct.
func TestEveryLogIsVisible(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		for _, text := range hostile {
			screen := openTerminal(t)
			var c Config
			c.Log.Format = format
			log := newLogger(screen.tty, &c).With(text, text, slog.Group(text, text, errors.New(text)))
			log.WithGroup(text).Info(text, text, text, "err", errors.New(text), "any", struct{ Text string }{text},
				"bytes", []byte(text), "texts", []string{text}, "stringer", stringer(text), "value", valuer(text))
			slog.NewLogLogger(log.Handler(), slog.LevelError).Print(text)
			log.Info("last")
			_, _ = screen.tty.WriteString("the end") // behind the last line's end
			screen.waitFor("the end")
			said := strings.ReplaceAll(screen.said(), "\r\n", "\n")
			if plain := tintColours.ReplaceAllString(said, ""); visibleLines(plain) != plain || strings.Count(said, "\n") != 3 {
				t.Errorf("%s: %q is logged as %q", format, text, said)
			}
			if format == "json" {
				var entry struct{ Msg string }
				err := json.Unmarshal([]byte(strings.Split(said, "\n")[0]), &entry)
				if err != nil || entry.Msg != strings.ToValidUTF8(text, "\ufffd") {
					t.Errorf("%v: %q is logged as %q", err, text, entry.Msg)
				}
			}
		}
	}
}

type stringer string

func (s stringer) String() string { return string(s) }

type valuer string

func (v valuer) LogValue() slog.Value { return slog.GroupValue(slog.String(string(v), string(v))) }

// Every command prints through the same two outputs; tables and lines of events have their own rule, that a row is a line.
func TestCommandsPrintVisibly(t *testing.T) {
	for _, text := range hostile {
		var out, errOut bytes.Buffer
		t.Setenv("HEXORDERS_KAFKA_TOPIC", text)
		t.Setenv("HEXORDERS_STROE", "mongodb")
		run(t.Context(), []string{"config"}, &out, &errOut)
		run(t.Context(), []string{"doctor"}, &out, &errOut)
		run(t.Context(), []string{text}, &out, &errOut)
		run(t.Context(), []string{"outbox", "retry", text}, &out, &errOut)
		run(t.Context(), []string{"events", "tail", "--from", text}, &out, &errOut)
		if said := out.String() + errOut.String(); visibleLines(said) != said {
			t.Errorf("the commands print %q", said)
		}

		out.Reset()
		message := ports.Message{ID: text, OrderID: text, Type: text, Payload: []byte(fmt.Sprintf("%q", text))}
		if err := printLine(&out, message); err != nil {
			t.Fatal(err)
		}
		if line, _ := strings.CutSuffix(out.String(), "\n"); visible(line) != line {
			t.Errorf("an event is printed as %q", line)
		}
		out.Reset()
		payload, _ := json.Marshal(map[string]string{"reason": text})
		message.Payload = payload
		if err := printCloudEvent(&out, message); err != nil {
			t.Fatal(err)
		}
		line, _ := strings.CutSuffix(out.String(), "\n")
		var event struct {
			ID   string
			Data struct{ Reason string }
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil || visible(line) != line ||
			event.ID != strings.ToValidUTF8(text, "\ufffd") || event.Data.Reason != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%v: an event is printed as %q", err, line)
		}
	}
}

// terminal is a pseudo-terminal that remembers what it got.
type terminal struct {
	t    *testing.T
	tty  *os.File
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &terminal{t: t, tty: tty, more: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			if err != nil {
				return // nobody has the terminal open
			}
			s.mu.Lock()
			s.text.Write(buffer[:n])
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		<-ended
		_ = master.Close()
	})
	return s
}

func (s *terminal) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *terminal) waitFor(text string) {
	s.t.Helper()
	deadline := time.After(30 * time.Second)
	for !strings.Contains(tintColours.ReplaceAllString(s.said(), ""), text) {
		select {
		case <-s.more:
		case <-deadline:
			s.t.Fatalf("the terminal has no %q after 30 s:\n%q", text, s.said())
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// sendRaw writes a request byte by byte as it is, and waits for the answer.
func sendRaw(t *testing.T, address, request string) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if _, err := connection.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, len("HTTP/1.1 "+http.StatusText(http.StatusOK)))
	if n, err := connection.Read(buffer); err != nil || !strings.HasPrefix(string(buffer[:n]), "HTTP/1.1 ") {
		t.Fatalf("the answer to %q begins with %q: %v", request, buffer[:n], err)
	}
}
