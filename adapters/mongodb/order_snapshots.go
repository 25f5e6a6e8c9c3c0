package mongodb

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/core/order"
)

const (
	// snapshotEvery is how many events there are between two snapshots of an order.
	snapshotEvery = 100
	// snapshotFormat is what snapshots are written in. One in another format is not read, and replaced by the next.
	snapshotFormat = 1
	// maxSnapshots bounds how many are waiting to be written. Further ones are not taken: losing one costs the time to fold
	// more events, until the next, and nothing else.
	maxSnapshots = 256
)

// snapshots keeps the newest snapshot of each order, so that a load need not begin with the first event. They are written
// aside, after the commit, while nobody waits; there is a goroutine only while there is something to write.
type snapshots struct {
	collection *mongo.Collection
	timeout    time.Duration

	mu      sync.Mutex
	waiting []snapshotDocument
	working bool
	closed  bool
	writing sync.WaitGroup
}

// take makes a snapshot of a committed order, or not.
func (s *snapshots) take(o *order.Order) {
	d := snapshotDocument{ID: o.ID(), Version: o.Version(), Format: snapshotFormat, Order: newOrderDocument(o)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.waiting) == maxSnapshots {
		return
	}
	s.waiting = append(s.waiting, d)
	if !s.working {
		s.working = true
		s.writing.Go(s.write)
	}
}

// write writes what is waiting, until nothing is.
func (s *snapshots) write() {
	for {
		s.mu.Lock()
		batch := s.waiting
		s.waiting = nil
		s.working = len(batch) > 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		replace := make([]mongo.WriteModel, len(batch))
		for i, d := range batch {
			// An order that has a newer one already is not found, and so the upsert runs into its id.
			older := bson.D{{Key: "_id", Value: d.ID}, {Key: "$or", Value: bson.A{
				bson.D{{Key: "version", Value: bson.D{{Key: "$lt", Value: d.Version}}}},
				bson.D{{Key: "format", Value: bson.D{{Key: "$ne", Value: snapshotFormat}}}},
			}}}
			replace[i] = mongo.NewReplaceOneModel().SetFilter(older).SetReplacement(d).SetUpsert(true)
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		// Whatever fails is lost, and may be.
		_, _ = s.collection.BulkWrite(ctx, replace, options.BulkWrite().SetOrdered(false))
		cancel()
	}
}

// find gives those of the orders' snapshots that can be read.
func (s *snapshots) find(ctx context.Context, ids ...string) (map[string]*order.Snapshot, error) {
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}, {Key: "format", Value: snapshotFormat}}
	cursor, err := s.collection.Find(ctx, filter)
	if err != nil {
		return nil, err
	}
	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, err
	}
	known := make(map[string]*order.Snapshot, len(found))
	for _, raw := range found {
		var d snapshotDocument
		if bson.Unmarshal(raw, &d) != nil {
			continue
		}
		if o, err := d.Order.order(); err == nil && o.ID() == d.ID && o.Version() == d.Version {
			snapshot := o.Snapshot()
			known[d.ID] = &snapshot
		}
	}
	return known, nil
}

// close waits for what is being written and what is waiting.
func (s *snapshots) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if err := waitFor(ctx, &s.writing); err != nil {
		return fmt.Errorf("close the store: snapshots are being written: %w", err)
	}
	return nil
}

// waitFor waits for a group, or until ctx ends.
func waitFor(ctx context.Context, group *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
