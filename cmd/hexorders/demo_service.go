package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hexorders/adapters/inproc"
	"hexorders/adapters/sqlite"
	"hexorders/ports"
)

// demoService is what the service of a demo has besides: faults, a dual write, and a count of what came through. nil is a
// service that is no demo.
type demoService struct {
	faults
	listener net.Listener // of the supervisor

	orders  ports.OrderStore // without faults, for the console, which shows what stands there
	outbox  ports.Outbox
	parking ports.Parking
	model   ports.ReadModelStore
	topic   *sqlite.Topic
	bin     *sqlite.Topic // what was deleted from the topic
	dual    *inproc.Broker
	rebuild string // the command that brings the views what was deleted
	close   func() error

	// The count has connections of its own, which no fault concerns.
	watchedOutbox *sqlite.Outbox
	watchedTopic  *sqlite.Topic

	mu        sync.Mutex
	committed []ports.Message // without payloads
	positions map[ports.Position]int
	published map[string]int           // how often each message is in the topic
	offset    int64                    // in the topic, up to which published is
	deleted   map[string]ports.Message // those in the bin, by id
	dualTopic map[string]bool
}

// open opens what the demo needs beside the store, and puts the faults round the store's ports.
func (d *demoService) open(ctx context.Context, c *Config, s *storage) (err error) {
	watched, err := sqlite.Open(ctx, c.SQLite.Path)
	if err != nil {
		return err
	}
	folder := filepath.Dir(c.SQLite.Path)
	other, err := sqlite.Open(ctx, filepath.Join(folder, "dual-write.db"))
	if err != nil {
		return errors.Join(err, watched.Close())
	}
	bin, err := sqlite.Open(ctx, filepath.Join(folder, "deleted.db"))
	if err != nil {
		return errors.Join(err, other.Close(), watched.Close())
	}
	d.rebuild = fmt.Sprintf("HEXORDERS_SQLITE_PATH='%s' hexorders views rebuild --from store",
		strings.ReplaceAll(absolute(c.SQLite.Path), "'", `'\''`))
	d.orders, d.outbox, d.parking, d.model = s.orders, s.outbox, s.parking, s.views
	d.topic, d.bin, d.deleted = s.topic.(*sqlite.Topic), sqlite.NewTopic(bin), map[string]ports.Message{}
	d.watchedOutbox, d.watchedTopic = sqlite.NewOutbox(watched), sqlite.NewTopic(watched)
	d.positions, d.published, d.dualTopic = map[ports.Position]int{}, map[string]int{}, map[string]bool{}
	d.dual = inproc.NewBroker(stoppedLog{sqlite.NewTopic(other), &d.faults})
	s.orders = dualWrite{s.orders.(*sqlite.Store), &d.faults, d.publisher(d.dual)}
	s.outbox = pausedOutbox{s.outbox.(*sqlite.Outbox), &d.faults}
	s.topic = stoppedLog{s.topic, &d.faults}

	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var counting errgroup.Group
	counting.Go(func() error { return d.countCommitted(ctx) })
	counting.Go(func() error {
		return d.countTopic(ctx, d.watchedTopic, func(m ports.Message, last int64) {
			d.published[m.ID]++
			d.offset = last
		})
	})
	counting.Go(func() error {
		return d.countTopic(ctx, d.bin, func(m ports.Message, _ int64) { d.deleted[m.ID] = m })
	})
	counting.Go(func() error {
		return d.countTopic(ctx, sqlite.NewTopic(other), func(m ports.Message, _ int64) { d.dualTopic[m.ID] = true })
	})
	d.close = func() error {
		err := d.dual.Close()
		cancel()
		_ = counting.Wait() // it ends with an error, that of ctx
		return errors.Join(err, bin.Close(), other.Close(), watched.Close())
	}
	return nil
}

func (d *demoService) publisher(next ports.Publisher) ports.Publisher {
	if d == nil {
		return next
	}
	return poisonedPublisher{next, &d.faults}
}

func (d *demoService) subscriber(next ports.Subscriber) ports.Subscriber {
	if d == nil {
		return next
	}
	return pausedSubscriber{next.(*inproc.Subscriber), &d.faults}
}

func (d *demoService) countCommitted(ctx context.Context) error {
	return d.watchedOutbox.Tail(ctx, "", func(m ports.Message, p ports.Position) error {
		m.Payload = nil
		d.mu.Lock()
		defer d.mu.Unlock()
		d.positions[p] = len(d.committed)
		d.committed = append(d.committed, m)
		return nil
	})
}

