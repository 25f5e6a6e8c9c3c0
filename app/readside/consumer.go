package readside

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"hexorders/ports"
)

// errReplaced ends a subscription: what it has read does not follow what the read model includes.
var errReplaced = errors.New("the read model was replaced, or its places were moved")

// maxRemembered is the size of the largest state that is remembered, which bounds the memory.
const maxRemembered = 4 << 10

// consumer feeds one generation. What it remembers of the store is a guess that each Commit checks: when another consumer
// has changed it meanwhile, it forgets all, loads again, and computes the batch again.
type consumer struct {
	*Engine
	generation ports.Generation
	views      []View                                          // those that the generation has
	current    func(context.Context) (ports.Generation, error) // the generation to feed
	looked     time.Time                                       // when current was last asked
	orders     *lru.Cache[string, knownOrder]                  // seen lately
	asOf       map[string]time.Time                            // by shard, as far as this consumer has committed it

	mu     sync.Mutex        // a subscriber may ask where to resume while it delivers
	places map[string]string // by shard: where the next batch begins
}

func newConsumer(e *Engine, g ports.Generation, current func(context.Context) (ports.Generation, error)) *consumer {
	orders, _ := lru.New[string, knownOrder](e.options.Remember) // fails only for a size below 1
	return &consumer{
		Engine: e, generation: g, views: e.viewsOf(g), current: current, looked: time.Now(),
		orders: orders, asOf: map[string]time.Time{}, places: map[string]string{},
	}
}

