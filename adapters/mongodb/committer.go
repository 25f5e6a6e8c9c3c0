package mongodb

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// The committer makes one transaction of the saves that are waiting at that moment: group commit (DeWitt et al.,
// "Implementation Techniques for Main Memory Database Systems", SIGMOD 1984, section 5.2). A commit waits for the
// journal and for a majority however little is in it, and each of its commands is a round trip; 64 savers share four
// of those where each would have paid for its own. It never waits for more to come, so that a lone saver pays nothing.
//
// Savers do not hurt each other:
//
//   - A stale save is ErrConflict, one whose key is taken ErrDuplicateRequest, and the others are committed without them.
//   - When a batch fails and it is not the commit that failed, each of its saves goes on alone, with its own tries and
//     its own error.
//   - An order is in one transaction at a time. What waits behind it is stale once that is committed, and is told so
//     without a question to the server. So is a key of a request, and what waits behind it is repeated.
//   - Who leaves while waiting is not saved. Who leaves later is waited for by the others, not the other way round.
//
// There is a goroutine only while there is something to commit.
type committer struct {
	store    *saver
	maxBatch int
	room     chan struct{} // holds one for each save from Save to its answer

	mu      sync.Mutex
	waiting []*saving           // oldest first
	busy    map[string]struct{} // orders that are in a transaction
	keys    map[string]struct{} // of requests that are in a transaction; none is ""
	working bool
	closed  bool

	running sync.WaitGroup // the worker, and saves that go on alone
}

const (
	defaultMaxBatch = 256
	// maxBatchBytes bounds what a transaction writes, and what is thrown away when it fails.
	maxBatchBytes = 4 << 20
	// maxSaving bounds how many saves are waiting or under way. Those who come later wait for room.
	maxSaving = 1024
)

// saving is a save, and the caller who waits for it.
type saving struct {
	*write
	ctx     context.Context // the caller's
	claimed atomic.Bool     // by the committer, who saves it, or by the caller, who left before that
	batch   *batch          // once claimed by the committer
	answer  chan error      // holds one, so that the committer never waits for a caller who has left
}

// claim reports whether it was still to be had.
func (s *saving) claim() bool { return !s.claimed.Swap(true) }

// batch is a transaction's saves. It ends early when the last of its callers has left.
type batch struct {
	saves   []*saving
	ctx     context.Context
	abandon context.CancelFunc
	callers atomic.Int32
}

func (b *batch) leave() {
	if b.callers.Add(-1) == 0 {
		b.abandon()
	}
}

func (b *batch) writes() []*write {
	writes := make([]*write, len(b.saves))
	for i, s := range b.saves {
		writes[i] = s.write
	}
	return writes
}

func newCommitter(s *saver, maxBatch int) *committer {
	return &committer{store: s, maxBatch: maxBatch, room: make(chan struct{}, maxSaving),
		busy: make(map[string]struct{}), keys: make(map[string]struct{})}
}

// save returns once w is committed or refused, or ctx has ended: with the context's error alone when nothing was begun.
func (c *committer) save(ctx context.Context, w *write) error {
	select {
	case c.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s := &saving{write: w, ctx: ctx, answer: make(chan error, 1)}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		<-c.room
		return fmt.Errorf("%w: the store is closed", ports.ErrUnavailable)
	}
	c.waiting = append(c.waiting, s)
	c.employ()
	c.mu.Unlock()

	select {
	case err := <-s.answer:
		return err
	case <-ctx.Done():
	}
	if s.claim() {
		return ctx.Err()
	}
	// It is under way. What becomes of it is worth waiting for, as long as a server that works would take.
	c.mu.Lock()
	b := s.batch
	c.mu.Unlock()
	b.leave()
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case err := <-s.answer:
		return err
	case <-patience.C:
		return fmt.Errorf("%w: nobody knows yet what becomes of it: %w", ports.ErrUnavailable, ctx.Err())
	}
}

// employ makes sure that somebody looks after what is waiting. c.mu is held.
func (c *committer) employ() {
	if !c.working && len(c.waiting) > 0 {
		c.working = true
		c.running.Go(c.work)
	}
}

// work makes one batch after the other, until nothing is waiting. Two at a time were measured to be no faster: they are
// half as large.
func (c *committer) work() {
	for {
		// Those who were answered by the last commit may be about to come back: letting them run once makes larger
		// batches. It is no wait, for where nobody is about to run it ends at once.
		runtime.Gosched()
		c.mu.Lock()
		b := c.take()
		c.working = b != nil
		c.mu.Unlock()
		if b == nil {
			return
		}
		c.commit(b)
	}
}

