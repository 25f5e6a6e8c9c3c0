package arch

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"hexorders/ports"
)

// A decorator of ports.Orders embeds it: a command that it has no method for passes by without a span or a report.
func TestEveryCommandIsDecorated(t *testing.T) {
	queries := []string{"Get", "At", "Events"}
	port := reflect.TypeFor[ports.Orders]()
	for _, file := range []string{"adapters/telemetry/decorators.go", "adapters/console/decorators.go"} {
		source := read(t, "../../"+file)
		for i := range port.NumMethod() {
			name := port.Method(i).Name
			if !strings.Contains(source, "\nfunc (d *orders) "+name+"(") && !slices.Contains(queries, name) {
				t.Errorf("%s: orders has no method %s, so nobody sees this command", file, name)
			}
		}
	}
}
