package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"hexorders/app/readside"
	"hexorders/core/order"
	"hexorders/ports"
)

// orderData is what everybody has of one order.
type orderData struct {
	id       string
	stored   ports.ScannedOrder
	messages []ports.Message // of the store, by version
	early    bool            // the messages were read before the order, so that the latest may be missing
	records  []event         // of the topic, as they stand there
	progress ports.Progress  // of the views
}

// orderEvents are the events of an order from version 1 on, as the views should have them.
type orderEvents struct {
	id      string
	version int // of the order in the store
	events  []event
	missing []int // versions that are not in the topic, as far as is known
	// unknown: events are missing that nobody has. The order is then known by its state alone.
	unknown bool
}

// judge compares what store and topic have of an order. What may be on its way is judged again later.
func (c *check) judge(ctx context.Context, d *orderData) error {
	c.report.Orders++
	o := orderEvents{id: d.id}
	committed, err := c.committed(ctx, d, &o)
	if err != nil {
		return err
	}
	first := c.records(d, committed, o.version)
	c.collect(d, committed, first, &o)
	c.checkState(d, first, &o)
	if o.unknown {
		c.report.Unknown++
		if err := c.expectUnknown(d); err != nil {
			return err
		}
	}
	if d.progress.Version > o.version {
		now, err := c.versionNow(ctx, d.id)
		if err != nil {
			return err
		}
		if now < d.progress.Version {
			c.differ(Difference{
				Kind: AheadInViews, Order: d.id, Version: d.progress.Version,
				Detail: fmt.Sprintf("the views have version %d, the store %d", d.progress.Version, now),
			})
		}
	}
	if len(o.missing) > 0 || c.options.ReadModel != nil && (d.progress.Version < o.version || d.progress.Parked != "") {
		return c.postpone(&o)
	}
	return c.expect(&o, d.progress)
}

// committed are the order's messages in the store, by version, up to the version that the order had when it was read.
func (c *check) committed(ctx context.Context, d *orderData, o *orderEvents) (map[int]ports.Message, error) {
	if d.stored.Err == nil {
		o.version = d.stored.Order.Version()
	}
	if d.early && len(d.messages) < o.version {
		var err error
		if d.messages, err = c.messagesNow(ctx, d.id); err != nil {
			return nil, err
		}
	}
	newest := 0
	if n := len(d.messages); n > 0 {
		newest = d.messages[n-1].Version
	}
	if d.stored.Err != nil {
		c.differ(Difference{Kind: DamagedOrder, Order: d.id, Detail: d.stored.Err.Error()})
		o.version = newest
	} else if newest > o.version {
		// The order was read first, so it may have got more events since. Then it has them by now.
		now, err := c.versionNow(ctx, d.id)
		if err != nil {
			return nil, err
		}
		if now < newest {
			c.differ(Difference{
				Kind: DamagedOrder, Order: d.id, Version: now,
				Detail: fmt.Sprintf("its state is version %d, its events go to version %d", now, newest),
			})
		}
	}
	committed := make(map[int]ports.Message, len(d.messages))
	for _, m := range d.messages {
		if m.Version > o.version {
			break
		}
		c.report.Events++
		if readside.WellFormed(m) {
			committed[m.Version] = m
			continue
		}
		c.differ(Difference{
			Kind: DamagedEvent, Order: d.id, Version: m.Version, Detail: fmt.Sprintf("its id is %q", m.ID),
		})
	}
	return committed, nil
}

// records compares the topic's records of an order with what was committed, and returns the first one of each version.
func (c *check) records(d *orderData, committed map[int]ports.Message, version int) map[int]event {
	first := make(map[int]event, len(d.records))
	told := map[int]bool{}
	tell := func(kind Kind, e event, detail string) {
		if !told[e.Version] {
			c.differ(Difference{Kind: kind, Order: d.id, Version: e.Version, Detail: detail})
		}
		told[e.Version] = true
	}
	highest := map[*shard]int{}
	for _, e := range d.records {
		c.report.Records++
		was, again := first[e.Version]
		stored, has := committed[e.Version]
		switch {
		case has && !same(e.Message, stored):
			tell(AlteredInTopic, e, fmt.Sprintf("the topic has %s, the store %s", inWords(e.Message), inWords(stored)))
		case e.Version > version:
			tell(InventedInTopic, e, fmt.Sprintf("it is %s; the order is at version %d", inWords(e.Message), version))
		case !has && again && !same(e.Message, was.Message):
			tell(AlteredInTopic, e, fmt.Sprintf("the topic has %s and %s", inWords(was.Message), inWords(e.Message)))
		}
		if again {
			c.report.Duplicates++
			continue
		}
		first[e.Version] = e
		if e.Version < highest[e.shard] {
			tell(OutOfOrder, e, fmt.Sprintf("it stands after version %d", highest[e.shard]))
		}
		highest[e.shard] = max(highest[e.shard], e.Version)
	}
	return first
}

