package mongodb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/core/order"
	"hexorders/ports"
)

// write is what one Save wants to have committed, encoded by whoever saves: what cannot be encoded, or is larger than a
// document may be, is an error of that save before anybody else is concerned.
type write struct {
	id       string
	loaded   int      // the version that the store must still have; 0 for a new order
	version  int      // the version that it has then
	order    bson.Raw // what Store.put needs
	messages []bson.Raw
	key      string   // the idempotency key; "" for none
	result   bson.Raw // to be stored under the key
	size     int      // bytes
}

// maxDocument is the server's limit, less what it and the driver add.
const maxDocument = 16<<20 - 16<<10

func (s *saver) newWrite(o *order.Order, messages []ports.Message, key ports.IdempotencyKey) (*write, error) {
	w := &write{id: o.ID(), loaded: o.Version() - len(messages), version: o.Version(), key: key.Value}
	state := newOrderDocument(o)
	documents := make([]messageDocument, len(messages))
	for i, m := range messages {
		documents[i] = newMessageDocument(m)
	}
	if err := s.layout.encode(w, state, documents); err != nil {
		return nil, err
	}
	if w.key != "" {
		var err error
		if w.result, err = w.encode(resultDocument{key.Value, key.Fingerprint, state}); err != nil {
			return nil, err
		}
	}
	for _, d := range documents {
		raw, err := w.encode(d)
		if err != nil {
			return nil, err
		}
		w.messages = append(w.messages, raw)
	}
	return w, nil
}

func (w *write) encode(document any) (bson.Raw, error) {
	raw, err := bson.Marshal(document)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("a document of %d bytes is too large for MongoDB, which takes %d", len(raw), maxDocument)
	}
	w.size += len(raw)
	return raw, nil
}

// commit is one save in a transaction of its own.
func (s *saver) commit(ctx context.Context, w *write) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := transaction(ctx, s.client, untilDeadline, func(ctx context.Context) error { return s.put(ctx, w) })
	if err == nil {
		s.committed(1)
	}
	return err
}

// put writes the orders, their messages and the stored results. Errors: ErrConflict when an order is not at the version that it
// was loaded with, ErrDuplicateRequest when a key is taken. The server does not say which one, so that only who puts a single
// order knows.
func (s *saver) put(ctx context.Context, writes ...*write) error {
	var results []mongo.WriteModel
	for _, w := range writes {
		if w.key != "" {
			results = append(results, storeResult(w))
		}
	}
	if len(results) > 0 {
		if err := s.keep(ctx, results); err != nil {
			return err
		}
	}
	return s.layout.put(ctx, writes)
}

// putMessages writes what is both the proof that something happened and the news of it.
func (s *saver) putMessages(ctx context.Context, writes []*write) error {
	var messages []bson.Raw
	for _, w := range writes {
		messages = append(messages, w.messages...)
	}
	_, err := run(ctx, s.messages, "insert", "documents", messages)
	return err
}

// run is the driver's InsertMany and BulkWrite without what they do to each document: decode it to look for its _id, and
// copy it element by element. Without that a save costs two fifths less of our processor time. It returns how many
// documents were inserted, or matched; as many commands are sent as their size asks for.
func run(ctx context.Context, c *mongo.Collection, command, list string, statements []bson.Raw) (n int, err error) {
	for len(statements) > 0 {
		array := make([]byte, 4, 4096) // its length comes first
		taken := 0
		for _, statement := range statements {
			if taken > 0 && len(array)+len(statement) > maxBatchBytes {
				break
			}
			array = append(array, byte(bson.TypeEmbeddedDocument))
			array = strconv.AppendInt(array, int64(taken), 10)
			array = append(array, 0)
			array = append(array, statement...)
			taken++
		}
		array = append(array, 0)
		binary.LittleEndian.PutUint32(array, uint32(len(array)))
		var answer struct{ N int }
		if err := c.Database().RunCommand(ctx, bson.D{
			{Key: command, Value: c.Name()},
			{Key: list, Value: bson.RawValue{Type: bson.TypeArray, Value: array}},
		}).Decode(&answer); err != nil {
			return n, err
		}
		n += answer.N
		statements = statements[taken:]
	}
	return n, nil
}

// grace is how long a transaction may go on after its caller has left, and how long it may take to be given up. It is far
// more than a server that works needs.
const grace = time.Second

// untilDeadline is a number of tries that no deadline leaves room for.
const untilDeadline = 1 << 30

// transaction runs work in a transaction until it is committed or refused, at most so many times and until the deadline
// of ctx, which must have one. It takes the place of the driver's WithTransaction, which tries again for two minutes and
// commits under a context without an end, while there is a client waiting here.
//
// Trying again is what makes a lost race an ErrConflict: whoever comes second first gets a WriteConflict, which is
// transient, and then, once the other has committed, sees the newer version.
//
// A caller who leaves ends it between two commands, not inside one. A command that is broken off may still reach the
// server after the abort and lock the order for a minute, and a commit that is broken off has an outcome that nobody
// knows. Only when a command takes longer than grace is it broken off.
func transaction(ctx context.Context, client *mongo.Client, tries int, work func(context.Context) error) error {
	session, err := client.StartSession()
	if err != nil {
		return err
	}
	defer func() {
		// There is something left to end only when the commit took too long.
		steady, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		session.EndSession(steady)
	}()
	deadline, _ := ctx.Deadline()
	steady, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()

	waits := shortBackoff()
	for try := 1; ; try++ {
		err := attempt(ctx, mongo.NewSessionContext(steady, session), work)
		if err == nil || !hasLabel(err, transientTransaction) || try == tries || !pause(ctx, waits) {
			return err
		}
	}
}

// attempt runs a transaction once. Every error of work aborts it: an error that work swallowed would have aborted it on
// the server already, without the driver's knowledge.
func attempt(caller, steady context.Context, work func(context.Context) error) error {
	session := mongo.SessionFromContext(steady)
	if err := session.StartTransaction(); err != nil {
		return err
	}
	err := caller.Err()
	if err == nil {
		err = work(steady)
	}
	if err == nil {
		err = caller.Err()
	}
	if err != nil {
		abort, cancel := context.WithTimeout(context.WithoutCancel(steady), grace)
		defer cancel()
		// When even that fails, the server aborts what is left open in its own time.
		_ = session.AbortTransaction(abort)
		return err
	}
	return commitKnown(steady, session)
}

// commitKnown commits, and when the answer is lost or leaves the outcome open, it asks what became of the transaction. To
// ask is to send the same commit again: the server keeps a record of each session's last transaction, through restarts
// and elections, and answers from that, changing nothing (Driver Transactions Specification, "commitTransaction is a
// retryable write command"). The documents could not tell as much, because what they hold may be somebody else's equal
// save. Only when there is no answer until the deadline does the outcome stay unknown.
func commitKnown(ctx context.Context, session *mongo.Session) error {
	waits := shortBackoff()
	for {
		err := session.CommitTransaction(ctx)
		if err == nil {
			return nil
		}
		if !hasLabel(err, unknownCommit) || !pause(ctx, waits) {
			return commitError{err}
		}
	}
}

// commitError is one that work had no part in.
type commitError struct{ error }

func (e commitError) Unwrap() error { return e.error }

func isCommitError(err error) bool { return errors.As(err, new(commitError)) }

func shortBackoff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 2 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 200 * time.Millisecond,
	}
}

// pause reports whether it came to its end before ctx did.
func pause(ctx context.Context, waits *backoff.ExponentialBackOff) bool {
	timer := time.NewTimer(waits.NextBackOff())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
