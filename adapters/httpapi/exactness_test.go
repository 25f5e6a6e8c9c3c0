package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hexorders/adapters/httpapi"
	"hexorders/adapters/memory"
)

// A PUT on an item is answered with the order: Content-Location says whose representation, and whose ETag, that is (RFC 9110,
// 8.7 and 9.3.4).
func TestACommandSaysWhatItsAnswerRepresents(t *testing.T) {
	api := newAPI()
	location := do(api, "POST /orders "+basket, nil).Header().Get("Location")
	for _, line := range []string{
		"POST " + location + `/items {"productId":"2222","amount":1}`, "PUT " + location + `/items/2222 {"amount":2}`,
		"DELETE " + location + "/items/2222", "POST " + location + "/submit",
	} {
		answer := do(api, line, nil)
		if got := answer.Header().Get("Content-Location"); answer.Code != 200 || got != location {
			t.Errorf("%s: %d, Content-Location %q, want %q", line, answer.Code, got, location)
		}
	}
}

// A client that asks before it sends the body need not send one that is refused (RFC 9110, 10.1.1).
func TestABodyThatIsRefusedIsNotAskedFor(t *testing.T) {
	server := httptest.NewServer(newAPI())
	defer server.Close()
	for header, want := range map[string]string{
		"Content-Type: text/plain\r\nContent-Length: 5":                               "HTTP/1.1 415 ",
		"Content-Type: text/plain\r\nTransfer-Encoding: chunked":                      "HTTP/1.1 415 ",
		"Content-Type: application/json\r\nContent-Length: 65537":                     "HTTP/1.1 413 ",
		"Content-Type: application/json\r\nContent-Length: 65536":                     "HTTP/1.1 100 ",
		"Content-Type: application/json\r\nTransfer-Encoding: chunked":                "HTTP/1.1 100 ",
		"Content-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 5": "HTTP/1.1 415 ",
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Write([]byte("POST /orders HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n" + header + "\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, error %v, want %s", header, got, err, want)
		}
		_ = conn.Close()
	}
}

// The type of a problem resolves against the address of the request (RFC 9457, 3.1.1), to a page for people.
func TestTheTypeOfAProblemIsThePathOfItsPage(t *testing.T) {
	api := newAPI()
	for line, title := range map[string]string{
		"GET /orders/o": "Order not found", "POST /orders {": "Malformed JSON", "GET /nowhere": "No such path",
		"GET /problems/nothing": "No such path", "DELETE /problems": "Method not allowed",
	} {
		problem := readProblem(t, do(api, line, nil))
		page := do(api, "GET "+problem.Type, nil)
		text := page.Body.String()
		if page.Code != 200 || page.Header().Get("Content-Type") != "text/html; charset=utf-8" || strings.Contains(text, "<p></p>") ||
			!strings.Contains(text, "<h1>"+title+"</h1>") || !strings.Contains(text, "<code>"+problem.Code+"</code>") {
			t.Errorf("%s: %s shows %d %v\n%s", line, problem.Type, page.Code, page.Header(), text)
		}
		link := `href="` + strings.TrimPrefix(problem.Type, "/") + `"`
		if list := do(api, "GET /problems", nil); !strings.Contains(list.Body.String(), link) {
			t.Errorf("%s is not among the problems:\n%s", problem.Type, list.Body)
		}
	}
}

