package readmodel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"hexorders/adapters/mongodb"
	"hexorders/ports"
)

// Store is a ports.ReadModelStore. It is safe for concurrent use.
type Store struct {
	db          *mongo.Database
	generations *mongo.Collection
	tables      map[string]ports.Table
	views       []string // the names of the tables, sorted
	shapes      ports.Shapes
	timeout     time.Duration
	log         *slog.Logger
	prepared    sync.Map  // numbers of generations
	upgraded    sync.Once // readers and a consumer may begin together
}

// Options of a store. The zero value is for production.
type Options struct {
	// Timeout bounds each question. 0 means 5 seconds. A Commit, for which nobody waits, may take six times as long.
	Timeout time.Duration
	Logger  *slog.Logger // slog.Default()
}

var _ ports.ReadModelStore = (*Store)(nil)

// New needs a database that mongodb.Connect has opened, and the tables of all views of the program. It does not talk to
// the server; what it needs there it makes when it is first used.
func New(db *mongo.Database, tables []ports.Table, o Options) *Store {
	// Commit waits for no majority, so a question does not either: it reads what is there.
	db = db.Client().Database(db.Name(), options.Database().SetReadConcern(readconcern.Local()))
	s := &Store{
		db: db, generations: db.Collection(generationsCollection), tables: make(map[string]ports.Table), shapes: ports.ShapesOf(tables),
		timeout: cmp.Or(max(o.Timeout, 0), 5*time.Second), log: cmp.Or(o.Logger, slog.Default()),
	}
	for _, table := range tables {
		s.tables[table.Name] = table
		s.views = append(s.views, table.Name)
	}
	slices.Sort(s.views)
	return s
}

// Row implements ports.ReadModel.
func (s *Store) Row(ctx context.Context, view, key string) (ports.Row, error) {
	row := ports.Row{Key: key}
	err := s.ask(ctx, view, func(ctx context.Context, number int) (found bool, err error) {
		var document rowDocument
		if err := s.collection(number, view).FindOne(ctx, bson.D{{Key: "_id", Value: key}}).Decode(&document); err != nil {
			return false, ignoreNone(err)
		}
		row = document.row()
		return true, nil
	})
	return row, mongodb.Fail(ctx, fmt.Sprintf("row %q of %s", key, view), err)
}

// List implements ports.ReadModel. The query names its index, so that the server need not compare plans.
func (s *Store) List(ctx context.Context, q ports.Query) (page ports.RowPage, err error) {
	doing := "list " + q.View
	index, found := s.tables[q.View].IndexFor(q)
	if !found {
		return page, fmt.Errorf("%s: no index serves %+v", doing, q)
	}
	after, err := q.After()
	if err != nil {
		return page, fmt.Errorf("%s: %w", doing, err)
	}
	// One more than asked for tells whether there is a next page. The server sends a page of the default size at once and a
	// larger one in several batches, so that one of large rows can end early.
	size := q.Page.Size() + 1
	find := options.Find().SetHint(keys(index)).SetSort(order(q)).SetLimit(int64(size)).
		SetBatchSize(int32(min(size, ports.DefaultPageLimit+1)))
	err = s.ask(ctx, q.View, func(ctx context.Context, number int) (found bool, err error) {
		page, err = readPage(ctx, s.collection(number, q.View), q, filter(q, after), find)
		return len(page.Rows) > 0, err
	})
	return page, mongodb.Fail(ctx, doing, err)
}

func readPage(
	ctx context.Context, c *mongo.Collection, q ports.Query, filter bson.D, find *options.FindOptionsBuilder,
) (page ports.RowPage, err error) {
	cursor, err := c.Find(ctx, filter, find)
	if err != nil {
		return page, err
	}
	defer func() { _ = cursor.Close(ctx) }()
	for read := 0; cursor.Next(ctx); read++ {
		if read == q.Page.Size() || page.Full(q) {
			page.Next = q.Next(page.Rows[len(page.Rows)-1])
			return page, nil
		}
		var document rowDocument
		if err := cursor.Decode(&document); err != nil {
			return page, err
		}
		// A row that is replaced while its place in the index is read may come twice, the newer one second.
		if last := len(page.Rows) - 1; last >= 0 && page.Rows[last].Key == document.Key {
			page.Rows = page.Rows[:last]
		}
		page.Rows = append(page.Rows, document.row())
	}
	return page, cursor.Err()
}

// order is that of a list: of its index, in one direction or the other.
func order(q ports.Query) (order bson.D) {
	direction := 1
	if q.Descending {
		direction = -1
	}
	if q.Sort != "" {
		order = append(order, bson.E{Key: "f." + q.Sort, Value: direction})
	}
	return append(order, bson.E{Key: "_id", Value: direction})
}

