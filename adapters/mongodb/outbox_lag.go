package mongodb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/ports"
)

const (
	// unreadLimit bounds what Unread counts: index entries, so some ten milliseconds of the server.
	unreadLimit = 100_000
	// clockMargin is how far the clock of whoever saves may run ahead of the server's before Unread counts what was
	// published long ago.
	clockMargin = time.Minute
)

// Unread estimates how many committed messages Tail has not handed out yet, at most 100,000, and says when the oldest
// of them occurred, where it can.
//
// It is an estimate because a document does not tell when it was committed. What follows the stream counts as unread
// when it occurred later than everything that was handed out; what another process saved a moment before with a clock
// that is behind is not counted then. What is scanned is in the order of the orders' ids, so the rest of the scan is
// counted and its oldest message is not known.
func (o *Outbox) Unread(ctx context.Context) (messages int, oldest time.Time, err error) {
	const doing = "count unread messages"
	last, newest := o.handed.get()
	p, err := parsePosition(last)
	if err == nil && newest.IsZero() {
		err = errNothingRead
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("%s: %w", doing, err)
	}
	count := bson.D{{Key: "_id", Value: nil}, {Key: "messages", Value: bson.D{{Key: "$sum", Value: 1}}}}
	limit := bson.D{{Key: "$limit", Value: unreadLimit}}
	var pipeline mongo.Pipeline // whatever it asks, the answer stands in an index
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
		return 0, time.Time{}, fail(ctx, doing, err)
	}
	var counts []struct {
		Messages int       `bson:"messages"`
		Oldest   time.Time `bson:"oldest"`
	}
	if err := found.All(bounded, &counts); err != nil || len(counts) == 0 {
		return 0, time.Time{}, fail(ctx, doing, err)
	}
	return counts[0].Messages, counts[0].Oldest, nil
}

var errNothingRead = errors.New("nobody reads the outbox yet")

// byTime is the order in which messages occurred.
var byTime = bson.D{{Key: "occurredAt", Value: 1}}

// handed is how far Tail has come.
type handed struct {
	mu     sync.Mutex
	last   ports.Position
	newest time.Time // of what was handed out; zero before the first Tail
	guess  bool      // nothing was handed out yet: newest was made of where the Tail began
}

func (h *handed) get() (last ports.Position, newest time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, h.newest
}

// from begins anew at a position, and returns an emit that keeps up with what is handed out.
func (h *handed) from(last ports.Position, p position, emit func(ports.Message, ports.Position) error) func(ports.Message, ports.Position) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.newest, h.guess = last, time.Unix(int64(p.moment.T), 0).Add(clockMargin), true
	return func(m ports.Message, p ports.Position) error {
		if err := emit(m, p); err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.last = p
		if h.guess || m.OccurredAt.After(h.newest) {
			h.newest, h.guess = m.OccurredAt, false
		}
		return nil
	}
}
