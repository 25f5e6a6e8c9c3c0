package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/gin-gonic/gin"

	"hexorders/adapters/httpapi"
	"hexorders/adapters/memory"
	"hexorders/core/order"
	"hexorders/ports"
)

func TestARequestKeepsItsIDOrGetsOne(t *testing.T) {
	for sent, kept := range map[string]bool{
		"abc-123":                true,
		strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false,
		"":                       false,
		"two words":              false,
		"line\tbreak":            false,
		"ümlaut":                 false,
	} {
		answer := do(newHandler(&fakeOrders{err: ports.ErrNotFound}, nil), "GET /orders/o", map[string]string{"X-Request-Id": sent})
		got := answer.Header().Get("X-Request-Id")
		if (got == sent) != kept {
			t.Errorf("sent %q, got %q", sent, got)
		}
		if !kept {
			if id, err := uuid.Parse(got); err != nil || id.Version() != 7 {
				t.Errorf("sent %q, got %q, want a new UUIDv7", sent, got)
			}
		}
		if inBody := readProblem(t, answer).RequestID; inBody != got {
			t.Errorf("header %q, problem %q", got, inBody)
		}
	}
}

func TestATraceTravelsOnWhenItIsWellFormed(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for sent, want := range map[string]string{
		"":   "",
		good: good,
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more": good,
		good + "-more": "",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": "",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01": "",
		"nonsense": "",
	} {
		orders := &fakeOrders{err: ports.ErrNotFound}
		do(newHandler(orders, nil), "POST /orders/o/pay", map[string]string{"Traceparent": sent})
		if orders.trace != want {
			t.Errorf("sent %q, the use case got %q, want %q", sent, orders.trace, want)
		}
	}
}

func TestTheLogHasOneLineARequest(t *testing.T) {
	for line, want := range map[string]map[string]any{
		"POST /orders/order-1/pay": {"level": "INFO", "msg": "request", "method": "POST", "path": "/orders/order-1/pay", "status": 404.0,
			"order": "order-1", "code": "order-not-found", "requestId": "req-1", "client": "192.0.2.1:1234",
			"userAgent": "curl/8.14.1", "err": nil}, // the code says it all
		"GET /livez":                  {"level": "DEBUG", "path": "/livez", "status": 200.0},
		"GET /nothing?secret=1":       {"level": "INFO", "path": "/nothing", "status": 404.0, "code": "no-such-path"},
		"GET /orders/x%1b%5b2J%9b%0a": {"path": "/orders/x%1b%5b2J%9b%0a", "order": "x%1b%5b2J%9b%0a"},
	} {
		var log bytes.Buffer
		do(newHandler(&fakeOrders{err: ports.ErrNotFound}, &log), line, map[string]string{
			"User-Agent": "curl/8.14.1",
		})
		if strings.Contains(log.String(), "secret") {
			t.Errorf("the query is in the log: %s", &log)
		}
		entry := onlyEntry(t, &log)
		for key, value := range want {
			if entry[key] != value {
				t.Errorf("%s: %s is %v, want %v", line, key, entry[key], value)
			}
		}
	}
}

func TestALongUserAgentIsCutInTheLog(t *testing.T) {
	longest := strings.Repeat("ü", 128)
	for agent, want := range map[string]string{longest: longest, longest + "ü": longest + "...", longest + longest: longest + "..."} {
		var log bytes.Buffer
		do(newHandler(&fakeOrders{}, &log), "GET /livez", map[string]string{"User-Agent": agent})
		if got := onlyEntry(t, &log)["userAgent"]; got != want {
			t.Errorf("the log has the user agent %q, want %q", got, want)
		}
	}
}