// filter is for the part of a list that comes after a place. The server reads it from the index, beginning there: the same
// value with a later key, and then the rest.
func filter(q ports.Query, after *ports.RowPlace) bson.D {
	list, keys, than := bson.D{}, bson.D{}, "$gt"
	if q.Descending {
		than = "$lt"
	}
	for _, f := range []ports.Field{q.Equal, q.Filter} {
		if f != (ports.Field{}) {
			list = append(list, bson.E{Key: "f." + f.Name, Value: f.Value})
		}
	}
	if after == nil && q.Equal == (ports.Field{}) && q.Filter != (ports.Field{}) {
		// Without a condition on its first field the index gives the order only, and the filter needs the rows.
		list = append(list, bson.E{Key: order(q)[0].Key, Value: bson.D{{Key: "$gte", Value: bson.MinKey{}}}})
	}
	if q.Prefix != "" { // no text has the byte 255, so this one comes after all with the prefix
		keys = append(keys, bson.E{Key: "$gte", Value: q.Prefix}, bson.E{Key: "$lt", Value: q.Prefix + "\xff"})
	}
	if after != nil { // in a list with a prefix the server takes the narrower of two bounds
		keys = append(keys, bson.E{Key: than, Value: after.Key})
	}
	if after != nil && q.Sort != "" {
		field := "f." + q.Sort
		return bson.D{{Key: "$or", Value: bson.A{
			append(slices.Clone(list), bson.E{Key: field, Value: after.Value}, bson.E{Key: "_id", Value: keys}),
			append(slices.Clone(list), bson.E{Key: field, Value: bson.D{{Key: than, Value: after.Value}}}),
		}}}
	}
	if len(keys) > 0 {
		list = append(list, bson.E{Key: "_id", Value: keys})
	}
	return list
}

// Freshness implements ports.ReadModel.
func (s *Store) Freshness(ctx context.Context, orderID string) (f ports.Freshness, err error) {
	err = s.ask(ctx, "", func(ctx context.Context, number int) (found bool, err error) {
		f = ports.Freshness{}
		if orderID != "" {
			var of struct{ Version int }
			version := options.FindOne().SetProjection(bson.D{{Key: "version", Value: 1}})
			err := s.collection(number, progress).FindOne(ctx, bson.D{{Key: "_id", Value: orderID}}, version).Decode(&of)
			if ignoreNone(err) != nil {
				return false, err
			}
			f.Version = of.Version
		}
		places, err := s.places(ctx, number)
		for i, p := range places {
			if i == 0 || p.AsOf.Before(f.AsOf) {
				f.AsOf = p.AsOf
			}
			f.Incomplete = cmp.Or(f.Incomplete, p.Gap.Reason)
		}
		if f.Incomplete != "" {
			f.AsOf = time.Time{}
		}
		return len(places) > 0 && (orderID == "" || f.Version > 0), err
	})
	return f, mongodb.Fail(ctx, "freshness", err)
}

// ask asks the live generation. A question that finds nothing or fails may have come to a generation that was dropped just
// then, so it looks again which one is live.
func (s *Store) ask(ctx context.Context, view string, question func(_ context.Context, number int) (found bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	all, err := s.known(ctx)
	for err == nil {
		asked := all.Live.Number
		if view != "" && !slices.Contains(s.usable(all.Live), view) {
			return ports.ErrNotBuilt
		}
		found, problem := false, s.prepare(ctx, asked)
		if problem == nil {
			found, problem = question(ctx, asked)
		}
		if found && problem == nil {
			return nil
		}
		if all, err = s.known(ctx); err == nil && all.Live.Number == asked {
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

func findAll[D any](ctx context.Context, c *mongo.Collection, filter bson.D, find *options.FindOptionsBuilder) ([]D, error) {
	cursor, err := c.Find(ctx, filter, find)
	if err != nil {
		return nil, err
	}
	var documents []D
	err = cursor.All(ctx, &documents)
	return documents, err
}

// Places implements ports.ReadModelStore.
func (s *Store) Places(ctx context.Context, g ports.Generation) (places []ports.Place, err error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	documents, err := s.places(bounded, g.Number)
	for _, d := range documents {
		places = append(places, ports.Place{Shard: d.Shard, Next: d.Next})
	}
	return places, mongodb.Fail(ctx, "places of "+name(g.Number), err)
}

// Gaps implements ports.ReadModelStore.
func (s *Store) Gaps(ctx context.Context, g ports.Generation) (gaps []ports.Gap, err error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	documents, err := s.places(bounded, g.Number)
	for _, d := range documents {
		if d.Gap.Reason != "" {
			gaps = append(gaps, ports.Gap{Place: ports.Place{Shard: d.Shard}, Reason: d.Gap.Reason, Detail: d.Gap.Detail})
		}
	}
	return gaps, mongodb.Fail(ctx, "gaps of "+name(g.Number), err)
}

func (s *Store) places(ctx context.Context, number int) ([]placeDocument, error) {
	byShard := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}})
	return findAll[placeDocument](ctx, s.collection(number, places), bson.D{}, byShard)
}

// Load implements ports.ReadModelStore.
func (s *Store) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Progress, error) {
	loaded := make(map[string]ports.Progress, len(orderIDs))
	if len(orderIDs) == 0 {
		return loaded, ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	find := options.Find().SetBatchSize(int32(len(orderIDs)))
	documents, err := findAll[progressDocument](bounded, s.collection(g.Number, progress), anyOf(orderIDs), find)
	for _, d := range documents {
		loaded[d.OrderID] = ports.Progress(d)
	}
	return loaded, mongodb.Fail(ctx, fmt.Sprintf("load %d orders of %s", len(orderIDs), name(g.Number)), err)
}

// Buffered implements ports.ReadModelStore.
func (s *Store) Buffered(ctx context.Context, g ports.Generation, orderID string) ([]ports.Message, error) {
	return mongodb.ParkingIn(s.collection(g.Number, buffered)).Messages(ctx, orderID)
}

// Parked implements ports.ReadModelStore.
func (s *Store) Parked(ctx context.Context, g ports.Generation) ([]ports.ParkedOrder, error) {
	return mongodb.ParkingIn(s.collection(g.Number, buffered)).Parked(ctx)
}
