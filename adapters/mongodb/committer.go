package mongodb

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"hexorders/ports"
)

// The committer commits all queued saves in one transaction: group commit (DeWitt et al., "Implementation Techniques
// for Main Memory Database Systems", SIGMOD 1984, section 5.2). A commit waits for the journal and for a majority
// whatever its size, and each command is a round trip: 64 concurrent saves share four round trips instead of making
// four each. The committer never waits for more saves to come, so a lone save pays nothing.
//
// Saves do not affect each other:
//
//   - A stale save gets ErrConflict, one whose key is taken ErrDuplicateRequest. The rest of the batch is committed.
//   - If a batch fails before its commit, each of its saves is committed alone, with its own retries and its own
//     error.
//   - An order is in at most one transaction at a time. A save that is queued behind it is stale once the transaction
//     is committed, and gets ErrConflict without a question to the server. So does a save under an idempotency key
//     that is in a transaction, with ErrDuplicateRequest.
//   - A caller whose context ends while its save is queued is not saved. Once its save is in a batch, the batch is
//     not cancelled for its sake; only when all callers of a batch have left does its transaction end.
//
// The worker goroutine runs only while saves are queued.
type committer struct {
	client  *mongo.Client
	layout  documentLayout
	results *resultStore
	options Options       // with the defaults filled in
	slots   chan struct{} // one for each save from commit to its result

	mu         sync.Mutex
	queue      []*pendingSave      // oldest first
	busyOrders map[string]struct{} // orders that are in a transaction
	busyKeys   map[string]struct{} // idempotency keys that are in a transaction, never ""
	working    bool                // the worker runs
	closed     bool

	running sync.WaitGroup // the worker, and saves that are committed alone
}

const (
	defaultMaxBatch = 256
	// maxBatchBytes bounds the size of a transaction, and so how much is repeated when it fails.
	maxBatchBytes = 4 << 20
	// maxPending bounds how many saves are queued or in a transaction. Further callers wait for a slot.
	maxPending = 1024
)

// pendingSave is a save in the queue or in a batch, and the caller who waits for its result.
type pendingSave struct {
	save    *encodedSave
	ctx     context.Context // the caller's
	claimed atomic.Bool     // by the worker, which commits it, or by the caller, whose context ended first
	batch   *batch          // once claimed by the worker
	result  chan error      // buffered, so that the committer never waits for a caller who has left
}

// claim reports whether the caller of claim is the first.
func (p *pendingSave) claim() bool { return !p.claimed.Swap(true) }

// batch is the saves of one transaction.
type batch struct {
	pending []*pendingSave
	ctx     context.Context
	cancel  context.CancelFunc
	callers atomic.Int32 // who still wait
}

// leave cancels the batch when its last caller leaves.
func (b *batch) leave() {
	if b.callers.Add(-1) == 0 {
		b.cancel()
	}
}

func (b *batch) saves() []*encodedSave {
	saves := make([]*encodedSave, len(b.pending))
	for i, p := range b.pending {
		saves[i] = p.save
	}
	return saves
}

func newCommitter(client *mongo.Client, layout documentLayout, results *resultStore, o Options) *committer {
	return &committer{
		client: client, layout: layout, results: results, options: o, slots: make(chan struct{}, maxPending),
		busyOrders: make(map[string]struct{}), busyKeys: make(map[string]struct{}),
	}
}

// commit returns once the save is committed or rejected, or ctx has ended. The context's error alone means that nothing
// was written.
func (c *committer) commit(ctx context.Context, save *encodedSave) error {
	if c.options.MaxBatch == 1 {
		return c.commitAlone(ctx, save)
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p := &pendingSave{save: save, ctx: ctx, result: make(chan error, 1)}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		<-c.slots
		return fmt.Errorf("%w: the store is closed", ports.ErrUnavailable)
	}
	c.queue = append(c.queue, p)
	c.startWorker()
	c.mu.Unlock()

	select {
	case err := <-p.result:
		return err
	case <-ctx.Done():
	}
	if p.claim() {
		return ctx.Err()
	}
	// The save is in a transaction. Wait for its outcome, but no longer than a healthy server needs.
	c.mu.Lock()
	b := p.batch
	c.mu.Unlock()
	b.leave()
	timeout := time.NewTimer(grace)
	defer timeout.Stop()
	select {
	case err := <-p.result:
		return err
	case <-timeout.C:
		return fmt.Errorf("%w: the outcome of the save is not known yet: %w", ports.ErrUnavailable, ctx.Err())
	}
}

// startWorker starts the worker unless it runs already or nothing is queued. c.mu is held.
func (c *committer) startWorker() {
	if !c.working && len(c.queue) > 0 {
		c.working = true
		c.running.Go(c.commitBatches)
	}
}

// commitBatches is the worker: it commits one batch after the other until the queue is empty. Two batches at a time
// were measured to be no faster, because each is half as large.
func (c *committer) commitBatches() {
	for {
		// Callers whose saves were just committed may save again at once. To yield once makes larger batches; it costs
		// nothing when no other goroutine is ready.
		runtime.Gosched()
		c.mu.Lock()
		b := c.takeBatch()
		c.working = b != nil
		c.mu.Unlock()
		if b == nil {
			return
		}
		c.commitBatch(b)
	}
}

