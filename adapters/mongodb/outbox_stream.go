package mongodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// OutboxOptions of an outbox. The zero value is for production.
type OutboxOptions struct {
	// Logger gets a line when the stream is lost and the documents have to be read again. nil means slog.Default().
	Logger *slog.Logger
	// ScanPage is how many documents a scan fetches at a time. 0 means 10,000; the server sends at most 16 MB.
	ScanPage int
	// Margin is how much older than its commit a message may say it is: the time a save takes, and how far the clock of
	// the process that saved may be behind the server's. A scan that replaces a lost stream starts so much earlier. 0
	// means an hour, which costs little: it repeats an hour's messages after an accident that should not happen.
	Margin time.Duration
}

const (
	defaultScanPage = 10_000
	defaultMargin   = time.Hour

	// streamBatch bounds how much of the stream is held in memory.
	streamBatch = 1000
	// streamWait is how long the server holds a question for more before it answers that there is nothing. A message
	// that is committed meanwhile is answered at once.
	streamWait = time.Second
)

// Outbox implements ports.Outbox over the collection that Save leaves its messages in.
//
// It follows the collection's change stream: in the order of commits, without polling, and only what a majority of the
// replica set has. The stream can be resumed at a message as long as the oplog reaches back to it. Where it does not,
// or at the very first start, the documents themselves are read: the scan.
//
// One moment divides the two. The scan reads the documents as they were at that moment, the stream starts right after
// it; nothing falls between them and nothing is in both. A scan that takes longer than the server keeps the past (5
// minutes) goes on with a later moment, which it remembers, so that the stream can leave out what was read already.
type Outbox struct {
	outbox *mongo.Collection
	relay  *mongo.Collection
	log    *slog.Logger
	page   int32
	margin time.Duration
	handed handed
}

var _ ports.Outbox = (*Outbox)(nil)

// NewOutbox needs a database that Connect has prepared.
func NewOutbox(db *mongo.Database, o OutboxOptions) *Outbox {
	return newOutbox(db, outboxCollection, o)
}

func newOutbox(db *mongo.Database, collection string, o OutboxOptions) *Outbox {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.ScanPage <= 0 {
		o.ScanPage = defaultScanPage
	}
	if o.Margin <= 0 {
		o.Margin = defaultMargin
	}
	return &Outbox{
		outbox: db.Collection(collection),
		relay:  db.Collection(relayCollection),
		log:    o.Logger,
		page:   int32(min(o.ScanPage, 1<<30)),
		margin: o.Margin,
	}
}

// Position implements ports.Outbox.
func (o *Outbox) Position(ctx context.Context) (ports.Position, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var checkpoint struct {
		Position ports.Position `bson:"position"`
	}
	err := o.relay.FindOne(bounded, bson.D{{Key: "_id", Value: o.outbox.Name()}}).Decode(&checkpoint)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return "", nil
	}
	return checkpoint.Position, fail(ctx, "read the checkpoint", err)
}

// Checkpoint implements ports.Outbox.
func (o *Outbox) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	const doing = "write the checkpoint"
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	notLater := bson.D{{Key: "_id", Value: o.outbox.Name()}, {Key: "term", Value: bson.D{{Key: "$lte", Value: term}}}}
	update := bson.D{
		{Key: "$set", Value: bson.D{{Key: "position", Value: p}, {Key: "term", Value: term}}},
		{Key: "$currentDate", Value: bson.D{{Key: "updatedAt", Value: true}}},
	}
	_, err := o.relay.UpdateOne(bounded, notLater, update, options.UpdateOne().SetUpsert(true))
	if mongo.IsDuplicateKeyError(err) {
		// A later term's document did not match, so the upsert ran into its id.
		return fmt.Errorf("%s of term %d: %w", doing, term, ports.ErrFenced)
	}
	return fail(ctx, doing, err)
}

// errStreamLost says that the change stream cannot go on from where it should.
var errStreamLost = errors.New("the change stream cannot be resumed")

// Tail implements ports.Outbox.
func (o *Outbox) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	p, err := parsePosition(after)
	if err != nil {
		return err
	}
	emit = o.handed.from(after, p, emit)
	for rescanned := false; ; rescanned = true {
		known := &scanned{}
		if p.scanning {
			if p, known, err = o.scan(ctx, p, emit); err != nil {
				return err
			}
		}
		p, err = o.follow(ctx, p, known, emit)
		// Twice in one call would be a loop of scans. Whoever calls again waits first.
		if !errors.Is(err, errStreamLost) || rescanned {
			return err
		}
		p = p.rescan(o.margin)
		o.log.Warn("the change stream is lost: reading the outbox again", "since", time.UnixMilli(p.since).UTC(), "err", err)
	}
}

// follow emits what the change stream has after p, leaving out what a scan has emitted. It always returns an error, and
// the position it got to.
func (o *Outbox) follow(ctx context.Context, p position, known *scanned, emit func(ports.Message, ports.Position) error) (position, error) {
	const doing = "follow the outbox"
	stream, err := o.watch(ctx, p)
	if err != nil {
		return p, streamError(ctx, doing, err)
	}
	var r reader
	for batch, err := range ahead(ctx, stream, &stream.Current) {
		if err != nil {
			return p, streamError(ctx, doing, err)
		}
		for _, event := range batch {
			m, committed, after, err := r.event(event)
			if err != nil {
				return p, fmt.Errorf("%s: %w", doing, err)
			}
			if !known.has(m, committed) {
				if err := emit(m, after); err != nil {
					return p, err
				}
			}
			p = position{moment: committed}
		}
	}
	return p, fmt.Errorf("%s: %w: the collection was dropped or renamed", doing, errStreamLost)
}

// watch opens the change stream after p. Only inserts are messages; that old ones are deleted is nobody's business. Of an
// event comes what is needed: the rest would be a fifth of what the server sends.
func (o *Outbox) watch(ctx context.Context, p position) (*mongo.ChangeStream, error) {
	inserts := mongo.Pipeline{
		{{Key: "$match", Value: bson.D{{Key: "operationType", Value: "insert"}}}},
		{{Key: "$project", Value: bson.D{{Key: "clusterTime", Value: 1}, {Key: "fullDocument", Value: 1}}}}, // and its _id
	}
	opts := options.ChangeStream().SetBatchSize(streamBatch).SetMaxAwaitTime(streamWait)
	if p.token != "" {
		opts.SetResumeAfter(bson.D{{Key: "_data", Value: p.token}})
	} else {
		opts.SetStartAtOperationTime(&bson.Timestamp{T: p.moment.T, I: p.moment.I + 1}) // it includes the time it is given
	}
	return o.outbox.Watch(ctx, inserts, opts)
}

func streamError(ctx context.Context, doing string, err error) error {
	if hasCode(err, changeStreamHistoryLost, cappedPositionLost, changeStreamFatalError, invalidResumeToken,
		failedToParse, emptyResumeToken, keyStringFormat) {
		return fmt.Errorf("%s: %w: %w", doing, errStreamLost, err)
	}
	return fail(ctx, doing, err)
}
