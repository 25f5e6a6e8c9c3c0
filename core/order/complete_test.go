package order

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// A status or an action that is new is in the tables of rules.go, or a test says where it is missing. The constants are
// read from the source, so that none can be forgotten.
func TestTheRulesCoverEveryActionInEveryStatus(t *testing.T) {
	var statuses []Status
	for _, value := range constants(t, "Status") {
		statuses = append(statuses, Status(value))
	}
	if !slices.Equal(statuses, Statuses()) {
		t.Errorf("core/order/rules.go: Statuses() are %v, and the constants are %v", Statuses(), statuses)
	}
	for _, value := range constants(t, "action") {
		for _, status := range statuses {
			if _, ruled := rules[action(value)][status]; !ruled {
				t.Errorf("core/order/rules.go: rules does not say what the action %q gets in the status %s", value, status)
			}
		}
	}
}

// constants returns the values of the constants of a type in rules.go.
func constants(t *testing.T, typeName string) (values []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "rules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if named, typed := spec.Type.(*ast.Ident); ok && typed && named.Name == typeName {
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return true
	})
	if len(values) < 4 {
		t.Fatalf("found %d constants of type %s: the search is broken", len(values), typeName)
	}
	return values
}
