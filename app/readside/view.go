package readside

import (
	"hexorders/core/order"
	"hexorders/ports"
)

// View is a table of rows that is made of the events. The engine calls Apply once for each event of an order, in version
// order, also when the broker repeats messages. Apply is pure: it reads its arguments only and writes rows only. So it cannot
// fail, and it never needs a row that it wrote before.
type View struct {
	Name     string // in addresses, tables and logs: "order-summary"
	Indexes  []ports.Index
	Counters []string // the counters that Apply changes with Add and Max

	// Apply writes what an event of an order changes. before is the zero Order for an order's first event.
	Apply func(before, after Order, event Event, rows *Rows)
}

// All are the views of this program. A new view is a file like order_summary.go and an entry here; `hexorders views
// rebuild` fills it.
var All = []View{OrderSummary, BuyerActivity, Timeline, ProductSales}

// Tables are what a store has to keep for these views.
func Tables(views []View) []ports.Table {
	tables := make([]ports.Table, len(views))
	for i, v := range views {
		tables[i] = ports.Table{Name: v.Name, Indexes: v.Indexes, Counters: v.Counters}
	}
	return tables
}

// Event is an event of an order with its name in the published language, such as OrderPaid. A view meets types of Data
// that it does not know, when the core gets new ones: most views pass over them.
type Event struct {
	Type string
	Data order.Event
}
