package porttest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/adapters/memory"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestInboxSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.InboxChecks(), inboxFlaws, soundReadingSide)
}

func TestOrderViewsSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.OrderViewsChecks(), orderViewsFlaws, soundReadingSide)
}

func TestGenerationsSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.GenerationsChecks(), generationsFlaws, soundReadingSide)
}

var inboxFlaws = []flaw[porttest.ReadingSide]{
	readingFlaw("says 0 for a partition that it has not heard of",
		"positions are kept by partition, those that were never committed left out"),
	readingFlaw("keeps the partitions of the last change alone",
		"positions are kept by partition, those that were never committed left out"),
	readingFlaw("forgets why an order is parked",
		"a mark keeps all its fields, also those of an order whose first version is still to come"),
	readingFlaw("keeps no mark without a version",
		"a mark keeps all its fields, also those of an order whose first version is still to come"),
	readingFlaw("loads an empty mark for an unknown order", "an order that nothing was received of is in neither answer of Load"),
	readingFlaw("loads no summaries", "the view of orders loads summaries too, in copies"),
	readingFlaw("shares its live summaries", "the view of orders loads summaries too, in copies"),
	readingFlaw("folds the case of message ids", "received messages are known by their ids"),
	readingFlaw("orders versions as text", "held messages come in version order, as they were byte for byte"),
	readingFlaw("takes a payload for text", "held messages come in version order, as they were byte for byte"),
	readingFlaw("gives a held message the id that it should have", "held messages come in version order, as they were byte for byte"),
	readingFlaw("holds again as if for the first time", "holding a message again changes nothing but the reason"),
	readingFlaw("keeps the first reason", "holding a message again changes nothing but the reason"),
	readingFlaw("never releases", "a released message is held no longer, and others are"),
	readingFlaw("releases all of an order", "a released message is held no longer, and others are"),
	readingFlaw("takes a released message out of the inbox", "a released message is held no longer, and others are"),
	readingFlaw("tells the reason of the newest message",
		"Parked lists the orders with held messages: the first of them, how many, why and since when"),
	readingFlaw("lists orders backwards", "Parked lists the orders with held messages: the first of them, how many, why and since when"),
	readingFlaw("has one inbox for all views", "everything is kept apart by view and generation"),
	readingFlaw("keeps positions by view alone", "everything is kept apart by view and generation"),
	readingFlaw("takes five hundred messages of a change", "a change of a thousand messages is committed"),

	readingFlaw("takes the positions for granted",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays"),
	readingFlaw("takes the versions for granted",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays"),
	readingFlaw("takes the number of held messages for granted",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays"),
	readingFlaw("commits the view before the rest",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays",
		"a change with a message that was received before is ErrConflict, and nothing of it stays"),
	readingFlaw("commits the positions before the rest",
		"a change that does not begin with what there is is ErrConflict, and nothing of it stays",
		"a change with a message that was received before is ErrConflict, and nothing of it stays"),
	readingFlaw("leaves out what was received before",
		"a change with a message that was received before is ErrConflict, and nothing of it stays"),
	readingFlaw("takes a Commit to any generation", "a Commit to a generation that is not there is ErrConflict"),
	readingFlaw("looks before its transaction", "of 20 commits of the same messages exactly one is taken"),
	readingFlaw("reads the activity and writes it back",
		"commits that touch no order together are all taken, and a buyer's activity adds up"),
	readingFlaw("takes one change of a buyer at a time",
		"commits that touch no order together are all taken, and a buyer's activity adds up"),
	readingFlaw("swallows a failed commit", "a failed commit is an error, and nothing of the change stays"),
	readingFlaw("keeps the view when the commit fails", "a failed commit is an error, and nothing of the change stays"),
	readingFlaw("calls a failed commit a conflict", "a failed commit is an error, and nothing of the change stays"),

	readingFlaw("keeps messages for half a day", "a message is in the inbox for InboxKept"),
	readingFlaw("keeps messages for ever", "after InboxKept a message is as new, and the mark of its order stays"),
	readingFlaw("forgets a message but not its id", "after InboxKept a message is as new, and the mark of its order stays"),
	readingFlaw("forgets the mark with the message", "after InboxKept a message is as new, and the mark of its order stays"),
	readingFlaw("ignores a cancelled context", "a cancelled context ends every call"),
}

var orderViewsFlaws = []flaw[porttest.ReadingSide]{
	readingFlaw("rounds times to the second", "a summary keeps all its fields"),
	readingFlaw("has a time for what has not happened", "a summary keeps all its fields"),
	readingFlaw("lists the orders of buyers that begin alike", "a buyer's orders are listed, and nobody else's"),
	readingFlaw("keeps the first summary", "a summary replaces the one of its order"),
	readingFlaw("shares its live summaries", "a listed summary changed by its reader changes nothing in the store"),
	readingFlaw("sorts by id whatever is asked", "a list has the order that was asked for, equal ones by id in the same direction"),
	readingFlaw("sorts equal ones by rising id", "a list has the order that was asked for, equal ones by id in the same direction"),
	readingFlaw("lists every status", "a list may be of one status"),
	readingFlaw("takes the status out of a page that is cut", "a list comes in pages, each order once, in every order and status"),
	readingFlaw("leaves one out between two pages",
		"a list comes in pages, each order once, in every order and status",
		"a timeline comes in pages, each entry once"),
	readingFlaw("gives a cursor for a page that is not there", "a list comes in pages, each order once, in every order and status"),
	readingFlaw("knows no largest page", "a page of a view has a default size and a maximum"),
	readingFlaw("has a default page of its own", "a page of a view has a default size and a maximum"),
	readingFlaw("counts pages by offset", "pages stay in step while orders come and change"),
	readingFlaw("takes any cursor", "a cursor that no list gave out is ErrBadCursor"),
	readingFlaw("takes a cursor for any list", "a cursor of another buyer, status, sort or order is ErrBadCursor"),
	readingFlaw("takes no sort for one of its own", "a cursor of another buyer, status, sort or order is ErrBadCursor"),

	readingFlaw("keeps the newest change of activity", "activity adds up, and the later time stays"),
	readingFlaw("keeps the last time that came", "activity adds up, and the later time stays"),
	readingFlaw("calls a buyer without activity not found", "a buyer that nothing is known of has no activity"),
	readingFlaw("orders a timeline by time", "a timeline is an order's own, oldest first, and keeps all its fields"),
	readingFlaw("forgets the text", "a timeline is an order's own, oldest first, and keeps all its fields"),
	readingFlaw("calls an empty timeline not found", "a timeline is an order's own, oldest first, and keeps all its fields"),

	readingFlaw("says the newest version of all", "freshness says how far a view is with an order"),
	readingFlaw("has one freshness for all views", "freshness says how far a view is with an order"),
	readingFlaw("is as fresh as its last change", "a view is as fresh as its least fresh partition, also when nothing new comes"),
	readingFlaw("ignores a position that stays", "a view is as fresh as its least fresh partition, also when nothing new comes"),
	readingFlaw("ignores a cancelled context", "a cancelled context ends every call"),
}

var generationsFlaws = []flaw[porttest.ReadingSide]{
	readingFlaw("counts generations from 2", "the first generation of a view is live from the beginning"),
	readingFlaw("begins a new shadow each time", "a shadow is new and empty, and asking again gives the same one"),
	readingFlaw("begins a shadow with what is live", "a shadow is new and empty, and asking again gives the same one"),
	readingFlaw("looks for a shadow before it begins one", "who asks at the same moment gets the same shadow"),
	readingFlaw("fills the live generation with the shadow", "reads stay with the live generation while a shadow is filled"),
	readingFlaw("swaps nothing", "Swap makes the shadow the one that is read, and fed"),
	readingFlaw("swaps every view", "Swap makes the shadow the one that is read, and fed"),
	readingFlaw("deletes before it turns the pointer", "no reader sees part of one generation and part of the other"),
	readingFlaw("keeps what was live before", "what was live before is gone after Swap"),
	readingFlaw("takes a Commit to any generation",
		"what was live before is gone after Swap",
		"Discard deletes the shadow, and nothing else"),
	readingFlaw("swaps the shadow whatever is named", "Swap of what is not the shadow is ErrConflict and changes nothing"),
	readingFlaw("has no error for a stale shadow",
		"Swap of what is not the shadow is ErrConflict and changes nothing",
		"of two swaps at the same moment one is ErrConflict"),
	readingFlaw("discards nothing", "Discard deletes the shadow, and nothing else"),
	readingFlaw("discards what is live", "Discard deletes the shadow, and nothing else"),
	readingFlaw("cannot discard what is not there", "to discard no shadow is no error"),
	readingFlaw("gives a discarded number again", "a number is never given twice"),
	readingFlaw("ignores a cancelled context", "a cancelled context ends every call"),
}

func readingFlaw(name string, red ...string) flaw[porttest.ReadingSide] {
	return flaw[porttest.ReadingSide]{name, func() porttest.ReadingSide { return openReadingSide(name) }, red}
}

func soundReadingSide() porttest.ReadingSide { return openReadingSide("") }

func openReadingSide(flaw string) porttest.ReadingSide {
	r := &reading{
		Views: memory.NewViews(), flaw: flaw, received: map[string]time.Time{}, shared: map[string]ports.Summary{},
		reasons: map[string]string{}, activity: map[string]ports.Activity{}, busy: map[string]bool{}, given: map[string]bool{},
		shadows: map[ports.View]ports.Generation{}, left: map[ports.Generation]map[int]int64{}, seen: make(chan struct{}),
	}
	return porttest.ReadingSide{
		Inbox: r, Views: r, Generations: r,
		FailCommits: func(testing.TB) func() {
			set := func(failing bool) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.failing = failing
			}
			set(true)
			return func() { set(false) }
		},
		Age: func(_ testing.TB, by time.Duration) { time.Sleep(by) }, // in a bubble's time
	}
}

// reading spoils what goes into a sound store and what comes out of it.
type reading struct {
	*memory.Views
	flaw string

	mu       sync.Mutex
	failing  bool
	received map[string]time.Time // every message that ever came
	touched  map[int]bool         // the partitions of the last change
	asOf     time.Time            // the last change's
	newest   int                  // version of all
	reasons  map[string]string    // of the newest message, by order
	shared   map[string]ports.Summary
	activity map[string]ports.Activity
	busy     map[string]bool // buyers
	given    map[string]bool // cursors
	shadows  map[ports.View]ports.Generation
	left     map[ports.Generation]map[int]int64
	swapping bool
	seen     chan struct{} // closed when a reader has seen a Swap half done
	once     sync.Once
}

var errDiskFull = errors.New("the disk is full")

func (r *reading) has(flaw string) bool { return r.flaw == flaw }

func (r *reading) context(ctx context.Context) context.Context {
	if r.has("ignores a cancelled context") {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func (r *reading) Positions(ctx context.Context, g ports.Generation) (map[int]int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has("keeps positions by view alone") {
		g.Number = 1
	}
	positions, err := r.Views.Positions(r.context(ctx), g)
	switch r.flaw {
	case "says 0 for a partition that it has not heard of":
		positions[5] = 0
	case "keeps the partitions of the last change alone":
		maps.DeleteFunc(positions, func(partition int, _ int64) bool { return !r.touched[partition] })
	case "keeps what was live before":
		if left, ok := r.left[g]; ok {
			return left, err
		}
	}
	return positions, err
}

func (r *reading) Load(ctx context.Context, g ports.Generation, ids []string) (map[string]ports.Mark, map[string]ports.Summary, error) {
	marks, summaries, err := r.Views.Load(r.context(ctx), g, ids)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "loads an empty mark for an unknown order":
		for _, id := range ids {
			if _, known := marks[id]; !known {
				marks[id] = ports.Mark{OrderID: id}
			}
		}
	case "loads no summaries":
		summaries = nil
	case "shares its live summaries":
		for id, s := range summaries {
			summaries[id] = r.share(s)
		}
	case "forgets the mark with the message":
		for _, at := range r.received {
			if time.Since(at) > ports.InboxKept {
				clear(marks)
			}
		}
	}
	return marks, summaries, err
}

// share needs the lock to be held.
func (r *reading) share(s ports.Summary) ports.Summary {
	if shared, ok := r.shared[s.OrderID]; ok && shared.Version == s.Version {
		return shared
	}
	r.shared[s.OrderID] = s
	return s
}

func (r *reading) Received(ctx context.Context, g ports.Generation, ids []string) (map[string]bool, error) {
	received, err := r.Views.Received(r.context(ctx), g, r.foldAll(ids))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		at, came := r.received[id]
		switch r.flaw {
		case "folds the case of message ids":
			received[id] = received[strings.ToLower(id)]
		case "has one inbox for all views", "keeps messages for ever":
			received[id] = came
		case "keeps messages for half a day":
			received[id] = received[id] && time.Since(at) < ports.InboxKept/2
		case "takes a released message out of the inbox":
			received[id] = received[id] && !at.IsZero()
		}
	}
	return received, err
}

func (r *reading) foldAll(ids []string) []string {
	if !r.has("folds the case of message ids") {
		return ids
	}
	folded := slices.Clone(ids)
	for i, id := range folded {
		folded[i] = strings.ToLower(id)
	}
	return folded
}

func (r *reading) Held(ctx context.Context, g ports.Generation, orderID string) ([]ports.Message, error) {
	messages, err := r.Views.Held(r.context(ctx), g, orderID)
	for i, m := range messages {
		switch r.flaw {
		case "takes a payload for text":
			messages[i].Payload = bytes.ToValidUTF8(m.Payload, []byte("?"))
		case "gives a held message the id that it should have":
			messages[i].ID = fmt.Sprintf("%s/%d", m.OrderID, m.Version)
		}
	}
	if r.has("orders versions as text") {
		slices.SortFunc(messages, func(a, b ports.Message) int { return strings.Compare(strconv.Itoa(a.Version), strconv.Itoa(b.Version)) })
	}
	return messages, err
}

func (r *reading) Parked(ctx context.Context, g ports.Generation) ([]ports.ParkedOrder, error) {
	list, err := r.Views.Parked(r.context(ctx), g)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "lists orders backwards":
		slices.Reverse(list)
	case "tells the reason of the newest message":
		for i := range list {
			list[i].Reason = r.reasons[list[i].OrderID]
		}
	}
	return list, err
}

func (r *reading) Commit(ctx context.Context, g ports.Generation, c ports.Change) error {
	ctx = r.context(ctx)
	switch r.flaw {
	case "looks before its transaction":
		received, err := r.Views.Received(ctx, g, c.Received)
		if err != nil || len(received) > 0 {
			return cmp.Or(err, error(ports.ErrConflict))
		}
		time.Sleep(time.Millisecond) // a bubble's time passes when all wait
		c = r.granted(ctx, g, c)
	case "reads the activity and writes it back":
		r.rewrite(c.Activity)
	case "takes one change of a buyer at a time":
		if !r.enter(c.Activity) {
			return ports.ErrConflict
		}
		time.Sleep(time.Millisecond)
		defer r.leave(c.Activity)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing {
		return r.fail(ctx, g, c)
	}
	c, err := r.spoil(ctx, g, c)
	if err == nil {
		err = r.Views.Commit(ctx, g, c)
	}
	if err != nil {
		if live, shadow := r.there(ctx, g.View); r.has("takes a Commit to any generation") && g != live && g != shadow {
			return nil
		}
		return err
	}
	r.note(c)
	if live, _ := r.there(ctx, g.View); r.has("fills the live generation with the shadow") && g != live {
		return r.Views.Commit(ctx, live, r.granted(ctx, live, c))
	}
	return nil
}

// there are the live generation and the shadow that this fake has begun, if any.
func (r *reading) there(ctx context.Context, view ports.View) (live, shadow ports.Generation) {
	live, _ = r.Views.Live(ctx, view)
	return live, r.shadows[view]
}

func (r *reading) fail(ctx context.Context, g ports.Generation, c ports.Change) error {
	switch r.flaw {
	case "swallows a failed commit":
		return nil
	case "keeps the view when the commit fails":
		return errors.Join(errDiskFull, r.Views.Commit(ctx, g, viewOf(c)))
	case "calls a failed commit a conflict":
		return ports.ErrConflict
	}
	return errDiskFull
}

func viewOf(c ports.Change) ports.Change {
	return ports.Change{Summaries: c.Summaries, Activity: c.Activity, Timeline: c.Timeline}
}

// granted is a change that begins with what there is, whatever it says itself.
func (r *reading) granted(ctx context.Context, g ports.Generation, c ports.Change) ports.Change {
	positions, _ := r.Views.Positions(ctx, g)
	c.Positions, c.Marks = slices.Clone(c.Positions), slices.Clone(c.Marks)
	for i, p := range c.Positions {
		c.Positions[i].From = positions[p.Partition]
	}
	for i, m := range c.Marks {
		marks, _, _ := r.Views.Load(ctx, g, []string{m.OrderID})
		c.Marks[i].Was, c.Marks[i].WasHeld = marks[m.OrderID].Version, marks[m.OrderID].Held
	}
	received, _ := r.Views.Received(ctx, g, c.Received)
	c.Received = slices.DeleteFunc(slices.Clone(c.Received), func(id string) bool { return received[id] })
	return c
}

// spoil changes what is about to be committed, or commits part of it.
func (r *reading) spoil(ctx context.Context, g ports.Generation, c ports.Change) (ports.Change, error) {
	granted := r.granted(ctx, g, c)
	c.Marks = slices.Clone(c.Marks)
	switch r.flaw {
	case "takes the positions for granted":
		c.Positions = granted.Positions
	case "takes the versions for granted":
		for i := range c.Marks {
			c.Marks[i].Was = granted.Marks[i].Was
		}
	case "takes the number of held messages for granted":
		for i := range c.Marks {
			c.Marks[i].WasHeld = granted.Marks[i].WasHeld
		}
	case "leaves out what was received before":
		c.Received = granted.Received
	case "commits the view before the rest":
		if err := r.Views.Commit(ctx, g, viewOf(c)); err != nil {
			return c, err
		}
		c.Summaries, c.Activity, c.Timeline = nil, nil, nil
	case "commits the positions before the rest":
		if err := r.Views.Commit(ctx, g, ports.Change{Positions: c.Positions}); err != nil {
			return c, err
		}
		c.Positions = nil
	case "forgets a message but not its id":
		if slices.ContainsFunc(c.Received, func(id string) bool { return !r.received[id].IsZero() }) {
			return c, ports.ErrConflict
		}
	case "forgets why an order is parked":
		for i := range c.Marks {
			c.Marks[i].Parked = ""
		}
	case "keeps no mark without a version":
		c.Marks = slices.DeleteFunc(c.Marks, func(m ports.MarkChange) bool { return m.Version == 0 })
	case "folds the case of message ids":
		c.Received = r.foldAll(c.Received)
	case "takes five hundred messages of a change":
		c.Received = c.Received[:min(len(c.Received), 500)]
	case "keeps the first reason":
		c.Hold = slices.DeleteFunc(slices.Clone(c.Hold), func(m ports.HeldMessage) bool { return r.holds(ctx, g, m) })
	case "holds again as if for the first time":
		for _, m := range c.Hold {
			if r.holds(ctx, g, m) {
				if err := r.Views.Commit(ctx, g, ports.Change{Release: []string{m.ID}}); err != nil {
					return c, err
				}
			}
		}
	case "never releases":
		c.Release = nil
	case "releases all of an order":
		for _, id := range c.Release {
			orderID, _, _ := strings.Cut(id, "/")
			held, err := r.Views.Held(ctx, g, orderID)
			if err != nil {
				return c, err
			}
			for _, m := range held {
				c.Release = append(c.Release, m.ID)
			}
		}
	case "keeps the first summary":
		c.Summaries = slices.DeleteFunc(slices.Clone(c.Summaries), func(s ports.Summary) bool {
			_, summaries, err := r.Views.Load(ctx, g, []string{s.OrderID})
			return err != nil || len(summaries) > 0
		})
	case "ignores a position that stays":
		c.Positions = slices.DeleteFunc(slices.Clone(c.Positions),
			func(p ports.PositionChange) bool { return p.From == p.To && p.From > 0 })
	}
	return c, nil
}

func (r *reading) holds(ctx context.Context, g ports.Generation, m ports.HeldMessage) bool {
	held, err := r.Views.Held(ctx, g, m.OrderID)
	return err == nil && slices.ContainsFunc(held, func(e ports.Message) bool { return e.ID == m.ID })
}

// note remembers of a change what some flaws will tell.
func (r *reading) note(c ports.Change) {
	r.touched = map[int]bool{}
	for _, p := range c.Positions {
		r.touched[p.Partition], r.asOf = true, p.AsOf
	}
	for _, id := range c.Received {
		r.received[id] = time.Now()
	}
	for _, id := range c.Release {
		r.received[id] = time.Time{}
	}
	for _, m := range c.Marks {
		r.newest = max(r.newest, m.Version)
	}
	for _, m := range c.Hold {
		r.reasons[m.OrderID] = m.Reason
	}
	for _, a := range c.Activity {
		switch r.flaw {
		case "keeps the newest change of activity":
			r.activity[a.Buyer] = ports.Activity(a)
		case "keeps the last time that came":
			r.activity[a.Buyer] = ports.Activity{LastAt: a.LastAt}
		}
	}
}

// rewrite is what an adapter does that knows no increment.
func (r *reading) rewrite(changes []ports.ActivityChange) {
	for _, c := range changes {
		r.mu.Lock()
		a := r.activity[c.Buyer]
		r.mu.Unlock()
		time.Sleep(time.Millisecond)
		a.Pending += c.Pending
		r.mu.Lock()
		r.activity[c.Buyer] = a
		r.mu.Unlock()
	}
}

func (r *reading) enter(changes []ports.ActivityChange) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range changes {
		if r.busy[c.Buyer] {
			return false
		}
		r.busy[c.Buyer] = true
	}
	return true
}

func (r *reading) leave(changes []ports.ActivityChange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range changes {
		r.busy[c.Buyer] = false
	}
}

func (r *reading) Summaries(ctx context.Context, q ports.SummaryQuery) (list []ports.Summary, next string, err error) {
	ctx = r.context(ctx)
	asked := q
	switch r.flaw {
	case "sorts by id whatever is asked":
		q.Sort = ports.OldestFirst
	case "lists every status", "takes the status out of a page that is cut":
		q.Status = ""
	case "has a default page of its own":
		if q.Page.Limit == 0 {
			q.Page.Limit = 20
		}
	case "counts pages by offset":
		return r.byOffset(ctx, q)
	case "knows no largest page":
		return r.all(ctx, q)
	case "takes no sort for one of its own":
		if q.Page.Cursor != "" && q.Sort == ports.OldestFirst {
			return nil, "", ports.ErrBadCursor
		}
	case "gives a cursor for a page that is not there":
		if q.Page.Cursor == "the end" {
			return nil, "", nil
		}
	}
	list, next, err = r.Views.Summaries(ctx, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, ports.ErrBadCursor) && r.forgives(q.Page.Cursor) {
		q.Page.Cursor = ""
		list, next, err = r.Views.Summaries(ctx, q)
	}
	r.given[next] = true
	switch r.flaw {
	case "rounds times to the second":
		for i := range list {
			list[i].UpdatedAt = list[i].UpdatedAt.Truncate(time.Second)
		}
	case "has a time for what has not happened":
		for i := range list {
			if list[i].PaidAt.IsZero() {
				list[i].PaidAt = time.Unix(0, 0)
			}
		}
	case "lists the orders of buyers that begin alike":
		alike := q
		alike.Buyer += "0"
		more, _, err := r.Views.Summaries(ctx, alike)
		return append(list, more...), next, err
	case "shares its live summaries":
		for i, s := range list {
			list[i] = r.share(s)
		}
	case "sorts equal ones by rising id":
		if q.Sort == ports.LastChanged {
			slices.SortFunc(list, func(a, b ports.Summary) int {
				return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), strings.Compare(a.OrderID, b.OrderID))
			})
		}
	case "takes the status out of a page that is cut":
		list = slices.DeleteFunc(list, func(s ports.Summary) bool { return asked.Status != "" && s.Status != asked.Status })
	case "leaves one out between two pages":
		if q.Page.Cursor != "" && len(list) > 1 {
			list = list[1:]
		}
	case "gives a cursor for a page that is not there":
		next = cmp.Or(next, "the end")
	case "deletes before it turns the pointer":
		if r.swapping {
			r.once.Do(func() { close(r.seen) })
			return nil, "", nil
		}
	}
	return list, next, err
}

