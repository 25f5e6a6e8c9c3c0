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

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
)

// EventStore implements ports.OrderStore, ports.IdempotencyStore and ports.History. It stores an order's events, and
// folds them when the order is loaded; a snapshot every 100 events saves time and holds no data of its own.
//
// The events have the layout of outbox messages, so the relay, and any other reader of an outbox, follows them as
// they are (EventLog). They are never deleted.
//
// A save is rejected if another one came first, because an event's version is unique and cannot be inserted twice.
type EventStore struct {
	events    *mongo.Collection
	snapshots *snapshots
	results   *resultStore
	committer *committer
	timeout   time.Duration
}

var (
	_ ports.OrderStore       = (*EventStore)(nil)
	_ ports.IdempotencyStore = (*EventStore)(nil)
	_ ports.History          = (*EventStore)(nil)
)

// NewEventStore needs a database that Connect has prepared.
func NewEventStore(db *mongo.Database, o Options) *EventStore {
	o = o.withDefaults()
	s := &EventStore{
		events:    db.Collection(eventsCollection),
		snapshots: &snapshots{collection: db.Collection(snapshotsCollection), timeout: o.Timeout},
		timeout:   o.Timeout,
	}
	s.results = &resultStore{db.Collection(resultsCollection), o.Timeout, s.at}
	s.committer = newCommitter(db.Client(), eventLayout{s.events}, s.results, o)
	return s
}

// EventLog is the outbox of an EventStore. It has no Trim, because the events are the orders.
type EventLog struct {
	ports.Outbox
	outbox *Outbox
}

// NewEventLog needs a database that Connect has prepared.
func NewEventLog(db *mongo.Database, o OutboxOptions) *EventLog {
	log := newOutbox(db, eventsCollection, o)
	return &EventLog{Outbox: log, outbox: log}
}

// Unread is the Outbox's.
func (l *EventLog) Unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	return l.outbox.Unread(ctx)
}

// Save implements ports.OrderStore.
func (s *EventStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	loaded := o.Version() - len(o.Changes())
	if err := saveOrder(ctx, s.committer, o, key); err != nil {
		return err
	}
	if o.Version()/snapshotEvery > loaded/snapshotEvery {
		s.snapshots.take(o)
	}
	return nil
}

// StoredResult implements ports.IdempotencyStore.
func (s *EventStore) StoredResult(ctx context.Context, key string) (ports.StoredResult, error) {
	return s.results.find(ctx, key)
}

// Messages implements ports.History.
func (s *EventStore) Messages(ctx context.Context, orderID string, after, limit int) ([]ports.Message, error) {
	return findHistory(ctx, s.events, s.timeout, orderID, after, limit)
}

// Close is that of Store, and waits for the snapshots too.
func (s *EventStore) Close(ctx context.Context) error {
	if err := s.committer.close(ctx); err != nil {
		return err
	}
	return s.snapshots.close(ctx)
}

