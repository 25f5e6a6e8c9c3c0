package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hexorders/adapters/inproc"
	"hexorders/core/order"
	"hexorders/ports"
)

// The test binary becomes the program itself when a test needs it as a process.
const beTheProgram = "HEXORDERS_TEST_BE_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beTheProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestAnOrderPlacedOverHTTPReachesTheBroker(t *testing.T) {
	s := start(t, knownRoles)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	created := s.do(t, "POST", "/orders", `{"buyerId":"9999","items":[{"productId":"1111","amount":3}]}`,
		map[string]string{"Traceparent": trace})
	if created.status != http.StatusCreated {
		t.Fatalf("create: %d %s", created.status, created.body)
	}
	location := created.header.Get("Location")
	if paid := s.do(t, "POST", location+"/pay", "",
		map[string]string{"If-Match": created.header.Get("ETag")}); paid.status != http.StatusOK {
		t.Fatalf("pay: %d %s", paid.status, paid.body)
	}
	id := strings.TrimPrefix(location, "/orders/")
	want := []string{id + "/1 OrderCreated " + trace, id + "/2 OrderPaid "}
	for i, m := range s.published(t, len(want)) {
		if got := m.ID + " " + m.Type + " " + m.TraceParent; got != want[i] {
			t.Errorf("message %d is %q, want %q", i+1, got, want[i])
		}
	}
}

func TestARequestUnderWayFinishesBeforeTheStop(t *testing.T) {
	s := start(t, knownRoles)
	const body = `{"buyerId":"9999"}`
	connection := dial(t, s.URL())
	send(t, connection,
		"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
		len(body))
	answers := bufio.NewReader(connection)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	// The server waits for the body now, so the request is under way.
	s.stop()
	s.log.waitFor(t, "stopping")
	send(t, connection, "%s", body)
	if _, err := answers.ReadString('\n'); err != nil { // the empty line after 100 Continue
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusCreated {
		t.Errorf("the request under way got %s", answer.Status)
	}
	if err := s.wait(t); err != nil {
		t.Errorf("the stop failed: %v", err)
	}
	id := strings.TrimPrefix(answer.Header.Get("Location"), "/orders/")
	if o, err := s.storage.orders.Get(t.Context(), id); err != nil || o.Buyer() != "9999" {
		t.Errorf("the store has order %v at %q, want the one of buyer 9999 (error %v)", o, id, err)
	}
}

func TestARequestThatWaitsForAViewIsAnsweredAtTheStop(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := startWith(t, []string{roleAPI}, map[string]string{"HEXORDERS_VIEWS_WAIT": "9s"}, signalRequests(begun)) // nothing fills the views
	connection := dial(t, s.URL())
	send(t, connection, "GET /orders?atLeastVersion=o/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-begun
	began := time.Now()
	s.stop()
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatalf("the request that waits is cut off after %v: %v", time.Since(began), err)
	}
	_ = answer.Body.Close()
	if took := time.Since(began); answer.StatusCode != http.StatusOK || took > interruptAfter {
		t.Errorf("it gets %s after %v, want 200 at once", answer.Status, took)
	}
	if got := answer.Header.Get("View-Age"); got != "" {
		t.Errorf("View-Age is %q, and nothing was ever in the views", got)
	}
}

// fullStore takes no orders while it is full.
type fullStore struct {
	ports.OrderStore
	full *atomic.Bool
}

func (s fullStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	if s.full.Load() {
		return fmt.Errorf("%w: %w", ports.ErrUnavailable, ports.ErrNoRoom)
	}
	return s.OrderStore.Save(ctx, o, key)
}

type fullDisk struct{ full *atomic.Bool }

func (d fullDisk) TryWrite(context.Context) error {
	if d.full.Load() {
		return ports.ErrNoRoom
	}
	return nil
}

func TestAProcessIsNotReadyWhileItsStoreTakesNoWrites(t *testing.T) {
	var full atomic.Bool
	s := start(t, []string{roleAPI}, func(s *Service) {
		s.storage.orders = fullStore{s.storage.orders, &full}
		s.storage.parts = append(s.storage.parts, fullDisk{&full})
		s.server.Handler = s.handler()
	})
	wantReady := func(when string, want int) {
		t.Helper()
		if got := s.do(t, "GET", "/readyz", "", nil); got.status != want {
			t.Errorf("/readyz %s: %d, want %d", when, got.status, want)
		}
	}
	full.Store(true)
	wantReady("before a save has failed", http.StatusOK)
	got := s.do(t, "POST", "/orders", `{"buyerId":"9999"}`, nil)
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, `"code":"store-full"`) ||
		!strings.Contains(got.body, "The store has no room.") || got.header.Get("Retry-After") == "" {
		t.Errorf("an order over a full store: %d %s, want 503 store-full with Retry-After", got.status, got.body)
	}
	wantReady("while the store is full", http.StatusServiceUnavailable)
	wantReady("while the store is full, once more", http.StatusServiceUnavailable)
	full.Store(false)
	wantReady("when there is room again", http.StatusOK)
	if got := s.do(t, "POST", "/orders", `{"buyerId":"9999"}`, nil); got.status != http.StatusCreated {
		t.Errorf("an order when there is room again: %d, want 201", got.status)
	}
}

