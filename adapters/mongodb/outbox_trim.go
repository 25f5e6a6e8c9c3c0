package mongodb

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

const (
	// trimBatch is how many documents one command deletes, and trimPause the time that savers have between two of them.
	trimBatch = 1000
	trimPause = 50 * time.Millisecond
)

var _ ports.Trimmer = (*Outbox)(nil)

// Trim implements ports.Trimmer.
//
// Which documents are published is told by a snapshot, and no clock has a say in it: what the server had just before the
// event that the checkpoint names was in the stream before it, or in the scan before that. The server knows the past of
// five minutes. When nothing was published for longer than that, what is old stays until something is.
func (o *Outbox) Trim(ctx context.Context, before time.Time) (deleted int, err error) {
	const doing = "trim the outbox"
	text, err := o.Position(ctx)
	if err != nil {
		return 0, err
	}
	p, err := parsePosition(text)
	if err != nil {
		return 0, err
	}
	if p.scanning { // what the scan has yet to come to is not published
		return 0, nil
	}
	for ids, err := range o.oldest(ctx, justBefore(p.moment), before) {
		if hasCode(err, snapshotTooOld, snapshotUnavailable, cursorNotFound) {
			return deleted, nil
		}
		if err != nil {
			return deleted, fail(ctx, doing, err)
		}
		n, err := o.remove(ctx, ids)
		deleted += n
		if err != nil {
			return deleted, fail(ctx, doing, err)
		}
		select {
		case <-time.After(trimPause):
		case <-ctx.Done():
			return deleted, fmt.Errorf("%s: %w", doing, ctx.Err())
		}
	}
	return deleted, nil
}

// oldest gives the ids of messages that occurred before a time, as the server had them at a moment.
func (o *Outbox) oldest(ctx context.Context, moment bson.Timestamp, before time.Time) iter.Seq2[bson.A, error] {
	return func(yield func(bson.A, error) bool) {
		session, err := o.asOf(moment)
		if err != nil {
			yield(nil, err)
			return
		}
		defer session.EndSession(ctx)
		old := bson.D{{Key: "occurredAt", Value: bson.D{{Key: "$lt", Value: before}}}}
		oldestFirst := options.Find().SetHint(byTime).SetSort(byTime).SetBatchSize(trimBatch).SetProjection(bson.D{{Key: "_id", Value: 1}})
		cursor, err := o.outbox.Find(mongo.NewSessionContext(ctx, session), old, oldestFirst)
		if err != nil {
			yield(nil, err)
			return
		}
		for batch, err := range ahead(ctx, cursor, &cursor.Current) {
			ids := make(bson.A, len(batch))
			for i, d := range batch {
				ids[i] = d.Lookup("_id")
			}
			if !yield(ids, err) {
				return
			}
		}
	}
}

func (o *Outbox) remove(ctx context.Context, ids bson.A) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result, err := o.outbox.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return 0, err
	}
	return int(result.DeletedCount), nil
}

// justBefore is the last cluster time before another. The event at a checkpoint may be one of several of its
// transaction, all at the same time, and the others not published.
func justBefore(moment bson.Timestamp) bson.Timestamp {
	if moment.I > 0 {
		return bson.Timestamp{T: moment.T, I: moment.I - 1}
	}
	return bson.Timestamp{T: moment.T - 1, I: math.MaxUint32}
}
