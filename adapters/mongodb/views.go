package mongodb

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// Views are the ports.OrderViews, with the ports.Inbox that fills them (inbox.go) and their ports.Generations
// (generations.go). What stands in the collections of a generation is in view_documents.go.
type Views struct {
	db      *mongo.Database
	views   *mongo.Collection
	timeout time.Duration

	mu       sync.Mutex
	prepared map[ports.Generation]bool
}

// ViewsOptions of views. The zero value is for production.
type ViewsOptions struct {
	// Timeout bounds each question. 0 means 5 seconds. A Commit, for which nobody waits, may take six times as long.
	Timeout time.Duration
}

var (
	_ ports.OrderViews  = (*Views)(nil)
	_ ports.Inbox       = (*Views)(nil)
	_ ports.Generations = (*Views)(nil)
)

// NewViews needs a database that Connect has prepared.
func NewViews(db *mongo.Database, o ViewsOptions) *Views {
	if o.Timeout <= 0 {
		o.Timeout = callTimeout
	}
	return &Views{db: db, views: db.Collection(viewsCollection), timeout: o.Timeout, prepared: make(map[ports.Generation]bool)}
}

// summaryIndexes are one for each sort of a buyer's list: the first for both directions by id. The status comes last, so
// that a list of one status is in the same order; what has another one is passed over in the index.
var summaryIndexes = []mongo.IndexModel{
	{Keys: bson.D{{Key: "row.buyerId", Value: 1}, {Key: "_id", Value: 1}, {Key: "row.status", Value: 1}}},
	{Keys: bson.D{{Key: "row.buyerId", Value: 1}, {Key: "row.updatedAt", Value: 1}, {Key: "_id", Value: 1}, {Key: "row.status", Value: 1}}},
	{Keys: bson.D{
		{Key: "row.buyerId", Value: 1}, {Key: "row.totalAmount", Value: 1}, {Key: "_id", Value: 1}, {Key: "row.status", Value: 1},
	}},
}

// sorted says by which field a list is sorted before the id, and in which direction.
func sorted(sort ports.SummarySort) (field string, direction int) {
	switch sort {
	case ports.NewestFirst:
		return "", -1
	case ports.LastChanged:
		return "row.updatedAt", -1
	case ports.LargestAmount:
		return "row.totalAmount", -1
	}
	return "", 1
}

// Summaries implements ports.OrderViews.
func (v *Views) Summaries(ctx context.Context, q ports.SummaryQuery) (list []ports.Summary, next string, err error) {
	const doing = "list the summaries of a buyer's orders"
	if q.Sort == "" {
		q.Sort = ports.OldestFirst
	}
	name := fmt.Sprintf("%s %q %q %q", ports.OrderSummary, q.Buyer, q.Status, q.Sort)
	after, err := parseViewCursor(q.Page.Cursor, name)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", doing, err)
	}
	field, direction := sorted(q.Sort)
	filter := bson.D{{Key: "row.buyerId", Value: q.Buyer}}
	if q.Status != "" {
		filter = append(filter, bson.E{Key: "row.status", Value: q.Status})
	}
	if after != nil {
		filter = after.behind(filter, field, direction)
	}
	var sort bson.D
	if field != "" {
		sort = append(sort, bson.E{Key: field, Value: direction})
	}
	sort = append(sort, bson.E{Key: "_id", Value: direction})
	// One more than asked for tells whether there is a next page.
	size := q.Page.Size()
	find := options.Find().SetSort(sort).SetLimit(int64(size) + 1).SetBatchSize(int32(size) + 1)
	err = v.ask(ctx, ports.OrderSummary, func(ctx context.Context, g generation) (found bool, err error) {
		list = nil
		err = eachOrder(ctx, g.orders, filter, find, func(_ *ports.Mark, s *ports.Summary) {
			// An order that is replaced while its place in the index is read may come twice, the newer one second.
			if last := len(list) - 1; last >= 0 && list[last].OrderID == s.OrderID {
				list = list[:last]
			}
			list = append(list, *s)
		})
		return len(list) > 0, err
	})
	if err != nil {
		return nil, "", fail(ctx, doing, err)
	}
	if len(list) > size {
		list = list[:size]
		last := list[size-1]
		p := place{id: last.OrderID}
		switch q.Sort {
		case ports.LastChanged:
			p.value = last.UpdatedAt.UnixMilli()
		case ports.LargestAmount:
			p.value = int64(last.TotalAmount)
		}
		next = p.cursor(name)
	}
	return list, next, nil
}

// Activity implements ports.OrderViews.
func (v *Views) Activity(ctx context.Context, buyer string) (ports.Activity, error) {
	activity := ports.Activity{Buyer: buyer}
	err := v.ask(ctx, ports.BuyerActivity, func(ctx context.Context, g generation) (found bool, err error) {
		var d activityDocument
		if err := g.buyers.FindOne(ctx, bson.D{{Key: "_id", Value: buyer}}).Decode(&d); err != nil {
			return false, ignoreNone(err)
		}
		activity = ports.Activity(d)
		return true, nil
	})
	return activity, fail(ctx, "activity of a buyer", err)
}

