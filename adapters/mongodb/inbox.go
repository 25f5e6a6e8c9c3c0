package mongodb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"hexorders/ports"
)

const (
	// commitTries bounds how often a Commit that meets another process' transaction is tried again: about three seconds.
	commitTries = 20
	// idsADocument bounds the documents of the inbox, which take 16 MB at most, and what Received has to look through.
	idsADocument = 1000
)

// The server deletes old documents in its own time, once a minute or so; until then everyone looks past them. Unlike a
// stored result, they are dated by the clock of who writes them: a minute more or less in a day is no matter here.
var (
	inboxIndexes = []mongo.IndexModel{
		{Keys: bson.D{{Key: "ids", Value: 1}}, Options: options.Index().SetUnique(true)},
		{Keys: bson.D{{Key: "at", Value: 1}}, Options: options.Index().SetExpireAfterSeconds(int32(ports.InboxKept.Seconds()))},
	}
	forgotten  = bson.D{{Key: "$subtract", Value: bson.A{"$$NOW", ports.InboxKept.Milliseconds()}}}
	remembered = bson.D{{Key: "$gt", Value: bson.A{"$at", forgotten}}}
)

// Commit implements ports.Inbox.
//
// What a change takes for new is inserted, a thousand at a time, which is much quicker than to look whether it is there. If
// something is there, the second try looks. Of what is known already the marks are read and compared first; a transaction
// that writes what another one has changed since it began is refused. Then known documents are deleted and inserted as they
// are now: that is two statements for a thousand of them, and takes the server a fifth less than a thousand updates.
func (v *Views) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	doing := "commit to " + g.String()
	bounded, cancel := context.WithTimeout(ctx, 6*v.timeout)
	defer cancel()
	to := v.of(g)
	err := v.prepare(bounded, to)
	if err == nil {
		err = v.commit(bounded, to, c, false)
	}
	if mongo.IsDuplicateKeyError(err) {
		if err = to.forget(bounded, c.Received); err == nil {
			err = v.commit(bounded, to, c, true)
		}
		if mongo.IsDuplicateKeyError(err) {
			err = ports.ErrConflict
		}
	}
	return fail(ctx, doing, err)
}

func (v *Views) commit(ctx context.Context, g generation, c ports.Change, look bool) error {
	s, err := newStatements(g.View, c, look)
	if err != nil {
		return err
	}
	return runTransaction(ctx, v.db.Client(), commitTries, func(ctx context.Context) error {
		// A generation that is dropped meanwhile makes one of the next commands fail, and then this one is tried again.
		p, err := v.pointer(ctx, g.View)
		if err != nil {
			return err
		}
		if !p.has(g.Number) {
			return ports.ErrConflict
		}
		if same, err := g.unchanged(ctx, s.guards); err != nil {
			return err
		} else if !same {
			return ports.ErrConflict
		}
		if len(s.replaced) > 0 {
			gone, err := g.orders.DeleteMany(ctx, anyOf(s.replaced))
			if err != nil {
				return err
			}
			if gone.DeletedCount < int64(len(s.replaced)) {
				return ports.ErrConflict
			}
		}
		for _, w := range []struct {
			to            *mongo.Collection
			command, list string
			statements    []bson.Raw
			guarded       bool
		}{
			{g.positions, "update", "updates", s.positions, true},
			{g.orders, "insert", "documents", s.newOrders, false},
			{g.orders, "update", "updates", s.orders, true},
			{g.inbox, "insert", "documents", s.inbox, false},
			{g.held, "update", "updates", s.held, false},
			{g.held, "delete", "deletes", s.released, false},
			{g.entries, "insert", "documents", s.newEntries, false},
			{g.entries, "update", "updates", s.entries, false},
			{g.buyers, "update", "updates", s.buyers, false}, // last, for others may want to add to the same
		} {
			n, err := runCommands(ctx, w.to, w.command, w.list, w.statements)
			if err != nil {
				return err
			}
			if w.guarded && n < len(w.statements) {
				return ports.ErrConflict
			}
		}
		return nil
	})
}

// unchanged tells whether the marks are still what they were when the change was worked out.
func (g generation) unchanged(ctx context.Context, marks []ports.MarkChange) (bool, error) {
	if len(marks) == 0 {
		return true, nil
	}
	ids := make([]string, len(marks))
	for i, m := range marks {
		ids[i] = m.OrderID
	}
	type mark struct{ version, held int }
	found := make(map[string]mark, len(marks))
	marksOnly := bson.D{{Key: "mark.version", Value: 1}, {Key: "mark.held", Value: 1}}
	find := options.Find().SetBatchSize(int32(len(ids))).SetProjection(marksOnly)
	err := eachOrder(ctx, g.orders, anyOf(ids), find, func(m *ports.Mark, _ *ports.Summary) {
		if m != nil {
			found[m.OrderID] = mark{m.Version, m.Held}
		}
	})
	for _, m := range marks {
		if err == nil && found[m.OrderID] != (mark{m.Was, m.WasHeld}) { // none says as much as one of version 0
			return false, nil
		}
	}
	return err == nil, err
}

