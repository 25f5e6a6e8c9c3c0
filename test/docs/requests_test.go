package docs

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

const requests = "docs/api/hexorders.http"

func TestTheRequestsAreAnsweredAsTheySay(t *testing.T) {
	eachSetup(t, func(t *testing.T, w *world) {
		w.start()
		sent, failures := sendAll(read(t, requests), w.addr)
		for _, failure := range failures {
			t.Errorf("%s:%s", requests, failure)
		}
		t.Logf("%d requests", sent)
	})
}

// A teapot answers nothing as it should be answered.
func TestARequestThatIsAnsweredOtherwiseIsFound(t *testing.T) {
	t.Parallel()
	addr := teapot(t)
	sent, failures := sendAll(read(t, requests), addr)
	if sent < 30 || len(failures) != sent {
		t.Errorf("%d of %d requests are found to be answered wrongly, want all of 30 or more:\n%s", len(failures), sent,
			strings.Join(failures, "\n"))
	}
}

func TestEveryEndpointIsAmongTheRequests(t *testing.T) {
	var seen []string
	for _, r := range parseRequests(t, read(t, requests)) {
		method, url, _ := strings.Cut(r.line, " ")
		seen = append(seen, endpoint(method, strings.TrimPrefix(url, "{{base}}")), r.want)
	}
	for _, want := range slices.Concat(endpoints(t), refusals(t)) {
		if !slices.Contains(seen, want) && want != "413 body-too-large" { // its 64 KiB would fill the file
			t.Errorf("%s has no request %s", requests, want)
		}
	}
}

// endpoints is what the API serves to programs: the operations that docs/api/openapi.yaml describes, without its pages.
func endpoints(t *testing.T) (all []string) {
	t.Helper()
	for path, item := range openAPIDocument(t).Paths.Map() {
		for method, operation := range item.Operations() {
			if line := method + " " + path; operation.Tags[0] != "description" && line != "GET /metrics" { // which is no JSON
				all = append(all, line)
			}
		}
	}
	slices.Sort(all)
	if len(all) < 10 {
		t.Fatalf("found %d operations: the search is broken", len(all))
	}
	return all
}

// refusals are those that a client can bring about by itself: the problems of docs/api/openapi.yaml with a status below
// 500, as "409 order-empty", without the ones that are left out for a reason.
func refusals(t *testing.T) (all []string) {
	t.Helper()
	document := openAPIDocument(t)
	for code := range leftOut {
		if document.Components.Examples[code] == nil {
			t.Errorf("test/docs/requests_test.go: leftOut has %s, which is no problem", code)
		}
	}
	for _, value := range document.Components.Schemas["ProblemCode"].Value.Enum {
		code := value.(string)
		status := document.Components.Examples[code].Value.Value.(map[string]any)["status"].(float64)
		if status < 500 && leftOut[code] == "" {
			all = append(all, fmt.Sprint(status, " ", code))
		}
	}
	if len(all) < 15 {
		t.Fatalf("found %d problems: the search is broken", len(all))
	}
	return all
}

// leftOut are the problems that no request of the two files shows, each with the reason.
var leftOut = map[string]string{
	"body-timeout":         "the client would have to be slow",
	"headers-too-large":    "they would fill the file",
	"too-many-items":       "its 501 items would fill the file",
	"malformed-request":    "a client of HTTP does not send it",
	"unknown-expectation":  "a client of HTTP does not send it",
	"cross-origin":         "only browsers say which page asks",
	"unknown-host":         "only with HEXORDERS_HTTP_HOSTS",
	"if-match-required":    "only with HEXORDERS_HTTP_REQUIRE_IF_MATCH",
	"too-many-requests":    "only with HEXORDERS_HTTP_RATE",
	"history-deleted":      "only where old events were deleted",
	"request-in-flight":    "two requests at one moment",
	"version-conflict":     "two requests at one moment",
	"bad-if-match":         "as bad-idempotency-key: a header that cannot be read",
	"bad-if-none-match":    "as bad-idempotency-key: a header that cannot be read",
	"duplicate-field":      "as unknown-field: a body that has a field too many",
	"invalid-id":           "as invalid-amount: a value out of its limits",
	"invalid-cancelled-by": "as invalid-amount: a value out of its limits",
	"invalid-reason":       "as invalid-amount: a value out of its limits",
}

func openAPIDocument(t *testing.T) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData([]byte(read(t, openAPI)))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// endpoint puts names in place of ids, variables and the query.
func endpoint(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "buyers" && len(parts) > 1 {
		parts[1] = "{buyerId}"
	}
	if parts[0] == "products" && len(parts) > 1 {
		parts[1] = "{productId}"
	}
	if parts[0] == "orders" && len(parts) > 1 {
		parts[1] = "{id}"
		if len(parts) > 3 {
			parts[3] = "{productId}"
		}
	}
	return method + " /" + strings.Join(parts, "/")
}

// The part of the format that the file uses: `@name = value` defines a variable, `###` begins a request, a comment
// begins with `#`, `# @name x` names the request, the request is a line, headers, an empty line and a body, and
// {{x.response.body.$.field}} and {{x.response.headers.Name}} are of an earlier answer. Ours is that each request has
// one comment that is a status, perhaps with the code of a problem.
type request struct {
	number int // of its line in the file
	name   string
	want   string // "201", "409 order-empty"
	line   string // "GET http://..."
	header []string
	body   string
	sets   [][2]string // variables that are defined before it
}

