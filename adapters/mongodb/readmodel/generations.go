package readmodel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/adapters/mongodb"
	"hexorders/ports"
)

// generations is the document that says which generations there are. Numbers are never used again, so the three together
// tell whether the document has changed.
type generations struct {
	Live   generation `bson:"live"`
	Shadow generation `bson:"shadow"` // its number is 0 when there is none
	Newest int        `bson:"newest"` // also once it was discarded
}

type generation struct {
	Number int          `bson:"number"`
	Views  []string     `bson:"views"`  // the names of its tables, sorted
	Shapes ports.Shapes `bson:"shapes"` // nil when a version made it that recorded none: then each table can be used
}

// usable are the views that this program can use, and those that it does not know.
func (s *Store) usable(g generation) []string {
	recorded := ports.Shapes{}
	for _, view := range g.Views {
		recorded[view] = g.Shapes[view]
	}
	return recorded.Usable(s.shapes)
}

func (s *Store) describe(g generation) ports.Generation {
	return ports.Generation{Number: g.Number, Views: s.usable(g)}
}

func (all *generations) read(ctx context.Context, from *mongo.Collection) error {
	return from.FindOne(ctx, bson.D{{Key: "_id", Value: generationsID}}).Decode(all)
}

func (all generations) find(number int) (generation, bool) {
	for _, g := range []generation{all.Live, all.Shadow} {
		if g.Number == number && number != 0 {
			return g, true
		}
	}
	return generation{}, false
}

// known reads the document each time. It is a look at one document by its id, and so a swap counts for the next question
// that anybody asks. The first process that looks makes it.
func (s *Store) known(ctx context.Context) (all generations, err error) {
	if err = all.read(ctx, s.generations); !errors.Is(err, mongo.ErrNoDocuments) {
		return all, err
	}
	if err := s.dropEarlierVersions(ctx); err != nil {
		return all, err
	}
	s.prepared.Clear() // if somebody has dropped the database
	first := generations{Live: generation{1, s.views, s.shapes}, Newest: 1}
	_, err = s.generations.UpdateByID(ctx, generationsID, bson.D{{Key: "$setOnInsert", Value: first}}, options.UpdateOne().SetUpsert(true))
	if err != nil && !mongo.IsDuplicateKeyError(err) { // another made the document at the same moment
		return all, err
	}
	err = all.read(ctx, s.generations)
	return all, err
}

// dropEarlierVersions deletes what the version before this read model kept, each view by itself (ADR 16). Consumers of the
// new read model begin at the first message of the topic.
func (s *Store) dropEarlierVersions(ctx context.Context) error {
	names, err := s.names(ctx, `^views$|^view\.`)
	for _, name := range names {
		if err == nil {
			err = s.db.Collection(name).Drop(ctx)
		}
	}
	if err == nil && len(names) > 0 {
		s.upgraded.Do(func() {
			s.log.InfoContext(ctx, "deleted the views of an earlier version: the read model is rebuilt from the topic")
		})
	}
	return err
}

func (s *Store) names(ctx context.Context, pattern string) ([]string, error) {
	return s.db.ListCollectionNames(ctx, bson.D{{Key: "name", Value: bson.Regex{Pattern: pattern}}})
}

// Live implements ports.ReadModelStore.
func (s *Store) Live(ctx context.Context) (ports.Generation, error) {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	all, err := s.known(bounded)
	if err == nil && all.Live.Shapes == nil {
		err = s.adopt(bounded, all.Live.Number)
	}
	return s.describe(all.Live), mongodb.Fail(ctx, "live generation", err)
}

// adopt records the program's shapes with a live generation that has none.
func (s *Store) adopt(ctx context.Context, number int) error {
	unrecorded := bson.D{{Key: "_id", Value: generationsID}, {Key: "live.number", Value: number}, {Key: "live.shapes", Value: nil}}
	_, err := s.generations.UpdateOne(ctx, unrecorded, bson.D{{Key: "$set", Value: bson.D{{Key: "live.shapes", Value: s.shapes}}}})
	return err
}

// Shadow implements ports.ReadModelStore.
func (s *Store) Shadow(ctx context.Context) (ports.Generation, error) {
	all, err := s.change(ctx, func(all *generations) error {
		if all.Shadow.Number == 0 || !maps.Equal(all.Shadow.Shapes, s.shapes) {
			all.Newest++
			all.Shadow = generation{all.Newest, s.views, s.shapes}
		}
		return nil
	})
	return s.describe(all.Shadow), mongodb.Fail(ctx, "begin a shadow", err)
}