// takeBatch claims the saves of the next transaction; nil means that none can be committed now. c.mu is held.
func (c *committer) takeBatch() *batch {
	b, size := &batch{}, 0
	rest := c.queue[:0]
	for _, p := range c.queue {
		_, orderBusy := c.busyOrders[p.save.id]
		_, keyBusy := c.busyKeys[p.save.key]
		switch {
		case orderBusy, keyBusy, len(b.pending) == c.options.MaxBatch, len(b.pending) > 0 && size+p.save.size > maxBatchBytes:
			rest = append(rest, p)
		case p.claim():
			p.batch = b
			b.pending = append(b.pending, p)
			c.busyOrders[p.save.id] = struct{}{}
			if p.save.key != "" {
				c.busyKeys[p.save.key] = struct{}{}
			}
			size += p.save.size
		default:
			<-c.slots // its caller has left
		}
	}
	clear(c.queue[len(rest):]) // releases the saves
	c.queue = rest
	if len(b.pending) == 0 {
		return nil
	}
	b.callers.Store(int32(len(b.pending)))
	b.ctx, b.cancel = context.WithTimeout(context.Background(), c.options.Timeout)
	return b
}

// commitBatch brings each save of a batch to its result, or hands it to commitAlone.
func (c *committer) commitBatch(b *batch) {
	defer b.cancel()
	err := c.commitTogether(b)
	if errors.Is(err, ports.ErrConflict) || errors.Is(err, ports.ErrDuplicateRequest) {
		if err = c.rejectStaleAndDuplicate(b); err == nil && len(b.pending) > 0 {
			err = c.commitTogether(b)
		}
	}
	if err == nil || b.ctx.Err() != nil || isCommitError(err) && !hasLabel(err, transientTransaction) {
		// A commit that fails concerns all saves of its batch.
		c.finish(b.pending, err)
		return
	}
	for _, p := range b.pending {
		c.running.Go(func() {
			c.finish([]*pendingSave{p}, c.commitAlone(p.ctx, p.save))
			c.mu.Lock()
			defer c.mu.Unlock()
			c.startWorker()
		})
	}
}

// commitTogether commits a batch in one transaction. It tries twice, because a transient error often comes from another
// process that saves at the same moment.
func (c *committer) commitTogether(b *batch) error {
	callers := make([]context.Context, len(b.pending))
	for i, p := range b.pending {
		callers[i] = p.ctx
	}
	return c.transact(b.ctx, callers, b.saves(), 2)
}

// commitAlone commits one save in a transaction of its own.
func (c *committer) commitAlone(ctx context.Context, save *encodedSave) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	return c.transact(ctx, []context.Context{ctx}, []*encodedSave{save}, untilDeadline)
}

func (c *committer) transact(ctx context.Context, callers []context.Context, saves []*encodedSave, tries uint) error {
	return c.options.Around(ctx, callers, func(ctx context.Context) error {
		return RunTransaction(ctx, c.client, nil, tries, func(ctx context.Context) error { return c.insertOrUpdate(ctx, saves) })
	})
}

// insertOrUpdate inserts or updates all documents of these saves; it runs inside a transaction. Errors: ErrConflict
// when an order is not at the version that it was loaded with, ErrDuplicateRequest when a key is taken. The server
// does not say which save is to blame.
func (c *committer) insertOrUpdate(ctx context.Context, saves []*encodedSave) error {
	if err := c.results.insert(ctx, saves); err != nil {
		return err
	}
	return c.layout.insertOrUpdate(ctx, saves)
}

// rejectStaleAndDuplicate finds the stale saves and those whose key is taken, and takes them out of the batch.
func (c *committer) rejectStaleAndDuplicate(b *batch) error {
	saves := b.saves()
	taken, err := c.results.findTaken(b.ctx, saves)
	if err != nil {
		return err
	}
	moved, err := c.layout.findStale(b.ctx, saves)
	if err != nil {
		return err
	}
	var fresh, stale, duplicate []*pendingSave
	for _, p := range b.pending {
		switch {
		case taken[p.save.key]:
			duplicate = append(duplicate, p)
		case moved[p.save.id]:
			stale = append(stale, p)
		default:
			fresh = append(fresh, p)
		}
	}
	b.pending = fresh
	c.finish(stale, ports.ErrConflict)
	c.finish(duplicate, ports.ErrDuplicateRequest)
	return nil
}

// finish gives saves their result. After a commit it also rejects the queued saves of the same orders, which are
// stale now, and those under the same keys, which are duplicates.
func (c *committer) finish(done []*pendingSave, err error) {
	committed, taken := make(map[string]int, len(done)), make(map[string]bool)
	c.mu.Lock()
	for _, p := range done {
		delete(c.busyOrders, p.save.id)
		delete(c.busyKeys, p.save.key)
		committed[p.save.id] = p.save.version
		taken[p.save.key] = p.save.key != ""
	}
	var stale, duplicate []*pendingSave
	if err == nil {
		rest := c.queue[:0]
		for _, p := range c.queue {
			switch {
			case !taken[p.save.key] && p.save.loaded >= committed[p.save.id]:
				rest = append(rest, p)
			case !p.claim():
				<-c.slots // its caller has left
			case taken[p.save.key]:
				duplicate = append(duplicate, p)
			default:
				stale = append(stale, p)
			}
		}
		clear(c.queue[len(rest):])
		c.queue = rest
	}
	c.mu.Unlock()
	for _, p := range done {
		c.respond(p, err)
	}
	for _, p := range duplicate {
		c.respond(p, ports.ErrDuplicateRequest)
	}
	for _, p := range stale {
		c.respond(p, ports.ErrConflict)
	}
}

func (c *committer) respond(p *pendingSave, err error) {
	p.result <- err
	<-c.slots
}

// close waits for the saves that are queued or in a transaction. Later ones get ErrUnavailable.
func (c *committer) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	if err := waitFor(ctx, &c.running); err != nil {
		return fmt.Errorf("close the store: saves are under way: %w", err)
	}
	return nil
}
