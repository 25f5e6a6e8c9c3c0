package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"go.uber.org/goleak"

	description "hexorders/docs/api"
)

// Every exchange of these tests is held against docs/api/openapi.yaml. What the two do not agree on is printed when
// the tests are over, and they have failed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, violation := range described.violations {
			fmt.Fprintln(os.Stderr, "not as docs/api/openapi.yaml says:", violation)
			code = 1
		}
		os.Exit(code)
	}))
}

// described watches over the tests of this package.
var described = newContract()

// contract compares what a handler does with what the description says.
type contract struct {
	doc    *openapi3.T
	router routers.Router

	mu         sync.Mutex
	violations []string
}

func newContract() *contract {
	doc, err := openapi3.NewLoader().LoadFromData(description.OpenAPI)
	if err != nil {
		panic(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	for _, mediaType := range []string{"text/html", "text/css", "text/javascript", "image/png"} {
		openapi3filter.RegisterBodyDecoder(mediaType, openapi3filter.FileBodyDecoder)
	}
	return &contract{doc: doc, router: router}
}

// watched is a handler whose exchanges are compared.
type watched struct {
	http.Handler
	contract *contract
}

func (c *contract) watch(h http.Handler) http.Handler {
	if _, already := h.(watched); already {
		return h
	}
	return watched{h, c}
}

func (w watched) ServeHTTP(writer http.ResponseWriter, r *http.Request) {
	sent := &bytes.Buffer{}
	asked := r.Clone(r.Context())
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, sent), r.Body}
	answer := &recorded{ResponseWriter: writer, status: http.StatusOK}
	w.Handler.ServeHTTP(answer, r) // a panic means that there is no answer

	asked.Body = io.NopCloser(sent)
	if err := w.contract.judge(asked, answer); err != nil {
		w.contract.mu.Lock()
		defer w.contract.mu.Unlock()
		w.contract.violations = append(w.contract.violations, fmt.Sprintf("%s %.100s is answered with %d: %v",
			r.Method, r.URL, answer.status, err))
	}
}

// recorded remembers what it passes on.
type recorded struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorded) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorded) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}

func (r *recorded) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (c *contract) judge(asked *http.Request, answer *recorded) error {
	if asked.Method == http.MethodOptions && asked.Header.Get("Access-Control-Request-Method") != "" &&
		answer.status == http.StatusNoContent {
		return nil // a question of the browser's own
	}
	if asked.Method == http.MethodOptions && answer.status == http.StatusNoContent &&
		strings.HasSuffix(answer.Header().Get("Allow"), "OPTIONS") {
		return nil // as the description says at its beginning
	}
	if asked.URL.Path == "/docs/" {
		return nil // the description has only a sentence about it: linters refuse a path that ends with a slash
	}
	head := asked.Method == http.MethodHead // the description says that it is GET without the body
	if head {
		asked.Method = http.MethodGet
	}
	route, parameters, err := c.router.FindRoute(asked)
	code := problemCode(answer)
	switch {
	case answer.status == http.StatusForbidden, answer.status == http.StatusMisdirectedRequest: // any operation has these
		route = c.generalAnswer(strconv.Itoa(answer.status), "OtherProblem")
	case errors.Is(err, routers.ErrMethodNotAllowed):
		route = c.generalAnswer("405", "OtherProblem")
		if answer.status == http.StatusMethodNotAllowed && answer.Header().Get("Allow") == "" {
			return errors.New("the header Allow is missing")
		}
	case err != nil, answer.status == http.StatusNotFound && code == "no-such-path": // a process without the role api has no other
		route = c.generalAnswer("404", "NotFound")
	}
	request := &openapi3filter.RequestValidationInput{
		Request: asked, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{SkipSettingDefaults: true},
	}
	response := route.Operation.Responses.Status(answer.status)
	if response == nil {
		return errors.New("the status is not described")
	}
	if answer.status/100 == 2 {
		if err := openapi3filter.ValidateRequest(asked.Context(), request); err != nil {
			return fmt.Errorf("the request is not allowed: %w", err)
		}
	}
	known := map[string]bool{}
	for name := range response.Value.Headers {
		known[http.CanonicalHeaderKey(name)] = true
	}
	for name := range answer.Header() {
		if !known[name] && !slices.Contains(generalHeaders, name) {
			return fmt.Errorf("the header %s is not described", name)
		}
	}
	if problem := response.Value.Content["application/problem+json"]; problem != nil && !head && problem.Examples[code] == nil {
		return fmt.Errorf("the code %q is not among %v", code, slices.Sorted(maps.Keys(problem.Examples)))
	}
	return openapi3filter.ValidateResponse(asked.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: request, Status: answer.status, Header: answer.Header(), Body: io.NopCloser(&answer.body),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: head},
	})
}

// generalHeaders are those of HTTP itself, and what browsers are told.
var generalHeaders = []string{
	"Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
	"Cache-Control", "Content-Encoding", "Content-Length", "Content-Security-Policy", "Content-Type", "Vary", "X-Content-Type-Options",
}