func TestEveryRequestIsObservedByItsRoute(t *testing.T) {
	orders := &fakeOrders{err: ports.ErrNotFound}
	asked, seen := map[string]bool{}, ""
	h := httpapi.New(httpapi.Options{
		Orders: orders, Logger: slog.New(slog.DiscardHandler),
		Metrics: oneMetric,
		Observe: func(method, route string) func(int, time.Duration) {
			if asked[method+" "+route] {
				t.Errorf("%s %s is asked for twice", method, route)
			}
			asked[method+" "+route] = true
			return func(status int, took time.Duration) {
				if took < 0 || took > time.Minute {
					t.Errorf("%s %s took %s", method, route, took)
				}
				seen += fmt.Sprintf("%s %s %d", method, route, status)
			}
		},
	})
	for line, want := range map[string]string{
		"GET /livez":               "GET /livez 200",
		"GET /metrics":             "GET /metrics 200",
		"GET /orders/a%2Fb":        "GET /orders/:id 404",
		"HEAD /orders/1":           "HEAD /orders/:id 404",
		"DELETE /orders/1/items/2": "DELETE /orders/:id/items/:productId 404",
		"GET /nothing/0197f5d2":    "other other 404",
		"DELETE /orders/1":         "other other 405",
		"BREW /orders/1":           "other other 405",
		"POST /orders/1/pay":       "POST /orders/:id/pay 404",
	} {
		seen = ""
		do(h, line, nil)
		if seen != want {
			t.Errorf("%s is observed as %q, want %q", line, seen, want)
		}
	}
	orders.panics, seen = "a bug", ""
	if do(h, "GET /orders/1", nil); seen != "GET /orders/:id 500" {
		t.Errorf("a panic is observed as %q, want a 500", seen)
	}
}

func TestMetricsAreServedWithoutOrdersAndOnlyIfThereAreAny(t *testing.T) {
	if answer := do(newAPI(), "GET /metrics", nil); answer.Code != 404 {
		t.Errorf("without metrics: %d, want 404", answer.Code)
	}
	h := httpapi.New(httpapi.Options{Metrics: oneMetric})
	if answer := do(h, "GET /metrics", nil); answer.Code != 200 || answer.Body.String() != "up 1" {
		t.Errorf("with metrics: %d %s", answer.Code, answer.Body)
	}
}

var oneMetric = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = io.WriteString(w, "up 1")
})

func TestAStoreOutageIsAWarningThatSaysWhy(t *testing.T) {
	var log bytes.Buffer
	do(newHandler(&fakeOrders{err: errors.Join(ports.ErrUnavailable, errors.New("no primary"))}, &log), "GET /orders/o", nil)
	entry := onlyEntry(t, &log)
	if entry["level"] != "WARN" || !strings.Contains(entry["err"].(string), "no primary") {
		t.Errorf("logged %v", entry)
	}
}

// What becomes of a request whose client has gone is nobody's alarm.
func TestAClientThatGoesAwayIsNoAlarm(t *testing.T) {
	var log bytes.Buffer
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(gone, http.MethodGet, "/orders/o", nil)
	newHandler(&fakeOrders{hangs: true}, &log).ServeHTTP(httptest.NewRecorder(), r)
	if entry := onlyEntry(t, &log); entry["level"] != "INFO" {
		t.Errorf("logged %v", entry)
	}
}

func TestReadiness(t *testing.T) {
	var log bytes.Buffer
	h := httpapi.New(httpapi.Options{
		Orders: &fakeOrders{},
		Ready:  func(context.Context) error { return errors.New("mongodb://root:hunter2@db is gone") },
		Logger: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	answer := do(h, "GET /readyz", nil)
	want := problem(503, "not-ready", "Not ready", "The service is stopping, or its store cannot be reached or takes no writes.", "") + "\n"
	if answer.Code != 503 || answer.Body.String() != want || answer.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
	}
	if entry := onlyEntry(t, &log); !strings.Contains(entry["err"].(string), "gone") {
		t.Errorf("logged %v", entry)
	}
	if answer := do(h, "GET /livez", nil); answer.Code != 200 {
		t.Errorf("a service that is not ready still lives, got %d", answer.Code)
	}
}

// A store that hangs does not keep the probe waiting until the probe gives up.
func TestAStoreThatHangsIsNotReadyWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := httpapi.New(httpapi.Options{
			Ready: func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			},
			Logger: slog.New(slog.NewJSONHandler(&log, nil)),
		})
		began := time.Now()
		answer := do(h, "GET /readyz", nil)
		if took := time.Since(began); answer.Code != 503 || took != 2*time.Second {
			t.Errorf("%d after %s, want 503 after 2 s", answer.Code, took)
		}
		if ms := onlyEntry(t, &log)["ms"]; ms != 2000.0 {
			t.Errorf("the log says that it took %v ms, want 2000", ms)
		}
	})
}

