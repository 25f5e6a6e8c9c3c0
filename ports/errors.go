package ports

import "errors"

// The errors of the ports. They come wrapped with detail: compare with errors.Is.
var (
	ErrNotFound               = errors.New("not found")
	ErrConflict               = errors.New("another command changed the order at the same moment")
	ErrVersionMismatch        = errors.New("the order has another version than the caller named")
	ErrBadCursor              = errors.New("the cursor does not come from this list")
	ErrOverloaded             = errors.New("too many commands are under way")
	ErrUnavailable            = errors.New("the store cannot be reached")
	ErrNoRoom                 = errors.New("the store has no room") // comes with ErrUnavailable
	ErrDuplicateRequest       = errors.New("a command with this idempotency key is in progress or was carried out")
	ErrKeyReused              = errors.New("the idempotency key was used for another command")
	ErrIdempotencyUnsupported = errors.New("the store keeps no results for idempotency keys")
	ErrNoHistory              = errors.New("the store keeps no history of an order")
	ErrNoSuchVersion          = errors.New("the order never had that version")
	ErrHistoryDeleted         = errors.New("the events that led to that version were deleted")
	ErrFenced                 = errors.New("a later lease holder has taken over")
	ErrLeaseHeld              = errors.New("the lease is held by another owner")
	ErrRefused                = errors.New("the broker refuses this message permanently")
	ErrNotBuilt               = errors.New("the live read model was built without this view")
)
