package postgres

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"hexorders/ports"
)

// committer commits all queued saves in one transaction: group commit, as in adapters/mongodb (docs/adr/0007). A
// transaction is one round trip, one lock of the outbox and one flush to disk, large or small. It never waits for more
// saves to come, so a lone save pays nothing.
//
// Saves do not affect each other. A stale save and one whose key is taken write nothing, and the others are committed. An
// order and a key are in a batch at most once; who comes second is in the next one. If the data of one save makes the whole
// statement fail, each save of the batch is committed alone.
type committer struct {
	db      *DB
	queue   chan *pendingSave
	closing chan struct{} // closed: takes no more saves
	ended   chan struct{} // closed: every save that was taken has its result
	once    sync.Once
}

const (
	// maxBatchBytes bounds the size of a transaction, and so how long others wait for the lock.
	maxBatchBytes = 4 << 20
	// maxPending bounds how many saves wait. Further callers wait for room.
	maxPending = 1024
)

// pendingSave is a save in the queue or in a batch, and the caller who waits for its result.
type pendingSave struct {
	save    *encodedSave
	ctx     context.Context // the caller's
	claimed atomic.Bool     // by the committer, or by the caller, whose context ended first
	refused error           // what the batch says of this save alone
	result  chan error      // has room for one, so that the committer never waits for a caller who has left
}

// claim reports whether the caller of claim is the first.
func (p *pendingSave) claim() bool { return !p.claimed.Swap(true) }

func newCommitter(db *DB) *committer {
	c := &committer{db: db, queue: make(chan *pendingSave, maxPending), closing: make(chan struct{}), ended: make(chan struct{})}
	go c.run()
	return c
}

// commit returns once the save is committed or refused, or ctx has ended. The context's error alone means that nothing was
// written.
func (c *committer) commit(ctx context.Context, save *encodedSave) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &pendingSave{save: save, ctx: ctx, result: make(chan error, 1)}
	select {
	case c.queue <- p:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closing:
		return errClosed
	}
	select {
	case err := <-p.result:
		return err
	case <-ctx.Done():
		if p.claim() {
			return ctx.Err()
		}
		return fmt.Errorf("%w: the outcome of the save is not known yet: %w", ports.ErrUnavailable, ctx.Err())
	case <-c.ended:
		if p.claim() {
			return errClosed // it was queued too late
		}
		return <-p.result
	}
}

var errClosed = fmt.Errorf("%w: the store is closed", ports.ErrUnavailable)

// run is the committer's goroutine. One batch is under way at a time: the lock lets no two through.
func (c *committer) run() {
	defer close(c.ended)
	var later []*pendingSave // of orders and keys that were in the batch before
	for {
		if len(later) == 0 {
			select {
			case p := <-c.queue:
				later = append(later, p)
			case <-c.closing:
				select {
				case p := <-c.queue:
					later = append(later, p)
				default:
					return
				}
			}
		}
		later = c.commitBatch(later)
	}
}

// commitBatch commits a batch of the saves that wait and those that come meanwhile, and returns those that have to wait.
func (c *committer) commitBatch(waiting []*pendingSave) (later []*pendingSave) {
	var batch []*pendingSave
	orders, keys, size := map[string]bool{}, map[string]bool{}, 0
	take := func(p *pendingSave) {
		switch key := p.save.key.Value; {
		case orders[p.save.state.ID], key != "" && keys[key], len(batch) == c.db.options.MaxBatch:
			later = append(later, p)
		case p.claim():
			batch = append(batch, p)
			orders[p.save.state.ID], keys[key] = true, true
			size += p.save.size
		}
	}
	for _, p := range waiting {
		take(p)
	}
	// Callers whose saves were just committed may save again at once. To yield once makes larger batches; it costs nothing
	// when no other goroutine is ready.
	for yielded := false; len(batch) < c.db.options.MaxBatch && size < maxBatchBytes; {
		select {
		case p := <-c.queue:
			take(p)
			continue
		default:
		}
		if yielded {
			break
		}
		runtime.Gosched()
		yielded = true
	}
	if len(batch) == 0 {
		return later
	}
	err := c.transact(batch)
	if err != nil && len(batch) > 1 && isPermanent(err) {
		for _, p := range batch {
			p.refused = nil
			p.finish(c.transact([]*pendingSave{p}))
		}
		return later
	}
	for _, p := range batch {
		p.finish(err)
	}
	return later
}

func (p *pendingSave) finish(err error) {
	if err == nil {
		err = p.refused
	}
	p.result <- err
}

// transact commits these saves in one transaction. After an error that is not of the data the outcome may be unknown.
func (c *committer) transact(batch []*pendingSave) error {
	byID, saves, callers := make(map[string]*pendingSave, len(batch)), make([]*encodedSave, len(batch)), make([]context.Context, len(batch))
	for i, p := range batch {
		byID[p.save.state.ID], saves[i], callers[i] = p, p.save, p.ctx
	}
	statements := &pgx.Batch{}
	c.db.save(statements, saves, func(r refusal) {
		byID[r.id].refused = ports.ErrConflict
		if r.duplicate {
			byID[r.id].refused = ports.ErrDuplicateRequest
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), c.db.options.Timeout)
	defer cancel()
	err := c.db.options.Around(ctx, callers, func(ctx context.Context) error { return c.db.together(ctx, statements) })
	if err != nil {
		return translate(ctx, err)
	}
	c.db.outbox.wake()
	return nil
}

// close waits for the saves that were taken. Later ones get ports.ErrUnavailable.
func (c *committer) close(ctx context.Context) error {
	c.once.Do(func() { close(c.closing) })
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the store: saves are under way: %w", ctx.Err())
	}
}
