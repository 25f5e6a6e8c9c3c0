package mongodb

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// EventStore implements ports.OrderStore, ports.IdempotencyStore and ports.History. It keeps nothing of an order but its events,
// and folds them whenever the order is asked for.
//
// The events are laid out as the messages of an outbox, because that is what they are too: the relay follows them as they
// are (EventLog), and so does whatever else reads an outbox. They are never deleted.
//
// What keeps two savers apart is that an event's version is there once: the second one's cannot be inserted.
type EventStore struct {
	*saver
	snapshots *snapshots
}

var (
	_ ports.OrderStore       = (*EventStore)(nil)
	_ ports.IdempotencyStore = (*EventStore)(nil)
	_ ports.History          = (*EventStore)(nil)
)

// NewEventStore needs a database that Connect has prepared. Options.MaxBatch and all others mean what they mean for Store.
func NewEventStore(db *mongo.Database, o Options) *EventStore {
	s := &EventStore{}
	s.saver = newSaver(db, eventsCollection, o, s)
	s.snapshots = &snapshots{collection: db.Collection(snapshotsCollection), timeout: s.timeout}
	return s
}

// EventLog is the outbox of an EventStore: all that an Outbox is, without Trim.
type EventLog struct {
	ports.Outbox
	ports.Backlog
}

// NewEventLog needs a database that Connect has prepared.
func NewEventLog(db *mongo.Database, o OutboxOptions) *EventLog {
	log := newOutbox(db, eventsCollection, o)
	return &EventLog{Outbox: log, Backlog: log}
}

// Save implements ports.OrderStore.
func (s *EventStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	loaded := o.Version() - len(o.Changes())
	if err := s.saver.Save(ctx, o, key); err != nil {
		return err
	}
	if o.Version()/snapshotEvery > loaded/snapshotEvery {
		s.snapshots.take(o)
	}
	return nil
}

// Close is the saver's, and waits for the snapshots too.
func (s *EventStore) Close(ctx context.Context) error {
	if err := s.saver.Close(ctx); err != nil {
		return err
	}
	return s.snapshots.close(ctx)
}

// Get implements ports.OrderStore. It reads the newest events first, as many as are not in a snapshot when none was lost:
// so the whole of a short order is one question to the server, and of a long one two, the second for the snapshot.
func (s *EventStore) Get(ctx context.Context, id string) (*order.Order, error) {
	doing := "get order " + id
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	newest, err := s.find(bounded, bson.D{{Key: "aggregateid", Value: id}}, newestFirst, snapshotEvery)
	if err != nil {
		return nil, fail(ctx, doing, err)
	}
	if len(newest) == 0 {
		return nil, fmt.Errorf("%s: %w", doing, ports.ErrNotFound)
	}
	slices.Reverse(newest)
	var snapshot *order.Snapshot
	if from := newest[0].Version; from > 1 {
		known, err := s.snapshots.find(bounded, id)
		if err != nil {
			return nil, fail(ctx, doing, err)
		}
		after := 0
		if snapshot = known[id]; snapshot != nil {
			after = snapshot.Version
		}
		if after < from-1 { // it was lost, or cannot be read any more
			between := bson.D{{Key: "aggregateid", Value: id}, {Key: "version", Value: bson.D{{Key: "$gt", Value: after}, {Key: "$lt", Value: from}}}}
			older, err := s.find(bounded, between, byVersion, 0)
			if err != nil {
				return nil, fail(ctx, doing, err)
			}
			newest = append(older, newest...)
		}
	}
	o, err := fold(snapshot, newest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	if folded := len(newest); folded > snapshotEvery {
		s.snapshots.take(o) // so that the next one has less to do
	}
	return o, nil
}

// newestFirst is byVersion from behind.
var newestFirst = bson.D{{Key: "aggregateid", Value: -1}, {Key: "version", Value: -1}}

// eventBatch is more than most answers have, so that one question is enough. The server sends at most 16 MB at a time.
const eventBatch = 10_000

// find reads events, at most so many; 0 is no limit.
func (s *EventStore) find(ctx context.Context, filter, sort bson.D, limit int) ([]ports.Message, error) {
	find := options.Find().SetSort(sort).SetLimit(int64(limit)).SetBatchSize(eventBatch)
	cursor, err := s.messages.Find(ctx, filter, find)
	if err != nil {
		return nil, err
	}
	defer func() { _ = cursor.Close(ctx) }()
	var d messageDecoder
	var events []ports.Message
	for cursor.Next(ctx) {
		m, err := d.message(cursor.Current)
		if err != nil {
			return nil, err
		}
		events = append(events, m)
	}
	return events, cursor.Err()
}

// fold makes an order of a snapshot, if there is one, and of the events, of which those in the snapshot are left out. The
// others must be all that come after it.
func fold(snapshot *order.Snapshot, messages []ports.Message) (*order.Order, error) {
	version := 0
	if snapshot != nil {
		version = snapshot.Version
	}
	var events []order.Event
	for _, m := range messages {
		if m.Version <= version {
			continue
		}
		if want := version + len(events) + 1; m.Version != want {
			return nil, fmt.Errorf("event %d stands where %d should be: %w", m.Version, want, order.ErrInvalidHistory)
		}
		event, err := eventjson.Event(m)
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	if snapshot != nil {
		return order.ReplayAfter(*snapshot, events)
	}
	return order.Replay(events)
}

// encode implements layout.
func (s *EventStore) encode(*write, orderDocument, []messageDocument) error { return nil }

// put implements layout.
func (s *EventStore) put(ctx context.Context, writes []*write) error {
	var before bson.A // the events that orders were loaded up to: without them a save would leave a gap
	for _, w := range writes {
		if w.loaded > 0 {
			before = append(before, eventID(w.id, w.loaded))
		}
	}
	if len(before) > 0 {
		there, err := s.there(ctx, before)
		if err != nil {
			return err
		}
		if len(there) < len(before) {
			return ports.ErrConflict
		}
	}
	err := s.putMessages(ctx, writes)
	if mongo.IsDuplicateKeyError(err) {
		return ports.ErrConflict
	}
	return err
}

// stale implements layout: an order is as it was loaded when its event of that version is there, and the next is not.
func (s *EventStore) stale(ctx context.Context, writes []*write) (map[string]bool, error) {
	var asked bson.A
	for _, w := range writes {
		asked = append(asked, eventID(w.id, w.loaded), eventID(w.id, w.loaded+1))
	}
	there, err := s.there(ctx, asked)
	if err != nil {
		return nil, err
	}
	stale := make(map[string]bool)
	for _, w := range writes {
		stale[w.id] = there[eventID(w.id, w.loaded)] != (w.loaded > 0) || there[eventID(w.id, w.loaded+1)]
	}
	return stale, nil
}

// there tells which of these events are stored.
func (s *EventStore) there(ctx context.Context, ids bson.A) (map[string]bool, error) {
	return idsOf(ctx, s.messages, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
}

func eventID(id string, version int) string { return id + "/" + strconv.Itoa(version) }
