package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// The writer is the only one of this process who writes to the file, and it commits in groups: it takes the jobs that
// are waiting at that moment, never waiting for more, runs them in one transaction, and answers all once that is
// committed. A commit costs a flush to disk however much is in it, so 32 clients share one where each would have paid
// for its own. A lone client waits no longer than it would have anyway.
//
// Jobs do not hurt each other. One that finds out that it is too late (a stale version, a lease that is held) does so
// before it writes, and is simply told. One that fails after it has written something takes the transaction down,
// and each job of it is run again in a transaction of its own. A savepoint around every job would do too, but costs
// two more statements a job for what hardly ever happens.
type writer struct {
	pool       *sql.DB
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	jobs       chan *job
	closing    chan struct{} // closed: takes no more jobs
	stopped    chan struct{} // closed: has run every job it took
	once       sync.Once
	committed  func() // called after each commit that changed something
	options
}

const (
	// defaultMaxBatch and maxBatchBytes bound a transaction: what a failed one throws away, how long another process
	// waits for the lock, and what the write-ahead log grows by at once.
	defaultMaxBatch = 256
	maxBatchBytes   = 4 << 20

	defaultLockTimeout = 5 * time.Second
	lockPoll           = time.Millisecond // how often to look whether the lock is free meanwhile
)

// job is a piece of work for one transaction, and the caller who waits for it.
type job struct {
	size    int // about how many bytes it writes
	work    func(*tx) error
	claimed atomic.Bool // by the writer, who runs it, or by the caller, who left before that
	verdict error       // what work returned
	answer  chan error  // holds one, so that the writer never waits for a caller who has left
}

// claim reports whether the job was still to be had.
func (j *job) claim() bool { return !j.claimed.Swap(true) }

// do runs work in a transaction and returns once that is committed. work may be run again, on a state in which it was
// never run before.
//
// Errors: what work returned; ports.ErrUnavailable when the commit failed or its outcome is not known; the context's
// own when the caller leaves, alone if work was not begun.
func (w *writer) do(ctx context.Context, size int, work func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{size: size, work: work, answer: make(chan error, 1)}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closing:
		return closedError()
	}
	select {
	case err := <-j.answer:
		return err
	case <-ctx.Done():
		if j.claim() {
			return ctx.Err()
		}
		return unavailable(ctx.Err())
	case <-w.stopped:
		if j.claim() {
			return closedError() // it came too late to be taken
		}
		return <-j.answer
	}
}

// run is the writer's goroutine.
func (w *writer) run() {
	defer close(w.stopped)
	for {
		select {
		case first := <-w.jobs:
			if first.claim() {
				w.commitGroup(first)
			}
		case <-w.closing:
			for first := w.waiting(); first != nil; first = w.waiting() {
				w.commitGroup(first)
			}
			return
		}
	}
}

// waiting is a job that is waiting now, or nil.
func (w *writer) waiting() *job {
	for {
		select {
		case j := <-w.jobs:
			if j.claim() {
				return j
			}
		default:
			return nil
		}
	}
}

// commitGroup runs a job, and those that arrive while it does, in one transaction.
func (w *writer) commitGroup(first *job) {
	group := []*job{first}
	t, err := w.begin()
	if err != nil {
		for len(group) < w.maxBatch { // they would meet the same lock, one after the other
			j := w.waiting()
			if j == nil {
				break
			}
			group = append(group, j)
		}
		answer(group, err)
		return
	}
	for j, size := first, 0; j != nil; {
		if !j.run(t) {
			w.rollback()
			if len(group) == 1 { // there was nobody else to blame
				answer(group, nil)
				return
			}
			for _, j := range group {
				w.commitAlone(j)
			}
			return
		}
		if size += j.size; len(group) == w.maxBatch || size > maxBatchBytes {
			break
		}
		if j = w.waiting(); j == nil {
			// Those who were answered by the last commit may be about to come back. Letting them run once makes the
			// groups half as large again; it is no wait, for where nobody is about to run it ends at once.
			runtime.Gosched()
			j = w.waiting()
		}
		if j != nil {
			group = append(group, j)
		}
	}
	answer(group, w.commit(t))
}

func (w *writer) commitAlone(j *job) {
	t, err := w.begin()
	if err == nil {
		if j.run(t) {
			err = w.commit(t)
		} else {
			w.rollback()
		}
	}
	answer([]*job{j}, err)
}

// run reports whether the transaction may be committed with this job in it: all of it, or nothing.
func (j *job) run(t *tx) bool {
	t.touched = false
	j.verdict = j.work(t)
	return j.verdict == nil || !t.touched
}

// answer tells every caller what became of its job. When the commit failed, a verdict is worth nothing: it may have
// come from what was not committed.
func answer(group []*job, err error) {
	for _, j := range group {
		if err != nil {
			j.verdict = err
		}
		j.answer <- j.verdict
	}
}

func (w *writer) isClosing() bool {
	select {
	case <-w.closing:
		return true
	default:
		return false
	}
}

