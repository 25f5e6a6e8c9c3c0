package readside

import (
	"reflect"
	"testing"

	"hexorders/core/order"
	"hexorders/ports"
)

// A product is sold when its order is paid, as many pieces as the order has then. An order is paid at most once.
func TestAPaidOrderCountsItsItemsAsSold(t *testing.T) {
	unpaid := []order.Event{created(noon), order.ItemAdded{Product: "q", Amount: 5, At: noon}, order.Submitted{At: noon}}
	if got := folded(t, ProductSales, "o", append(unpaid, order.Cancelled{By: order.ByBuyer, At: noon})...); len(got.Add) > 0 {
		t.Errorf("an order that was not paid: got %+v, want no sales", got)
	}
	got := folded(t, ProductSales, "o", append(unpaid, order.Paid{At: noon}, Renamed{order.Paid{At: noon}})...)
	want := ports.RowChanges{Add: []ports.Addition{
		{Key: "<p>", Add: []ports.Count{{Name: "units", Value: 3}, {Name: "orders", Value: 1}}},
		{Key: "q", Add: []ports.Count{{Name: "units", Value: 7}, {Name: "orders", Value: 1}}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
