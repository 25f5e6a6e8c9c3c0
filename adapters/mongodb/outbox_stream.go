package mongodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"hexorders/ports"
)

// OutboxOptions configures an Outbox. The zero value is for production.
type OutboxOptions struct {
	// Logger gets a line when the stream is lost and a rescan starts. nil means slog.Default().
	Logger *slog.Logger
	// ScanPage is how many documents a scan fetches at a time. 0 means 10,000; the server sends at most 16 MB.
	ScanPage int
	// Margin bounds how much earlier than its commit a message may have occurred: the duration of a save, plus how far
	// the clock of the saving process may be behind the server's. A rescan after a lost stream starts that much earlier.
	// 0 means an hour; it is cheap, because a rescan is rare and only repeats an hour's messages.
	Margin time.Duration
}

const (
	defaultScanPage = 10_000
	defaultMargin   = time.Hour

	// streamBatch bounds how many events of the stream are held in memory.
	streamBatch = 1000
	// streamWait is how long the server waits for new events before it returns an empty batch. It returns at once when a
	// message is committed.
	streamWait = time.Second
	// clockMargin is how far a saving process's clock may run ahead of the server's. Without it, a Tail that starts in a
	// quiet outbox would count published messages as unread.
	clockMargin = time.Minute
)

// Outbox implements ports.Outbox over the collection that holds the messages of all saves.
//
// It follows the collection's change stream: in commit order, without polling, and only what a majority of the
// replica set has. The stream can be resumed at a message as long as the oplog reaches back to it. If it does not,
// and at the first start, the Outbox reads the documents themselves: the scan.
//
// One moment divides the two. The scan reads the documents as of that moment and the stream starts right after it, so
// no message falls between them and none is in both. A scan that outlives its snapshot (5 minutes) continues as of a
// later moment; it records what it read as of which moment, so that the stream can leave it out (outbox_scan.go).
type Outbox struct {
	outbox   *mongo.Collection
	relay    *mongo.Collection
	log      *slog.Logger
	page     int32
	margin   time.Duration
	progress tailProgress
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
	return checkpoint.Position, Fail(ctx, "read the checkpoint", err)
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
		// The document has a later fencing token: it did not match, so the upsert failed on its id.
		return fmt.Errorf("%s of term %d: %w", doing, term, ports.ErrFenced)
	}
	return Fail(ctx, doing, err)
}

// emitFunc is the callback of ports.Outbox's Tail.
type emitFunc = func(ports.Message, ports.Position) error

// errStreamLost means that the change stream cannot be resumed at the position.
var errStreamLost = errors.New("the change stream cannot be resumed")

// Tail implements ports.Outbox.
func (o *Outbox) Tail(ctx context.Context, after ports.Position, emit emitFunc) error {
	p, err := parsePosition(after)
	if err != nil {
		return err
	}
	o.progress.start(after, p)
	emitAndCount := func(m ports.Message, at ports.Position) error {
		if err := emit(m, at); err != nil {
			return err
		}
		o.progress.emitted(m, at)
		return nil
	}
	for rescanned := false; ; rescanned = true {
		alreadyEmitted := &scanned{}
		if p.scanning {
			if p, alreadyEmitted, err = o.scan(ctx, p, emitAndCount); err != nil {
				return err
			}
		}
		p, err = o.follow(ctx, p, alreadyEmitted, emitAndCount)
		// At most one rescan a call, so that scans do not follow each other without a pause: the relay waits before it
		// calls Tail again.
		if !errors.Is(err, errStreamLost) || rescanned {
			return err
		}
		p = p.rescan(o.margin)
		o.log.Warn("the change stream is lost: reading the outbox again", "since", time.UnixMilli(p.since).UTC(), "err", err)
	}
}

// follow emits the messages of the change stream after p, except those that a scan has already emitted. It always
// returns an error, and the position it reached.
func (o *Outbox) follow(ctx context.Context, p position, alreadyEmitted *scanned, emit emitFunc) (position, error) {
	const doing = "follow the outbox"
	stream, err := o.watch(ctx, p)
	if err != nil {
		return p, streamError(ctx, doing, err)
	}
	var d messageDecoder
	for batch, err := range prefetch(ctx, stream, &stream.Current) {
		if err != nil {
			return p, streamError(ctx, doing, err)
		}
		for _, event := range batch {
			m, committed, after, err := d.event(event)
			if err != nil {
				return p, fmt.Errorf("%s: %w", doing, err)
			}
			if !alreadyEmitted.has(m, committed) {
				if err := emit(m, after); err != nil {
					return p, err
				}
			}
			p = position{moment: committed}
		}
	}
	return p, fmt.Errorf("%s: %w: the collection was dropped or renamed", doing, errStreamLost)
}

// watch opens the change stream after p. Only inserts are messages; trimming causes deletes, which are left out. The
// projection leaves out unused fields, a fifth of what the server would send.
func (o *Outbox) watch(ctx context.Context, p position) (*mongo.ChangeStream, error) {
	inserts := mongo.Pipeline{
		{{Key: "$match", Value: bson.D{{Key: "operationType", Value: "insert"}}}},
		{{Key: "$project", Value: bson.D{{Key: "clusterTime", Value: 1}, {Key: "fullDocument", Value: 1}}}}, // and its _id
	}
	opts := options.ChangeStream().SetBatchSize(streamBatch).SetMaxAwaitTime(streamWait)
	if p.token != "" {
		opts.SetResumeAfter(bson.D{{Key: "_data", Value: p.token}})
	} else {
		opts.SetStartAtOperationTime(&bson.Timestamp{T: p.moment.T, I: p.moment.I + 1}) // the given time is included
	}
	return o.outbox.Watch(ctx, inserts, opts)
}

func streamError(ctx context.Context, doing string, err error) error {
	if hasCode(err, changeStreamHistoryLost, cappedPositionLost, changeStreamFatalError, invalidResumeToken,
		failedToParse, emptyResumeToken, keyStringFormat) {
		return fmt.Errorf("%s: %w: %w", doing, errStreamLost, err)
	}
	return Fail(ctx, doing, err)
}

// tailProgress is how far Tail has come. Unread compares the documents with it.
type tailProgress struct {
	mu     sync.Mutex
	last   ports.Position
	newest time.Time // occurrence of the newest emitted message; zero before the first Tail
	guess  bool      // nothing was emitted yet: newest is derived from the start position
}

// start resets the progress to the start position of a Tail.
func (t *tailProgress) start(after ports.Position, p position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.newest, t.guess = after, time.Unix(int64(p.moment.T), 0).Add(clockMargin), true
}

func (t *tailProgress) emitted(m ports.Message, p ports.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = p
	if t.guess || m.OccurredAt.After(t.newest) {
		t.newest, t.guess = m.OccurredAt, false
	}
}

func (t *tailProgress) get() (last ports.Position, newest time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.newest
}