func TestWhatIsRefusedForOverloadIsCounted(t *testing.T) {
	var shed []string
	for _, x := range []struct {
		err     error
		crowded bool
	}{{ports.ErrOverloaded, false}, {nil, true}, {ports.ErrNotFound, false}, {ports.ErrUnavailable, false}} {
		ask(httpapi.New(httpapi.Options{
			Orders: &fakeOrders{err: x.err}, Crowded: func(context.Context) bool { return x.crowded },
			Shed: func(code string) { shed = append(shed, code) }, Logger: slog.New(slog.DiscardHandler),
		}), "POST", "/orders/o/pay", nil)
	}
	if want := []string{"overloaded", "too-many-connections"}; !slices.Equal(shed, want) {
		t.Errorf("counted are %q, want %q", shed, want)
	}
}

func TestWithoutOrdersOnlyHealthIsServed(t *testing.T) {
	h := newHandler(nil, nil)
	for line, want := range map[string]int{"GET /livez": 200, "GET /readyz": 200, "POST /orders " + basket: 404, "GET /orders/o": 404} {
		if answer := do(h, line, nil); answer.Code != want {
			t.Errorf("%s: %d, want %d", line, answer.Code, want)
		}
	}
}

// The version that a client saw reaches the use case, which is the only one to judge it.
func TestIfMatchReachesTheUseCase(t *testing.T) {
	o, err := order.New("o", "b", nil, mustTime(noon))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`POST /orders/o/items {"productId":"1","amount":1}`, `PUT /orders/o/items/1 {"amount":1}`, "DELETE /orders/o/items/1",
		"POST /orders/o/submit", "POST /orders/o/pay", "POST /orders/o/cancel",
	} {
		orders := &fakeOrders{order: o}
		answer := do(newHandler(orders, nil), line, map[string]string{"If-Match": `"7"`})
		if want := (ports.Target{ID: "o", Version: 7}); answer.Code != 200 || orders.target != want {
			t.Errorf("%s: %d with target %v, want 200 with %v", line, answer.Code, orders.target, want)
		}
	}
}

func TestIfMatchCanBeRequired(t *testing.T) {
	api := newAPIOver(memory.NewStore(), httpapi.Options{RequireIfMatch: true})
	wantAnswer(t, do(api, "POST /orders "+basket, nil), 201, orderJSON("pending", 1,
		`{"productId":"1111","amount":3}`)) // there is no version yet
	required := problem(428, "if-match-required", "If-Match required",
		"Send If-Match with the ETag of the order as you read it, or with * for any version.", "")
	for _, line := range []string{
		`POST /orders/order-1/items {"productId":"1","amount":1}`, `PUT /orders/order-1/items/1111 {"amount":1}`,
		"DELETE /orders/order-1/items/1111",
		"POST /orders/order-1/submit", "POST /orders/order-1/pay", "POST /orders/order-1/cancel",
	} {
		wantAnswer(t, do(api, line, nil), 428, required)
		wantAnswer(t, do(api, line, map[string]string{"If-None-Match": `"7"`}), 428, required)
	}
	wantAnswer(t, do(api, "GET /orders/order-1", nil), 200, orderJSON("pending", 1, `{"productId":"1111","amount":3}`))
	wantAnswer(t, do(api, "POST /orders/order-1/submit", map[string]string{"If-Match": `"1"`}), 200, orderJSON("submitted", 2,
		`{"productId":"1111","amount":3}`))
	wantAnswer(t, do(api, "POST /orders/order-1/pay", map[string]string{"If-Match": "*"}), 200, orderJSON("paid", 3,
		`{"productId":"1111","amount":3}`))
}

// Every answer says what it is, problems and probes included.
func TestBrowsersAreToldWhatAnAnswerIs(t *testing.T) {
	h := newHandler(&fakeOrders{err: ports.ErrNotFound}, nil)
	for _, line := range []string{"GET /livez", "GET /orders/o", "POST /orders/o/pay", "GET /nothing", "PATCH /orders"} {
		answer := do(h, line, nil)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Content-Security-Policy":     "default-src 'none'; frame-ancestors 'none'",
			"Access-Control-Allow-Origin": "", "Vary": "",
		} {
			if got := answer.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", line, name, got, want)
			}
		}
	}
}

