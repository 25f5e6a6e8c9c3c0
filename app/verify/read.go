package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"hexorders/app/readside"
	"hexorders/ports"
)

// The pages of a scan: so large that a round trip matters little, so small that memory does not.
const (
	orderPage   = 500
	messagePage = 1000
)

// event is an event of an order and where the topic has it first.
type event struct {
	ports.Message
	shard   *shard // nil: it is not in the topic
	ordinal int64  // in the shard, from 1 on; inTail when it came after the topic was read
}

const inTail = math.MaxInt64

// shard is one of the topic, with what was read of it.
type shard struct {
	name    string
	number  uint32
	records int64       // read so far
	end     ports.Place // of the last of them; zero before the first
	// applied is, by vector, the ordinal of the last record that the views had then; nil when a vector names a place that
	// the topic does not have.
	applied []int64
	unmoved bool // when progress was last read, the views were where they were while all rows were read
}

// vector is where the views were, by shard.
type vector map[string]string

func (c *check) shard(name string) *shard {
	s := c.shards[name]
	if s == nil {
		s = &shard{name: name, number: uint32(len(c.shards))}
		c.shards[name] = s
	}
	return s
}

func (c *check) readVector(ctx context.Context) (vector, error) {
	places, err := c.options.ReadModel.Places(ctx, c.generation)
	v := make(vector, len(places))
	for _, p := range places {
		v[p.Shard] = p.Next
	}
	return v, err
}

// readRows reads the rows of all views, page by page. While the places of the views stay the same around a page, the page
// is what the topic adds up to at these places.
func (c *check) readRows(ctx context.Context) error {
	for i, view := range c.views {
		if err := c.addVector(ctx); err != nil {
			return err
		}
		q := ports.Query{View: view.Name, Page: ports.Page{Limit: ports.MaxPageLimit}}
		for {
			page, err := c.readPage(ctx, &q)
			if err != nil {
				return err
			}
			for _, row := range page.Rows {
				if err := c.addRow(i, row); err != nil {
					return err
				}
			}
			c.options.Report(Progress{Step: "rows", Done: c.report.Rows})
			if page.Next == "" {
				break
			}
			q.Page.Cursor = page.Next
		}
		c.viewEnds = append(c.viewEnds, len(c.vectors)-1)
	}
	return c.rows.finish()
}

// readPage reads a page between two equal vectors, the last one. It asks for smaller pages while the views move.
func (c *check) readPage(ctx context.Context, q *ports.Query) (ports.RowPage, error) {
	const tries = 100
	for range tries {
		page, err := c.options.ReadModel.List(ctx, *q)
		if err != nil {
			return ports.RowPage{}, err
		}
		before := len(c.vectors)
		if err := c.addVector(ctx); err != nil {
			return ports.RowPage{}, err
		}
		if len(c.vectors) == before {
			q.Page.Limit = min(2*q.Page.Limit, ports.MaxPageLimit)
			return page, nil
		}
		q.Page.Limit = max(q.Page.Limit/2, 1)
	}
	return ports.RowPage{}, errMoved
}

// addVector appends the vector of now, unless it is still the last one.
func (c *check) addVector(ctx context.Context) error {
	now, err := c.readVector(ctx)
	if err != nil {
		return err
	}
	if n := len(c.vectors); n == 0 || !maps.Equal(c.vectors[n-1], now) {
		c.vectors = append(c.vectors, now)
	}
	return nil
}

var errRead = errors.New("the topic is read")

// readTopic reads the topic, from where it was read before, as far as it goes now.
func (c *check) readTopic(ctx context.Context, into *sorter, step string) error {
	var from []ports.Place
	for _, s := range c.shards {
		if s.end != (ports.Place{}) {
			from = append(from, s.end)
		}
	}
	open, err := c.options.Topic.Ahead(ctx, from)
	if err != nil {
		return err
	}
	var done, total int64
	for name, messages := range open {
		if total += messages; messages == 0 {
			delete(open, name)
		}
	}
	if len(open) == 0 {
		return nil
	}
	wanted := c.wantedPlaces()
	resume := func(context.Context, []string) ([]ports.Place, error) { return from, nil }
	err = c.options.Topic.Replay(ctx, resume, func(_ context.Context, b ports.Batch) error {
		for _, d := range b.Messages {
			s := c.shard(d.Place.Shard)
			s.records++
			s.end = d.Place
			if at, ok := wanted[d.Place]; ok {
				*at = s.records
			}
			if left, ok := open[s.name]; ok {
				if open[s.name] = left - 1; left == 1 {
					delete(open, s.name)
				}
			}
			if err := c.addRecord(into, s, d.Message); err != nil {
				return err
			}
		}
		for _, p := range b.CaughtUp {
			delete(open, p.Shard)
			if at, ok := wanted[p]; ok { // the views are behind records that are no events
				*at = c.shard(p.Shard).records
			}
		}
		done += int64(len(b.Messages))
		c.options.Report(Progress{Step: step, Done: done, Total: max(done, total)})
		if len(open) == 0 {
			return errRead
		}
		return nil
	})
	if err == nil {
		return errors.New("reading the topic ended without a reason")
	}
	if !errors.Is(err, errRead) {
		return err
	}
	return nil
}

