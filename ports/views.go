package ports

import (
	"fmt"
	"time"

	"hexorders/core/order"
)

// View names a read model.
type View string

const (
	OrderSummary  View = "order-summary"
	BuyerActivity View = "buyer-activity"
	OrderTimeline View = "timeline"
)

// AllViews in the order in which they are shown.
var AllViews = []View{OrderSummary, BuyerActivity, OrderTimeline}

// Generation is one copy of a view. A view that is built anew gets the next number.
type Generation struct {
	View   View
	Number int
}

func (g Generation) String() string { return fmt.Sprintf("%s/%d", g.View, g.Number) }

// Mark is how far a view is with an order: its high-water mark.
type Mark struct {
	OrderID string
	Version int    // the highest that took effect, and all before it did too
	Held    int    // messages kept back
	Parked  string // why the next version cannot take effect until an operator says so; "" when nothing is wrong with it
	Buyer   string // as far as the view has to remember them
	Status  order.Status
}

// Summary is an order in a list.
type Summary struct {
	OrderID     string
	Version     int
	Buyer       string
	Items       []order.Item // sorted by product
	TotalAmount int          // of all items
	Status      order.Status
	CreatedAt   time.Time
	UpdatedAt   time.Time
	SubmittedAt time.Time // zero as long as it was not, and so the next two
	PaidAt      time.Time
	CancelledAt time.Time
}

// SummaryQuery asks for a buyer's orders.
type SummaryQuery struct {
	Buyer  string
	Status order.Status // "" for all
	Sort   SummarySort
	Page   Page // a cursor is good for the same buyer, status and sort
}

// SummarySort is the order of a list. Orders that are equal in it are sorted by id, in the same direction.
type SummarySort string

const (
	OldestFirst   SummarySort = "createdAt"  // by id, which grows with time; the zero value means it too
	NewestFirst   SummarySort = "-createdAt" // by id, falling
	LastChanged   SummarySort = "-updatedAt"
	LargestAmount SummarySort = "-totalAmount"
)

// Activity is how many of a buyer's orders stand where.
type Activity struct {
	Buyer                               string
	Pending, Submitted, Paid, Cancelled int
	LastAt                              time.Time // of the newest event that was counted
}

// ActivityChange is added to a buyer's Activity: numbers are added, the later LastAt stays.
type ActivityChange Activity

// TimelineEntry is one event of an order in a few words.
type TimelineEntry struct {
	OrderID string
	Version int
	Type    string // "OrderCreated"
	At      time.Time
	Text    string // "3 × 1111 added"
}

// EventRef names an event: version Version of an order. The zero value names none.
type EventRef struct {
	OrderID string
	Version int
}

// Freshness says what an answer from a view is worth.
type Freshness struct {
	// Version is how far the view is with the order that was asked for, 0 when it does not know it or none was.
	Version int
	// AsOf is a time up to which the view knows everything that was published; zero when that cannot be said.
	AsOf time.Time
}

type SummaryPage struct {
	Summaries []Summary
	Next      string // the cursor of the following page, "" after the last
	Freshness Freshness
}

type TimelinePage struct {
	Entries   []TimelineEntry
	Next      string
	Freshness Freshness
}

// ProjectionStatus is what a projection says of itself to whoever watches it. The totals count since the process began.
type ProjectionStatus struct {
	View           View
	Generation     int       // the one that it feeds; 0 before it has begun, and then the next three say nothing
	AsOf           time.Time // of its last commit; zero before the first
	ParkedOrders   int       // of the whole view, those that wait for a missing message included; when it last looked, about a second ago
	ParkedMessages int

	Applied   int64 // messages that took effect
	Repeats   int64 // messages that were delivered again and left out
	Held      int64 // messages that were kept back, for one before them or for an operator
	Parked    int64 // orders that were parked, as often as they were
	Foreign   int64 // messages that name no order and version, or another than their id does, and are passed over
	Conflicts int64 // tries that another consumer of the view was faster than, each followed by another
	Failed    int64 // tries that failed otherwise, each followed by another
}

// InboxKept is for how long an inbox remembers a message by its id.
const InboxKept = 24 * time.Hour
