package checker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// What the views must hold follows from the topic alone. Here it is worked out a second time, from the JSON, with no code of
// the program: not its events, not its folds, not its adapters.

const (
	BadSummary  Rule = "bad summary"  // order-summary is not what the topic adds up to
	BadActivity Rule = "bad activity" // buyer-activity is not
	BadTimeline Rule = "bad timeline" // timeline is not
	Held        Rule = "held"         // a view keeps a message back though the topic has all before it
)

// Views are the three views as MongoDB holds them.
type Views struct {
	Summaries map[string]Summary // by order
	Activity  map[string]Activity
	Timeline  map[string]Entry // by message id
	Held      []string         // message ids, each with the view in front
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
	compare(want.Activity, got.Activity, func(about, is, should string) { violated(BadActivity, about, "is %s, want %s", is, should) })
	compare(want.Timeline, got.Timeline, func(about, is, should string) { violated(BadTimeline, about, "is %s, want %s", is, should) })
	for _, id := range got.Held {
		violated(Held, id, "it has not taken effect")
	}
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

// foldTopic works out the views. It takes each order's messages in version order, wherever they stand; that they stand in
// order is for Check to say.
func foldTopic(topic []Record) (Views, error) {
	views := Views{Summaries: map[string]Summary{}, Activity: map[string]Activity{}, Timeline: map[string]Entry{}}
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

// AwaitViews returns when the views are what the topic adds up to. When ctx ends first, the error says what is missing.
func (r *Reader) AwaitViews(ctx context.Context, topic []Record) error {
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	found := "nothing was read in time"
	for {
		views, err := r.ReadViews(ctx)
		switch {
		case ctx.Err() != nil: // what was found before says more than that time was up
		case err != nil:
			found = err.Error()
		default:
			violations := CheckViews(topic, views)
			if len(violations) == 0 {
				return nil
			}
			found = Report{Violations: violations, Records: len(topic)}.String()
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("the views are not complete: %s: %w", found, ctx.Err())
		}
	}
}

// ReadViews reads the live generation of each view.
func (r *Reader) ReadViews(ctx context.Context) (Views, error) {
	views := Views{Summaries: map[string]Summary{}, Activity: map[string]Activity{}, Timeline: map[string]Entry{}}
	var orders []struct {
		ID  string `bson:"_id"`
		Row *struct {
			Buyer       string `bson:"buyerId"`
			Status      string `bson:"status"`
			Version     int    `bson:"version"`
			TotalAmount int    `bson:"totalAmount"`
			Items       []struct {
				ProductID string `bson:"productId"`
				Amount    int    `bson:"amount"`
			} `bson:"items"`
			CreatedAt   bson.DateTime `bson:"createdAt"`
			UpdatedAt   bson.DateTime `bson:"updatedAt"`
			SubmittedAt bson.DateTime `bson:"submittedAt"`
			PaidAt      bson.DateTime `bson:"paidAt"`
			CancelledAt bson.DateTime `bson:"cancelledAt"`
		} `bson:"row"`
	}
	var buyers []struct {
		ID        string        `bson:"_id"`
		Pending   int           `bson:"pending"`
		Submitted int           `bson:"submitted"`
		Paid      int           `bson:"paid"`
		Cancelled int           `bson:"cancelled"`
		LastAt    bson.DateTime `bson:"lastAt"`
	}
	var entries []struct {
		ID struct {
			OrderID string `bson:"orderId"`
			Version int    `bson:"version"`
		} `bson:"_id"`
		Type string        `bson:"type"`
		At   bson.DateTime `bson:"at"`
		Text string        `bson:"text"`
	}
	for _, v := range []struct {
		name, rows string
		into       any
	}{{"order-summary", "orders", &orders}, {"buyer-activity", "buyers", &buyers}, {"timeline", "entries", &entries}} {
		live, err := r.live(ctx, v.name)
		if err != nil {
			return views, fmt.Errorf("which generation of %s is read: %w", v.name, err)
		}
		if err := r.readAll(ctx, live+v.rows, v.into); err != nil {
			return views, err
		}
		var held []struct {
			ID string `bson:"_id"`
		}
		if err := r.readAll(ctx, live+"held", &held); err != nil {
			return views, err
		}
		for _, m := range held {
			views.Held = append(views.Held, v.name+" "+m.ID)
		}
	}
	for _, o := range orders {
		if o.Row == nil { // the view knows of the order, and nothing has taken effect
			continue
		}
		amounts := map[string]int{}
		for _, item := range o.Row.Items {
			amounts[item.ProductID] += item.Amount
		}
		s := Summary{
			Version: o.Row.Version, Buyer: o.Row.Buyer, Status: o.Row.Status, TotalAmount: o.Row.TotalAmount,
			CreatedAt: int64(o.Row.CreatedAt), UpdatedAt: int64(o.Row.UpdatedAt), SubmittedAt: int64(o.Row.SubmittedAt),
			PaidAt: int64(o.Row.PaidAt), CancelledAt: int64(o.Row.CancelledAt),
		}
		s.Items, _ = inWords(amounts)
		views.Summaries[o.ID] = s
	}
	for _, b := range buyers {
		views.Activity[b.ID] = Activity{b.Pending, b.Submitted, b.Paid, b.Cancelled, int64(b.LastAt)}
	}
	for _, e := range entries {
		views.Timeline[messageID(e.ID.OrderID, e.ID.Version)] = Entry{e.Type, int64(e.At), e.Text}
	}
	return views, nil
}

// live is what the names of the collections of a view's live generation begin with.
func (r *Reader) live(ctx context.Context, view string) (prefix string, err error) {
	pointer := struct {
		Live int `bson:"live"`
	}{1} // of a view that was never replaced
	err = r.database.Collection("views").FindOne(ctx, bson.D{{Key: "_id", Value: view}}).Decode(&pointer)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return fmt.Sprintf("view.%s.%d.", view, pointer.Live), err
}
