package ports

import (
	"context"
	"time"
)

// The reading side: how events come back from the broker, and the read model that is made of them. What a read model
// stores for clients, rows, stands in rows.go.

// Views is its driving port: what a client can ask the read model. An answer says how fresh it is. A question may name
// an event that the answer has to include, the required version of an order: then it waits for it, a short time, and
// otherwise answers with what there is. A required version of 0 waits for nothing. Errors: ErrBadCursor, ErrNotBuilt,
// ErrUnavailable.
type Views interface {
	// Row returns the row of a view under a key. A key without a row is no error: the row is then empty but for its
	// key.
	Row(ctx context.Context, view, key string, required EventRef) (Row, Freshness, error)
	// List returns a page of a view's rows.
	List(ctx context.Context, q Query, required EventRef) (RowPage, Freshness, error)
}

// Subscriber reads what the broker delivers.
type Subscriber interface {
	// Subscribe makes the caller a member of a group, whose members share the broker's shards, and hands the member's
	// share to handle, until ctx ends, something breaks or handle returns an error, which it then returns.
	//
	// Calls of handle come one at a time, a batch each, of at most MaxBatch messages. A shard's messages come in their
	// order, and an order's messages are all in one shard. When a shard is assigned, reading begins where the member's
	// resume says; if resume leaves the shard out, where the group came to, or else at the first message. Where messages
	// are missing there, it begins at the first one that is left and says so (Gaps).
	// A batch that handle returned nil for moves the group; any other is delivered again, to this member or another. So
	// messages may be repeated, and are never left out.
	Subscribe(ctx context.Context, group string, resume Resume, handle func(ctx context.Context, b Batch) error) error
}

// Replayable is a Subscriber whose broker keeps messages and can deliver them again. A broker that forgets what was
// acknowledged is not.
type Replayable interface {
	// Replay hands the whole topic to handle, all shards, outside of any group. It reads and ends as Subscribe does.
	Replay(ctx context.Context, resume Resume, handle func(ctx context.Context, b Batch) error) error
	// Ahead estimates, for every shard of the topic, how many messages come after these places at the moment. A shard
	// without a place counts from its first message. A topic that does not exist yet has no shards.
	Ahead(ctx context.Context, from []Place) (map[string]int64, error)
}

// TopicEnd is a Replayable that tells where its topic ends at the moment.
type TopicEnd interface {
	Replayable
	// Newest returns a place after the newest message of each shard, for a Replay of what comes later.
	Newest(ctx context.Context) ([]Place, error)
}

// Resume answers with the places to go on from. A shard that it leaves out is unknown to it; one with an empty Next
// begins at the first message. It also names shards that it was not asked for: a place of another log, or of another
// broker, is a gap.
type Resume func(ctx context.Context, shards []string) ([]Place, error)

// Place is a point in one shard of what a broker delivers. It knows its log. Only the broker's adapter reads it; all
// others compare and store it.
type Place struct {
	Shard string // a name of the shard, such as a partition's; "" where the broker has only one
	Next  string // from where to go on; "" is the beginning
}

// Delivery is a message as a subscriber gets it.
type Delivery struct {
	Message
	Place Place // to go on from once this message is done; Next is "" when the broker cannot say
}

// MaxBatch is how many messages a Subscriber delivers at once at most.
const MaxBatch = 1000

// Batch is what a Subscriber delivers at once.
type Batch struct {
	Messages []Delivery
	// CaughtUp are places of the share after which there is nothing more at the moment, one a shard. While there are no
	// messages at all, a batch says so about once a second, and once at the beginning.
	CaughtUp []Place
	Gaps     []Gap // in front of the messages; at most one a shard
}

// ReadModel answers questions, always from the live generation. Errors: ErrNotBuilt when the live generation does not
// have the view, or has it in another shape; ErrUnavailable.
type ReadModel interface {
	// Row returns the row under a key, and an empty one but for its key when there is none.
	Row(ctx context.Context, view, key string) (Row, error)
	// List returns a page of rows, which ends at the query's limit or at MaxPageBytes. Every row that is there from the
	// first page to the last, and does not move in the list, is in exactly one page. Errors also: ErrBadCursor; another
	// one when no index of the view serves the query.
	List(ctx context.Context, q Query) (RowPage, error)
	// Freshness says how far the read model is, and how far it is with an order, "" for none.
	Freshness(ctx context.Context, orderID string) (Freshness, error)
}