func TestPagesOfOtherOriginsNeedLeave(t *testing.T) {
	const shop = "https://shop.example.com"
	for name, x := range map[string]struct {
		configured  []string
		origin      string
		allow, vary string
		preflight   int
	}{
		"without configuration":  {nil, shop, "", "", 204},
		"a configured origin":    {[]string{"https://other.example.com", shop}, shop, shop, "Origin", 204},
		"another origin":         {[]string{shop}, "https://evil.example.com", "", "Origin", 204},
		"an origin that is like": {[]string{shop}, shop + ".evil.com", "", "Origin", 204},
		"no origin":              {[]string{shop}, "", "", "Origin", 204},
		"everyone":               {[]string{"*"}, "null", "*", "", 204},
	} {
		t.Run(name, func(t *testing.T) {
			h := httpapi.New(httpapi.Options{Orders: &fakeOrders{err: ports.ErrNotFound}, CORSOrigins: x.configured,
				Logger: slog.New(slog.DiscardHandler)})
			wantCORS := func(answer *httptest.ResponseRecorder, status int) {
				t.Helper()
				allow, vary := answer.Header().Get("Access-Control-Allow-Origin"), answer.Header().Get("Vary")
				if answer.Code != status || allow != x.allow || vary != x.vary && (answer.Code != 204 || x.allow == "") {
					t.Errorf("%d, allowed %q, varies by %q; want %d, %q, %q", answer.Code, allow, vary, status, x.allow, x.vary)
				}
				if answer.Header().Get("Access-Control-Allow-Credentials") != "" {
					t.Error("cookies are let in")
				}
			}
			answer := do(h, "GET /orders/o", map[string]string{"Origin": x.origin})
			wantCORS(answer, 404) // the answer is the same: it is the browser that keeps it from the page
			refused := 403
			if x.allow != "" || x.origin == "" {
				refused = 404
			}
			wantCORS(do(h, "POST /orders/o/pay", map[string]string{"Origin": x.origin}), refused)
			if exposed := answer.Header().Get("Access-Control-Expose-Headers"); x.allow != "" && !strings.Contains(strings.ToLower(exposed),
				"etag") {
				t.Errorf("a page cannot read the ETag: %q", exposed)
			}
			answer = do(h, "OPTIONS /orders/o/pay", map[string]string{
				"Origin": x.origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type,if-match",
			})
			wantCORS(answer, x.preflight)
			if x.allow != "" {
				methods, headers := answer.Header().Get("Access-Control-Allow-Methods"), answer.Header().Get("Access-Control-Allow-Headers")
				if !strings.Contains(methods, "PUT") || !strings.Contains(headers, "Content-Type") ||
					!strings.Contains(headers, "If-Match") {
					t.Errorf("allowed methods %q and headers %q", methods, headers)
				}
			}
		})
	}
}