// statements of a Commit, encoded once for all its tries.
type statements struct {
	guards   []ports.MarkChange // of orders that are not new
	replaced []string           // of these, the ids of those that are deleted and inserted

	positions, newOrders, orders, inbox, held, released, newEntries, entries, buyers []bson.Raw
}

// newStatements with look inserts nothing that may be there already, the inbox apart.
func newStatements(view ports.View, c ports.Change, look bool) (*statements, error) {
	s := &statements{}
	for _, p := range c.Positions {
		was := bsoncore.AppendInt64Element(nil, "_id", int64(p.Partition))
		was = bsoncore.AppendInt64Element(was, "next", p.From)
		now := appendTime(bsoncore.AppendInt64Element(nil, "next", p.To), "asOf", p.AsOf)
		// Where there is another position, to insert this one runs into its id.
		s.positions = append(s.positions, update(was, now, p.From == 0))
	}
	s.addOrders(view, c, look)
	at := time.Now()
	for ids := range slices.Chunk(c.Received, idsADocument) {
		b := bsoncore.AppendDateTimeElement(nil, "at", at.UnixMilli())
		list, b := bsoncore.AppendArrayElementStart(b, "ids")
		for i, id := range ids {
			b = bsoncore.AppendStringElement(b, strconv.Itoa(i), id)
		}
		s.inbox = append(s.inbox, documentOf(end(b, list)))
	}
	for _, m := range c.Hold {
		held, err := bson.Marshal(heldDocument{newMessageDocument(m.Message), at})
		if err != nil {
			return nil, err
		}
		change := bsoncore.AppendDocumentElement(nil, "$setOnInsert", held)
		change = bsoncore.AppendDocumentElement(change, "$set", documentOf(bsoncore.AppendStringElement(nil, "reason", m.Reason)))
		s.held = append(s.held, update(textID(m.ID), change, true))
	}
	for _, id := range c.Release {
		one := bsoncore.AppendDocumentElement(nil, "q", documentOf(textID(id)))
		s.released = append(s.released, documentOf(bsoncore.AppendInt32Element(one, "limit", 1)))
	}
	for _, e := range c.Timeline {
		if look {
			s.entries = append(s.entries, update(appendEntryID(nil, e), appendEntry(nil, e), true))
		} else {
			s.newEntries = append(s.newEntries, documentOf(appendEntry(appendEntryID(nil, e), e)))
		}
	}
	for _, a := range c.Activity {
		s.buyers = append(s.buyers, update(textID(a.Buyer), addition(a), true))
	}
	return s, nil
}

// addOrders brings the mark and the summary of an order together.
func (s *statements) addOrders(view ports.View, c ports.Change, look bool) {
	summaries := make(map[string]*ports.Summary, len(c.Summaries))
	for i := range c.Summaries {
		summaries[c.Summaries[i].OrderID] = &c.Summaries[i]
	}
	for _, m := range c.Marks {
		summary := summaries[m.OrderID]
		delete(summaries, m.OrderID)
		isNew := m.Was == 0 && m.WasHeld == 0
		id := textID(m.OrderID)
		if isNew && !look {
			s.newOrders = append(s.newOrders, documentOf(appendOrder(id, &m.Mark, summary)))
			continue
		}
		s.guards = append(s.guards, m)
		if !isNew && (summary != nil || view != ports.OrderSummary) {
			s.replaced = append(s.replaced, m.OrderID)
			s.newOrders = append(s.newOrders, documentOf(appendOrder(id, &m.Mark, summary)))
			continue
		}
		s.orders = append(s.orders, update(id, set(appendOrder(nil, &m.Mark, summary)), isNew))
	}
	for id, summary := range summaries { // of orders whose marks stay as they are
		s.orders = append(s.orders, update(textID(id), set(appendOrder(nil, nil, summary)), true))
	}
}

// addition is what an activity's change does to its document. Setting nothing still makes the document.
func addition(a ports.ActivityChange) []byte {
	var numbers []byte
	for _, n := range []struct {
		name string
		by   int
	}{{"pending", a.Pending}, {"submitted", a.Submitted}, {"paid", a.Paid}, {"cancelled", a.Cancelled}} {
		numbers = bsoncore.AppendInt64Element(numbers, n.name, int64(n.by))
	}
	change := bsoncore.AppendDocumentElement(nil, "$inc", documentOf(numbers))
	if !a.LastAt.IsZero() {
		change = bsoncore.AppendDocumentElement(change, "$max", documentOf(appendTime(nil, "lastAt", a.LastAt)))
	}
	return change
}

// The next four make documents of elements.

func documentOf(elements []byte) bson.Raw {
	b := make([]byte, 4, 4+len(elements)+1)
	return end(append(b, elements...), 0)
}

func set(elements []byte) []byte {
	return bsoncore.AppendDocumentElement(nil, "$set", documentOf(elements))
}

func textID(id string) []byte {
	return bsoncore.AppendStringElement(make([]byte, 0, 512), "_id", id)
}