// ReadModelStore keeps a read model: for every order its progress, for every view its rows, and the places in the topic
// that all of it stands for. A read model that is rebuilt is a new generation beside the live one.
//
// It is opened with the tables of all views that the program has.
type ReadModelStore interface {
	ReadModel

	// Live is the generation that is read and that consumers feed: 1, with all tables of the program that opened the
	// store first, for a read model that was never rebuilt.
	Live(ctx context.Context) (Generation, error)
	// Shadow is the generation under construction: the one that was begun already, or a new, empty one with all tables
	// of the program, under a number that was never used. One that was begun with other tables than those of the
	// program, or with tables of another shape, is discarded first.
	Shadow(ctx context.Context) (Generation, error)
	// Swap makes the shadow the live one, for all readers at once, and deletes what was live before. A reader sees one
	// of the two, never some of each. Error: ErrConflict when it is not the shadow (any more).
	Swap(ctx context.Context, shadow Generation) error
	// Discard deletes the shadow; none is no error.
	Discard(ctx context.Context) error

	// The next four read a generation. One that is neither live nor the shadow (any more) is empty.

	// Places are where each shard's last PlaceChange went to, by shard.
	Places(ctx context.Context, g Generation) ([]Place, error)
	// Gaps are the last gap of each shard that had one, by shard. Of its place they have the shard.
	Gaps(ctx context.Context, g Generation) ([]Gap, error)
	// Load reads the progress of these orders. An order of which nothing was received is not in the result.
	Load(ctx context.Context, g Generation, orderIDs []string) (map[string]Progress, error)
	// Buffered are an order's messages that wait, in version order; none is no error.
	Buffered(ctx context.Context, g Generation, orderID string) ([]Message, error)
	// Parked lists the orders that have buffered messages, by order id. Retry is never set.
	Parked(ctx context.Context, g Generation) ([]ParkedOrder, error)
	// Commit makes all of a change true, or nothing of it. Errors: ErrConflict when a progress record or a place is
	// not, or no longer, what the change began with, an inserted row is there already, or the generation is neither the
	// live one nor the shadow (any more): load again; ErrUnavailable when the outcome is not known or the store is
	// down.
	Commit(ctx context.Context, g Generation, c Change) error
}

// Generation is one copy of the whole read model.
type Generation struct {
	Number int
	// Views are the names of the tables that it has, sorted. A table of another shape than the program's is none of them.
	Views []string
}

// Progress is how far the read model is with an order. It is also the inbox: a message is known by its order and
// version, so the last applied version says which messages are duplicates, however old they are.
type Progress struct {
	OrderID  string
	Version  int    // the last applied version; all before it were applied too
	Newest   int    // the highest version that was received: applied or buffered
	Buffered int    // number of messages that wait, for one before them or for an operator
	Parked   string // why the next version cannot be applied until an operator retries it; "" when nothing is wrong
	State    []byte // the order after Version, as the engine encodes it: a JSON document
	Digest   uint32 // of the message that Version came with; 0 when an earlier version of the program stored this
}

// Change is what a batch of messages makes of the read model.
type Change struct {
	Places   []PlaceChange
	Gaps     []Gap // each of a shard whose place changes, too
	Progress []ProgressChange
	Buffer   []BufferedMessage
	Release  []EventRef            // buffered messages that were applied; one that is not buffered is no error
	Rows     map[string]RowChanges // by view, of those that the generation has
}

// PlaceChange moves a shard's place. From is what Places said, "" when it said nothing.
type PlaceChange struct {
	Shard    string
	From, To string
	AsOf     time.Time // the read model includes all that was in the shard at this time; zero when that cannot be said
}

// ProgressChange replaces an order's progress. WasVersion and WasBuffered are those of the record that it replaces,
// both 0 for none.
type ProgressChange struct {
	Progress
	WasVersion, WasBuffered int
}

// BufferedMessage is a message that has to wait, for one before it or for an operator. Buffering one again changes only
// the reason.
type BufferedMessage struct {
	Message
	Reason string
}

// EventRef names an event: version Version of an order. The zero value names none.
type EventRef struct {
	OrderID string
	Version int
}

// Freshness says how current an answer from the read model is.
type Freshness struct {
	// Version is the last applied version of the order that was asked for, 0 when it is unknown or none was asked for.
	Version int
	// AsOf is a time up to which everything that was published is included: that of the shard with the oldest one, to
	// the millisecond. It is zero when that cannot be said, of one shard or because no place was committed.
	AsOf time.Time
	// Incomplete says why messages are missing for ever, "" when none is. Then AsOf is zero.
	Incomplete GapReason
}

// ViewsStatus is what the consumer of a process says of itself to whoever watches it. The totals count since the
// process began.
type ViewsStatus struct {
	Generation     int // the one that it feeds; 0 before it has begun, and then the next two say nothing
	ParkedOrders   int // those that wait for a missing message included; of the whole read model, a few seconds ago
	ParkedMessages int

	Applied    int64 // messages that took effect
	Duplicates int64 // messages that were delivered again and skipped
	Buffered   int64 // messages that were buffered, for one before them or for an operator
	Parked     int64 // orders that were parked, as often as they were
	Forked     int64 // those of them that were parked because a version came with two contents
	Foreign    int64 // messages that name no order and version, or another than their id does, and are skipped
	Conflicts  int64 // tries that another consumer was faster than, each followed by another
	Failed     int64 // tries that failed otherwise, each followed by another
}