// A page can send these without asking anybody. The order is not even looked up.
func TestCommandsOfPagesOfOtherOriginsAreRefused(t *testing.T) {
	const shop = "https://shop.example.com"
	commands := []string{
		"POST /orders {}", `POST /orders/o/items {"productId":"1","amount":1}`, `PUT /orders/o/items/1 {"amount":1}`,
		"DELETE /orders/o/items/1", "POST /orders/o/submit", "POST /orders/o/pay", "POST /orders/o/cancel",
	}
	for name, x := range map[string]struct {
		header  map[string]string
		refused bool
	}{
		"another site":                  {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, true},
		"a sibling":                     {map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://evil.example.com"}, true},
		"a page without an origin":      {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "null"}, true},
		"an old browser":                {map[string]string{"Origin": "https://evil.example"}, true},
		"an old browser, another port":  {map[string]string{"Origin": "http://example.com:81"}, true},
		"a form":                        {map[string]string{"Sec-Fetch-Site": "cross-site"}, true},
		"the docs page":                 {map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": "http://example.com"}, false},
		"an old browser on the page":    {map[string]string{"Origin": "http://example.com"}, false},
		"the address bar":               {map[string]string{"Sec-Fetch-Site": "none"}, false},
		"curl":                          {nil, false},
		"a page of a configured origin": {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": shop}, false},
		"one that begins like it":       {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": shop + ".evil.example"}, true},
		"one that is not in its scheme": {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "http://shop.example.com"}, true},
	} {
		orders := &fakeOrders{err: ports.ErrNotFound}
		h := httpapi.New(httpapi.Options{Orders: orders, CORSOrigins: []string{shop}, Logger: slog.New(slog.DiscardHandler)})
		for _, line := range commands {
			answer := do(h, line, x.header)
			if refused := answer.Code == 403 && strings.Contains(answer.Body.String(), `"code":"cross-origin"`); refused != x.refused {
				t.Errorf("%s: %s: %d %s", name, line, answer.Code, answer.Body)
			}
		}
		if asked := orders.target != (ports.Target{}); asked && x.refused {
			t.Errorf("%s: the order was asked", name)
		}
		if answer := do(h, "GET /orders/o", x.header); answer.Code != 404 {
			t.Errorf("%s: a read gets %d, want 404", name, answer.Code)
		}
	}
	open := httpapi.New(httpapi.Options{
		Orders: &fakeOrders{err: ports.ErrNotFound}, CORSOrigins: []string{"*"}, Logger: slog.New(slog.DiscardHandler),
	})
	header := map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
	if answer := do(open, "POST /orders/o/pay", header); answer.Code != 404 {
		t.Errorf("where every page may call: %d, want 404", answer.Code)
	}
}

func TestAReboundHostNameReadsNothing(t *testing.T) {
	h := httpapi.New(httpapi.Options{
		Orders: &fakeOrders{err: ports.ErrNotFound}, Hosts: []string{"localhost", "shop.example.com"},
		Metrics: oneMetric, Logger: slog.New(slog.DiscardHandler),
	})
	for host, known := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:8080": true, "LOCALHOST": true, "localhost.": true, "a.localhost:1": true, "[::1]:8080": true,
		"[fe80::1%25en0]:1": true, "192.168.1.5": true, "shop.example.com": true, "Shop.Example.com:443": true, "": true,
		"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"shop.example.com.evil.example": false, "1.2.3": false, "xlocalhost": false, "[evil]:1": false,
	} {
		for _, line := range []string{"GET /orders/o", "POST /orders/o/pay", "GET /docs", "GET /openapi.yaml", "GET /livez", "GET /metrics",
			"GET /nothing", "OPTIONS /orders/o"} {
			method, path, _ := strings.Cut(line, " ")
			request := httptest.NewRequest(method, path, nil)
			request.Host = host
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, request)
			refused := answer.Code == 421 && strings.Contains(answer.Body.String(), `"code":"unknown-host"`)
			if refused == known {
				t.Errorf("%s for the host %q: %d %.80s", line, host, answer.Code, answer.Body)
			}
		}
	}
}

func TestAClientThatAsksTooOftenHasToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAPIOver(memory.NewStore(), httpapi.Options{Rate: 0.5, Burst: 3})
		want := func(line string, header map[string]string, status int) *httptest.ResponseRecorder {
			t.Helper()
			answer := do(h, line, header)
			if answer.Code != status {
				t.Errorf("%s: %d, want %d", line, answer.Code, status)
			}
			return answer
		}
		want("POST /orders "+basket, nil, 201)
		want("GET /orders/order-1", nil, 200)
		want("GET /nothing", nil, 404)
		refused := want("POST /orders/order-1/pay", nil, 429)
		wantAnswer(t, refused, 429, problem(429, "too-many-requests", "Too many requests",
			"This client sends more requests than it may. The header Retry-After says when to go on, in seconds.", ""))
		if got := refused.Header().Get("Retry-After"); got != "2" {
			t.Errorf("Retry-After %q, want 2", got)
		}
		// Saying whom one asks for changes nothing, and whoever watches over the service is always let in.
		want("GET /orders/order-1", map[string]string{"X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "203.0.113.9"}, 429)
		for range 10 {
			want("GET /livez", nil, 200)
			want("GET /readyz", nil, 200)
		}
		time.Sleep(2 * time.Second)
		want("GET /orders/order-1", nil, 200)
		want("GET /orders/order-1", nil, 429)

		other := httptest.NewRequest(http.MethodGet, "/orders/order-1", nil)
		other.RemoteAddr = "203.0.113.9:1234"
		answer := httptest.NewRecorder()
		if h.ServeHTTP(answer, other); answer.Code != 200 {
			t.Errorf("another client: %d, want 200", answer.Code)
		}
	})
}

// A client that goes away takes its work with it: nobody waits for the answer.
func TestAClientThatGoesAwayEndsItsWork(t *testing.T) {
	for _, request := range []string{
		"GET /orders/o HTTP/1.1\r\nHost: test\r\n\r\n",
		"POST /orders/o/cancel HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	} {
		orders := &fakeOrders{hangs: true, began: make(chan struct{}), ended: make(chan error, 1)}
		server := httptest.NewServer(httpapi.New(httpapi.Options{Orders: orders, Timeout: time.Hour,
			Logger: slog.New(slog.DiscardHandler)}))
		connection, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connection.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		await(t, orders.began, "the request")
		if err := connection.Close(); err != nil {
			t.Fatal(err)
		}
		if err := await(t, orders.ended, "the end of the work"); !errors.Is(err, context.Canceled) {
			t.Errorf("%.20s: the work ended with %v, want %v", request, err, context.Canceled)
		}
		server.Close()
	}
}