// take claims the saves of the next transaction, nil when there is none to be made now. c.mu is held.
func (c *committer) take() *batch {
	b, size := &batch{}, 0
	rest := c.waiting[:0]
	for _, s := range c.waiting {
		_, busy := c.busy[s.id]
		_, inFlight := c.keys[s.key]
		switch {
		case busy, inFlight, len(b.saves) == c.maxBatch, len(b.saves) > 0 && size+s.size > maxBatchBytes:
			rest = append(rest, s)
		case s.claim():
			s.batch = b
			b.saves = append(b.saves, s)
			c.busy[s.id] = struct{}{}
			if s.key != "" {
				c.keys[s.key] = struct{}{}
			}
			size += s.size
		default:
			<-c.room // its caller has left
		}
	}
	clear(c.waiting[len(rest):]) // lets go of the writes
	c.waiting = rest
	if len(b.saves) == 0 {
		return nil
	}
	b.callers.Store(int32(len(b.saves)))
	b.ctx, b.abandon = context.WithTimeout(context.Background(), c.store.timeout)
	return b
}

// commit brings every save of a batch to its answer, or sends it on alone.
func (c *committer) commit(b *batch) {
	defer b.abandon()
	err := c.try(b)
	if errors.Is(err, ports.ErrConflict) || errors.Is(err, ports.ErrDuplicateRequest) {
		if err = c.dropRefused(b); err == nil && len(b.saves) > 0 {
			err = c.try(b)
		}
	}
	if err == nil || b.ctx.Err() != nil || isCommitError(err) && !hasLabel(err, transientTransaction) {
		// What is wrong with a commit is wrong for all.
		c.settle(b.saves, err)
		return
	}
	for _, s := range b.saves {
		c.running.Go(func() {
			c.settle([]*saving{s}, c.store.commit(s.ctx, s.write))
			c.mu.Lock()
			defer c.mu.Unlock()
			c.employ()
		})
	}
}

// try commits a batch. A transient error is worth a second try: what two processes save at the same moment, say.
func (c *committer) try(b *batch) error {
	err := transaction(b.ctx, c.store.client, 2, func(ctx context.Context) error { return c.store.put(ctx, b.writes()...) })
	if err == nil {
		c.store.committed(len(b.saves))
	}
	return err
}

// dropRefused finds out whose order has moved on and whose key is taken, and answers them.
func (c *committer) dropRefused(b *batch) error {
	var keys []string
	for _, s := range b.saves {
		if s.key != "" {
			keys = append(keys, s.key)
		}
	}
	var taken map[string]bool
	if len(keys) > 0 {
		var err error
		if taken, err = c.store.taken(b.ctx, keys); err != nil {
			return err
		}
	}
	moved, err := c.store.layout.stale(b.ctx, b.writes())
	if err != nil {
		return err
	}
	var fresh, stale, repeated []*saving
	for _, s := range b.saves {
		switch {
		case taken[s.key]:
			repeated = append(repeated, s)
		case moved[s.id]:
			stale = append(stale, s)
		default:
			fresh = append(fresh, s)
		}
	}
	b.saves = fresh
	c.settle(stale, ports.ErrConflict)
	c.settle(repeated, ports.ErrDuplicateRequest)
	return nil
}

// settle answers saves. Once they are committed, those who wait to save the same orders, or under the same keys, have come
// too late, and are told so without a question to the server.
func (c *committer) settle(saves []*saving, err error) {
	committed, taken := make(map[string]int, len(saves)), make(map[string]bool)
	c.mu.Lock()
	for _, s := range saves {
		delete(c.busy, s.id)
		delete(c.keys, s.key)
		committed[s.id] = s.version
		taken[s.key] = s.key != ""
	}
	var late, repeated []*saving
	if err == nil {
		rest := c.waiting[:0]
		for _, s := range c.waiting {
			switch {
			case !taken[s.key] && s.loaded >= committed[s.id]:
				rest = append(rest, s)
			case !s.claim():
				<-c.room // its caller has left
			case taken[s.key]:
				repeated = append(repeated, s)
			default:
				late = append(late, s)
			}
		}
		clear(c.waiting[len(rest):])
		c.waiting = rest
	}
	c.mu.Unlock()
	for _, s := range saves {
		c.answer(s, err)
	}
	for _, s := range repeated {
		c.answer(s, ports.ErrDuplicateRequest)
	}
	for _, s := range late {
		c.answer(s, ports.ErrConflict)
	}
}

func (c *committer) answer(s *saving, err error) {
	s.answer <- err
	<-c.room
}

// close waits for what is under way and what is waiting.
func (c *committer) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	if err := waitFor(ctx, &c.running); err != nil {
		return fmt.Errorf("close the store: saves are under way: %w", err)
	}
	return nil
}
