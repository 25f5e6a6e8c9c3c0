package readside

import "hexorders/core/order"

// ProductSales counts how many pieces of a product were paid for, and in how many orders. One row a product, counters
// only.
var ProductSales = View{
	Name:     "product-sales",
	Counters: []string{"units", "orders"},
	Apply:    countSales,
}

func countSales(before, after Order, _ Event, rows *Rows) {
	if before.Status == order.StatusPaid || after.Status != order.StatusPaid {
		return
	}
	for _, item := range after.Items {
		rows.Add(item.Product, "units", int64(item.Amount))
		rows.Add(item.Product, "orders", 1)
	}
}
