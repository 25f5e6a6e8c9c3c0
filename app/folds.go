package app

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"hexorders/core/order"
	"hexorders/ports"
)

// A fold is what one event makes of a view's rows. The folds are pure, and they are given an order's events each once
// and in version order: all that makes this true is elsewhere. Their one error is an event that they do not know.

// summarize is the fold of order-summary. It leaves the summary that it was given as it is.
func summarize(s ports.Summary, m ports.Message, event order.Event) (ports.Summary, error) {
	at := event.OccurredAt()
	switch e := event.(type) {
	case order.Created:
		s.OrderID, s.Buyer, s.CreatedAt = m.OrderID, e.Buyer, at
		s.Items = slices.SortedFunc(slices.Values(e.Items), byProduct)
	case order.ItemAdded:
		i, found := lineOf(s.Items, e.Product)
		s.Items = slices.Clone(s.Items)
		if found {
			s.Items[i].Amount += e.Amount
		} else {
			s.Items = slices.Insert(s.Items, i, order.Item{Product: e.Product, Amount: e.Amount})
		}
	case order.AmountChanged:
		if i, found := lineOf(s.Items, e.Product); found {
			s.Items = slices.Clone(s.Items)
			s.Items[i].Amount = e.Amount
		}
	case order.ItemRemoved:
		if i, found := lineOf(s.Items, e.Product); found {
			s.Items = slices.Delete(slices.Clone(s.Items), i, i+1)
		}
	case order.Submitted:
		s.SubmittedAt = at
	case order.Paid:
		s.PaidAt = at
	case order.Cancelled:
		s.CancelledAt = at
	}
	status, err := statusAfter(s.Status, event)
	s.Status, s.Version, s.UpdatedAt = status, m.Version, at
	s.TotalAmount = 0
	for _, item := range s.Items {
		s.TotalAmount += item.Amount
	}
	return s, err
}

func lineOf(items []order.Item, product string) (int, bool) {
	return slices.BinarySearchFunc(items, order.Item{Product: product}, byProduct)
}

func byProduct(a, b order.Item) int { return cmp.Compare(a.Product, b.Product) }

// countOrder is the fold of buyer-activity. Only an order's first event names the buyer, so the mark remembers it, and
// under which status the order was counted.
func countOrder(mark ports.Mark, event order.Event) (ports.Mark, ports.ActivityChange, error) {
	if e, created := event.(order.Created); created {
		mark.Buyer = e.Buyer
	}
	change := ports.ActivityChange{Buyer: mark.Buyer, LastAt: event.OccurredAt()}
	before := mark.Status
	var err error
	if mark.Status, err = statusAfter(before, event); mark.Status != before {
		addTo(&change, before, -1)
		addTo(&change, mark.Status, 1)
	}
	return mark, change, err
}

func addTo(change *ports.ActivityChange, status order.Status, n int) {
	switch status {
	case order.StatusPending:
		change.Pending += n
	case order.StatusSubmitted:
		change.Submitted += n
	case order.StatusPaid:
		change.Paid += n
	case order.StatusCancelled:
		change.Cancelled += n
	}
}

// tell is the fold of timeline.
func tell(m ports.Message, event order.Event) (ports.TimelineEntry, error) {
	entry := ports.TimelineEntry{OrderID: m.OrderID, Version: m.Version, Type: m.Type, At: event.OccurredAt()}
	switch e := event.(type) {
	case order.Created:
		entry.Text = fmt.Sprintf("created for buyer %s, with %s", e.Buyer, countLines(e.Items))
	case order.ItemAdded:
		entry.Text = strconv.Itoa(e.Amount) + " × " + e.Product + " added"
	case order.AmountChanged:
		entry.Text = "amount of " + e.Product + " changed to " + strconv.Itoa(e.Amount)
	case order.ItemRemoved:
		entry.Text = e.Product + " removed"
	case order.Submitted:
		entry.Text = "submitted with " + countLines(e.Items)
	case order.Paid:
		entry.Text = "paid"
	case order.Cancelled:
		entry.Text = "cancelled by the " + string(e.By)
		if e.Reason != "" {
			entry.Text += ": " + e.Reason
		}
	default:
		return entry, unknownEvent(event)
	}
	return entry, nil
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

func statusAfter(before order.Status, event order.Event) (order.Status, error) {
	switch event.(type) {
	case order.Created:
		return order.StatusPending, nil
	case order.ItemAdded, order.AmountChanged, order.ItemRemoved:
		return before, nil
	case order.Submitted:
		return order.StatusSubmitted, nil
	case order.Paid:
		return order.StatusPaid, nil
	case order.Cancelled:
		return order.StatusCancelled, nil
	}
	return before, unknownEvent(event)
}

func unknownEvent(event order.Event) error { return fmt.Errorf("no view knows the event %T", event) }
