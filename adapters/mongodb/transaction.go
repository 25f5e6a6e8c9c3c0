package mongodb

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// grace bounds how long a transaction continues after its caller's context has ended, and how long its abort may
// take. A healthy server needs far less.
const grace = time.Second

// untilDeadline is the number of tries that only the deadline bounds.
const untilDeadline = 0

// RunTransaction runs a transaction until it is committed or rejected, at most so many times and until the deadline
// of ctx, which must have one. Inside, work gets a context with the session. It replaces the driver's
// WithTransaction, which retries for two minutes and commits without a deadline, while a client waits here.
//
// The retry turns a lost race into ErrConflict: the loser first gets a WriteConflict, which is transient, and then,
// once the winner has committed, reads the newer version.
//
// When ctx ends, the transaction ends between two commands, not inside one. A command that is broken off may still
// reach the server after the abort and lock the order for a minute; a commit that is broken off has an unknown
// outcome. So only a command that takes longer than grace is broken off.
//
// concern is how many members have the transaction when it is committed; nil means a majority, on disk.
func RunTransaction(ctx context.Context, client *mongo.Client, concern *writeconcern.WriteConcern, tries uint,
	work func(context.Context) error) error {
	session, err := client.StartSession(options.Session().SetDefaultTransactionOptions(
		options.Transaction().SetWriteConcern(cmp.Or(concern, writeconcern.Majority()))))
	if err != nil {
		return err
	}
	defer func() {
		// A transaction is still open here only when its commit took too long.
		steady, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		session.EndSession(steady)
	}()
	deadline, _ := ctx.Deadline()
	steady, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()

	inSession := mongo.NewSessionContext(steady, session)
	return retry(ctx, tries, transientTransaction, func() error { return attempt(ctx, inSession, work) })
}

// attempt runs a transaction once: it starts it, calls work, and commits or aborts it. It aborts on every error of
// work, because such an error has often aborted the transaction on the server already, without the driver's
// knowledge.
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
		// If the abort fails, the server aborts the transaction when its lifetime ends.
		_ = session.AbortTransaction(abort)
		return err
	}
	return commitAndConfirm(steady, session)
}

// commitAndConfirm commits. If the response is lost or leaves the outcome open, it sends the same commit again: the
// server keeps a record of each session's last transaction, through restarts and elections, and answers from it
// without a change (Driver Transactions Specification, "commitTransaction is a retryable write command"). Reading the
// documents instead would not tell, because they may hold an equal save of another process. The outcome stays unknown
// only if no response comes until the deadline.
func commitAndConfirm(ctx context.Context, session *mongo.Session) error {
	err := retry(ctx, untilDeadline, unknownCommit, func() error { return session.CommitTransaction(ctx) })
	if err != nil {
		return commitError{err}
	}
	return nil
}

// commitError marks an error of the commit itself, not of work.
type commitError struct{ error }

func (e commitError) Unwrap() error { return e.error }

func isCommitError(err error) bool { return errors.As(err, new(commitError)) }

// retry runs try again while its error has a label, at most so many times (0: no limit) and until ctx ends. It returns
// the error of the last try, because its labels count, and not the context's.
func retry(ctx context.Context, tries uint, label string, try func() error) error {
	var last error
	short := &backoff.ExponentialBackOff{
		InitialInterval: 2 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 200 * time.Millisecond,
	}
	_, _ = backoff.Retry(ctx, func() (struct{}, error) {
		last = try()
		if last != nil && !hasLabel(last, label) {
			return struct{}{}, backoff.Permanent(last)
		}
		return struct{}{}, last
	}, backoff.WithBackOff(short), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(0))
	return last
}
