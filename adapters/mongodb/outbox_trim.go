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
	// trimBatch is how many documents one command deletes; trimPause leaves the server to saves between two commands.
	trimBatch = 1000
	trimPause = 50 * time.Millisecond
)

var _ ports.Trimmer = (*Outbox)(nil)

// Trim implements ports.Trimmer.
//
// A snapshot decides which documents are published, not a clock: all documents that the server had just before the
// event of the checkpoint were in the stream before that event, or in the scan before the stream. The server keeps
// snapshots for five minutes. If nothing was published for longer than that, Trim deletes nothing until a message is
// published.
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
	if p.scanning { // the rest of the scan is not published
		return 0, nil
	}
	for ids, err := range o.oldest(ctx, justBefore(p.moment), before) {
		if hasCode(err, snapshotTooOld, snapshotUnavailable, cursorNotFound) {
			return deleted, nil
		}
		if err != nil {
			return deleted, Fail(ctx, doing, err)
		}
		n, err := o.remove(ctx, ids)
		deleted += n
		if err != nil {
			return deleted, Fail(ctx, doing, err)
		}
		select {
		case <-time.After(trimPause):
		case <-ctx.Done():
			return deleted, fmt.Errorf("%s: %w", doing, ctx.Err())
		}
	}
	return deleted, nil
}

// oldest yields the ids of the messages that occurred before a time, read as of a moment.
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
		for batch, err := range prefetch(ctx, cursor, &cursor.Current) {
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

// justBefore returns the last cluster time before moment. All events of a transaction have one cluster time, and only
// some of them may be published when the checkpoint names one.
func justBefore(moment bson.Timestamp) bson.Timestamp {
	if moment.I > 0 {
		return bson.Timestamp{T: moment.T, I: moment.I - 1}
	}
	return bson.Timestamp{T: moment.T - 1, I: math.MaxUint32}
}
