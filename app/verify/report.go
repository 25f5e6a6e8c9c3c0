package verify

import "slices"

// Kind is a kind of difference.
type Kind string

const (
	MissingInTopic  Kind = "missing-in-topic"
	InventedInTopic Kind = "invented-in-topic"
	AlteredInTopic  Kind = "altered-in-topic"
	OutOfOrder      Kind = "out-of-order"
	ForeignInTopic  Kind = "foreign-in-topic"
	MissingInStore  Kind = "missing-in-store"
	DamagedOrder    Kind = "damaged-order"
	DamagedEvent    Kind = "damaged-event"
	ParkedByBroker  Kind = "parked-by-broker"
	ParkedByViews   Kind = "parked-by-views"
	MissingInViews  Kind = "missing-in-views"
	AheadInViews    Kind = "ahead-in-views"
	WrongProgress   Kind = "wrong-progress"
	MissingRow      Kind = "missing-row"
	WrongRow        Kind = "wrong-row"
	InventedRow     Kind = "invented-row"
)

// Explanation says what a kind of difference means and what to do about it.
type Explanation struct {
	Kind    Kind
	Meaning string // follows a number: "3 " + Meaning
	Remedy  string
}

const (
	restored = "docs/operate.md, \"Restore\", says what to do after a restore"
	rebuild  = "run `hexorders views rebuild`, with --from store if events in the topic are missing or altered"
)

// Explanations has every kind once, in the order in which they are told.
var Explanations = []Explanation{
	{DamagedOrder, "orders whose stored state is not what their events add up to, or cannot be read",
		"no part of this program writes that: look for another writer or a damaged disk, then restore the store; " + restored},
	{DamagedEvent, "events in the store that cannot be read, or that name another order or version than their place",
		"no part of this program writes that: look for another writer or a damaged disk, then restore the store; " + restored},
	{MissingInStore, "events that the store has lost: their orders are past them, and they are too young to have been deleted",
		"restore the store from a copy that has them; " + restored},
	{MissingInTopic, "committed events that are not in the topic: never published, or deleted from it",
		"see that a process with the role relay runs and what `hexorders outbox status` says, then verify again; events that " +
			"were deleted from the topic do not come back, and `hexorders views rebuild --from store` makes the views without them"},
	{InventedInTopic, "events in the topic that the store never committed: it was restored from an older copy, or another program publishes",
		"all consumers have seen events that did not happen; " + restored},
	{AlteredInTopic, "events of which the topic has another content than the store: the order went two ways, or the topic was changed",
		"consumers have seen a history that is not the order's; run `hexorders views rebuild --from store`; " + restored},
	{OutOfOrder, "events that stand in the topic before an earlier one of their order",
		"the views put them in order, other consumers may not: look for another program that publishes to the topic"},
	{ForeignInTopic, "messages in the topic that name no order and version",
		"consumers of this program skip them: look for another program that publishes to the topic"},
	{ParkedByBroker, "orders whose events the broker refused: they wait, and consumers lack them",
		"`hexorders outbox parked` says why; remove the cause and run `hexorders outbox retry ORDER`"},
	{ParkedByViews, "orders with an event that the views cannot apply, or that lack an event before it",
		"`hexorders views parked` says why; remove the cause and run `hexorders views retry ORDER`"},
	{MissingInViews, "orders of which the views lack the latest events: lists show them as they were, or not at all",
		"see that a process with the role views runs, then verify again; if it runs, " + rebuild},
	{AheadInViews, "orders of which the views have events that the store does not have",
		"run `hexorders views rebuild --from store`; " + restored},
	{WrongProgress, "orders that the views remember in another state than their events add up to", rebuild},
	{MissingRow, "rows that a view lacks", rebuild},
	{WrongRow, "rows of a view that are not what the events add up to", rebuild},
	{InventedRow, "rows of a view that no event explains", rebuild},
}

// Difference is one thing that does not agree.
type Difference struct {
	Kind    Kind
	Order   string // "" for rows, which may belong to many
	Version int    // of the event, 0 for none
	View    string // of a row
	Key     string // of a row
	Detail  string
}

// Report is what a verification has found.
type Report struct {
	Orders     int64 // in the store
	Events     int64 // in the store or its outbox
	Records    int64 // in the topic
	Duplicates int64 // of these, messages that were in the topic before, which is legal
	Rows       int64 // of all views

	// TopicOnly are events that the outbox has deleted after their time: the topic alone has them, so nothing can be said
	// of their content but that the orders agree with it.
	TopicOnly int64
	// Unknown are orders with early events that neither the outbox nor the topic has. UnprovenRows are the rows that they
	// have a part in: nothing is said of them.
	Unknown, UnprovenRows int64
	// Unproven are sentences on what else was not compared.
	Unproven []string

	Counts      map[Kind]int64 // exact
	Differences []Difference   // the first ones of each kind, at most Options.Show
}

// Agree tells whether there is no difference.
func (r *Report) Agree() bool { return len(r.Counts) == 0 }

// Total is the number of differences.
func (r *Report) Total() (n int64) {
	for _, count := range r.Counts {
		n += count
	}
	return n
}

// Of are the listed differences of a kind.
func (r *Report) Of(kind Kind) []Difference {
	return slices.DeleteFunc(slices.Clone(r.Differences), func(d Difference) bool { return d.Kind != kind })
}

// differ counts a difference and lists it as long as there are few of its kind.
func (c *check) differ(d Difference) {
	c.report.Counts[d.Kind]++
	if c.report.Counts[d.Kind] <= int64(c.options.Show) {
		c.report.Differences = append(c.report.Differences, d)
	}
}