// resume is the read model's answer to a subscriber: all places. It knows every shard: one that it has nothing of begins
// at the first message, even if the group came further on behalf of another generation.
func (c *consumer) resume(ctx context.Context, shards []string) ([]ports.Place, error) {
	stored, err := c.storedPlaces(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, shard := range shards {
		c.places[shard] = stored[shard]
		stored[shard] = c.places[shard] // "" when nothing is stored
	}
	from := make([]ports.Place, 0, len(stored))
	for shard, next := range stored {
		from = append(from, ports.Place{Shard: shard, Next: next})
	}
	return from, nil
}

func (c *consumer) storedPlaces(ctx context.Context) (map[string]string, error) {
	places, err := c.options.Store.Places(ctx, c.generation)
	if err != nil {
		return nil, err
	}
	byShard := make(map[string]string, len(places))
	for _, p := range places {
		byShard[p.Shard] = p.Next
	}
	return byShard, nil
}

// take makes a batch take effect, however long that takes. Its only errors are the end of ctx and errReplaced.
func (c *consumer) take(ctx context.Context, b ports.Batch) error {
	t := taking{batch: b, at: c.options.Now()}
	c.mu.Lock()
	t.from = maps.Clone(c.places)
	c.mu.Unlock()
	attempt := 0
	return c.retry(ctx, c.newBackoff(), func() error {
		err := c.try(ctx, &t)
		if errors.Is(err, ports.ErrConflict) && !t.careful {
			c.lost(&t, err)
			err = c.try(ctx, &t)
		}
		if errors.Is(err, errReplaced) {
			return backoff.Permanent(err)
		}
		return err
	}, func(err error, wait time.Duration) {
		if errors.Is(err, ports.ErrConflict) {
			c.lost(&t, err)
			return
		}
		attempt++
		c.status.failed.Add(1)
		c.options.Logger.Warn("a batch could not be committed; trying again",
			"messages", len(b.Messages), "attempt", attempt, "wait", wait, "err", err)
	})
}

// taking is a batch on its way into the store.
type taking struct {
	batch   ports.Batch
	at      time.Time         // when the batch came
	from    map[string]string // by shard: where the batch begins
	careful bool              // believe nothing but what was read
}

// lost is a try that another consumer was faster than.
func (c *consumer) lost(t *taking, err error) {
	t.careful = true
	c.status.conflicts.Add(1)
	c.options.Logger.Debug("another consumer was faster; loading again", "err", err)
	c.orders.Purge()
}

// try makes one transaction of a batch.
func (c *consumer) try(ctx context.Context, t *taking) error {
	if err := c.look(ctx); err != nil {
		return err
	}
	if t.careful {
		if err := c.findPlaces(ctx, t); err != nil {
			return err
		}
	}
	b, err := c.compute(ctx, t)
	if err != nil {
		return err
	}
	change := b.change()
	change.Places, change.Gaps = c.moves(t), t.batch.Gaps
	if len(change.Places) > 0 || len(change.Progress) > 0 {
		if err := c.options.Store.Commit(ctx, c.generation, change); err != nil {
			return err
		}
	}
	c.committed(b, change)
	return nil
}

// look ends the subscription of a generation that another one has replaced.
func (c *consumer) look(ctx context.Context) error {
	if time.Since(c.looked) < c.options.LookEvery {
		return nil
	}
	generation, err := c.current(ctx)
	if err != nil {
		return err
	}
	if generation.Number != c.generation.Number {
		return errReplaced
	}
	parked, err := c.options.Store.Parked(ctx, c.generation)
	if err != nil {
		return err
	}
	c.status.parkedNow(parked)
	c.looked = time.Now()
	return nil
}

// findPlaces reads where the batch has to begin. Another consumer may have committed a part of it: then the stored place
// is in it. Any other place belongs to another reading, of a consumer that is further, or of a store that was dropped or
// restored: then this subscription would leave messages out.
func (c *consumer) findPlaces(ctx context.Context, t *taking) error {
	stored, err := c.storedPlaces(ctx)
	if err != nil {
		return err
	}
	places := t.places()
	for _, p := range places {
		place := stored[p.Shard]
		if place != t.from[p.Shard] && !slices.Contains(places, ports.Place{Shard: p.Shard, Next: place}) {
			return errReplaced
		}
	}
	for _, p := range places {
		t.from[p.Shard] = stored[p.Shard]
	}
	return nil
}

// places are all that the batch names.
func (t *taking) places() (places []ports.Place) {
	for _, gap := range t.batch.Gaps {
		places = append(places, gap.Place)
	}
	for _, d := range t.batch.Messages {
		places = append(places, d.Place)
	}
	return append(places, t.batch.CaughtUp...)
}

// compute loads what the batch needs and computes its changes. Messages that cannot be applied are tried a few times, all
// of the batch together, so that many of them take no more time than one.
func (c *consumer) compute(ctx context.Context, t *taking) (*batch, error) {
	l, err := c.load(ctx, t)
	if err != nil {
		return nil, err
	}
	waits := c.newBackoff()
	waits.InitialInterval = c.options.TryAgain
	waits.Reset()
	for try := 1; ; try++ {
		b := newBatch(c.views, c.options.Decode, l)
		for _, d := range t.batch.Messages {
			b.take(d.Message)
		}
		if len(b.failures) == 0 || try >= c.options.Tries {
			return b, nil
		}
		if err := pause(ctx, waits.NextBackOff()); err != nil {
			return nil, err
		}
	}
}

// loaded is what a batch needs to know of its orders.
type loaded struct {
	index    map[string]int // where an order stands in orders, by id
	orders   []knownOrder
	buffered map[string][]ports.Message // by order, where they may be needed
}

// load reads the progress of the batch's orders. An order that begins in the batch, as nearly all that are not
// remembered do, is believed to be new without asking, unless careful: if it is not, Commit says so.
func (c *consumer) load(ctx context.Context, t *taking) (*loaded, error) {
	l := &loaded{index: make(map[string]int, len(t.batch.Messages)), orders: make([]knownOrder, 0, len(t.batch.Messages))}
	var unknown []string
	for _, d := range t.batch.Messages {
		if _, ok := l.index[d.OrderID]; ok || !wellFormed(d.Message) {
			continue
		}
		known, remembered := c.orders.Get(d.OrderID)
		known.progress.OrderID = d.OrderID
		l.index[d.OrderID] = len(l.orders)
		l.orders = append(l.orders, known)
		if !remembered && (t.careful || d.Version > 1) {
			unknown = append(unknown, d.OrderID)
		}
	}
	if len(unknown) > 0 {
		progress, err := c.options.Store.Load(ctx, c.generation, unknown)
		if err != nil {
			return nil, err
		}
		for id, p := range progress {
			l.orders[l.index[id]] = knownOrder{progress: p}
		}
	}
	return l, c.loadBuffered(ctx, t, l)
}

// loadBuffered reads an order's buffered messages when one of the batch may be among them or close the gap before them. A
// version that is higher than all that were received is neither. So a parked order that gets message after message
// costs no more than another one.
func (c *consumer) loadBuffered(ctx context.Context, t *taking, l *loaded) error {
	for _, d := range t.batch.Messages {
		if !wellFormed(d.Message) {
			continue
		}
		p := &l.orders[l.index[d.OrderID]].progress
		_, done := l.buffered[d.OrderID]
		if done || p.Buffered == 0 || d.Version <= p.Version || d.Version > p.Newest {
			continue
		}
		messages, err := c.options.Store.Buffered(ctx, c.generation, d.OrderID)
		if err != nil {
			return err
		}
		if l.buffered == nil {
			l.buffered = map[string][]ports.Message{}
		}
		l.buffered[d.OrderID] = messages
	}
	return nil
}

// moves are the new places of the shards. A place follows the reading; AsOf never goes back, as far as this consumer
// knows.
func (c *consumer) moves(t *taking) []ports.PlaceChange {
	var moves []ports.PlaceChange
	index := map[string]int{}
	move := func(shard string) *ports.PlaceChange {
		i, ok := index[shard]
		if !ok {
			i = len(moves)
			index[shard] = i
			moves = append(moves, ports.PlaceChange{Shard: shard, From: t.from[shard], To: t.from[shard]})
		}
		return &moves[i]
	}
	for _, gap := range t.batch.Gaps {
		move(gap.Place.Shard).To = gap.Place.Next
	}
	for _, d := range t.batch.Messages {
		m := move(d.Place.Shard)
		if m.AsOf = d.OccurredAt; t.at.Before(m.AsOf) { // by another machine's clock
			m.AsOf = t.at
		}
		if d.Place.Next != "" {
			m.To = d.Place.Next
		}
	}
	for _, p := range t.batch.CaughtUp {
		m := move(p.Shard)
		m.AsOf, m.To = t.at, cmp.Or(p.Next, m.To)
	}
	moves = slices.DeleteFunc(moves, func(m ports.PlaceChange) bool { // nothing but what was committed before
		return m.To == m.From && m.To != "" && !m.AsOf.Equal(t.at)
	})
	for i, m := range moves {
		if known := c.asOf[m.Shard]; known.After(m.AsOf) && !known.After(t.at) { // unless the clock was set back
			moves[i].AsOf = known
		}
	}
	return moves
}

// committed remembers what a batch has become.
func (c *consumer) committed(b *batch, change ports.Change) {
	c.mu.Lock()
	for _, m := range change.Places {
		c.places[m.Shard] = m.To
		c.asOf[m.Shard] = m.AsOf
	}
	c.mu.Unlock()
	for i := range b.orders {
		known := b.orders[i].knownOrder
		known.order.document = nil // it is the State
		if len(known.progress.State) > maxRemembered {
			c.orders.Remove(known.progress.OrderID)
		} else {
			c.orders.Add(known.progress.OrderID, known)
		}
	}
	c.status.count(b)
	c.report(b)
	c.reportGaps(change.Gaps)
}

// viewsOf are the views that a generation has, of those of this program.
func (e *Engine) viewsOf(g ports.Generation) []View {
	return slices.DeleteFunc(slices.Clone(e.options.Views), func(v View) bool { return !slices.Contains(g.Views, v.Name) })
}
