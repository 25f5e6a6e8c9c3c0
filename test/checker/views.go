package checker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the views must say follows from the topic alone. Here it is computed a second time, from the JSON, with no code of
// the program: not its events, not its folds, not its adapters.

const (
	BadSummary  Rule = "bad summary"  // the list of all orders is not what the topic adds up to
	BadList     Rule = "bad list"     // the list of a buyer's orders is not
	BadActivity Rule = "bad activity" // a buyer's activity is not
	BadTimeline Rule = "bad timeline" // an order's timeline is not
	BadSales    Rule = "bad sales"    // a product's sales are not
)

// Views are the views as clients read them.
type Views struct {
	Summaries map[string]Summary  // by order, as in the list of all
	Lists     map[string]Summary  // the same, as in the lists of the buyers
	Activity  map[string]Activity // by buyer
	Timeline  map[string]Entry    // by message id
	Sales     map[string]Sales    // by product, of those that are in an order
}

type Summary struct {
	Version     int
	Buyer       string
	Items       string // "1111×3 2222×8", by product
	TotalAmount int
	Status      string
	CreatedAt   int64 // in milliseconds since 1970, 0 when it never was, and so the next four
	UpdatedAt   int64
	SubmittedAt int64
	PaidAt      int64
	CancelledAt int64
}

type Activity struct {
	Pending, Submitted, Paid, Cancelled int
	LastAt                              int64
}

type Entry struct {
	Type string
	At   int64
	Text string // not judged here, but there has to be one
}

type Sales struct{ Units, Orders int }

// CheckViews compares the views with the fold of the topic. However often a message stands there, it counts once.
func CheckViews(topic []Record, got Views) (violations []Violation) {
	violated := func(rule Rule, about, format string, args ...any) {
		violations = append(violations, Violation{rule, about, fmt.Sprintf(format, args...)})
	}
	want, err := foldTopic(topic)
	if err != nil {
		violated(Invented, "topic", "%v", err)
		return violations
	}
	for id, entry := range got.Timeline {
		if entry.Text == "" {
			violated(BadTimeline, id, "it has no text")
		}
		entry.Text = ""
		got.Timeline[id] = entry
	}
	compare(want.Summaries, got.Summaries, func(about, is, should string) { violated(BadSummary, about, "is %s, want %s", is, should) })
	compare(want.Summaries, got.Lists, func(about, is, should string) { violated(BadList, about, "is %s, want %s", is, should) })
	compare(want.Activity, got.Activity, func(about, is, should string) { violated(BadActivity, about, "is %s, want %s", is, should) })
	compare(want.Timeline, got.Timeline, func(about, is, should string) { violated(BadTimeline, about, "is %s, want %s", is, should) })
	compare(want.Sales, got.Sales, func(about, is, should string) { violated(BadSales, about, "are %s, want %s", is, should) })
	return violations
}

func compare[V any](want, got map[string]V, differs func(about, is, should string)) {
	say := func(values map[string]V, key string) string {
		if value, ok := values[key]; ok {
			return fmt.Sprintf("%+v", value)
		}
		return "not there"
	}
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if is, should := say(got, key), say(want, key); is != should {
			differs(key, is, should)
		}
	}
}

// fact is an event as strangers read it.
type fact struct {
	OrderID    string    `json:"orderId"`
	Version    int       `json:"version"`
	OccurredAt time.Time `json:"occurredAt"`
	BuyerID    string    `json:"buyerId"`
	Items      []struct {
		ProductID string `json:"productId"`
		Amount    int    `json:"amount"`
	} `json:"items"`
	ProductID string `json:"productId"`
	Amount    int    `json:"amount"`
	name      string
}

// foldTopic computes the views. It takes each order's messages in version order, from anywhere in the topic; that they stand in
// order is for Check to say.
func foldTopic(topic []Record) (Views, error) {
	views := Views{
		Summaries: map[string]Summary{}, Activity: map[string]Activity{}, Timeline: map[string]Entry{}, Sales: map[string]Sales{},
	}
	orders := map[string]map[int]fact{}
	for _, record := range topic {
		var f fact
		if err := json.Unmarshal([]byte(record.Value), &f); err != nil {
			return views, fmt.Errorf("offset %d of partition %d: %w", record.Offset, record.Partition, err)
		}
		for _, h := range record.Headers {
			if h.Name == "ce_type" {
				f.name = strings.TrimPrefix(h.Value, "Order")
			}
		}
		if orders[f.OrderID] == nil {
			orders[f.OrderID] = map[int]fact{}
		}
		orders[f.OrderID][f.Version] = f
	}
	for id, facts := range orders {
		s, err := foldOrder(id, facts, views.Timeline)
		if err != nil {
			return views, err
		}
		views.Summaries[id] = s
		views.Activity[s.Buyer] = views.Activity[s.Buyer].with(s)
		for product, amount := range s.amounts() {
			views.Sales[product] = views.Sales[product].with(s.Status, amount)
		}
	}
	return views, nil
}

func foldOrder(id string, facts map[int]fact, timeline map[string]Entry) (s Summary, err error) {
	amounts := map[string]int{}
	for version := 1; version <= len(facts); version++ {
		f, ok := facts[version]
		if !ok {
			return s, fmt.Errorf("order %s has %d messages, and none is of version %d", id, len(facts), version)
		}
		at := f.OccurredAt.UnixMilli()
		switch f.name {
		case "Created":
			s.Buyer, s.Status, s.CreatedAt = f.BuyerID, "pending", at
			for _, item := range f.Items {
				amounts[item.ProductID] += item.Amount
			}
		case "ItemAdded":
			amounts[f.ProductID] += f.Amount
		case "AmountChanged":
			amounts[f.ProductID] = f.Amount
		case "ItemRemoved":
			delete(amounts, f.ProductID)
		case "Submitted":
			s.Status, s.SubmittedAt = "submitted", at
		case "Paid":
			s.Status, s.PaidAt = "paid", at
		case "Cancelled":
			s.Status, s.CancelledAt = "cancelled", at
		default:
			return s, fmt.Errorf("order %s, version %d: nobody knows the type %q", id, version, f.name)
		}
		s.Version, s.UpdatedAt = version, at
		timeline[messageID(id, version)] = Entry{Type: "Order" + f.name, At: at}
	}
	s.Items, s.TotalAmount = inWords(amounts)
	return s, nil
}

func inWords(amounts map[string]int) (items string, total int) {
	var lines []string
	for _, product := range slices.Sorted(maps.Keys(amounts)) {
		lines = append(lines, fmt.Sprintf("%s×%d", product, amounts[product]))
		total += amounts[product]
	}
	return strings.Join(lines, " "), total
}

// amounts are the items as numbers.
func (s Summary) amounts() map[string]int {
	amounts := map[string]int{}
	for _, line := range strings.Fields(s.Items) {
		product, amount, _ := strings.Cut(line, "×")
		amounts[product], _ = strconv.Atoi(amount) // inWords has written it
	}
	return amounts
}

// with are the sales of a product with one more order that has it.
func (s Sales) with(status string, amount int) Sales {
	if status != "paid" {
		return s
	}
	return Sales{s.Units + amount, s.Orders + 1}
}

// with is the activity of a buyer with one more order.
func (a Activity) with(s Summary) Activity {
	switch s.Status {
	case "pending":
		a.Pending++
	case "submitted":
		a.Submitted++
	case "paid":
		a.Paid++
	case "cancelled":
		a.Cancelled++
	}
	a.LastAt = max(a.LastAt, s.UpdatedAt)
	return a
}