// signalRequests tells when the handler has a request. One that the server has only read is dropped by a stop.
func signalRequests(begun chan<- struct{}) func(*Service) {
	return func(s *Service) {
		handler := s.server.Handler
		s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			handler.ServeHTTP(w, r)
		})
	}
}

// hangingStore answers when the caller gives up.
type hangingStore struct{ ports.OrderStore }

func (hangingStore) Get(ctx context.Context, _ string) (*order.Order, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestARequestThatTheStoreKeepsWaitingIsToldOfTheStop(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := start(t, []string{roleAPI}, func(s *Service) {
		s.storage.orders = hangingStore{s.storage.orders}
		s.server.Handler = s.handler()
	}, signalRequests(begun))
	connection := dial(t, s.URL())
	send(t, connection, "GET /orders/o HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-begun
	s.stop()
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatalf("the request that waits is cut off: %v", err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("it gets %s with Retry-After %q, want 503 with 1", answer.Status, answer.Header.Get("Retry-After"))
	}
}

// A load balancer must see it before the port closes, and what it still sends must be served.
func TestReadinessEndsWithTheStopAndServingALittleLater(t *testing.T) {
	s := start(t, knownRoles)
	inGrace, endGrace := make(chan struct{}), make(chan struct{})
	s.grace = func() { close(inGrace); <-endGrace }
	if answer := s.do(t, "GET", "/readyz", "", nil); answer.status != http.StatusOK {
		t.Errorf("/readyz before the stop: %d", answer.status)
	}
	s.stop()
	<-inGrace
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/livez": http.StatusOK,
		"/orders?buyerId=9999": http.StatusOK} {
		if answer := s.do(t, "GET", path, "", nil); answer.status != want {
			t.Errorf("%s during the stop: %d, want %d", path, answer.status, want)
		}
	}
	close(endGrace)
	if err := s.wait(t); err != nil {
		t.Errorf("the stop failed: %v", err)
	}
	if connection, err := net.Dial("tcp", s.listener.Addr().String()); err == nil {
		_ = connection.Close()
		t.Error("the port is still open after the stop")
	}
}

// closing is a part that does something when the store is closed.
type closing func()

func (c closing) Close() error {
	c()
	return nil
}

func TestAStopClosesTheBrokerAndThenTheStore(t *testing.T) {
	s := start(t, knownRoles)
	publish := func() (err error) {
		s.publisher.Publish(context.Background(), ports.Message{}, func(answer error) { err = answer })
		return err
	}
	var whenTheStoreClosed error
	s.storage.parts = append(s.storage.parts, closing(func() { whenTheStoreClosed = publish() }))
	s.stop()
	if err := s.wait(t); err != nil {
		t.Errorf("the stop failed: %v", err)
	}
	if !errors.Is(whenTheStoreClosed, inproc.ErrClosed) {
		t.Errorf("when the store was closed the broker answered %v, want %v", whenTheStoreClosed, inproc.ErrClosed)
	}
}

func TestAStartThatFailsGivesThePortBack(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	config := Config{Store: storeKind{open: func(context.Context, *Config, *slog.Logger, watch) ([]any, error) {
		return nil, errors.New("no store")
	}}}
	config.HTTP.Addr = address
	if err := newService(config, knownRoles, slog.New(slog.DiscardHandler)).Open(t.Context()); err == nil {
		t.Fatal("a service with a store that does not open was opened")
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	_ = again.Close()
}

func TestTheSettingsOfTheAPIReachIt(t *testing.T) {
	s := startWith(t, knownRoles, map[string]string{
		"HEXORDERS_HTTP_REQUIRE_IF_MATCH": "true", "HEXORDERS_HTTP_CORS_ORIGINS": "https://a.example, https://b.example",
		"HEXORDERS_HTTP_RATE": "0.0001", "HEXORDERS_HTTP_BURST": "2",
	})
	if got := s.do(t, "POST", "/orders/o/pay", "", nil).status; got != http.StatusPreconditionRequired {
		t.Errorf("without If-Match: %d, want 428", got)
	}
	answer := s.do(t, "GET", "/orders/o", "", map[string]string{"Origin": "https://b.example"})
	if got := answer.header.Get("Access-Control-Allow-Origin"); got != "https://b.example" {
		t.Errorf("a page of a configured origin is allowed %q", got)
	}
	if answer := s.do(t, "GET", "/orders/o", "", nil); answer.status != http.StatusTooManyRequests ||
		answer.header.Get("Retry-After") == "" {
		t.Errorf("the third request: %d with Retry-After %q, want 429", answer.status, answer.header.Get("Retry-After"))
	}
	if got := s.do(t, "GET", "/metrics", "", nil).status; got != http.StatusOK {
		t.Errorf("a scrape: %d, want 200", got)
	}
}

func TestRolesDivideTheWork(t *testing.T) {
	for name, x := range map[string]struct {
		roles  []string
		create int
		warns  []string
	}{
		"api":   {[]string{"api"}, http.StatusCreated, []string{"nothing publishes events", "lists stay empty"}},
		"relay": {[]string{"relay"}, http.StatusNotFound, []string{"there is nothing to publish"}},
		"views": {[]string{"views"}, http.StatusNotFound, []string{"there is nothing to publish"}},
		"all":   {knownRoles, http.StatusCreated, []string{"events go to a broker in this process that forgets"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, x.roles)
			for _, warning := range x.warns {
				s.log.waitFor(t, warning)
			}
			if got := s.do(t, "POST", "/orders", `{"buyerId":"9999"}`, nil).status; got != x.create {
				t.Errorf("POST /orders: %d, want %d", got, x.create)
			}
			for _, path := range []string{"/livez", "/readyz", "/metrics"} {
				if got := s.do(t, "GET", path, "", nil).status; got != http.StatusOK {
					t.Errorf("%s: %d", path, got)
				}
			}
			metrics := s.do(t, "GET", "/metrics", "", nil).body
			relays := name == "relay" || name == "all"
			if got := s.relay != nil; got != relays {
				t.Errorf("a relay runs: %v", got)
			}
			if watched := strings.Contains(metrics, "hexorders_relay_"); watched != relays {
				t.Errorf("a relay is watched: %v", watched)
			}
			fills := name == "views" || name == "all"
			if got := s.views != nil; got != fills {
				t.Errorf("the views are filled: %v", got)
			}
			if watched := strings.Contains(metrics, "hexorders_view_applied_total"); watched != fills {
				t.Errorf("the views are watched: %v", watched)
			}
		})
	}
}

func TestASilentConnectionDoesNotHoldUpTheStop(t *testing.T) {
	s := start(t, knownRoles)
	before := dial(t, s.URL())
	// An answer on a second connection shows that the first has been accepted: they are, in their order.
	if got := s.do(t, "GET", "/livez", "", nil).status; got != http.StatusOK {
		t.Fatalf("/livez: %d", got)
	}
	began := time.Now()
	s.stop()
	if err := s.wait(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took >= requestsTimeout {
		t.Errorf("the stop took %s, as long as it waits for requests", took)
	}
	if _, err := before.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the silent connection: %v, want its end", err)
	}
}

func TestAServerThatBreaksEndsTheService(t *testing.T) {
	s := start(t, knownRoles)
	if err := s.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(t); err == nil || !strings.Contains(err.Error(), "serve HTTP") {
		t.Errorf("ended with %v", err)
	}
}

func TestAPortThatIsTakenSaysSo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cleanEnvironment(t)
	address := taken.Addr().String()
	t.Setenv("HEXORDERS_HTTP_ADDR", address)
	out, errOut, code := runCommand(t, "serve")
	want := "hexorders: cannot listen on " + address +
		", the port is taken: stop what runs there, or choose another with HEXORDERS_HTTP_ADDR\n"
	if errOut != want || out != "" || code != exitFailed {
		t.Errorf("exit code %d\n%s%swant\n%s", code, out, errOut, want)
	}
}