// net/http answers by itself what it cannot read.
func TestWhatNetHTTPRefusesIsAProblemToo(t *testing.T) {
	var log bytes.Buffer
	server := httptest.NewUnstartedServer(newAPI())
	server.Listener = httpapi.WithProblems(server.Listener, slog.New(slog.NewTextHandler(&log, nil)))
	server.Config.MaxHeaderBytes = 1 << 10
	server.Start()
	defer server.Close()
	for request, want := range map[string]struct {
		status int
		code   string
	}{
		"GET / HTTP/1.1\r\n\r\n":                                                          {400, "malformed-request"},
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":                                    {400, "malformed-request"},
		"nonsense\r\n\r\n":                                                                {400, "malformed-request"},
		"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n":                   {400, "malformed-request"},
		"POST /orders HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 2\r\n\r\n{}": {417, "unknown-expectation"},
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 10<<10) + "\r\n\r\n":     {431, "headers-too-large"},
		"POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n":             {501, "unsupported-encoding"},
		"GET / HTTP/3.0\r\nHost: a\r\n\r\n":                                               {505, "unsupported-version"},
		"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":                   {404, "no-such-path"},
		"POST /orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n" +
			"Content-Length: 1\r\n\r\n{": {400, "malformed-json"},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%.60q: %v", request, err)
		}
		var problem problemBody
		err = json.NewDecoder(answer.Body).Decode(&problem)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != want.status || problem.Status != want.status || problem.Code != want.code ||
			problem.Type != "/problems/"+want.code || !answer.Close || problem.Detail == "" ||
			answer.Header.Get("Content-Type") != "application/problem+json" || problem.RequestID != answer.Header.Get("X-Request-Id") {
			t.Errorf("%.60q: %d %v %+v, error %v, want %d %s", request, answer.StatusCode, answer.Header, problem, err, want.status, want.code)
		}
		_ = conn.Close()
	}
	server.Close() // so that all is logged
	for _, want := range []string{"requestId=", "status=400 ", "client=127.0.0.1:", "code=unsupported-version",
		`err="400 Bad Request: missing required Host header"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, &log)
		}
	}
}

// RFC 9110, 15.5.16.
func TestNotJSONSaysWhatIsTaken(t *testing.T) {
	answer := do(newAPI(), "POST /orders "+basket, map[string]string{"Content-Type": "text/plain"})
	accept, encoding := answer.Header().Get("Accept"), answer.Header().Get("Accept-Encoding")
	if answer.Code != 415 || accept != "application/json" || encoding != "identity" {
		t.Errorf("%d with Accept %q and Accept-Encoding %q", answer.Code, accept, encoding)
	}
}

// A retry may come through a proxy that escapes more, or less, of a path.
func TestARetryMayEscapeItsPathOtherwise(t *testing.T) {
	api := newAPI()
	location := do(api, `POST /orders {"buyerId":"1","items":[{"productId":"a~b (c)","amount":1}]}`, nil).Header().Get("Location")
	key := map[string]string{"Idempotency-Key": "k"}
	first := do(api, "PUT "+location+`/items/a~b%20(c) {"amount":2}`, key)
	for _, escaped := range []string{"a%7eb%20%28c%29", "%61~b%20(c)"} {
		again := do(api, "PUT "+location+"/items/"+escaped+` {"amount":2}`, key)
		if first.Code != 200 || again.Code != 200 || again.Body.String() != first.Body.String() {
			t.Errorf("%s: %d %s, want the first answer, %d", escaped, again.Code, again.Body, first.Code)
		}
	}
	if other := do(api, "PUT "+location+`/items/a~b%2520(c) {"amount":2}`, key); readProblem(t, other).Code != "idempotency-key-reused" {
		t.Errorf("another product under the key: %d %s", other.Code, other.Body)
	}
}

func TestALimitIsWrittenInOneWay(t *testing.T) {
	for _, limit := range []string{"05", "+5", "5.0", "1e1", "٥", "0x5", ""} {
		answer := ask(overViews(&fakeViews{}), "GET", "/orders?limit="+strings.ReplaceAll(limit, "+", "%2B"), nil)
		if answer.Code != 400 || readProblem(t, answer).Code != "invalid-query" {
			t.Errorf("limit=%s: %d %s, want 400 invalid-query", limit, answer.Code, answer.Body)
		}
	}
}

// Tracing in a browser sends both headers of W3C Trace Context.
func TestPagesMaySendTheirTrace(t *testing.T) {
	api := newAPIOver(memory.NewStore(), httpapi.Options{CORSOrigins: []string{"https://shop.example"}})
	answer := ask(api, http.MethodOptions, "/orders", http.Header{
		"Origin": {"https://shop.example"}, "Access-Control-Request-Method": {"POST"},
		"Access-Control-Request-Headers": {"traceparent,tracestate"},
	})
	allowed := strings.ToLower(answer.Header().Get("Access-Control-Allow-Headers"))
	for _, name := range []string{"traceparent", "tracestate"} {
		if !strings.Contains(allowed, name) {
			t.Errorf("pages may send %q, and %s is not among them", allowed, name)
		}
	}
}

func TestAllThatIsWrongWithABodyIsSaidAtOnce(t *testing.T) {
	api := newAPI()
	location := do(api, "POST /orders "+basket, nil).Header().Get("Location")
	for line, want := range map[string]struct {
		code     string
		pointers string
	}{
		`POST /orders {"buyerId":" ","items":[{"productId":"1","amount":0},{"productId":"2","amount":1},{"productId":"..","amount":-1}]}`: {
			"invalid-id", "/buyerId /items/0/amount /items/2/productId /items/2/amount"},
		`POST /orders {"buyerId":"1","items":[{"productId":"1","amount":0},{"productId":"..","amount":1}]}`: {
			"invalid-amount", "/items/0/amount /items/1/productId"},
		"POST " + location + `/items {"productId":"..","amount":0}`:     {"invalid-id", "/productId /amount"},
		"POST " + location + `/cancel {"by":"me","reason":"\u0000"}`:    {"invalid-cancelled-by", "/by /reason"},
		"POST " + location + `/cancel {"by":"buyer","reason":"\u001b"}`: {"invalid-reason", "/reason"},
	} {
		answer := do(api, line, nil)
		problem := readProblem(t, answer)
		var pointers []string
		for _, e := range problem.Errors {
			pointers = append(pointers, e.Pointer)
		}
		if got := strings.Join(pointers, " "); answer.Code != 422 || problem.Code != want.code || got != want.pointers {
			t.Errorf("%s:\n%d %s at %s,\nwant 422 %s at %s", line, answer.Code, problem.Code, got, want.code, want.pointers)
		}
	}
}
