package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"hexorders/adapters/httpapi"
	"hexorders/core/order"
	"hexorders/ports"
)

// A command or a status that is new in the core is served and described, or a test here names the file that lacks it. The
// requests are those of docs/api/openapi.yaml.

func TestEveryCallOfThePortIsAnOperation(t *testing.T) {
	reached := map[string]bool{}
	for _, o := range operations(t) {
		orders := &fakeOrders{err: ports.ErrUnavailable}
		do(httpapi.New(httpapi.Options{Orders: orders, Views: &fakeViews{err: ports.ErrUnavailable},
			Logger: slog.New(slog.DiscardHandler)}), o.request, nil)
		reached[orders.called] = true
	}
	reached["At"] = true // GET /orders/{id} with a version
	port := reflect.TypeFor[ports.Orders]()
	for i := range port.NumMethod() {
		if name := port.Method(i).Name; !reached[name] {
			t.Errorf("no operation of docs/api/openapi.yaml calls %s of ports.Orders: describe it there, and route it in "+
				"adapters/httpapi/httpapi.go to a handler in orders.go", name)
		}
	}
}

func TestEveryStatusIsServedAndDescribed(t *testing.T) {
	var listed []order.Status
	for _, word := range described.doc.Components.Schemas["Status"].Value.Enum {
		listed = append(listed, order.Status(word.(string)))
	}
	if !slices.Equal(listed, order.Statuses()) {
		t.Errorf("docs/api/openapi.yaml: the schema Status lists %v, want %v", listed, order.Statuses())
	}
	for _, status := range order.Statuses() {
		if answer := do(overViews(&fakeViews{}), "GET /orders?status="+string(status), nil); answer.Code != 200 {
			t.Errorf("adapters/httpapi/orders_list.go: GET /orders?status=%s is answered %d %s", status, answer.Code, answer.Body)
		}
		if status != order.StatusPending && described.doc.Components.Schemas["Summary"].Value.Properties[string(status)+"At"] == nil {
			t.Errorf("docs/api/openapi.yaml: the schema Summary has no property %sAt", status)
		}
		views := &fakeViews{row: ports.Row{Key: "b", Counters: []ports.Count{{Name: string(status), Value: 7}}}}
		var activity map[string]any
		unmarshal(t, do(overViews(views), "GET /buyers/b/activity", nil).Body.Bytes(), &activity)
		if table, err := tableOf("buyer-activity"); err != nil || !slices.Contains(table.Counters, string(status)) {
			continue // app/readside has named it as not counted
		}
		if activity[string(status)] != float64(7) {
			t.Errorf("adapters/httpapi/buyer_activity.go: 7 orders of a buyer are %s, and the body is %v", status, activity)
		}
		if described.doc.Components.Schemas["Activity"].Value.Properties[string(status)] == nil {
			t.Errorf("docs/api/openapi.yaml: the schema Activity has no property %s", status)
		}
	}
}

// refusedWith is a request that may be refused with this code, as the description says.
func refusedWith(t *testing.T, code string) string {
	t.Helper()
	for _, o := range operations(t) {
		if slices.Contains(o.problems, code) {
			return o.request
		}
	}
	t.Fatalf("docs/api/openapi.yaml: no operation on orders or views has the problem %s among its examples", code)
	return ""
}

// operation is one on orders or views: "METHOD path body", and the problems that it may be refused with.
type operation struct {
	request  string
	problems []string
}

func operations(t *testing.T) (all []operation) {
	t.Helper()
	parameter := regexp.MustCompile(`{[^}]+}`)
	paths := described.doc.Paths.Map()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		methods := paths[path].Operations()
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			if tag := methods[method].Tags[0]; tag != "orders" && tag != "views" {
				continue
			}
			o := operation{request: method + " " + parameter.ReplaceAllString(path, "1111")}
			if body := methods[method].RequestBody; body != nil {
				o.request += " " + exampleOf(t, body.Value.Content["application/json"])
			}
			for status, response := range methods[method].Responses.Map() {
				if _, err := strconv.Atoi(status); err != nil || response.Value.Content["application/problem+json"] == nil {
					continue
				}
				o.problems = slices.AppendSeq(o.problems, maps.Keys(response.Value.Content["application/problem+json"].Examples))
			}
			all = append(all, o)
		}
	}
	if len(all) < 10 {
		t.Fatalf("found %d operations: the search is broken", len(all))
	}
	return all
}

func exampleOf(t *testing.T, media *openapi3.MediaType) string {
	t.Helper()
	names := slices.Sorted(maps.Keys(media.Examples))
	if len(names) == 0 {
		t.Fatal("docs/api/openapi.yaml: a body has no example")
	}
	text, err := json.Marshal(media.Examples[names[0]].Value.Value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