func (c *check) addRecord(into *sorter, s *shard, m ports.Message) error {
	if !readside.WellFormed(m) || strings.ContainsFunc(m.OrderID, func(r rune) bool { return r < ' ' }) {
		if into == &c.topic {
			c.report.Records++
			c.differ(Difference{
				Kind: ForeignInTopic, Order: m.OrderID, Version: m.Version,
				Detail: fmt.Sprintf("message %d of shard %q is %q, of type %q", s.records, s.name, m.ID, m.Type),
			})
		}
		return nil
	}
	key := append(append(make([]byte, 0, len(m.OrderID)+13), m.OrderID...), 0)
	key = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(key, s.number), uint64(s.records))
	var value packer
	value.text(s.name)
	value.number(s.records)
	value.message(m)
	return into.add(key, value)
}

// orderOf is the order's id in the key of a record.
func orderOf(key []byte) string { return string(key[:len(key)-13]) }

func (p *packer) message(m ports.Message) {
	p.number(int64(m.Version))
	p.text(m.Type)
	p.number(m.OccurredAt.UnixMilli())
	p.text(string(m.Payload))
}

func (u *unpacker) message(orderID string) ports.Message {
	m := ports.Message{OrderID: orderID, Version: int(u.number()), Type: u.text()}
	m.ID = fmt.Sprintf("%s/%d", orderID, m.Version)
	m.OccurredAt = time.UnixMilli(u.number())
	m.Payload = []byte(u.text())
	return m
}

// recordsOf reads the records of the order that the cursor stands on.
func (c *check) recordsOf(records *cursor) (id string, events []event, err error) {
	id = orderOf(records.key)
	for !records.done && orderOf(records.key) == id {
		value := unpacker(records.value)
		s, ordinal := c.shard(value.text()), value.number()
		events = append(events, event{value.message(id), s, ordinal})
		if err := records.next(); err != nil {
			return id, nil, err
		}
	}
	return id, events, nil
}

// wantedPlaces are the places that vectors name, each with where its ordinal belongs.
func (c *check) wantedPlaces() map[ports.Place]*int64 {
	wanted := map[ports.Place]*int64{}
	for _, v := range c.vectors {
		for name, next := range v {
			if next != "" {
				ordinal := int64(-1)
				wanted[ports.Place{Shard: name, Next: next}] = &ordinal
			}
		}
	}
	c.ordinals = wanted
	return wanted
}

// placesInTopic turns the places of the vectors into ordinals, once the topic was read.
func (c *check) placesInTopic() {
	for _, s := range c.shards {
		s.applied = make([]int64, len(c.vectors))
		for i, v := range c.vectors {
			if v[s.name] == "" {
				continue
			}
			if s.applied[i] = *c.ordinals[ports.Place{Shard: s.name, Next: v[s.name]}]; s.applied[i] < 0 {
				s.applied = nil
				break
			}
		}
	}
}

// epoch is the first vector that includes an event which the views have applied now; never is none.
func (e event) epoch() (int, error) {
	if e.shard == nil || e.shard.unmoved {
		return 0, nil
	}
	if e.ordinal == inTail { // after all vectors, and its shard may have been empty before
		return never, nil
	}
	if e.shard.applied == nil {
		return 0, errMoved
	}
	i := sort.Search(len(e.shard.applied), func(i int) bool { return e.shard.applied[i] >= e.ordinal })
	if i == len(e.shard.applied) {
		return never, nil
	}
	return i, nil
}

const never = math.MaxInt32

// loadProgress reads how far the views are with these orders, and whether they have moved since their rows were read.
func (c *check) loadProgress(ctx context.Context, ids []string) (map[string]ports.Progress, error) {
	if c.options.ReadModel == nil {
		return nil, nil
	}
	progress, err := c.options.ReadModel.Load(ctx, c.generation, ids)
	if err != nil {
		return nil, err
	}
	now, err := c.readVector(ctx)
	for _, s := range c.shards {
		s.unmoved = !slices.ContainsFunc(c.vectors, func(v vector) bool { return v[s.name] != now[s.name] })
	}
	return progress, err
}