func (r *reading) forgives(cursor string) bool {
	return r.has("takes any cursor") || r.has("takes a cursor for any list") && r.given[cursor]
}

// all is a list on one page, when the page asked for is larger than pages can be.
func (r *reading) all(ctx context.Context, q ports.SummaryQuery) (list []ports.Summary, next string, err error) {
	list, next, err = r.Views.Summaries(ctx, q)
	for q.Page.Limit > ports.MaxPageLimit && next != "" && err == nil {
		var more []ports.Summary
		q.Page.Cursor = next
		more, next, err = r.Views.Summaries(ctx, q)
		list = append(list, more...)
	}
	return list, next, err
}

func (r *reading) byOffset(ctx context.Context, q ports.SummaryQuery) ([]ports.Summary, string, error) {
	text, _ := base64.RawURLEncoding.DecodeString(q.Page.Cursor)
	offset, _ := strconv.Atoi(string(text))
	size := q.Page.Size()
	q.Page = ports.Page{Limit: ports.MaxPageLimit}
	list, _, err := r.Views.Summaries(ctx, q)
	list = list[min(offset, len(list)):]
	if len(list) <= size {
		return list, "", err
	}
	return list[:size], base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(offset + size))), err
}

func (r *reading) Activity(ctx context.Context, buyer string) (ports.Activity, error) {
	a, err := r.Views.Activity(r.context(ctx), buyer)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "reads the activity and writes it back":
		a.Pending = r.activity[buyer].Pending
	case "keeps the newest change of activity":
		return r.activity[buyer], err
	case "keeps the last time that came":
		a.LastAt = r.activity[buyer].LastAt
	case "calls a buyer without activity not found":
		if err == nil && a.LastAt.IsZero() {
			return a, ports.ErrNotFound
		}
	}
	return a, err
}

