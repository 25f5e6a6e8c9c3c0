package readside

import "hexorders/ports"

// OrderSummary is the list of orders: one row an order, the order's own document. Lists by creation are lists by key,
// because ids grow with time.
var OrderSummary = View{
	Name: "order-summary",
	Indexes: []ports.Index{
		{Equal: "buyer", Filter: "status"},
		{Equal: "buyer", Sort: "updatedAt", Filter: "status"},
		{Equal: "buyer", Sort: "totalAmount", Filter: "status"},
		{Equal: "status"},
		{Sort: "updatedAt", Filter: "status"},
		{Sort: "totalAmount", Filter: "status"},
	},
	Apply: summarize,
}

func summarize(before, after Order, _ Event, rows *Rows) {
	row := ports.Row{
		Key: after.ID,
		Fields: []ports.Field{
			{Name: "buyer", Value: after.Buyer},
			{Name: "status", Value: string(after.Status)},
			{Name: "updatedAt", Value: after.UpdatedAt.UnixMilli()},
			{Name: "totalAmount", Value: int64(after.TotalAmount())},
		},
		Body: after.Document(),
	}
	if before.Version == 0 {
		rows.Insert(row)
	} else {
		rows.Put(row)
	}
}
