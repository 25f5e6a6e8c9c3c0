package readmodel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"hexorders/adapters/mongodb"
	"hexorders/ports"
)

// commitTries bounds how often a Commit that meets another process' transaction is tried again: about three seconds.
const commitTries = 20

// Commit implements ports.ReadModelStore.
//
// It waits for no majority and no disk: the read model can be made again. What a failover takes back it takes back whole,
// places and progress too, and then the engine's next Commit is ErrConflict and it reads from the stored places on.
//
// It reads nothing but which generations there are. The guards are in the statements: those for places and for the
// progress of known orders match only what the change began with, and an insert fails where there is something. The server
// refuses a transaction that writes what another one has changed since it began; then it is tried again.
//
// What is known already is deleted and inserted anew: these are two statements for a thousand documents, and take the
// server half as long as a thousand updates. In a transaction MongoDB 6 reads its catalog for each index of each update.
func (s *Store) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	bounded, cancel := context.WithTimeout(ctx, 6*s.timeout)
	defer cancel()
	list, err := encode(c)
	if err == nil {
		err = s.prepare(bounded, g.Number)
	}
	if err == nil {
		err = mongodb.RunTransaction(bounded, s.db.Client(), writeconcern.W1(), commitTries, func(ctx context.Context) error {
			return s.write(ctx, g.Number, list)
		})
	}
	if mongo.IsDuplicateKeyError(err) { // an insert found something, and that has ended the transaction
		err = ports.ErrConflict
	}
	return mongodb.Fail(ctx, "commit to "+name(g.Number), err)
}

func (s *Store) write(ctx context.Context, number int, list []write) error {
	// A generation that is dropped meanwhile makes one of the next commands fail, and then this one is tried again.
	var all generations
	if err := all.read(ctx, s.generations); ignoreNone(err) != nil {
		return err
	}
	g, found := all.find(number)
	if !found {
		return ports.ErrConflict
	}
	for _, w := range list {
		if w.isView && !slices.Contains(g.Views, w.collection) { // a transaction would make the collection
			return fmt.Errorf("it has no table %q", w.collection)
		}
		statements := map[string]string{"insert": "documents", "update": "updates", "delete": "deletes"}[w.command]
		n, err := mongodb.RunCommands(ctx, s.collection(number, w.collection), w.command, statements, w.statements)
		if err != nil {
			return err
		}
		if n < w.want {
			return ports.ErrConflict
		}
	}
	return nil
}

// write is a command with its statements, encoded once for all tries of a Commit.
type write struct {
	collection string
	isView     bool
	command    string
	statements []bson.Raw
	want       int // how many documents have to be there: a guard
}

// encode makes the commands of a change. In all processes they are in the same order.
func encode(c ports.Change) ([]write, error) {
	var e encoder
	move := write{collection: places, command: "update", want: len(c.Places)}
	gaps := map[string]ports.Gap{}
	for _, gap := range c.Gaps {
		gaps[gap.Place.Shard] = gap
	}
	for _, p := range c.Places {
		set := bson.D{{Key: "next", Value: p.To}, {Key: "asOf", Value: p.AsOf}}
		if gap, found := gaps[p.Shard]; found {
			set = append(set, bson.E{Key: "gap", Value: gapDocument{gap.Reason, gap.Detail}})
		}
		move.statements = append(move.statements, e.marshal(bson.D{
			{Key: "q", Value: bson.D{{Key: "_id", Value: p.Shard}, {Key: "next", Value: p.From}}},
			{Key: "u", Value: bson.D{{Key: "$set", Value: set}}},
			{Key: "upsert", Value: p.From == ""}, // where there is another place, this runs into its id
		}))
	}
	list := append([]write{move}, e.progress(c.Progress)...)

	views := slices.Sorted(maps.Keys(c.Rows))
	for _, view := range views {
		rows := c.Rows[view]
		gone := slices.Clone(rows.Delete)
		for _, row := range rows.Put {
			gone = append(gone, row.Key)
		}
		insert := write{collection: view, isView: true, command: "insert"}
		for _, row := range slices.Concat(rows.Insert, rows.Put) {
			insert.statements = append(insert.statements, encodeRow(row))
		}
		list = append(list, write{collection: view, isView: true, command: "delete", statements: e.deleteAll(gone)}, insert)
	}

	keep, released := write{collection: buffered, command: "update"}, make([]string, len(c.Release))
	for _, m := range c.Buffer {
		keep.statements = append(keep.statements, e.marshal(bson.D{
			{Key: "q", Value: bson.D{{Key: "_id", Value: messageID(m.OrderID, m.Version)}}},
			{Key: "u", Value: bson.D{
				{Key: "$setOnInsert", Value: newBufferedDocument(m.Message, time.Now())},
				{Key: "$set", Value: bson.D{{Key: "reason", Value: m.Reason}}},
			}},
			{Key: "upsert", Value: true},
		}))
	}
	for i, m := range c.Release {
		released[i] = messageID(m.OrderID, m.Version)
	}
	list = append(list, keep, write{collection: buffered, command: "delete", statements: e.deleteAll(released)})

	for _, view := range views { // counters come last, because other processes may want to add to the same
		count := write{collection: view, isView: true, command: "update"}
		for _, a := range c.Rows[view].Add {
			count.statements = append(count.statements, encodeAddition(a))
		}
		list = append(list, count)
	}
	return list, e.err
}

// encoder keeps the first error.
type encoder struct{ err error }

func (e *encoder) marshal(statement bson.D) bson.Raw {
	raw, err := bson.Marshal(statement)
	e.err = errors.Join(e.err, err)
	return raw
}

// progress deletes the known records with one statement for all that began with the same version, mostly a few.
func (e *encoder) progress(changes []ports.ProgressChange) []write {
	type was struct{ version, buffered int }
	known := map[was][]string{}
	remove, insert := write{collection: progress, command: "delete"}, write{collection: progress, command: "insert"}
	for _, p := range changes {
		if began := (was{p.WasVersion, p.WasBuffered}); began != (was{}) {
			known[began] = append(known[began], p.OrderID)
			remove.want++
		}
		insert.statements = append(insert.statements, encodeProgress(p.Progress))
	}
	for began, ids := range known {
		guard := bson.D{{Key: "version", Value: began.version}, {Key: "buffered", Value: began.buffered}}
		remove.statements = append(remove.statements, e.deleteAll(ids, guard...)...)
	}
	return []write{remove, insert}
}

// deleteAll is one statement, and none for no ids.
func (e *encoder) deleteAll(ids []string, guard ...bson.E) []bson.Raw {
	if len(ids) == 0 {
		return nil
	}
	return []bson.Raw{e.marshal(bson.D{{Key: "q", Value: append(anyOf(ids), guard...)}, {Key: "limit", Value: 0}})}
}

func messageID(orderID string, version int) string { return orderID + "/" + strconv.Itoa(version) }

func anyOf(ids []string) bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
}
