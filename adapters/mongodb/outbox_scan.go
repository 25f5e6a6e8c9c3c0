package mongodb

import (
	"context"
	"fmt"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// scan emits the documents that p asks for, each order's in version order. It returns where the stream goes on, and what
// the stream need not repeat.
//
// Every message's position says how to go on with the scan, except for the last one's, which says that the scan is over:
// the outbox may be quiet for days from there, and a scan should not be gone back to. So a message is held back until
// the next one has come, or none.
func (o *Outbox) scan(ctx context.Context, p position, emit func(ports.Message, ports.Position) error) (position, *scanned, error) {
	const doing = "scan the outbox"
	// Without its index (someone may have dropped the collection) the documents cannot be read in order.
	if err := prepareOutbox(ctx, o.outbox); err != nil {
		return p, nil, fmt.Errorf("%s: %w", doing, err)
	}
	moment := p.moment
	if moment.IsZero() {
		var err error
		if moment, err = o.now(ctx); err != nil {
			return p, nil, fail(ctx, doing, err)
		}
		p.moment = moment
	}
	done := position{moment: p.moment}
	known := &scanned{since: p.since}
	var held ports.Message
	var r reader
	for tries := 0; ; tries++ {
		known.add(p.after, moment)
		var gone error
		for m, err := range o.documents(ctx, &r, p, moment) {
			if err != nil {
				if tries < 3 && hasCode(err, snapshotTooOld, snapshotUnavailable, cursorNotFound) {
					gone = err
					break
				}
				return p, nil, fail(ctx, doing, err)
			}
			if held.ID != "" {
				if err := emit(held, r.position(p)); err != nil {
					return p, nil, err
				}
			}
			held, p.after, tries = m, key{m.OrderID, m.Version}, 0
		}
		if gone == nil {
			break
		}
		// The server no longer knows that moment, because the broker was slow or the scan was interrupted. What is left
		// is read as of a later one.
		now, err := o.now(ctx)
		if err != nil {
			return p, nil, fail(ctx, doing, err)
		}
		if now.After(moment) {
			moment = now
		}
	}
	if held.ID != "" {
		if err := emit(held, done.encode()); err != nil {
			return p, nil, err
		}
	}
	return done, known, nil
}

// documents reads the outbox as it was at a moment, after p. A snapshot is what keeps an order's messages whole: a plain
// read along the index can pass by version 4 just before it is committed, and see version 5 just after.
func (o *Outbox) documents(ctx context.Context, r *reader, p position, moment bson.Timestamp) iter.Seq2[ports.Message, error] {
	return func(yield func(ports.Message, error) bool) {
		session, err := o.asOf(moment)
		if err != nil {
			yield(ports.Message{}, err)
			return
		}
		defer session.EndSession(ctx)

		filter := bson.D{}
		if p.since > 0 {
			filter = bson.D{{Key: "occurredAt", Value: bson.D{{Key: "$gte", Value: time.UnixMilli(p.since)}}}}
		}
		find := options.Find().SetHint(byVersion).SetSort(byVersion).SetBatchSize(o.page)
		if p.after != (key{}) {
			find.SetMin(bson.D{{Key: "aggregateid", Value: p.after.order}, {Key: "version", Value: p.after.version + 1}})
		}
		cursor, err := o.outbox.Find(mongo.NewSessionContext(ctx, session), filter, find)
		if err != nil {
			yield(ports.Message{}, err)
			return
		}
		for batch, err := range ahead(ctx, cursor, &cursor.Current) {
			if err != nil {
				yield(ports.Message{}, err)
				return
			}
			for _, d := range batch {
				m, err := r.message(d)
				if !yield(m, err) || err != nil {
					return
				}
			}
		}
	}
}

// asOf is a session that reads what the server had at a moment. It does so for five minutes.
func (o *Outbox) asOf(moment bson.Timestamp) (*mongo.Session, error) {
	return o.outbox.Database().Client().StartSession(options.Session().SetSnapshot(true).SetSnapshotTime(moment))
}

// now is the server's present cluster time.
func (o *Outbox) now(ctx context.Context) (bson.Timestamp, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	session, err := o.outbox.Database().Client().StartSession()
	if err != nil {
		return bson.Timestamp{}, err
	}
	defer session.EndSession(bounded)
	ping := bson.D{{Key: "ping", Value: 1}}
	if err := o.outbox.Database().RunCommand(mongo.NewSessionContext(bounded, session), ping).Err(); err != nil {
		return bson.Timestamp{}, err
	}
	if session.OperationTime() == nil {
		return bson.Timestamp{}, ErrNotReplicaSet
	}
	return *session.OperationTime(), nil
}

// scanned remembers what a scan has emitted. A scan is a row of spans, each read as of its own moment.
type scanned struct {
	since int64
	spans []span
}

// span begins after a key and ends where the next one begins.
type span struct {
	after  key
	moment bson.Timestamp
}

func (s *scanned) add(after key, moment bson.Timestamp) {
	if n := len(s.spans); n > 0 && s.spans[n-1].after == after {
		s.spans = s.spans[:n-1] // that moment gave nothing
	}
	s.spans = append(s.spans, span{after, moment})
}

// has tells whether a message of the stream, committed at some time, was emitted by the scan.
func (s *scanned) has(m ports.Message, committed bson.Timestamp) bool {
	if n := len(s.spans); n == 0 || committed.After(s.spans[n-1].moment) {
		s.spans = nil // the stream has overtaken the scan for good
		return false
	}
	if m.OccurredAt.UnixMilli() < s.since {
		return false
	}
	var moment bson.Timestamp
	for _, span := range s.spans {
		if span.after.before(key{m.OrderID, m.Version}) {
			moment = span.moment
		}
	}
	return !committed.After(moment)
}
