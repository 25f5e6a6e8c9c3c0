package httpapi

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"

	description "hexorders/docs/api"
	"hexorders/ports"
)

// The codes in the description are those of the table of problems, no more and no fewer, and each has an example that
// reads as the answer does.
func TestTheDescriptionHasEveryProblem(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(description.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]problemKind{internalProblem.code: internalProblem}
	for _, kind := range problems {
		kinds[kind.code] = kind
	}
	var listed []string
	for _, code := range doc.Components.Schemas["ProblemCode"].Value.Enum {
		listed = append(listed, code.(string))
	}
	if want := slices.Sorted(maps.Keys(kinds)); !slices.Equal(listed, want) {
		t.Errorf("the schema ProblemCode lists\n%q, want\n%q", listed, want)
	}

	shown := examplesByStatus(doc)
	for code, kind := range kinds {
		if !slices.Contains(shown[code], strconv.Itoa(kind.status)) {
			t.Errorf("no response with status %d has the example %s", kind.status, code)
		}
		example := doc.Components.Examples[code]
		if example == nil {
			t.Errorf("components/examples has no %s", code)
			continue
		}
		got := example.Value.Value.(map[string]any)
		want := map[string]any{"code": code, "type": typePrefix + code, "title": kind.title, "status": float64(kind.status)}
		if kind.detail != "" {
			want["detail"] = kind.detail
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("example %s: %s is %v, want %v", code, name, got[name], value)
			}
		}
	}
	for code, statuses := range shown {
		for _, status := range statuses {
			if status != strconv.Itoa(kinds[code].status) {
				t.Errorf("the example %s stands in a response with status %s, want %d", code, status, kinds[code].status)
			}
		}
	}
	if len(shown) < 20 {
		t.Errorf("only %d codes stand in responses: the search is broken", len(shown))
	}
}

// HEAD is not described: it is answered wherever GET is.
func TestTheDescriptionHasEveryRoute(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(description.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			want = append(want, method+" "+path)
		}
	}
	parameter := regexp.MustCompile(`:(\w+)`)
	for _, route := range New(Options{Orders: noOrders{}, Views: noViews{}, Metrics: http.NotFoundHandler()}).(*gin.Engine).Routes() {
		if route.Method != http.MethodHead {
			got = append(got, route.Method+" "+parameter.ReplaceAllString(route.Path, "{$1}"))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("served are\n%q, described are\n%q", got, want)
	}
}

// noOrders and noViews make the API serve all of its routes; nobody calls them.
type (
	noOrders struct{ ports.Orders }
	noViews  struct{ ports.Views }
)

// examplesByStatus tells under which statuses each example of a problem stands.
func examplesByStatus(doc *openapi3.T) map[string][]string {
	found := map[string][]string{}
	add := func(status string, response *openapi3.Response) {
		for code, example := range response.Content.Get(mediaProblem).Examples {
			if example.Ref != "#/components/examples/"+code {
				code += " that is " + example.Ref
			}
			found[code] = append(found[code], status)
		}
	}
	for _, path := range doc.Paths.Map() {
		for _, operation := range path.Operations() {
			for status, response := range operation.Responses.Map() {
				if response.Value.Content.Get(mediaProblem) != nil {
					add(status, response.Value)
				}
			}
		}
	}
	add("405", doc.Components.Responses["MethodNotAllowed"].Value) // of no operation, for it is about those that are not there
	return found
}
