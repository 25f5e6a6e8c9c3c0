package mongodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// unreadLimit bounds how many index entries Unread counts: some ten milliseconds of server time.
const unreadLimit = 100_000

// Unread estimates how many committed messages Tail has not emitted yet, at most 100,000, and returns when the oldest
// of them occurred, if that is known.
//
// It is an estimate, because a document does not say when it was committed. In the stream, a message counts as unread
// if it occurred after all emitted ones; a message from a process whose clock is behind is then missed. In a scan,
// which reads in the order of the orders' ids, Unread counts the rest of the scan and does not know its oldest
// message.
func (o *Outbox) Unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	const doing = "count unread messages"
	last, newest := o.progress.get()
	p, err := parsePosition(last)
	if err == nil && newest.IsZero() {
		err = errNothingRead
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("%s: %w", doing, err)
	}
	count := bson.D{{Key: "_id", Value: nil}, {Key: "messages", Value: bson.D{{Key: "$sum", Value: 1}}}}
	limit := bson.D{{Key: "$limit", Value: unreadLimit}}
	var pipeline mongo.Pipeline // an index covers either query: the server reads no document
	if p.scanning {
		pipeline = mongo.Pipeline{{{Key: "$match", Value: bson.D{{Key: "$or", Value: bson.A{
			bson.D{{Key: "aggregateid", Value: p.after.order}, {Key: "version", Value: bson.D{{Key: "$gt", Value: p.after.version}}}},
			bson.D{{Key: "aggregateid", Value: bson.D{{Key: "$gt", Value: p.after.order}}}},
		}}}}}, limit, {{Key: "$group", Value: count}}}
	} else {
		count = append(count, bson.E{Key: "oldest", Value: bson.D{{Key: "$first", Value: "$occurredAt"}}})
		pipeline = mongo.Pipeline{
			{{Key: "$match", Value: bson.D{{Key: "occurredAt", Value: bson.D{{Key: "$gt", Value: newest}}}}}},
			{{Key: "$sort", Value: byTime}}, limit, {{Key: "$group", Value: count}},
		}
	}
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := o.outbox.Aggregate(bounded, pipeline)
	if err != nil {
		return 0, time.Time{}, Fail(ctx, doing, err)
	}
	var counts []struct {
		Messages int       `bson:"messages"`
		Oldest   time.Time `bson:"oldest"`
	}
	if err := found.All(bounded, &counts); err != nil || len(counts) == 0 {
		return 0, time.Time{}, Fail(ctx, doing, err)
	}
	return counts[0].Messages, counts[0].Oldest, nil
}

var errNothingRead = errors.New("no relay reads the outbox yet")

// byTime orders messages by the time they occurred.
var byTime = bson.D{{Key: "occurredAt", Value: 1}}