// Swap implements ports.ReadModelStore.
func (s *Store) Swap(ctx context.Context, shadow ports.Generation) error {
	_, err := s.change(ctx, func(all *generations) error {
		if shadow.Number == 0 || shadow.Number != all.Shadow.Number {
			return ports.ErrConflict
		}
		all.Live, all.Shadow = all.Shadow, generation{}
		return nil
	})
	return mongodb.Fail(ctx, "swap in "+name(shadow.Number), err)
}

// Discard implements ports.ReadModelStore.
func (s *Store) Discard(ctx context.Context) error {
	_, err := s.change(ctx, func(all *generations) error {
		all.Shadow = generation{}
		return nil
	})
	return mongodb.Fail(ctx, "discard the shadow", err)
}

// change lets decide change the document, again when another process was faster, and drops what is neither live nor the
// shadow then.
func (s *Store) change(ctx context.Context, decide func(*generations) error) (generations, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for {
		was, err := s.known(ctx)
		if err != nil {
			return was, err
		}
		is := was
		if err := decide(&is); err != nil {
			return was, err
		}
		unchanged := bson.D{
			{Key: "_id", Value: generationsID}, {Key: "live.number", Value: was.Live.Number},
			{Key: "shadow.number", Value: was.Shadow.Number}, {Key: "newest", Value: was.Newest},
		}
		replaced, err := s.generations.ReplaceOne(ctx, unchanged, is)
		if err != nil {
			return was, err
		}
		if replaced.MatchedCount > 0 {
			s.sweep(context.WithoutCancel(ctx))
			return is, nil
		}
	}
}

// sweep drops the collections of generations that are neither live nor the shadow. What it cannot drop now, the next one
// will: nobody looks there any more.
//
// It looks for collections before it looks at the document. A generation that has collections had its number before, so
// that one which is not in the document afterwards never will be again.
func (s *Store) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	names, err := s.names(ctx, `^`+regexp.QuoteMeta(generationsCollection)+`\.`)
	if err != nil {
		return
	}
	all, err := s.known(ctx)
	if err != nil {
		return
	}
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, generationsCollection+"."), ".")
		n, err := strconv.Atoi(number)
		if _, found := all.find(n); err == nil && !found {
			_ = s.db.Collection(name).Drop(ctx)
		}
	}
}

func (s *Store) collection(number int, name string) *mongo.Collection {
	return s.db.Collection(generationsCollection + "." + strconv.Itoa(number) + "." + name)
}

// name says of a generation what an error is about.
func name(number int) string { return fmt.Sprintf("generation %d of the read model", number) }

// prepare makes the collections and indexes of a generation, once a process: a transaction that has to make a collection
// is slow and prone to conflicts, and a query names the index that it wants. Error: ErrConflict when there is no such
// generation.
func (s *Store) prepare(ctx context.Context, number int) error {
	if _, prepared := s.prepared.Load(number); prepared {
		return nil
	}
	all, err := s.known(ctx)
	if err != nil {
		return err
	}
	g, found := all.find(number)
	if !found {
		return ports.ErrConflict
	}
	collections := map[string][]bson.D{places: nil, progress: nil, buffered: {{{Key: "aggregateid", Value: 1}, {Key: "version", Value: 1}}}}
	for _, view := range g.Views {
		collections[view] = nil // also one that only another version of the program has
		for _, index := range s.tables[view].Indexes {
			collections[view] = append(collections[view], keys(index))
		}
	}
	for name, indexes := range collections {
		// The index by _id is there anyway. To ask for it makes a collection that has no other.
		models := []mongo.IndexModel{{Keys: bson.D{{Key: "_id", Value: 1}}, Options: options.Index().SetName("_id_")}}
		for _, keys := range indexes {
			models = append(models, mongo.IndexModel{Keys: keys})
		}
		if err := mongodb.EnsureIndexes(ctx, s.collection(number, name), models); err != nil {
			return err
		}
	}
	s.prepared.Store(number, true)
	return nil
}

// keys are those of the index that serves an index of a table. The filter comes last, so that a list of one value is in the
// same order; what has another one is passed over in the index.
func keys(index ports.Index) bson.D {
	var keys bson.D
	for _, field := range []string{index.Equal, index.Sort} {
		if field != "" {
			keys = append(keys, bson.E{Key: "f." + field, Value: 1})
		}
	}
	keys = append(keys, bson.E{Key: "_id", Value: 1})
	if index.Filter != "" {
		keys = append(keys, bson.E{Key: "f." + index.Filter, Value: 1})
	}
	return keys
}
