package mongodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/ports"
)

// Labels that the driver and the server put on errors: they say which retry is allowed.
const (
	transientTransaction = "TransientTransactionError"      // nothing was committed; the transaction may be run again
	unknownCommit        = "UnknownTransactionCommitResult" // perhaps committed, perhaps not
)

// Error codes that this package handles. The names are MongoDB's.
const (
	failedToParse           = 9
	unauthorized            = 13
	indexNotFound           = 27
	cursorNotFound          = 43
	namespaceExists         = 48
	cappedPositionLost      = 136
	snapshotTooOld          = 239
	snapshotUnavailable     = 246
	invalidResumeToken      = 260
	changeStreamFatalError  = 280
	changeStreamHistoryLost = 286
	emptyResumeToken        = 40649 // has no name
	quotaExceeded           = 12501
	outOfDiskSpace          = 14031
	keyStringFormat         = 50811 // has no name; a resume token that is hexadecimal but no token
)

// Fail adds what was being done, and turns the driver's errors into those of the ports: ErrUnavailable when the
// server could not be reached or its response was lost, with ErrNoRoom when its disk is full; the context's error when the
// caller has cancelled. nil stays nil.
func Fail(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case hasCode(err, unauthorized):
		return fmt.Errorf("%s: %w: grant the user the rights that docs/secure.md lists", doing, err)
	case hasCode(err, outOfDiskSpace, quotaExceeded) && !hasLabel(err, unknownCommit):
		return fmt.Errorf("%s: %w: %w: %s", doing, ports.ErrUnavailable, ports.ErrNoRoom, err.Error())
	case !unavailable(err):
		return fmt.Errorf("%s: %w", doing, err)
	case ctx.Err() == nil:
		// As text only: an inner deadline that was missed is not the caller's.
		return fmt.Errorf("%s: %w: %s", doing, ports.ErrUnavailable, err.Error())
	case errors.Is(ctx.Err(), context.Canceled) && !hasLabel(err, unknownCommit):
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	default:
		return fmt.Errorf("%s: %w: %w", doing, ports.ErrUnavailable, ctx.Err())
	}
}

// unavailable reports whether the server is away, electing, overloaded or slow, so that a retry may succeed.
func unavailable(err error) bool {
	var (
		network net.Error
		retry   interface {
			error
			Retryable() bool // the driver's: another connection's error has closed this one
		}
	)
	return mongo.IsNetworkError(err) || mongo.IsTimeout(err) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, mongo.ErrClientDisconnected) || errors.Is(err, io.EOF) ||
		errors.As(err, &network) || errors.As(err, &retry) && retry.Retryable() ||
		hasLabel(err, transientTransaction, unknownCommit, "RetryableWriteError", "ResumableChangeStreamError",
			"SystemOverloadedError") ||
		hasCode(err, awayCodes...)
}

// awayCodes are the errors of a server that is not the primary, or no longer, or that took too long. Most of them
// carry a label too, but not for every command.
var awayCodes = []int{
	6,     // HostUnreachable
	7,     // HostNotFound
	64,    // WriteConcernTimeout
	89,    // NetworkTimeout
	91,    // ShutdownInProgress
	134,   // ReadConcernMajorityNotAvailableYet
	189,   // PrimarySteppedDown
	262,   // ExceededTimeLimit
	371,   // UserWritesBlocked
	9001,  // SocketException
	10107, // NotWritablePrimary
	11600, // InterruptedAtShutdown
	11602, // InterruptedDueToReplStateChange
	13435, // NotPrimaryNoSecondaryOk
	13436, // NotPrimaryOrSecondary
}

func hasLabel(err error, labels ...string) bool {
	var labeled mongo.LabeledError
	return errors.As(err, &labeled) && slices.ContainsFunc(labels, labeled.HasErrorLabel)
}

func hasCode(err error, codes ...int) bool {
	var server mongo.ServerError
	return errors.As(err, &server) && slices.ContainsFunc(codes, server.HasErrorCode)
}