func TestAnAddressThatIsNotHereSaysSo(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_HTTP_ADDR", "192.0.2.1:8080") // reserved for documentation
	_, errOut, code := runCommand(t, "serve")
	if !strings.HasPrefix(errOut, "hexorders: cannot listen on 192.0.2.1:8080") ||
		!strings.Contains(errOut, "HEXORDERS_HTTP_ADDR") || code != exitFailed {
		t.Errorf("exit code %d\n%s", code, errOut)
	}
}

func TestAStopDuringTheStartIsNoFailure(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "memory")
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errOut bytes.Buffer
	if code := run(ctx, []string{"serve"}, io.Discard, &errOut); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &errOut)
	}
}

func TestASignalStopsTheProcessAndTheExitCodeIs0(t *testing.T) {
	processes := map[syscall.Signal]*process{syscall.SIGTERM: startProcess(t), syscall.SIGINT: startProcess(t)}
	for signal, p := range processes {
		p.log.waitFor(t, "hexorders listens")
		p.signal(t, signal)
	}
	for signal, p := range processes {
		p.log.waitFor(t, "stopped")
		if err := p.Wait(); err != nil {
			t.Errorf("%v: %v", signal, err)
		}
	}
}

func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	p := startProcess(t)
	url := strings.TrimPrefix(p.log.waitFor(t, "hexorders listens")["msg"].(string), "hexorders listens on ")
	connection := dial(t, url)
	send(t, connection,
		"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	if line, err := bufio.NewReader(connection).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	// The body never comes, so the first signal alone would take its time.
	p.signal(t, syscall.SIGTERM)
	p.log.waitFor(t, "stopping")
	p.signal(t, syscall.SIGTERM)
	p.log.waitFor(t, "a second signal")
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("ended with %v, want exit code 143", err)
	}
}