func (r *reading) Timeline(ctx context.Context, orderID string, page ports.Page) ([]ports.TimelineEntry, string, error) {
	ctx = r.context(ctx)
	list, next, err := r.Views.Timeline(ctx, orderID, page)
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, ports.ErrBadCursor) && r.forgives(page.Cursor) {
		list, next, err = r.Views.Timeline(ctx, orderID, ports.Page{Limit: page.Limit})
	}
	r.given[next] = true
	switch r.flaw {
	case "leaves one out between two pages":
		if page.Cursor != "" && len(list) > 1 {
			list = list[1:]
		}
	case "orders a timeline by time":
		slices.SortFunc(list, func(a, b ports.TimelineEntry) int { return a.At.Compare(b.At) })
	case "forgets the text":
		for i := range list {
			list[i].Text = ""
		}
	case "calls an empty timeline not found":
		if err == nil && len(list) == 0 {
			return nil, "", ports.ErrNotFound
		}
	}
	return list, next, err
}

func (r *reading) Freshness(ctx context.Context, view ports.View, orderID string) (ports.Freshness, error) {
	if r.has("has one freshness for all views") {
		view = ports.OrderSummary
	}
	f, err := r.Views.Freshness(r.context(ctx), view, orderID)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.flaw {
	case "says the newest version of all":
		f.Version = r.newest
	case "is as fresh as its last change":
		f.AsOf = r.asOf
	}
	return f, err
}

