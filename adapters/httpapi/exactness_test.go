package httpapi_test

import (
	"bufio"
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