// Timeline implements ports.OrderViews.
func (v *Views) Timeline(ctx context.Context, orderID string, page ports.Page) (list []ports.TimelineEntry, next string, err error) {
	doing := "timeline of order " + orderID
	name := fmt.Sprintf("%s %q", ports.OrderTimeline, orderID)
	after, err := parseViewCursor(page.Cursor, name)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", doing, err)
	}
	from := entryID{OrderID: orderID}
	if after != nil {
		from.Version = after.value
	}
	size := page.Size()
	// The ids are documents, and the server sorts them by their fields, in this order.
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: from}, {Key: "$lte", Value: entryID{orderID, 1<<63 - 1}}}}}
	find := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(size) + 1).SetBatchSize(int32(size) + 1)
	var documents []entryDocument
	err = v.ask(ctx, ports.OrderTimeline, func(ctx context.Context, g generation) (found bool, err error) {
		documents = nil
		cursor, err := g.entries.Find(ctx, filter, find)
		if err == nil {
			err = cursor.All(ctx, &documents)
		}
		return len(documents) > 0, err
	})
	if err != nil {
		return nil, "", fail(ctx, doing, err)
	}
	if len(documents) > size {
		documents = documents[:size]
		next = place{value: documents[size-1].ID.Version}.cursor(name)
	}
	for _, d := range documents {
		list = append(list, d.entry())
	}
	return list, next, nil
}

// Freshness implements ports.OrderViews.
func (v *Views) Freshness(ctx context.Context, view ports.View, orderID string) (f ports.Freshness, err error) {
	err = v.ask(ctx, view, func(ctx context.Context, g generation) (found bool, err error) {
		f = ports.Freshness{}
		if orderID != "" {
			onlyMark := options.Find().SetProjection(bson.D{{Key: "mark", Value: 1}})
			err := eachOrder(ctx, g.orders, bson.D{{Key: "_id", Value: orderID}}, onlyMark, func(m *ports.Mark, _ *ports.Summary) {
				if m != nil {
					f.Version = m.Version
				}
			})
			if err != nil {
				return false, err
			}
		}
		// The positions come last: where there are any, the generation was still there when the mark was read.
		positions, err := g.readPositions(ctx)
		for i, p := range positions {
			if i == 0 || p.AsOf.Before(f.AsOf) {
				f.AsOf = p.AsOf
			}
		}
		return len(positions) > 0, err
	})
	return f, fail(ctx, "freshness of "+string(view), err)
}

// ask asks the live generation. A question that finds nothing or fails may have come to a generation that was dropped just
// then, so it looks again which one is live.
func (v *Views) ask(ctx context.Context, view ports.View, question func(context.Context, generation) (found bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	p, err := v.pointer(ctx, view)
	for err == nil {
		asked := p.Live
		found, problem := question(ctx, v.of(ports.Generation{View: view, Number: asked}))
		if found && problem == nil {
			return nil
		}
		if p, err = v.pointer(ctx, view); err == nil && p.Live == asked {
			return problem
		}
	}
	return err
}

func ignoreNone(err error) error {
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil
	}
	return err
}

// place is where a page ended: at a value of the field that the list is sorted by, and at an id among those of the same.
type place struct {
	value int64
	id    string
}

// behind is the filter for the part of a list that comes after a place. The server reads it from the index, beginning
// there: what is equal and has a later id, and then the rest.
func (p place) behind(list bson.D, field string, direction int) bson.D {
	than := "$gt"
	if direction < 0 {
		than = "$lt"
	}
	id := bson.E{Key: "_id", Value: bson.D{{Key: than, Value: p.id}}}
	if field == "" {
		return append(list, id)
	}
	var value any = p.value
	if field == "row.updatedAt" {
		value = bson.DateTime(p.value)
	}
	return bson.D{{Key: "$or", Value: bson.A{
		append(slices.Clone(list), bson.E{Key: field, Value: value}, id),
		append(slices.Clone(list), bson.E{Key: field, Value: bson.D{{Key: than, Value: value}}}),
	}}}
}

// cursor names the list too, for it is good for no other one.
func (p place) cursor(list string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + ":" + strconv.FormatInt(p.value, 10) + ":" + strconv.Quote(p.id)))
}

// parseViewCursor returns nil for the first page.
func parseViewCursor(cursor, list string) (*place, error) {
	if cursor == "" {
		return nil, nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(cursor)
	rest, _ := strings.CutPrefix(string(text), list+":")
	number, quoted, _ := strings.Cut(rest, ":")
	value, _ := strconv.ParseInt(number, 10, 64)
	id, _ := strconv.Unquote(quoted)
	p := place{value, id}
	// As with the other cursors, only what encodes to the same text was given out.
	if !utf8.ValidString(id) || p.cursor(list) != cursor {
		return nil, ports.ErrBadCursor
	}
	return &p, nil
}