func update(filter, change []byte, upsert bool) bson.Raw {
	b := make([]byte, 0, 64+len(filter)+len(change))
	b = bsoncore.AppendDocumentElement(b, "q", documentOf(filter))
	b = bsoncore.AppendDocumentElement(b, "u", documentOf(change))
	return documentOf(bsoncore.AppendBooleanElement(b, "upsert", upsert))
}

// forget deletes what the server has not come to yet, and would otherwise still forbid these messages.
func (g generation) forget(ctx context.Context, messageIDs []string) error {
	if len(messageIDs) == 0 {
		return nil
	}
	old := bson.D{
		{Key: "ids", Value: bson.D{{Key: "$in", Value: messageIDs}}},
		{Key: "$expr", Value: bson.D{{Key: "$not", Value: remembered}}},
	}
	_, err := g.inbox.DeleteMany(ctx, old)
	return err
}

// Positions implements ports.Inbox.
func (v *Views) Positions(ctx context.Context, g ports.Generation) (map[int]int64, error) {
	bounded, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	documents, err := v.of(g).readPositions(bounded)
	if err != nil {
		return nil, fail(ctx, "positions of "+g.String(), err)
	}
	positions := make(map[int]int64, len(documents))
	for _, d := range documents {
		positions[d.Partition] = d.Next
	}
	return positions, nil
}

func (g generation) readPositions(ctx context.Context) (documents []positionDocument, err error) {
	cursor, err := g.positions.Find(ctx, bson.D{})
	if err == nil {
		err = cursor.All(ctx, &documents)
	}
	return documents, err
}

// Load implements ports.Inbox.
func (v *Views) Load(ctx context.Context, g ports.Generation, orderIDs []string) (map[string]ports.Mark, map[string]ports.Summary, error) {
	marks, summaries := make(map[string]ports.Mark), make(map[string]ports.Summary)
	if len(orderIDs) == 0 {
		return marks, summaries, ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	err := eachOrder(bounded, v.of(g).orders, anyOf(orderIDs), options.Find().SetBatchSize(int32(len(orderIDs))),
		func(m *ports.Mark, s *ports.Summary) {
			if m != nil {
				marks[m.OrderID] = *m
			}
			if s != nil {
				summaries[s.OrderID] = *s
			}
		})
	if err != nil {
		return nil, nil, fail(ctx, fmt.Sprintf("load %d orders of %s", len(orderIDs), g), err)
	}
	return marks, summaries, nil
}

// eachOrder decodes the documents of orders. Either of the two is nil where a document has none.
func eachOrder(
	ctx context.Context, orders *mongo.Collection, filter bson.D, find *options.FindOptionsBuilder,
	do func(*ports.Mark, *ports.Summary),
) error {
	cursor, err := orders.Find(ctx, filter, find)
	if err != nil {
		return err
	}
	defer func() { _ = cursor.Close(ctx) }() // it is at its end, or else the server closes it in its own time
	for cursor.Next(ctx) {
		var d decoder
		mark, summary := d.order(cursor.Current)
		if d.err != nil {
			return d.err
		}
		do(mark, summary)
	}
	return cursor.Err()
}

func anyOf(ids []string) bson.D {
	return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
}

// Received implements ports.Inbox.
func (v *Views) Received(ctx context.Context, g ports.Generation, messageIDs []string) (map[string]bool, error) {
	received := make(map[string]bool)
	if len(messageIDs) == 0 {
		return received, ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	cursor, err := v.of(g).inbox.Aggregate(bounded, mongo.Pipeline{
		{{Key: "$match", Value: bson.D{{Key: "ids", Value: bson.D{{Key: "$in", Value: messageIDs}}}, {Key: "$expr", Value: remembered}}}},
		{{Key: "$project", Value: bson.D{{Key: "ids", Value: bson.D{
			{Key: "$setIntersection", Value: bson.A{"$ids", bson.D{{Key: "$literal", Value: messageIDs}}}},
		}}}}},
	})
	var documents []struct {
		IDs []string `bson:"ids"`
	}
	if err == nil {
		err = cursor.All(bounded, &documents)
	}
	if err != nil {
		return nil, fail(ctx, fmt.Sprintf("look for %d messages in the inbox of %s", len(messageIDs), g), err)
	}
	for _, d := range documents {
		for _, id := range d.IDs {
			received[id] = true
		}
	}
	return received, nil
}

// Held implements ports.Inbox.
func (v *Views) Held(ctx context.Context, g ports.Generation, orderID string) ([]ports.Message, error) {
	bounded, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	messages, err := findMessages(bounded, v.of(g).held, ofOrder(orderID), options.Find())
	return messages, fail(ctx, fmt.Sprintf("held messages of order %s in %s", orderID, g), err)
}

// Parked implements ports.Inbox.
func (v *Views) Parked(ctx context.Context, g ports.Generation) ([]ports.ParkedOrder, error) {
	bounded, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	orders, err := parkedOrders(bounded, v.of(g).held)
	return orders, fail(ctx, "list the parked orders of "+g.String(), err)
}