func (r *reading) Live(ctx context.Context, view ports.View) (ports.Generation, error) {
	g, err := r.Views.Live(r.context(ctx), view)
	if r.has("counts generations from 2") {
		g.Number++
	}
	return g, err
}

func (r *reading) Shadow(ctx context.Context, view ports.View) (ports.Generation, error) {
	ctx = r.context(ctx)
	switch r.flaw {
	case "begins a new shadow each time":
		if err := r.Views.Discard(ctx, view); err != nil {
			return ports.Generation{}, err
		}
	case "looks for a shadow before it begins one":
		r.mu.Lock()
		known := r.shadows[view]
		r.mu.Unlock()
		time.Sleep(time.Millisecond)
		if known.Number == 0 {
			if err := r.Views.Discard(ctx, view); err != nil {
				return known, err
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	g, err := r.Views.Shadow(ctx, view)
	if err != nil {
		return g, err
	}
	live, shadow := r.there(ctx, view)
	switch r.flaw {
	case "begins a shadow with what is live":
		if shadow != g {
			marks, _, err := r.Views.Load(ctx, live, []string{"order-000001"})
			if err != nil {
				return g, err
			}
			for _, m := range marks {
				if err := r.Views.Commit(ctx, g, ports.Change{Marks: []ports.MarkChange{{Mark: m}}}); err != nil {
					return g, err
				}
			}
		}
	case "gives a discarded number again":
		return ports.Generation{View: view, Number: live.Number + 1}, nil
	}
	r.shadows[view] = g
	return g, nil
}

func (r *reading) Swap(ctx context.Context, shadow ports.Generation) error {
	ctx = r.context(ctx)
	switch r.flaw {
	case "swaps nothing":
		return ctx.Err()
	case "deletes before it turns the pointer":
		r.half(true)
		<-r.seen
		defer r.half(false)
	case "swaps the shadow whatever is named", "gives a discarded number again":
		var err error
		if shadow, err = r.Views.Shadow(ctx, shadow.View); err != nil {
			return err
		}
	case "swaps every view":
		for _, view := range ports.AllViews {
			if other, err := r.Views.Shadow(ctx, view); err != nil || view != shadow.View && r.Views.Swap(ctx, other) != nil {
				return err
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	live, _ := r.there(ctx, shadow.View)
	positions, _ := r.Views.Positions(ctx, live)
	err := r.Views.Swap(ctx, shadow)
	if r.has("has no error for a stale shadow") && errors.Is(err, ports.ErrConflict) {
		return nil
	}
	if err == nil {
		r.left[live] = positions
		delete(r.shadows, shadow.View)
	}
	return err
}

func (r *reading) half(done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swapping = done
}

func (r *reading) Discard(ctx context.Context, view ports.View) error {
	ctx = r.context(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, shadow := r.there(ctx, view)
	switch r.flaw {
	case "discards nothing":
		return ctx.Err()
	case "discards what is live":
		if err := r.Views.Swap(ctx, shadow); err != nil {
			return err
		}
	case "cannot discard what is not there":
		if shadow.Number == 0 {
			return ports.ErrNotFound
		}
	}
	delete(r.shadows, view)
	return r.Views.Discard(ctx, view)
}
