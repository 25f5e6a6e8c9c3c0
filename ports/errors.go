package ports

import "errors"

// What a port may answer with. Errors carry detail: compare with errors.Is.
var (
	ErrNotFound               = errors.New("not found")
	ErrConflict               = errors.New("the order was changed by someone else at the same moment")
	ErrVersionMismatch        = errors.New("the order is not at the version that was asked for")
	ErrBadCursor              = errors.New("the cursor is not one that this list has given out")
	ErrUnavailable            = errors.New("the store cannot be reached")
	ErrDuplicateRequest       = errors.New("a command with this idempotency key is in progress or was carried out")
	ErrKeyReused              = errors.New("the idempotency key was used for another command")
	ErrIdempotencyUnsupported = errors.New("the store keeps no results for idempotency keys")
	ErrNoHistory              = errors.New("the store does not tell what has happened to an order")
	ErrNoSuchVersion          = errors.New("the order never was at that version")
	ErrHistoryDeleted         = errors.New("what had happened to the order by then is not kept any more")
	ErrFenced                 = errors.New("a later lease holder has taken over")
	ErrLeaseHeld              = errors.New("the lease is held by another")
	ErrRefused                = errors.New("the broker refuses this message for good")
)