func TestLogs(t *testing.T) {
	for _, x := range []struct {
		format string
		level  slog.Level
		want   string
	}{
		{"json", slog.LevelInfo, `"level":"INFO","msg":"a line","key":"value"}` + "\n"},
		{"auto", slog.LevelInfo, `"level":"INFO","msg":"a line","key":"value"}` + "\n"}, // no terminal reads this
		{"text", slog.LevelInfo, "INF a line key=value\n"},
		{"text", slog.LevelWarn, ""},
		{"json", slog.LevelError, ""},
	} {
		var c Config
		c.Log.Format, c.Log.Level = x.format, x.level
		var out bytes.Buffer
		newLogger(&out, &c).Info("a line", "key", "value")
		if got := out.String(); !strings.HasSuffix(got, x.want) || x.want == "" && got != "" {
			t.Errorf("%s from %s on: %q, want ...%q", x.format, x.level, got, x.want)
		}
	}
}

// running is a service under test.
type running struct {
	*Service
	log   *logLines
	stop  context.CancelFunc
	ended chan error
}

// start may change what is open before it runs.
func start(t *testing.T, roles []string, change ...func(*Service)) *running {
	t.Helper()
	return startWith(t, roles, nil, change...)
}

func startWith(t *testing.T, roles []string, environment map[string]string, change ...func(*Service)) *running {
	t.Helper()
	cleanEnvironment(t)
	t.Setenv("HEXORDERS_STORE", "memory")
	t.Setenv("HEXORDERS_HTTP_ADDR", "127.0.0.1:0")
	t.Setenv("HEXORDERS_LOG_LEVEL", "debug")
	for name, value := range environment {
		t.Setenv(name, value)
	}
	config, _, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	log := newLogLines()
	s := newService(config, roles, newLogger(log, &config))
	s.grace = func() {}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, change := range change {
		change(s)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Service: s, log: log, stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		err := <-r.ended
		r.ended <- err
	})
	return r
}

