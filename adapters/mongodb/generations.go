package mongodb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// pointer is the document of a view in the collection views. A view without one has its first generation.
type pointer struct {
	Live   int `bson:"live"`
	Shadow int `bson:"shadow"` // 0 when there is none
	Newest int `bson:"newest"` // also once it was discarded: no number is given twice
}

func (p pointer) has(number int) bool { return number == p.Live || number != 0 && number == p.Shadow }

// pointer reads the document each time. It is a look at one document by its id, and so a swap counts for the next
// question that anybody asks.
func (v *Views) pointer(ctx context.Context, view ports.View) (pointer, error) {
	p := pointer{Live: 1}
	err := v.views.FindOne(ctx, bson.D{{Key: "_id", Value: view}}).Decode(&p)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return p, err
}

// Live implements ports.Generations.
func (v *Views) Live(ctx context.Context, view ports.View) (ports.Generation, error) {
	bounded, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	p, err := v.pointer(bounded, view)
	return ports.Generation{View: view, Number: p.Live}, fail(ctx, "live generation of "+string(view), err)
}

// Shadow implements ports.Generations.
func (v *Views) Shadow(ctx context.Context, view ports.View) (ports.Generation, error) {
	// One command is one decision: whoever comes second gets the shadow that the first has begun.
	next := bson.D{{Key: "$add", Value: bson.A{ifNull("$newest", 1), 1}}}
	none := bson.D{{Key: "$eq", Value: bson.A{ifNull("$shadow", 0), 0}}}
	begin := mongo.Pipeline{{{Key: "$replaceWith", Value: bson.D{{Key: "$cond", Value: bson.A{none, bson.D{
		{Key: "_id", Value: "$_id"}, {Key: "live", Value: ifNull("$live", 1)}, {Key: "shadow", Value: next}, {Key: "newest", Value: next},
	}, "$$ROOT"}}}}}}
	p, err := v.turn(ctx, bson.D{{Key: "_id", Value: view}}, begin, true)
	if err != nil {
		return ports.Generation{}, fail(ctx, "begin a shadow of "+string(view), err)
	}
	v.sweep(ctx, view)
	return ports.Generation{View: view, Number: p.Shadow}, nil
}

// Swap implements ports.Generations.
func (v *Views) Swap(ctx context.Context, shadow ports.Generation) error {
	current := bson.D{{Key: "_id", Value: shadow.View}, {Key: "shadow", Value: max(shadow.Number, 1)}}
	swap := bson.D{{Key: "$set", Value: bson.D{{Key: "live", Value: shadow.Number}, {Key: "shadow", Value: 0}}}}
	_, err := v.turn(ctx, current, swap, false)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = ports.ErrConflict
	}
	if err != nil {
		return fail(ctx, fmt.Sprintf("swap %s in", shadow), err)
	}
	v.sweep(ctx, shadow.View)
	return nil
}

// Discard implements ports.Generations.
func (v *Views) Discard(ctx context.Context, view ports.View) error {
	_, err := v.turn(ctx, bson.D{{Key: "_id", Value: view}}, bson.D{{Key: "$set", Value: bson.D{{Key: "shadow", Value: 0}}}}, false)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return fail(ctx, "discard the shadow of "+string(view), err)
	}
	v.sweep(ctx, view)
	return nil
}

// turn changes a view's pointer and returns it as it is then.
func (v *Views) turn(ctx context.Context, filter bson.D, update any, upsert bool) (p pointer, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	after := options.FindOneAndUpdate().SetUpsert(upsert).SetReturnDocument(options.After)
	for tries := 0; ; tries++ {
		err = v.views.FindOneAndUpdate(ctx, filter, update, after).Decode(&p)
		if !mongo.IsDuplicateKeyError(err) || tries > 0 { // another made the document at the same moment
			return p, err
		}
	}
}

func ifNull(field string, otherwise int) bson.D {
	return bson.D{{Key: "$ifNull", Value: bson.A{field, otherwise}}}
}

// sweep drops the collections of generations that are neither live nor the shadow. What it cannot drop now, the next one
// will: nobody looks there any more.
//
// It looks for collections before it looks at the pointer. A generation that has collections had its number before, so
// that one which is not in the pointer afterwards never will be again.
func (v *Views) sweep(ctx context.Context, view ports.View) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.timeout)
	defer cancel()
	prefix := "view." + string(view) + "."
	names, err := v.db.ListCollectionNames(ctx, bson.D{{Key: "name", Value: bson.Regex{Pattern: "^" + regexp.QuoteMeta(prefix)}}})
	if err != nil {
		return
	}
	p, err := v.pointer(ctx, view)
	if err != nil {
		return
	}
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), ".")
		if n, err := strconv.Atoi(number); err == nil && !p.has(n) {
			_ = v.db.Collection(name).Drop(ctx)
		}
	}
}

// generation has collections of its own, because to drop one is quick, however much is in it.
type generation struct {
	ports.Generation
	orders    *mongo.Collection
	inbox     *mongo.Collection
	held      *mongo.Collection
	positions *mongo.Collection
	buyers    *mongo.Collection // of BuyerActivity
	entries   *mongo.Collection // of OrderTimeline
}

func (v *Views) of(g ports.Generation) generation {
	collection := func(name string) *mongo.Collection {
		return v.db.Collection(fmt.Sprintf("view.%s.%d.%s", g.View, g.Number, name))
	}
	return generation{
		Generation: g,
		orders:     collection("orders"), inbox: collection("inbox"), held: collection("held"), positions: collection("positions"),
		buyers: collection("buyers"), entries: collection("entries"),
	}
}

// prepare makes the collections and indexes of a generation, once a process. Transactions do not like to. Error:
// ErrConflict when there is no such generation.
func (v *Views) prepare(ctx context.Context, g generation) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.prepared[g.Generation] {
		return nil
	}
	p, err := v.pointer(ctx, g.View)
	if err != nil {
		return err
	}
	if !p.has(g.Number) {
		return ports.ErrConflict
	}
	collections := map[*mongo.Collection][]mongo.IndexModel{
		g.positions: nil, g.orders: nil, g.inbox: inboxIndexes, g.held: {{Keys: byVersion}},
	}
	switch g.View {
	case ports.OrderSummary:
		collections[g.orders] = summaryIndexes
	case ports.BuyerActivity:
		collections[g.buyers] = nil
	case ports.OrderTimeline:
		collections[g.entries] = nil
	}
	for c, indexes := range collections {
		if len(indexes) > 0 { // which make the collection too
			_, err = c.Indexes().CreateMany(ctx, indexes)
		} else if err = v.db.CreateCollection(ctx, c.Name()); hasCode(err, namespaceExists) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	v.prepared[g.Generation] = true
	return nil
}