// countTopic calls count for each message, while it holds the lock, with the offset up to which it has read then.
func (d *demoService) countTopic(ctx context.Context, topic *sqlite.Topic, count func(m ports.Message, last int64)) error {
	for after := int64(0); ; {
		messages, last, err := topic.Read(ctx, after, ports.MaxBatch)
		if err != nil {
			return err
		}
		d.mu.Lock()
		for _, m := range messages {
			m.Payload = nil
			count(m, last)
		}
		d.mu.Unlock()
		after = last
	}
}

// demoState is what the page shows. Counts are events.
type demoState struct {
	Stopped   map[string]bool `json:"stopped"` // by button: what is closed, and what is armed for the next command
	Committed int             `json:"committed"`
	Outbox    outboxState     `json:"outbox"`
	Dual      dualState       `json:"dual"`
	Deleted   deletedState    `json:"deleted"` // from the topic
}

type deletedState struct {
	Events  int    `json:"events"`
	Unread  int    `json:"unread"`  // of these the views lack
	Rebuild string `json:"rebuild"` // the command that repairs them, for a shell
}

type outboxState struct {
	Published  int `json:"published"`
	Waiting    int `json:"waiting"`
	Parked     int `json:"parked"`
	Lost       int `json:"lost"`
	Duplicates int `json:"duplicates"`
}

type dualState struct {
	Published int      `json:"published"`
	Lost      int      `json:"lost"`
	Orders    []string `json:"orders"` // the last that lost events
}

// Once committed, an event of the dual write is in its topic within this time, or never. Its publisher waits less.
const dualWithin = 3 * time.Second

const mostLost = 5 // orders that the page names

// state counts. An event counts as lost when the relay has gone past it and it is neither in the topic nor parked.
func (d *demoService) state(ctx context.Context) (s demoState, err error) {
	checkpoint, err := d.watchedOutbox.Position(ctx)
	if err != nil {
		return s, err
	}
	end, err := d.watchedTopic.End(ctx)
	if err != nil {
		return s, err
	}
	for !d.counted(end) {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return s, err
		}
	}
	parked, err := d.parking.Parked(ctx)
	if err != nil {
		return s, err
	}
	if s.Deleted, err = d.lookIntoBin(ctx); err != nil {
		return s, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Stopped = map[string]bool{
		"relay": d.relay.isClosed(), "broker": d.broker.isClosed(), "views": d.views.isClosed(),
		"kill": d.kill.Load(), "poison": d.poison.Load(),
	}
	s.Committed, s.Dual.Published = len(d.committed), len(d.dualTopic)
	s.Dual.Orders = []string{}
	passed, ok := d.positions[checkpoint]
	if !ok {
		passed = -1
	}
	for i, m := range d.committed {
		_, deleted := d.deleted[m.ID]
		switch times := d.published[m.ID]; {
		case times > 0 || deleted:
			s.Outbox.Published++
			s.Outbox.Duplicates += max(0, times-1)
		case slices.ContainsFunc(parked, func(p ports.ParkedOrder) bool { return p.OrderID == m.OrderID && p.First <= m.Version }):
			s.Outbox.Parked++
		case i <= passed:
			s.Outbox.Lost++
		default:
			s.Outbox.Waiting++
		}
		if !d.dualTopic[m.ID] && time.Since(m.OccurredAt) > dualWithin {
			s.Dual.Lost++
			if n := len(s.Dual.Orders); n == 0 || s.Dual.Orders[n-1] != m.OrderID {
				s.Dual.Orders = append(s.Dual.Orders, m.OrderID)
			}
		}
	}
	s.Dual.Orders = s.Dual.Orders[max(0, len(s.Dual.Orders)-mostLost):]
	return s, nil
}

// lookIntoBin says which of the deleted events the views lack.
func (d *demoService) lookIntoBin(ctx context.Context) (s deletedState, err error) {
	d.mu.Lock()
	deleted := slices.Collect(maps.Values(d.deleted))
	d.mu.Unlock()
	s.Events, s.Rebuild = len(deleted), d.rebuild
	live, err := d.model.Live(ctx)
	for messages := range slices.Chunk(deleted, ports.MaxBatch) {
		var ids []string
		for _, m := range messages {
			ids = append(ids, m.OrderID)
		}
		slices.Sort(ids)
		var progress map[string]ports.Progress
		if err == nil {
			progress, err = d.model.Load(ctx, live, slices.Compact(ids))
		}
		for _, m := range messages {
			if progress[m.OrderID].Version < m.Version {
				s.Unread++
			}
		}
	}
	return s, err
}

func (d *demoService) counted(end int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.offset >= end
}