var (
	definition = regexp.MustCompile(`^@(\w+) *= *(.+)$`)
	named      = regexp.MustCompile(`^# @name (\w+)$`)
	expected   = regexp.MustCompile(`^# (\d{3}(?: [a-z-]+)?)$`)
	reference  = regexp.MustCompile(`\{\{([^{}]+)\}\}`)
)

func readRequests(file string) (all []request, err error) {
	var next request
	part := "before" // the request, or "header" or "body" of it
	for i, text := range strings.Split(file+"\n###\n", "\n") {
		switch {
		case strings.HasPrefix(text, "###"):
			next.body = strings.TrimSpace(next.body)
			if next.line != "" {
				all = append(all, next)
				next = request{}
			} else if next.want != "" || next.name != "" {
				return nil, fmt.Errorf("%d: there is no request below the comment", i+1)
			}
			part = "before"
		case part == "header" && text == "":
			part = "body"
		case part == "header":
			next.header = append(next.header, text)
		case part == "body":
			next.body += text + "\n"
		case definition.MatchString(text):
			next.sets = append(next.sets, [2]string(definition.FindStringSubmatch(text)[1:]))
		case named.MatchString(text):
			next.name = named.FindStringSubmatch(text)[1]
		case expected.MatchString(text):
			if next.want != "" {
				return nil, fmt.Errorf("%d: a second status for one request", i+1)
			}
			next.want = expected.FindStringSubmatch(text)[1]
		case text == "" || strings.HasPrefix(text, "#"):
		case next.want == "":
			return nil, fmt.Errorf("%d: no comment says which status is expected", i+1)
		default:
			next.number, next.line, part = i+1, text, "header"
		}
	}
	return all, nil
}

func parseRequests(t *testing.T, file string) []request {
	t.Helper()
	all, err := readRequests(file)
	if err != nil {
		t.Fatalf("%s:%v", requests, err)
	}
	return all
}

// sendAll sends the requests to addr, one after the other, and says which were answered otherwise than they say.
func sendAll(file, addr string) (sent int, failures []string) {
	all, err := readRequests(file)
	if err != nil {
		return 0, []string{err.Error()}
	}
	known := variables{}
	for _, r := range all {
		if err := known.send(r, addr); err != nil {
			failures = append(failures, fmt.Sprintf("%d: %s: %v", r.number, r.line, err))
		}
	}
	return len(all), failures
}

// variables are those of the file, and the parts of earlier answers.
type variables map[string]string

func (v variables) send(r request, addr string) error {
	var missing error
	fill := func(text string) string {
		return reference.ReplaceAllStringFunc(text, func(name string) string {
			value, found := v[strings.Trim(name, "{}")]
			if !found {
				missing = fmt.Errorf("%s is not known, only %v", name, slices.Sorted(maps.Keys(v)))
			}
			return value
		})
	}
	for _, set := range r.sets {
		v[set[0]] = fill(set[1])
	}
	method, url, _ := strings.Cut(fill(r.line), " ")
	body := fill(r.body)
	request, err := http.NewRequest(method, strings.Replace(url, "127.0.0.1:8080", addr, 1), strings.NewReader(body))
	if err != nil {
		return err
	}
	for _, header := range r.header {
		name, value, _ := strings.Cut(fill(header), ":")
		request.Header.Set(name, strings.TrimSpace(value))
	}
	if missing != nil {
		return missing
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	fields := map[string]any{}
	if response.StatusCode == http.StatusNotModified && len(text) == 0 {
		fields = nil
	} else if err := json.Unmarshal(text, &fields); err != nil {
		return fmt.Errorf("answer %d, not JSON: %w", response.StatusCode, err)
	}
	for field, value := range fields {
		v[r.name+".response.body.$."+field] = fmt.Sprint(value)
	}
	for name := range response.Header {
		v[r.name+".response.headers."+name] = response.Header.Get(name)
	}
	v[r.name+".response.headers.ETag"] = response.Header.Get("ETag") // as it is written, and not as Go has it

	got := strconv.Itoa(response.StatusCode)
	if code, problem := fields["code"].(string); problem {
		got += " " + code
	}
	if got != r.want {
		return fmt.Errorf("answer %s, want %s: %s", got, r.want, text)
	}
	return nil
}

func TestRequestsAreRead(t *testing.T) {
	got, err := readRequests("# about\n@base = http://h\n\n### one\n# @name first\n# 201\nPOST {{base}}/x?a=1\nA: b\nC: d\n\n{\n\n}\n\n### two\n@id = {{first.response.body.$.id}}\n# 409 order-empty\nGET {{base}}/{{id}}")
	want := []request{
		{7, "first", "201", "POST {{base}}/x?a=1", []string{"A: b", "C: d"}, "{\n\n}", [][2]string{{"base", "http://h"}}},
		{18, "", "409 order-empty", "GET {{base}}/{{id}}", nil, "", [][2]string{{"id", "{{first.response.body.$.id}}"}}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, error %v, want %+v", got, err, want)
	}
	for _, wrong := range []string{"GET http://h/", "# 200\n# 201\nGET http://h/", "# 200\n###\n# 200\nGET http://h/"} {
		if got, err := readRequests(wrong); err == nil {
			t.Errorf("%q is taken for %+v, want an error", wrong, got)
		}
	}
}