// wait returns what Run did.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err // for whoever asks next
		return err
	case <-time.After(stopWithin):
		t.Fatal("the service does not end")
		return nil
	}
}

// published waits until the broker has n messages.
func (r *running) published(t *testing.T, n int) (messages []ports.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	enough := errors.New("enough")
	err := inproc.NewSubscriber(r.storage.topic).Replay(ctx, nil, func(_ context.Context, b ports.Batch) error {
		for _, d := range b.Messages {
			if messages = append(messages, d.Message); len(messages) == n {
				return enough
			}
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("%d messages were published, want %d: %v", len(messages), n, err)
	}
	return messages
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (r *running) do(t *testing.T, method, path, body string, header map[string]string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true // no connection outlives the test
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return connection
}

func send(t *testing.T, to io.Writer, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(to, format, args...); err != nil {
		t.Fatal(err)
	}
}

// logLines is a log that tests wait on.
type logLines struct{ lines chan map[string]any }

func newLogLines() *logLines { return &logLines{make(chan map[string]any, 1000)} }

func (l *logLines) Write(line []byte) (int, error) {
	var entry map[string]any
	if err := json.Unmarshal(line, &entry); err != nil {
		return 0, err
	}
	l.lines <- entry
	return len(line), nil
}

// waitFor returns the next line whose message contains a text.
func (l *logLines) waitFor(t *testing.T, text string) map[string]any {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case entry := <-l.lines:
			if strings.Contains(entry["msg"].(string), text) {
				return entry
			}
		case <-timeout:
			t.Fatalf("%q was never logged", text)
		}
	}
}

type process struct {
	*exec.Cmd
	log *logLines
}

func startProcess(t *testing.T, env ...string) *process {
	t.Helper()
	return startCommand(t, exec.CommandContext(t.Context(), os.Args[0]), env...)
}

func startCommand(t *testing.T, command *exec.Cmd, env ...string) *process {
	t.Helper()
	cleanEnvironment(t)
	p := &process{command, newLogLines()}
	p.Env = append(os.Environ(), beTheProgram+"=yes", "HEXORDERS_STORE=memory", "HEXORDERS_HTTP_ADDR=127.0.0.1:0",
		"HEXORDERS_LOG_LEVEL="+strings.ToLower(slog.LevelInfo.String()))
	p.Env = append(p.Env, env...)
	errOut, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(errOut); lines.Scan(); {
			_, _ = p.log.Write(lines.Bytes())
		}
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill() // it has ended already unless the test failed
		<-read
	})
	return p
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