func same(a, b ports.Message) bool {
	return a.Type == b.Type && a.OccurredAt.UnixMilli() == b.OccurredAt.UnixMilli() && bytes.Equal(a.Payload, b.Payload)
}

func inWords(m ports.Message) string {
	return fmt.Sprintf("%s of %s: %.200s", m.Type, m.OccurredAt.UTC().Format(time.RFC3339Nano), m.Payload)
}

// collect finds an order's events from the first on: what the store has of them, else what the topic has.
func (c *check) collect(d *orderData, committed map[int]ports.Message, first map[int]event, o *orderEvents) {
	lower := false // a lower version is in the store
	for version := 1; version <= o.version; version++ {
		m, has := committed[version]
		e, published := first[version]
		switch {
		case has && !published:
			o.missing = append(o.missing, version)
			e = event{Message: m}
		case has:
			e.Message = m
		case published && e.OccurredAt.Before(c.options.Trimmed):
			c.report.TopicOnly++
		case published, lower, d.stored.Err != nil, !d.stored.Order.CreatedAt().Before(c.options.Trimmed):
			c.differ(Difference{Kind: MissingInStore, Order: d.id, Version: version})
		}
		lower = lower || has
		if !has && !published {
			o.unknown = true
		} else if !o.unknown {
			o.events = append(o.events, e)
		}
	}
}

// checkState compares the order's state with what its events add up to.
func (c *check) checkState(d *orderData, first map[int]event, o *orderEvents) {
	if o.unknown || d.stored.Err != nil || o.version == 0 {
		return
	}
	stored := d.stored.Order.Snapshot()
	problem := c.addUp(o.events, stored)
	if problem == nil {
		return
	}
	if len(first) >= o.version { // perhaps it is the event in the store that was changed
		published := make([]event, 0, o.version)
		for version := 1; version <= o.version; version++ {
			if e, ok := first[version]; ok {
				published = append(published, e)
			}
		}
		if c.addUp(published, stored) == nil {
			o.events = published
		}
	}
	c.differ(*problem)
}

// addUp returns what is wrong when events do not add up to a state.
func (c *check) addUp(events []event, want order.Snapshot) *Difference {
	decoded := make([]order.Event, len(events))
	for i, e := range events {
		var err error
		if decoded[i], err = c.options.Decode(e.Message); err != nil {
			return &Difference{Kind: DamagedEvent, Order: want.ID, Version: e.Version, Detail: err.Error()}
		}
	}
	o, err := order.Replay(decoded)
	if err != nil {
		return &Difference{Kind: DamagedOrder, Order: want.ID, Detail: err.Error()}
	}
	if got := o.Snapshot(); !sameState(got, want) {
		return &Difference{
			Kind: DamagedOrder, Order: want.ID, Version: want.Version,
			Detail: fmt.Sprintf("its state is %s, its events say %s", stateInWords(want), stateInWords(got)),
		}
	}
	return nil
}

func sameState(a, b order.Snapshot) bool {
	return a.ID == b.ID && a.Buyer == b.Buyer && slices.Equal(a.Items, b.Items) && a.Status == b.Status && a.Version == b.Version &&
		a.CreatedAt.UnixMilli() == b.CreatedAt.UnixMilli() && a.UpdatedAt.UnixMilli() == b.UpdatedAt.UnixMilli()
}

func stateInWords(s order.Snapshot) string {
	return fmt.Sprintf("version %d, %s, of buyer %s, with %.200v, created %s, updated %s", s.Version, s.Status, s.Buyer, s.Items,
		s.CreatedAt.UTC().Format(time.RFC3339Nano), s.UpdatedAt.UTC().Format(time.RFC3339Nano))
}

