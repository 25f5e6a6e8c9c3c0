package app_test

import (
	"reflect"
	"testing"

	"hexorders/core/order"
	"hexorders/ports"
)

// A command that is new in the core is a method of the port, so that somebody can call it.
func TestEveryCommandOfAnOrderIsInThePort(t *testing.T) {
	commands, aggregate := 0, reflect.TypeFor[*order.Order]()
	for i := range aggregate.NumMethod() {
		method := aggregate.Method(i)
		if method.Type.NumOut() != 1 || method.Type.Out(0) != reflect.TypeFor[error]() {
			continue // no command
		}
		commands++
		if _, found := reflect.TypeFor[ports.Orders]().MethodByName(method.Name); !found {
			t.Errorf("ports/ports.go: Orders has no %s, a command of core/order; app/orders.go carries it out", method.Name)
		}
	}
	if commands < 6 {
		t.Errorf("found %d commands of an order, want at least 6: the search is broken", commands)
	}
}
