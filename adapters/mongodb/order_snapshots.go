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
	// snapshotFormat is the format's number. A snapshot in another format is not read; the next one replaces it.
	snapshotFormat = 1
	// maxSnapshots bounds how many snapshots are queued. Further ones are dropped; until the next snapshot of their
	// order, a load folds more events.
	maxSnapshots = 256
)

// snapshots stores the newest snapshot of each order, so that a load need not start with the first event. A goroutine
// stores them after the commit, while no caller waits; it runs only while snapshots are queued.
type snapshots struct {
	collection *mongo.Collection
	timeout    time.Duration

	mu      sync.Mutex
	queue   []snapshotDocument
	working bool
	closed  bool
	storing sync.WaitGroup
}

// take queues a snapshot of a committed order, or drops it.
func (s *snapshots) take(o *order.Order) {
	d := snapshotDocument{ID: o.ID(), Version: o.Version(), Format: snapshotFormat, Order: newOrderDocument(o)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.queue) == maxSnapshots {
		return
	}
	s.queue = append(s.queue, d)
	if !s.working {
		s.working = true
		s.storing.Go(s.replaceQueued)
	}
}

// replaceQueued stores queued snapshots until the queue is empty.
func (s *snapshots) replaceQueued() {
	for {
		s.mu.Lock()
		batch := s.queue
		s.queue = nil
		s.working = len(batch) > 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		replace := make([]mongo.WriteModel, len(batch))
		for i, d := range batch {
			// If a newer snapshot is stored, the filter does not match and the upsert fails on the id.
			older := bson.D{{Key: "_id", Value: d.ID}, {Key: "$or", Value: bson.A{
				bson.D{{Key: "version", Value: bson.D{{Key: "$lt", Value: d.Version}}}},
				bson.D{{Key: "format", Value: bson.D{{Key: "$ne", Value: snapshotFormat}}}},
			}}}
			replace[i] = mongo.NewReplaceOneModel().SetFilter(older).SetReplacement(d).SetUpsert(true)
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		// A snapshot that cannot be stored is dropped: only time is lost.
		_, _ = s.collection.BulkWrite(ctx, replace, options.BulkWrite().SetOrdered(false))
		cancel()
	}
}

// find returns the snapshots of these orders that can be read.
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
	snapshots := make(map[string]*order.Snapshot, len(found))
	for _, raw := range found {
		var d snapshotDocument
		if bson.Unmarshal(raw, &d) != nil {
			continue
		}
		if o, err := d.Order.order(); err == nil && o.ID() == d.ID && o.Version() == d.Version {
			snapshot := o.Snapshot()
			snapshots[d.ID] = &snapshot
		}
	}
	return snapshots, nil
}

// close waits for the queued snapshots.
func (s *snapshots) close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if err := waitFor(ctx, &s.storing); err != nil {
		return fmt.Errorf("close the store: snapshots are being stored: %w", err)
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