// postpone keeps an order for settle.
func (c *check) postpone(o *orderEvents) error {
	var value packer
	value.number(int64(o.version))
	unknown := int64(0)
	if o.unknown {
		unknown = 1
	}
	value.number(unknown)
	value.number(int64(len(o.missing)))
	for _, version := range o.missing {
		value.number(int64(version))
	}
	value.number(int64(len(o.events)))
	for _, e := range o.events {
		name := ""
		if e.shard != nil {
			name = e.shard.name
		}
		value.text(name)
		value.number(e.ordinal) // 0 when it is in no shard
		value.message(e.Message)
	}
	return c.pending.add([]byte(o.id), value)
}

func (c *check) postponed(id string, value unpacker) *orderEvents {
	o := &orderEvents{id: id, version: int(value.number()), unknown: value.number() == 1}
	for range value.number() {
		o.missing = append(o.missing, int(value.number()))
	}
	for range value.number() {
		name, ordinal := value.text(), value.number()
		e := event{Message: value.message(id), ordinal: ordinal}
		if ordinal > 0 {
			e.shard = c.shard(name)
		}
		o.events = append(o.events, e)
	}
	return o
}

// firstPause is about what an event takes that is on its way. Each pause after it is twice as long.
const firstPause = 50 * time.Millisecond