// generalAnswer is what any path or any method that is not described is answered with.
func (c *contract) generalAnswer(status, component string) *routers.Route {
	responses := openapi3.NewResponses(openapi3.WithName(status, c.doc.Components.Responses[component].Value))
	return &routers.Route{Spec: c.doc, Operation: &openapi3.Operation{Responses: responses}}
}

func problemCode(answer *recorded) string {
	var body struct{ Code string }
	_ = json.Unmarshal(answer.body.Bytes(), &body) // what is no problem has no code
	return body.Code
}

func TestTheDescriptionIsValid(t *testing.T) {
	if err := described.doc.Validate(t.Context()); err != nil { // examples included
		t.Error(err)
	}
}

// Each row is a service that is not as the description says, and must be found out; the first is as it says.
func TestADeviationFromTheDescriptionIsFound(t *testing.T) {
	const (
		order = `{"id":"o","buyerId":"b","items":[],"status":"pending","version":1,"createdAt":"2026-03-01T12:00:00.000Z",` +
			`"updatedAt":"2026-03-01T12:00:00.000Z"}`
		notFound = `{"type":"/problems/order-not-found","title":"t","status":404,"detail":"d","code":"order-not-found",` +
			`"requestId":"r"}`
	)
	for name, x := range map[string]struct {
		asked, mediaType, body string
		status                 int
		header                 map[string]string // "" takes one away
		want                   string
	}{
		"none":                  {asked: "GET /orders/o", body: order, status: 200},
		"none without the body": {asked: "HEAD /orders/o", status: 200},
		"none for a problem": {asked: "GET /orders/o", mediaType: "application/problem+json", body: notFound, status: 404,
			header: map[string]string{"Etag": ""}},
		"another status":         {asked: "GET /orders/o", body: order, status: 202, want: "status is not described"},
		"another status of HEAD": {asked: "HEAD /orders/o", status: 202, want: "status is not described"},
		"a field too few": {asked: "GET /orders/o", body: strings.Replace(order, `"version":1,`, "", 1),
			status: 200, want: "version"},
		"a field too many": {asked: "GET /orders/o", body: strings.Replace(order, `"version"`, `"more":1,"version"`, 1), status: 200,
			want: "more"},
		"another type": {asked: "GET /orders/o", body: strings.Replace(order, `:1,`, `:"1",`, 1), status: 200, want: "integer"},
		"an unknown word": {asked: "GET /orders/o", body: strings.Replace(order, "pending", "canceled", 1),
			status: 200, want: "status"},
		"another media type": {asked: "GET /orders/o", mediaType: "text/plain", body: order, status: 200, want: "Content-Type"},
		"a header too few":   {asked: "GET /orders/o", body: order, status: 200, header: map[string]string{"Etag": ""}, want: "ETag"},
		"a header of another form": {asked: "GET /orders/o", body: order, status: 200,
			header: map[string]string{"Etag": "1"}, want: "ETag"},
		"a header too many": {asked: "GET /orders/o", body: order, status: 200,
			header: map[string]string{"X-More": "1"}, want: "X-More"},
		"a code of another status": {asked: "GET /orders/o", mediaType: "application/problem+json", body: strings.ReplaceAll(notFound,
			"order-not-found", "order-empty"), status: 404, header: map[string]string{"Etag": ""}, want: "order-empty"},
		"an unknown code": {asked: "GET /orders/o", mediaType: "application/problem+json", body: strings.ReplaceAll(notFound,
			"order-not-found", "more"), status: 404, header: map[string]string{"Etag": ""}, want: "more"},
		"a wrong body taken": {asked: `POST /orders/o/items {"productId":"1","amount":0}`, body: order, status: 200,
			want: "request is not allowed"},
		"a wrong query taken": {asked: "GET /orders?buyerId=b&limit=0", body: `{"orders":[]}`, status: 200,
			header: map[string]string{"Etag": ""}, want: "request is not allowed"},
		"a method too many": {asked: "PATCH /orders/o", body: order, status: 200, want: "status is not described"},
		"a path too many":   {asked: "GET /secret", body: order, status: 200, want: "status is not described"},
		"a 405 without methods": {asked: "PATCH /orders/o", mediaType: "application/problem+json", body: strings.ReplaceAll(notFound,
			"order-not-found", "method-not-allowed"), status: 405, header: map[string]string{"Etag": ""}, want: "Allow"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContract()
			do(c.watch(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				if x.mediaType != "" {
					w.Header().Set("Content-Type", x.mediaType)
				}
				w.Header().Set("X-Request-Id", "r")
				w.Header().Set("ETag", `"1"`)
				for header, value := range x.header {
					w.Header().Set(header, value)
					if value == "" {
						w.Header().Del(header)
					}
				}
				w.WriteHeader(x.status)
				_, _ = io.WriteString(w, x.body)
			})), x.asked, nil)
			if found := strings.Join(c.violations, "\n"); (found == "") != (x.want == "") || !strings.Contains(found, x.want) {
				t.Errorf("found %q, want %q", found, x.want)
			}
		})
	}
}
