package ports

import (
	"context"
	"time"
)

// The reading side: how events come back from the broker, and the views that are made of them. Its values stand in
// views.go.

// Views is its driving port: what a client can ask the views for. An answer says how fresh it is. A question may name an
// event that the answer has to know of: then it waits for it, a short time, and otherwise answers with what there is.
// Errors: ErrBadCursor, ErrUnavailable.
type Views interface {
	Summaries(ctx context.Context, q SummaryQuery, known EventRef) (SummaryPage, error)
	Activity(ctx context.Context, buyer string, known EventRef) (Activity, Freshness, error)
	Timeline(ctx context.Context, orderID string, page Page, known EventRef) (TimelinePage, error)
}

// Subscriber reads the topic.
type Subscriber interface {
	// Subscribe makes the caller a member of a group, which shares the topic's partitions out among its members, and
	// hands the member's share to handle, until ctx ends, something breaks or handle returns an error, which it then
	// returns. With the group "" the share is the whole topic, and nobody else's gets smaller.
	//
	// Calls of handle come one at a time, a batch each, of at most MaxBatch messages; a partition's messages come in
	// their order, and an order's messages are all in one partition. Reading begins where the member's resume says for a
	// partition that it is given, or, when that does not know, where the group came to, or at the first message.
	// A batch that handle returned nil for moves the group's position; any other is delivered again, to this member or
	// another. So messages may be repeated, and are never left out.
	Subscribe(ctx context.Context, group string, resume Resume, handle func(ctx context.Context, b Batch) error) error
	// Ends are the offsets behind the newest message, by partition: what there is to read at the moment.
	Ends(ctx context.Context) (map[int]int64, error)
}

// Resume answers with the offsets to go on from, by partition; those that it does not know are left out.
type Resume func(ctx context.Context, partitions []int) (map[int]int64, error)

// Inbox keeps what a view's consumer has received beside what it made of it. One Commit is one transaction over both, so
// that a message takes effect once, however often it is delivered. Everything is kept apart by view and generation.
type Inbox interface {
	// Positions are the offsets to go on from, by partition.
	Positions(ctx context.Context, v Generation) (map[int]int64, error)
	// Load reads the marks of these orders, and their summaries when the view is OrderSummary. An order that nothing was
	// received of is in neither.
	Load(ctx context.Context, v Generation, orderIDs []string) (map[string]Mark, map[string]Summary, error)
	// Received tells which of these messages are in the inbox, by message id. One is forgotten InboxKept after the Commit
	// that received it; the mark of its order is not.
	Received(ctx context.Context, v Generation, messageIDs []string) (map[string]bool, error)
	// Held are an order's messages that are kept back, in version order; none is no error.
	Held(ctx context.Context, v Generation, orderID string) ([]Message, error)
	// Parked lists the orders that have messages kept back, by order id.
	Parked(ctx context.Context, v Generation) ([]ParkedOrder, error)
	// Commit makes all of a change true, or nothing of it. Errors: ErrConflict when a mark or a position is not, or no longer,
	// what the change began with, a received message is in the inbox already, or the generation is neither the live one nor
	// the shadow (any more): load again; ErrUnavailable when the outcome is not known or the store is down.
	Commit(ctx context.Context, v Generation, c Change) error
}

// OrderViews are the views as they are read, always of the live generation.
type OrderViews interface {
	// Summaries lists a buyer's orders. Errors: ErrBadCursor, ErrUnavailable.
	Summaries(ctx context.Context, q SummaryQuery) (list []Summary, next string, err error)
	// Activity of a buyer that nothing is known of is all zero.
	Activity(ctx context.Context, buyer string) (Activity, error)
	// Timeline lists what happened to an order, oldest first; an unknown order has nothing. Errors: ErrBadCursor,
	// ErrUnavailable.
	Timeline(ctx context.Context, orderID string, page Page) (list []TimelineEntry, next string, err error)
	// Freshness says how far a view is, and with an order, "" for none.
	Freshness(ctx context.Context, view View, orderID string) (Freshness, error)
}

// Generations let a view be built anew beside the one that is read.
type Generations interface {
	// Live is the generation that is read and that consumers feed: 1 for a view that was never replaced.
	Live(ctx context.Context, view View) (Generation, error)
	// Shadow is the one under construction: the one that was begun already, or a new, empty one, under a number that the
	// view never had.
	Shadow(ctx context.Context, view View) (Generation, error)
	// Swap makes the shadow the live one, for all readers at once, and deletes what was live before. Error: ErrConflict
	// when it is not the shadow (any more).
	Swap(ctx context.Context, shadow Generation) error
	// Discard deletes the shadow; none is no error.
	Discard(ctx context.Context, view View) error
}

// Delivery is a message as a subscriber gets it.
type Delivery struct {
	Message
	Partition int
	Next      int64 // the offset to go on from once this message is dealt with
}

// MaxBatch is how many messages a Subscriber delivers at once at most.
const MaxBatch = 1000

// Batch is what a Subscriber delivers at once.
type Batch struct {
	Messages []Delivery
	// CaughtUp are partitions of the share of which there is nothing more at the moment, besides Messages. While there is
	// nothing at all, a batch without messages says so about once a second, and once at the beginning.
	CaughtUp []int
}

// Change is what a consumer makes of a batch.
type Change struct {
	Positions []PositionChange
	Received  []string // message ids, those in Hold included
	Marks     []MarkChange
	Hold      []HeldMessage // holding one again changes nothing but its reason
	Release   []string      // ids of held messages that have taken effect

	Summaries []Summary        // each replaces the one of its order
	Activity  []ActivityChange // at most one a buyer
	Timeline  []TimelineEntry
}

// PositionChange moves a partition's position. From is what Positions said, 0 when it said nothing.
type PositionChange struct {
	Partition int
	From, To  int64
	AsOf      time.Time // the view knows all that was in the partition at this time
}

// MarkChange replaces an order's mark. Was is the version of the one that it replaces, 0 for none; WasHeld is its Held.
type MarkChange struct {
	Mark
	Was, WasHeld int
}

// HeldMessage is a message that has to wait, for one before it or for an operator. Holding one again changes nothing but
// the reason.
type HeldMessage struct {
	Message
	Reason string
}
