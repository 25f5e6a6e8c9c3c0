package httpapi

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	for code, page := range problemPages {
		if kinds[code].code == "" || page.Means == "" || page.Do == "" {
			t.Errorf("the page of the problem %s is %+v", code, page)
		}
	}
	if len(problemPages) != len(kinds) {
		t.Errorf("%d problems have pages, want all %d", len(problemPages), len(kinds))
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
		if route.Method != http.MethodHead && route.Path != "/docs/" { // linters refuse a path that ends with a slash
			got = append(got, route.Method+" "+parameter.ReplaceAllString(route.Path, "{$1}"))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("served are\n%q, described are\n%q", got, want)
	}
}

// What the generators of clients stumble over, each seen in one of them: `make test-clients` runs them all.
func TestTheDescriptionSuitsGenerators(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(description.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	schemas := doc.Components.Schemas
	for name, schema := range schemas {
		if base, ok := strings.CutPrefix(name, "New"); ok && schemas[base] != nil {
			t.Errorf("%s is also how a client in Go calls the constructor of %s", name, base)
		}
		if s := schema.Value; len(s.OneOf)+len(s.AnyOf)+len(s.AllOf) > 0 {
			t.Errorf("%s is put together of other schemas: a client in Python would refuse what fits two of them", name)
		}
		for property, value := range schema.Value.Properties {
			unnamed := value.Value.Type.Is("object") && value.Value.Properties != nil
			if value.Ref == "" && unnamed {
				t.Errorf("%s.%s has no name of its own", name, property)
			}
		}
	}
	bounded := func(where string, s *openapi3.Schema) {
		if s.Type.Is("integer") && (s.Min == nil || s.Max == nil) {
			t.Errorf("%s: a whole number has a minimum and a maximum", where)
		}
	}
	named := func(where string, content openapi3.Content) {
		for mediaType, media := range content {
			switch s := media.Schema; {
			case s == nil:
				t.Errorf("%s: %s has no schema", where, mediaType)
			case strings.HasSuffix(mediaType, "json") && s.Ref == "":
				t.Errorf("%s: the schema of %s has no name", where, mediaType)
			case !strings.HasSuffix(mediaType, "json") && mediaType != "text/plain" && s.Value.Format != "binary":
				t.Errorf("%s: %s is bytes for a client", where, mediaType)
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			at := method + " " + path
			if operation.Responses.Default() == nil {
				t.Errorf("%s has no default response", at)
			}
			for _, parameter := range slices.Concat(item.Parameters, operation.Parameters) {
				bounded(at+" "+parameter.Value.Name, parameter.Value.Schema.Value)
				if parameter.Value.Schema.Ref == "" && parameter.Value.Schema.Value.Enum != nil {
					t.Errorf("%s: the values of %s have no name", at, parameter.Value.Name)
				}
			}
			if operation.RequestBody != nil {
				named(at, operation.RequestBody.Value.Content)
				for _, media := range operation.RequestBody.Value.Content {
					for property, value := range media.Schema.Value.Properties {
						bounded(at+" "+property, value.Value)
					}
				}
			}
			for status, response := range operation.Responses.Map() {
				named(at+" "+status, response.Value.Content)
			}
		}
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
			at := status
			if status == "default" { // it has problems of several statuses, each told by its example
				at = strconv.Itoa(int(example.Value.Value.(map[string]any)["status"].(float64)))
			}
			found[code] = append(found[code], at)
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
	return found
}