// stop ends the writer once it has run the jobs that it was given.
func (w *writer) stop() {
	w.once.Do(func() { close(w.closing) })
	<-w.stopped
}

// tx is the transaction that a job runs in.
type tx struct {
	*writer
	wrote   bool // there is something to commit
	touched bool // the job that runs has written, or failed in a way that leaves the transaction in doubt
}

// exec runs one of the package's constant statements and returns how many rows it changed. Error:
// ports.ErrUnavailable.
func (t *tx) exec(query string, args ...any) (changed int64, err error) {
	statement, err := t.prepared(query)
	if err == nil {
		var result sql.Result
		if result, err = statement.Exec(args...); err == nil {
			changed, err = result.RowsAffected()
		}
	}
	if err != nil {
		t.touched = true
		return 0, unavailable(err)
	}
	if changed > 0 {
		t.touched, t.wrote = true, true
	}
	return changed, nil
}

// queryRow scans the first row into dest. Errors: ports.ErrNotFound when there is none, ports.ErrUnavailable.
func (t *tx) queryRow(query string, args []any, dest ...any) error {
	statement, err := t.prepared(query)
	if err == nil {
		err = statement.QueryRow(args...).Scan(dest...)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return ports.ErrNotFound
	}
	t.touched = true // after some errors SQLite has rolled back already
	return unavailable(err)
}

// begin takes the only write lock that the file has, before anything is read or drawn from a sequence.
func (w *writer) begin() (*tx, error) {
	statement, err := w.prepared("BEGIN IMMEDIATE")
	if err == nil {
		err = w.retryBusy(context.Background(), func() error { _, err := statement.Exec(); return err })
	}
	if err != nil {
		w.rollback()
		return nil, unavailable(err)
	}
	return &tx{writer: w}, nil
}

func (w *writer) commit(t *tx) error {
	statement, err := w.prepared("COMMIT")
	if err == nil {
		_, err = statement.Exec()
	}
	if err != nil {
		w.rollback()
		return unavailable(fmt.Errorf("commit: %w", err))
	}
	if t.wrote {
		w.committed()
	}
	return nil
}

// rollback ignores that there may be nothing to roll back, for SQLite has done so itself after some errors; and where
// it fails otherwise, the next begin fails too and comes here again.
func (w *writer) rollback() {
	_, _ = w.conn.ExecContext(context.Background(), "ROLLBACK")
}

func (w *writer) prepared(query string) (*sql.Stmt, error) {
	if statement, ok := w.statements[query]; ok {
		return statement, nil
	}
	statement, err := w.conn.PrepareContext(context.Background(), query)
	if err == nil {
		w.statements[query] = statement
	}
	return statement, err
}

// retryBusy runs try again while another process holds the file's lock, for at most lockTimeout. SQLite's own busy_timeout
// polls less and less often, every 100 ms in the end: beside a process that writes all the time it finds no gap.
func (o options) retryBusy(ctx context.Context, try func() error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := try()
		if err != nil && !isBusy(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(lockPoll)), backoff.WithMaxElapsedTime(o.lockTimeout))
	return err
}

func openWriter(ctx context.Context, path string, o options, committed func()) (*writer, error) {
	if o.maxBatch <= 0 {
		o.maxBatch = defaultMaxBatch
	}
	if o.lockTimeout <= 0 {
		o.lockTimeout = defaultLockTimeout
	}
	// FULL flushes the log at every commit: what a caller was told is kept survives a power cut as well as a kill.
	// Whoever waits for locks here is patiently, not SQLite.
	pool, err := connect(path, "synchronous(FULL)", "busy_timeout(0)")
	if err != nil {
		return nil, err
	}
	conn, err := o.prepareFile(ctx, pool)
	if err != nil {
		_ = pool.Close()
		return nil, err
	}
	w := &writer{
		pool: pool, conn: conn, statements: map[string]*sql.Stmt{}, options: o, committed: committed,
		// As many as go into the next transaction may wait here while one is committed.
		jobs:    make(chan *job, o.maxBatch),
		closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

// prepareFile opens the file, in WAL mode and with today's tables. A file that is not ours is left as it is.
func (o options) prepareFile(ctx context.Context, pool *sql.DB) (*sql.Conn, error) {
	var conn *sql.Conn
	err := o.retryBusy(ctx, func() (err error) { conn, err = pool.Conn(ctx); return err }) // the pragmas need the lock
	if err != nil {
		return nil, err
	}
	err = o.retryBusy(ctx, func() error { _, err := inspect(ctx, conn); return err })
	if err == nil {
		err = o.useWAL(ctx, conn)
	}
	if err == nil {
		err = o.migrate(ctx, conn)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (o options) useWAL(ctx context.Context, conn *sql.Conn) error {
	var mode string
	if err := o.retryBusy(ctx, func() error {
		return conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
	}); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode %q: %w", mode, ErrNoWAL)
	}
	return nil
}

// close releases the file.
func (w *writer) close() error {
	w.stop()
	for _, statement := range w.statements {
		_ = statement.Close()
	}
	return errors.Join(w.conn.Close(), w.pool.Close())
}