// What no order can be called is not worth a question, and a store need not know how to be asked it.
func TestAnImpossibleIDIsNotAskedFor(t *testing.T) {
	for _, id := range []string{"%ff", "%00", "o%0a", "%20", "o%20", "%E2%80%AE", "%EF%BB%BFo", "o%E2%80%A8", "%2E%2E", strings.Repeat("o",
		65)} {
		orders := &fakeOrders{panics: "asked for " + id}
		answer := do(newHandler(orders, nil), "GET /orders/"+id, nil)
		if got := readProblem(t, answer); answer.Code != 404 || got.Code != "order-not-found" {
			t.Errorf("%s: %d %s", id, answer.Code, answer.Body)
		}
	}
}

func TestEveryRouteRefusesAnUnknownParameter(t *testing.T) {
	h := httpapi.New(httpapi.Options{Orders: &fakeOrders{panics: "asked"}, Views: noViews{}, Metrics: http.NotFoundHandler(),
		Logger: slog.New(slog.DiscardHandler)})
	routes := h.(*gin.Engine).Routes()
	if len(routes) < 20 {
		t.Fatalf("only %d routes", len(routes))
	}
	for _, route := range routes {
		if route.Path == "/metrics" {
			continue // a handler of its own, which may have parameters
		}
		path := regexp.MustCompile(":[^/]+").ReplaceAllString(route.Path, "1")
		answer := do(h, route.Method+" "+path+"?colour=red", nil)
		if answer.Code != 400 || route.Method != http.MethodHead && !strings.Contains(answer.Body.String(),
			`{"parameter":"colour","detail":"is not known here; `) {
			t.Errorf("%s %s: %d %s", route.Method, path, answer.Code, answer.Body)
		}
	}
}

// noViews panics when it is asked.
type noViews struct{ ports.Views }

// The console is behind the same guards as the API, and bounds its own work.
func TestTheConsoleIsServedBehindTheGuardsAndWithoutTheLimits(t *testing.T) {
	var limited bool
	observed := map[string]int{}
	handler := httpapi.New(httpapi.Options{
		Logger: slog.New(slog.DiscardHandler), Hosts: []string{"example.com"}, Rate: 0.0001, Burst: 1,
		Console: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, limited = r.Context().Deadline()
			w.Header().Set("Content-Security-Policy", "default-src 'self'")
			_, _ = io.WriteString(w, r.Method+" "+r.URL.Path)
		}),
		Observe: func(_, route string) func(int, time.Duration) {
			return func(int, time.Duration) { observed[route]++ }
		},
	})
	ask := func(method, url, site string) *httptest.ResponseRecorder { // the console is not in the description of the API
		request, answer := httptest.NewRequest(method, url, nil), httptest.NewRecorder()
		request.Header.Set("Sec-Fetch-Site", site)
		handler.ServeHTTP(answer, request)
		return answer
	}
	for _, request := range []string{"GET /console", "GET /console/", "GET /console/a/b.js", "POST /console/alerts"} {
		method, path, _ := strings.Cut(request, " ")
		answer := ask(method, path, "same-origin")
		if answer.Code != http.StatusOK || answer.Body.String() != request || limited {
			t.Errorf("%s: %d %s, with a time limit: %t", request, answer.Code, answer.Body, limited)
		}
		if policy := answer.Header().Get("Content-Security-Policy"); policy != "default-src 'self'" {
			t.Errorf("%s has the policy %q", request, policy)
		}
	}
	if len(observed) > 0 {
		t.Errorf("observed are %v", observed)
	}
	if code := ask("GET", "http://elsewhere.example/console/", "none").Code; code != http.StatusMisdirectedRequest {
		t.Errorf("for another host: %d, want 421", code)
	}
	if code := ask("POST", "/console/alerts", "cross-site").Code; code != http.StatusForbidden {
		t.Errorf("a page of another origin: %d, want 403", code)
	}
	if code := do(newHandler(&fakeOrders{}, nil), "GET /console/", nil).Code; code != http.StatusNotFound {
		t.Errorf("without a console: %d, want 404", code)
	}
}
