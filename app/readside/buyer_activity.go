package readside

import (
	"slices"

	"hexorders/core/order"
)

// BuyerActivity counts each buyer's orders by status and knows when the last of them changed. One row a buyer, counters
// only. The counters have the names of the statuses.
var BuyerActivity = View{
	Name:     "buyer-activity",
	Counters: append(slices.Clone(countedStatuses), "lastAt"),
	Apply:    countOrder,
}

var countedStatuses = []string{
	string(order.StatusPending), string(order.StatusSubmitted), string(order.StatusPaid), string(order.StatusCancelled),
}

func countOrder(before, after Order, event Event, rows *Rows) {
	rows.Max(after.Buyer, "lastAt", max(0, event.Data.OccurredAt().UnixMilli()))
	if before.Status == after.Status {
		return
	}
	add(rows, after.Buyer, before.Status, -1)
	add(rows, after.Buyer, after.Status, 1)
}

// add passes over the status before the first event, and one that the core has and this view does not.
func add(rows *Rows, buyer string, status order.Status, n int64) {
	if slices.Contains(countedStatuses, string(status)) {
		rows.Add(buyer, string(status), n)
	}
}
