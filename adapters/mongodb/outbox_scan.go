package mongodb

import (
	"context"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// scan emits the documents from p on, each order's in version order. It returns the position where the stream starts,
// and what the scan emitted, so that the stream can leave it out.
//
// A message's position continues the scan after it, except for the last message: its position starts the stream,
// because the outbox may be quiet for days and a restart must not repeat the scan. So scan emits a message only once
// it knows whether another one follows.
func (o *Outbox) scan(ctx context.Context, p position, emit emitFunc) (position, *scanned, error) {
	const doing = "scan the outbox"
	// The scan reads in the order of this index, which is missing if an operator dropped the collection.
	if err := EnsureIndexes(ctx, o.outbox, outboxIndexes); err != nil {
		return p, nil, Fail(ctx, doing, err)
	}
	moment := p.moment
	if moment.IsZero() {
		var err error
		if moment, err = o.now(ctx); err != nil {
			return p, nil, Fail(ctx, doing, err)
		}
		p.moment = moment
	}
	done := position{moment: p.moment}
	emitted := &scanned{since: p.since}
	var pending ports.Message // read, not yet emitted
	var d messageDecoder
	for tries := 0; ; tries++ {
		emitted.startSpan(p.after, moment)
		var gone error
		for m, err := range o.documents(ctx, &d, p, moment) {
			if err != nil {
				if tries < 3 && hasCode(err, snapshotTooOld, snapshotUnavailable, cursorNotFound) {
					gone = err
					break
				}
				return p, nil, Fail(ctx, doing, err)
			}
			if pending.ID != "" {
				if err := emit(pending, d.position(p)); err != nil {
					return p, nil, err
				}
			}
			pending, p.after, tries = m, messageKey{m.OrderID, m.Version}, 0
		}
		if gone == nil {
			break
		}
		// The server no longer has the snapshot of that moment, because the broker was slow or the scan was interrupted.
		// Read the remaining documents as of a later moment.
		now, err := o.now(ctx)
		if err != nil {
			return p, nil, Fail(ctx, doing, err)
		}
		if now.After(moment) {
			moment = now
		}
	}
	if pending.ID != "" {
		if err := emit(pending, done.text()); err != nil {
			return p, nil, err
		}
	}
	return done, emitted, nil
}

// documents reads the outbox after p as of a moment. Only a snapshot reads an order's messages without a gap: a plain
// read along the index can pass the place of version 4 just before it is committed, and read version 5 just after.
func (o *Outbox) documents(ctx context.Context, d *messageDecoder, p position, moment bson.Timestamp) iter.Seq2[ports.Message, error] {
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
		if p.after != (messageKey{}) {
			find.SetMin(bson.D{{Key: "aggregateid", Value: p.after.order}, {Key: "version", Value: p.after.version + 1}})
		}
		cursor, err := o.outbox.Find(mongo.NewSessionContext(ctx, session), filter, find)
		if err != nil {
			yield(ports.Message{}, err)
			return
		}
		for batch, err := range prefetch(ctx, cursor, &cursor.Current) {
			if err != nil {
				yield(ports.Message{}, err)
				return
			}
			for _, document := range batch {
				m, err := d.message(document)
				if !yield(m, err) || err != nil {
					return
				}
			}
		}
	}
}

// asOf starts a session that reads as of a moment. The server keeps the snapshots of the last five minutes.
func (o *Outbox) asOf(moment bson.Timestamp) (*mongo.Session, error) {
	return o.outbox.Database().Client().StartSession(options.Session().SetSnapshot(true).SetSnapshotTime(moment))
}

// now returns the server's cluster time.
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

// scanned records what a scan has emitted: a sequence of spans, each read as of its own moment. A scan has one span
// unless it outlives its snapshot.
type scanned struct {
	since int64
	spans []span
}

// span starts after a key and ends where the next span starts.
type span struct {
	after  messageKey
	moment bson.Timestamp
}

func (s *scanned) startSpan(after messageKey, moment bson.Timestamp) {
	if n := len(s.spans); n > 0 && s.spans[n-1].after == after {
		s.spans = s.spans[:n-1] // nothing was read as of that moment
	}
	s.spans = append(s.spans, span{after, moment})
}

// has reports whether the scan emitted a message that the stream brings, with its commit time.
func (s *scanned) has(m ports.Message, committed bson.Timestamp) bool {
	if n := len(s.spans); n == 0 || committed.After(s.spans[n-1].moment) {
		s.spans = nil // the stream is past the scan; nothing later was scanned
		return false
	}
	if m.OccurredAt.UnixMilli() < s.since {
		return false
	}
	var moment bson.Timestamp
	for _, span := range s.spans {
		if span.after.before(messageKey{m.OrderID, m.Version}) {
			moment = span.moment
		}
	}
	return !committed.After(moment)
}