// readStore reads the store in the order of ids and beside it the topic, as it was read before. The topic can have nothing
// that the store does not have by now. Orders that may be on their way go to pending.
func (c *check) readStore(ctx context.Context) error {
	records, err := c.topic.sorted()
	if err != nil {
		return err
	}
	messages := &messageScan{store: c.options.Store}
	var total int64
	for _, s := range c.shards {
		total += s.records
	}
	after := ""
	for {
		orders, err := c.options.Store.ScanOrders(ctx, after, orderPage)
		if err != nil {
			return err
		}
		messages.early = true
		ids := make([]string, len(orders))
		for i, o := range orders {
			ids[i] = o.ID
		}
		progress, err := c.loadProgress(ctx, ids)
		if err != nil {
			return err
		}
		for _, o := range orders {
			if err := c.strays(ctx, records, messages, o.ID); err != nil {
				return err
			}
			d := orderData{id: o.ID, stored: o, progress: progress[o.ID]}
			if d.messages, d.early, err = messages.of(ctx, o.ID); err != nil {
				return err
			}
			if !records.done && orderOf(records.key) == o.ID {
				if _, d.records, err = c.recordsOf(records); err != nil {
					return err
				}
			}
			if err := c.judge(ctx, &d); err != nil {
				return err
			}
		}
		c.options.Report(Progress{Step: "store", Done: c.report.Events, Total: max(total, c.report.Events)})
		if len(orders) == 0 {
			return c.strays(ctx, records, messages, "")
		}
		after = ids[len(ids)-1]
	}
}

// strays judges what the topic and the outbox have of orders before an id, "" for no end, that the store does not have.
func (c *check) strays(ctx context.Context, records *cursor, messages *messageScan, before string) error {
	for !records.done && (before == "" || orderOf(records.key) < before) {
		id, events, err := c.recordsOf(records)
		if err != nil {
			return err
		}
		c.report.Records += int64(len(events))
		seen := map[int]bool{}
		for _, e := range events {
			if !seen[e.Version] {
				c.differ(Difference{Kind: InventedInTopic, Order: id, Version: e.Version, Detail: "the store does not have the order"})
			} else {
				c.report.Duplicates++
			}
			seen[e.Version] = true
		}
	}
	for {
		next, err := messages.peek(ctx)
		if err != nil || next == nil || before != "" && next.OrderID >= before {
			return err
		}
		group, _, err := messages.of(ctx, next.OrderID)
		if err != nil {
			return err
		}
		// An order that was created a moment ago is there by now, and is none of those that were to be verified.
		if now, err := c.versionNow(ctx, group[0].OrderID); err != nil {
			return err
		} else if now == 0 {
			c.differ(Difference{
				Kind: DamagedOrder, Order: group[0].OrderID, Detail: fmt.Sprintf("it has %d events, and no state", len(group)),
			})
		}
	}
}

// versionNow is the version of an order at this moment, 0 when there is none, and more than any when it cannot be read.
func (c *check) versionNow(ctx context.Context, id string) (int, error) {
	o, err := c.options.Store.Get(ctx, id)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return 0, nil
	case errors.Is(err, ports.ErrUnavailable), ctx.Err() != nil:
		return 0, err
	case err != nil:
		return math.MaxInt, nil // a damaged order is told elsewhere
	}
	return o.Version(), nil
}

// messageScan reads the store's messages in pages.
type messageScan struct {
	store ports.OrderScanner
	page  []ports.Message
	after ports.EventRef
	early bool // the page was read before the orders that it is compared with
	done  bool
}

func (s *messageScan) peek(ctx context.Context) (*ports.Message, error) {
	if len(s.page) == 0 && !s.done {
		page, err := s.store.ScanMessages(ctx, s.after, messagePage)
		if err != nil {
			return nil, err
		}
		s.page, s.done, s.early = page, len(page) == 0, false
		if n := len(page); n > 0 {
			s.after = ports.EventRef{OrderID: page[n-1].OrderID, Version: page[n-1].Version}
		}
	}
	if s.done {
		return nil, nil
	}
	return &s.page[0], nil
}

// of reads the messages of an order, if they come next. early is whether some of them may be missing.
func (s *messageScan) of(ctx context.Context, id string) (messages []ports.Message, early bool, err error) {
	for {
		next, err := s.peek(ctx)
		if err != nil {
			return nil, false, err
		}
		early = early || s.early || s.done
		if next == nil || next.OrderID != id {
			return messages, early, nil
		}
		messages = append(messages, *next)
		s.page = s.page[1:]
	}
}

// messagesNow reads the messages of one order.
func (c *check) messagesNow(ctx context.Context, id string) (messages []ports.Message, err error) {
	scan := &messageScan{store: c.options.Store, after: ports.EventRef{OrderID: id}}
	messages, _, err = scan.of(ctx, id)
	return messages, err
}