// settle judges the postponed orders again and again, with what was published meanwhile, until none is left. What is not
// there at the end of its time is missing.
func (c *check) settle(ctx context.Context) error {
	deadline := time.Now().Add(c.options.Settle)
	for pause, last := firstPause, false; !last; pause *= 2 {
		pending, err := c.pending.sorted()
		if err != nil || pending.done {
			return err
		}
		c.options.Report(Progress{Step: "settle"})
		left := time.Until(deadline)
		last = left <= pause
		select {
		case <-time.After(min(pause, left)):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := c.readParked(ctx); err != nil {
			return err
		}
		if err := c.readTopic(ctx, &c.tail, "settle"); err != nil {
			return err
		}
		read, published := c.pending, c.tail
		c.pending, c.tail = sorter{folder: c.folder}, sorter{folder: c.folder}
		err = c.judgePending(ctx, pending, &published, last)
		if err = errors.Join(err, read.close(), published.close()); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) judgePending(ctx context.Context, pending *cursor, published *sorter, last bool) error {
	tail, err := published.sorted()
	if err != nil {
		return err
	}
	for !pending.done {
		var orders []*orderEvents
		var ids []string
		for size := 0; !pending.done && len(orders) < orderPage && size < ports.MaxPageBytes; {
			size += len(pending.value)
			orders = append(orders, c.postponed(string(pending.key), unpacker(pending.value)))
			ids = append(ids, string(pending.key))
			if err := pending.next(); err != nil {
				return err
			}
		}
		progress, err := c.loadProgress(ctx, ids)
		if err != nil {
			return err
		}
		for _, o := range orders {
			arrived, err := c.eventsOf(tail, o.id)
			if err != nil {
				return err
			}
			if err := c.judgeAgain(ctx, o, arrived, progress[o.id], last); err != nil {
				return err
			}
		}
	}
	return nil
}

// eventsOf reads the records of an order, and passes over those of the orders before it.
func (c *check) eventsOf(records *cursor, id string) (events []event, err error) {
	for !records.done && orderOf(records.key) <= id {
		found, group, err := c.recordsOf(records)
		if err != nil {
			return nil, err
		}
		if found == id {
			events = group
		}
	}
	return events, nil
}

// judgeAgain decides about an order whose last events may have been on their way, or postpones it once more.
func (c *check) judgeAgain(ctx context.Context, o *orderEvents, arrived []event, p ports.Progress, last bool) error {
	for _, e := range arrived {
		if i := slices.Index(o.missing, e.Version); i >= 0 {
			o.missing = slices.Delete(o.missing, i, i+1)
			c.arrived(o, e)
		}
	}
	parked, err := c.parkedVersions(ctx, o.id)
	if err != nil {
		return err
	}
	lost := slices.DeleteFunc(slices.Clone(o.missing), func(version int) bool { return slices.Contains(parked, version) })
	target := o.version
	if len(parked) > 0 {
		target = min(target, parked[0]-1)
	}
	behind := c.options.ReadModel != nil && (p.Version < target || p.Parked != "")
	if !last && (len(lost) > 0 || behind) {
		return c.postpone(o)
	}
	if len(parked) > 0 {
		c.differ(Difference{
			Kind: ParkedByBroker, Order: o.id, Version: parked[0], Detail: fmt.Sprintf("%d events wait", len(parked)),
		})
	}
	for _, version := range lost {
		d := Difference{Kind: MissingInTopic, Order: o.id, Version: version}
		if e := o.event(version); e != nil {
			d.Detail = fmt.Sprintf("%s of %s", e.Type, e.OccurredAt.UTC().Format(time.RFC3339Nano))
		}
		c.differ(d)
	}
	switch {
	case !behind:
	case p.Parked != "" || p.Buffered > 0:
		c.differ(Difference{
			Kind: ParkedByViews, Order: o.id, Version: p.Version + 1,
			Detail: cmp.Or(p.Parked, fmt.Sprintf("version %d has not come", p.Version+1)),
		})
	default:
		c.differ(Difference{
			Kind: MissingInViews, Order: o.id, Version: p.Version + 1,
			Detail: fmt.Sprintf("the views have version %d, the store %d", p.Version, o.version),
		})
	}
	return c.expect(o, p)
}

// arrived takes in an event that was published after the topic was read.
func (c *check) arrived(o *orderEvents, e event) {
	stored := o.event(e.Version)
	if stored == nil {
		return
	}
	stored.shard, stored.ordinal = e.shard, inTail
	if !same(stored.Message, e.Message) {
		c.differ(Difference{
			Kind: AlteredInTopic, Order: o.id, Version: e.Version,
			Detail: fmt.Sprintf("the topic has %s, the store %s", inWords(e.Message), inWords(stored.Message)),
		})
	}
}

// event is the event of a version, nil when nothing is known of it.
func (o *orderEvents) event(version int) *event {
	if version > len(o.events) {
		return nil
	}
	return &o.events[version-1]
}

// parkedVersions are those of an order that the broker refused, in order.
func (c *check) parkedVersions(ctx context.Context, id string) (versions []int, err error) {
	if !c.parked[id] {
		return nil, nil
	}
	messages, err := c.options.Parking.Messages(ctx, id)
	for _, m := range messages {
		versions = append(versions, m.Version)
	}
	return versions, err
}

// expect adds what an order's events make of the rows of the views, as far as the views have applied them.
func (c *check) expect(o *orderEvents, p ports.Progress) error {
	if o.unknown {
		return nil
	}
	fold := readside.NewFold(c.views, c.options.Decode)
	epoch := 0
	for _, e := range o.events {
		if e.Version > p.Version {
			break
		}
		at, err := e.epoch()
		if err != nil {
			return err
		}
		if at > epoch { // an event takes effect after those before it
			if err := c.expectChanges(epoch, fold.Changes()); err != nil {
				return err
			}
			if epoch = at; epoch == never {
				break
			}
		}
		if err := fold.Apply(e.Message); err != nil {
			break // told by checkState, or by what the views say of their parked orders
		}
	}
	if epoch != never {
		if err := c.expectChanges(epoch, fold.Changes()); err != nil {
			return err
		}
	}
	if state := fold.Order(); state.Version == p.Version && !bytes.Equal(state.Document(), p.State) {
		c.differ(Difference{
			Kind: WrongProgress, Order: o.id, Version: p.Version,
			Detail: fmt.Sprintf("it is %.300s, the events say %.300s", p.State, state.Document()),
		})
	}
	return nil
}

// expectUnknown marks the rows that an order has a part in of which early events are unknown.
func (c *check) expectUnknown(d *orderData) error {
	for i := range c.views {
		if err := c.expectChange(i, d.id, packer{unknownOrder}); err != nil {
			return err
		}
	}
	if d.stored.Err != nil {
		return nil
	}
	fold := readside.NewFold(c.views, c.options.Decode)
	fold.Skip(d.stored.Order.Snapshot())
	for i, changes := range fold.Changes() {
		var keys []string
		for _, row := range slices.Concat(changes.Insert, changes.Put) {
			keys = append(keys, row.Key)
		}
		for _, a := range changes.Add {
			keys = append(keys, a.Key)
		}
		for _, key := range keys {
			if err := c.expectChange(i, key, packer{unknownRow}); err != nil {
				return err
			}
		}
	}
	return nil
}

// expectChange adds a change of a row. Those of one key are read in the order in which they were added.
func (c *check) expectChange(view int, key string, value packer) error {
	c.sequence++
	k := append(append(append(make([]byte, 0, len(key)+10), byte(view)), key...), 0)
	return c.expected.add(binary.BigEndian.AppendUint64(k, c.sequence), value)
}