// Get implements ports.OrderStore. It reads the newest events first, as many as may come after a snapshot. So a short
// order takes one query and a long one two, the second for the snapshot.
func (s *EventStore) Get(ctx context.Context, id string) (*order.Order, error) {
	doing := "get order " + id
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	newest, err := s.find(bounded, bson.D{{Key: "aggregateid", Value: id}}, newestFirst, snapshotEvery)
	if err != nil {
		return nil, Fail(ctx, doing, err)
	}
	if len(newest) == 0 {
		return nil, fmt.Errorf("%s: %w", doing, ports.ErrNotFound)
	}
	slices.Reverse(newest)
	var snapshot *order.Snapshot
	if from := newest[0].Version; from > 1 {
		known, err := s.snapshots.find(bounded, id)
		if err != nil {
			return nil, Fail(ctx, doing, err)
		}
		after := 0
		if snapshot = known[id]; snapshot != nil {
			after = snapshot.Version
		}
		if after < from-1 { // the snapshot was lost, or has another format
			between := bson.D{
				{Key: "aggregateid", Value: id},
				{Key: "version", Value: bson.D{{Key: "$gt", Value: after}, {Key: "$lt", Value: from}}},
			}
			older, err := s.find(bounded, between, byVersion, 0)
			if err != nil {
				return nil, Fail(ctx, doing, err)
			}
			newest = append(older, newest...)
		}
	}
	o, err := fold(snapshot, newest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	if folded := len(newest); folded > snapshotEvery {
		s.snapshots.take(o) // so that the next Get reads less
	}
	return o, nil
}

// at folds the events up to a version, after the snapshot if that is not a later one.
func (s *EventStore) at(ctx context.Context, id string, version int) (*order.Order, error) {
	known, err := s.snapshots.find(ctx, id)
	if err != nil {
		return nil, err
	}
	snapshot, after := known[id], 0
	switch {
	case snapshot == nil:
	case snapshot.Version > version:
		snapshot = nil
	default:
		after = snapshot.Version
	}
	events, err := s.find(ctx, bson.D{
		{Key: "aggregateid", Value: id},
		{Key: "version", Value: bson.D{{Key: "$gt", Value: after}, {Key: "$lte", Value: version}}},
	}, byVersion, 0)
	if err != nil {
		return nil, err
	}
	return fold(snapshot, events)
}

// newestFirst is byVersion reversed.
var newestFirst = bson.D{{Key: "aggregateid", Value: -1}, {Key: "version", Value: -1}}

// eventBatch is large, so that most loads take one round trip. The server sends at most 16 MB at a time.
const eventBatch = 10_000

// find reads at most limit events; 0 means all.
func (s *EventStore) find(ctx context.Context, filter, sort bson.D, limit int) ([]ports.Message, error) {
	find := options.Find().SetSort(sort).SetLimit(int64(limit)).SetBatchSize(eventBatch)
	cursor, err := s.events.Find(ctx, filter, find)
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

// fold builds an order from its snapshot, if there is one, and its events. It skips the events that are in the
// snapshot; the others must follow it without a gap.
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

// eventLayout is the documentLayout of EventStore: the messages alone, which are the order's events.
type eventLayout struct{ events *mongo.Collection }

// stateDocument implements documentLayout.
func (eventLayout) stateDocument(orderDocument, int) any { return nil }

// keep implements documentLayout. Events are never deleted.
func (eventLayout) keep(state orderDocument, in *resultDocument) error {
	in.OrderID, in.Version = state.ID, state.Version
	return nil
}

// insertOrUpdate implements documentLayout.
func (l eventLayout) insertOrUpdate(ctx context.Context, saves []*encodedSave) error {
	var loaded bson.A // the events up to which the orders were loaded: if one is missing, the save would leave a gap
	for _, s := range saves {
		if s.loaded > 0 {
			loaded = append(loaded, eventID(s.id, s.loaded))
		}
	}
	if len(loaded) > 0 {
		stored, err := l.findStored(ctx, loaded)
		if err != nil {
			return err
		}
		if len(stored) < len(loaded) {
			return ports.ErrConflict
		}
	}
	err := insertMessages(ctx, l.events, saves)
	if mongo.IsDuplicateKeyError(err) {
		return ports.ErrConflict
	}
	return err
}

// findStale implements documentLayout. An order is at the version that it was loaded with if its event of that
// version is stored and the next one is not.
func (l eventLayout) findStale(ctx context.Context, saves []*encodedSave) (map[string]bool, error) {
	var ids bson.A
	for _, s := range saves {
		ids = append(ids, eventID(s.id, s.loaded), eventID(s.id, s.loaded+1))
	}
	stored, err := l.findStored(ctx, ids)
	if err != nil {
		return nil, err
	}
	stale := make(map[string]bool)
	for _, s := range saves {
		stale[s.id] = stored[eventID(s.id, s.loaded)] != (s.loaded > 0) || stored[eventID(s.id, s.loaded+1)]
	}
	return stale, nil
}

// findStored returns which of these events are stored.
func (l eventLayout) findStored(ctx context.Context, ids bson.A) (map[string]bool, error) {
	return findIDs(ctx, l.events, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
}

func eventID(id string, version int) string { return id + "/" + strconv.Itoa(version) }
