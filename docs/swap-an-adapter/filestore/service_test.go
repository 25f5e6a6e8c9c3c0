package filestore

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// The last section of the page runs the service on this store. Here it is killed while orders come in.

// service is the program with the page's diffs, as a process.
type service struct {
	*exec.Cmd
	url   string
	log   []string // its first lines
	ended chan struct{}
}

var listens = regexp.MustCompile(`hexorders listens on (http://\S+)`)

func startService(t *testing.T, binary, folder string) *service {
	t.Helper()
	s := &service{Cmd: exec.CommandContext(t.Context(), binary), ended: make(chan struct{})}
	s.Dir = folder
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "HEXORDERS_") {
			s.Env = append(s.Env, entry)
		}
	}
	s.Env = append(s.Env, "HEXORDERS_STORE=file", "HEXORDERS_HTTP_ADDR=127.0.0.1:0", "HEXORDERS_LOG_FORMAT=text")
	errOut, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(errOut)
	for lines.Scan() {
		s.log = append(s.log, lines.Text())
		if found := listens.FindStringSubmatch(lines.Text()); found != nil {
			s.url = found[1]
		}
		if strings.Contains(lines.Text(), " try: ") { // the last line of the greeting
			break
		}
	}
	go func() {
		defer close(s.ended)
		_, _ = io.Copy(io.Discard, errOut)
		_ = s.Wait() // it is killed
	}()
	t.Cleanup(s.kill)
	if s.url == "" {
		t.Fatalf("the service does not start:\n%s", strings.Join(s.log, "\n"))
	}
	return s
}

// kill is kill -9.
func (s *service) kill() {
	_ = s.Process.Kill() // it may have ended
	<-s.ended
}

// placed is an order as the API shows it.
type placed struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Version int    `json:"version"`
}

var client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ask decodes what the service answers. The error is for those who ask while it is killed.
func ask(ctx context.Context, method, url, body string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// placeUntilKilled creates orders and pays them, from several clients, and kills the service after so many answers. It notes
// in acknowledged the last version that the service has confirmed of each order.
func (s *service) placeUntilKilled(t *testing.T, answers int64, acknowledged map[string]int) {
	t.Helper()
	var mu sync.Mutex
	var count atomic.Int64
	var clients errgroup.Group
	confirm := func(o placed) {
		mu.Lock()
		acknowledged[o.ID] = o.Version
		mu.Unlock()
		if count.Add(1) == answers {
			_ = s.Process.Kill()
		}
	}
	for range 4 {
		clients.Go(func() error {
			for {
				var o placed
				if ask(t.Context(), "POST", s.url+"/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`, &o) != nil {
					return nil
				}
				confirm(o)
				if ask(t.Context(), "POST", s.url+"/orders/"+o.ID+"/pay", "", &o) != nil {
					return nil
				}
				confirm(o)
			}
		})
	}
	_ = clients.Wait() // each ends when nobody answers
	<-s.ended
	if count.Load() < answers {
		t.Fatalf("the service answered %d times and then no more, want %d", count.Load(), answers)
	}
}

// list is buyer 9999's whole list.
func (s *service) list(t *testing.T) map[string]placed {
	t.Helper()
	all := map[string]placed{}
	for next := ""; ; {
		var page struct {
			Orders     []placed
			NextCursor string
		}
		if err := ask(t.Context(), "GET", s.url+"/orders?buyerId=9999&limit=200"+next, "", &page); err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Orders {
			all[o.ID] = o
		}
		if page.NextCursor == "" {
			return all
		}
		next = "&cursor=" + url.QueryEscape(page.NextCursor)
	}
}

// wantWholeLists waits until the list has every order as the store has it.
func (s *service) wantWholeLists(t *testing.T, acknowledged map[string]int) {
	t.Helper()
	stored := map[string]placed{}
	for id, version := range acknowledged {
		var o placed
		if err := ask(t.Context(), "GET", s.url+"/orders/"+id, "", &o); err != nil {
			t.Fatalf("order %s was confirmed in version %d: %v", id, version, err)
		}
		if o.Version < version {
			t.Fatalf("order %s was confirmed in version %d, and after the kill it is at %d", id, version, o.Version)
		}
		stored[id] = o
	}
	differ := func(listed map[string]placed) error {
		for id, want := range stored {
			if listed[id].Status != want.Status {
				return fmt.Errorf("order %s is %q in the list and %q in the store; the list has %d orders, %d were confirmed", id,
					listed[id].Status, want.Status, len(listed), len(stored))
			}
		}
		return nil
	}
	err := errors.New("not asked yet")
	for deadline := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		err = differ(s.list(t))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheServiceOnThisStore(t *testing.T) {
	binary := buildService(t)
	t.Run("greets as the page says", func(t *testing.T) {
		folder := t.TempDir()
		s := startService(t, binary, folder)
		greeting := clock.ReplaceAllString(strings.Join(s.log, "\n"), "TIME ")
		greeting = strings.ReplaceAll(strings.ReplaceAll(greeting, s.url, "http://127.0.0.1:8080"), folder, "/home/you/hexorders")
		_, shown, _ := strings.Cut(read(t, page), "$ HEXORDERS_STORE=file go run ./cmd/hexorders\n")
		shown, _, found := strings.Cut(shown, "...\n")
		if shown = clock.ReplaceAllString(shown, "TIME "); !found || shown == "" || !strings.HasPrefix(greeting+"\n", shown) {
			t.Errorf("the page shows\n%s\nand the service says\n%s", shown, greeting)
		}
	})
	t.Run("survives kills", func(t *testing.T) {
		folder, acknowledged := t.TempDir(), map[string]int{}
		for _, answers := range []int64{1, 50, 200} {
			startService(t, binary, folder).placeUntilKilled(t, answers, acknowledged)
		}
		s := startService(t, binary, folder)
		s.wantWholeLists(t, acknowledged)
		t.Logf("%d orders were confirmed before three kills", len(acknowledged))

		// The other commands are right about a store that they have never heard of.
		for command, want := range map[string]string{
			"events tail --from start --count 1": "OrderCreated",
			"views status":                       "GENERATION",
			"outbox status":                      "only the process that serves can open the file store",
			"verify":                             "cannot be verified",
			"doctor":                             "orders are kept in orders.log",
		} {
			if output := s.beside(t, binary, strings.Fields(command)...); !strings.Contains(output, want) {
				t.Errorf("hexorders %s prints\n%swant %q", command, output, want)
			}
		}
	})
}

var clock = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{3} `)

// beside runs a command of the program while the service runs. Some of them fail.
func (s *service) beside(t *testing.T, binary string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, binary, args...)
	command.Dir, command.Env = s.Dir, s.Env
	output, _ := command.CombinedOutput()
	return string(output)
}
