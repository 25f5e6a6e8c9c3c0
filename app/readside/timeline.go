package readside

import (
	"fmt"
	"strconv"

	"hexorders/core/order"
	"hexorders/ports"
)

// Timeline tells what happened to an order, in words. One row an event; an order's rows have the prefix
// TimelinePrefix(order) and sort by version.
var Timeline = View{Name: "timeline", Apply: tell}

// TimelinePrefix is the beginning of the keys of an order's rows. No id contains the separator, a control character.
func TimelinePrefix(orderID string) string { return orderID + "\x1f" }

// entry is the body of a row.
type entry struct {
	Version    int    `json:"version"`
	Type       string `json:"type"`
	OccurredAt string `json:"occurredAt"`
	Text       string `json:"text"`
}

func tell(_, after Order, event Event, rows *Rows) {
	rows.Insert(ports.Row{
		Key: TimelinePrefix(after.ID) + fmt.Sprintf("%09d", after.Version),
		Body: encode(entry{
			Version: after.Version, Type: event.Type, OccurredAt: timestamp(event.Data.OccurredAt()), Text: inWords(event),
		}),
	})
}

// inWords is a sentence on an event. An event that it does not know is its name.
func inWords(event Event) string {
	switch e := event.Data.(type) {
	case order.Created:
		return fmt.Sprintf("created for buyer %s, with %s", e.Buyer, countLines(e.Items))
	case order.ItemAdded:
		return strconv.Itoa(e.Amount) + " × " + e.Product + " added"
	case order.AmountChanged:
		return "amount of " + e.Product + " changed to " + strconv.Itoa(e.Amount)
	case order.ItemRemoved:
		return e.Product + " removed"
	case order.Submitted:
		return "submitted with " + countLines(e.Items)
	case order.Paid:
		return "paid"
	case order.Cancelled:
		text := "cancelled by the " + string(e.By)
		if e.Reason != "" {
			text += ": " + e.Reason
		}
		return text
	}
	return event.Type
}

func countLines(items []order.Item) string {
	switch len(items) {
	case 0:
		return "no items"
	case 1:
		return "1 item"
	}
	return strconv.Itoa(len(items)) + " items"
}
