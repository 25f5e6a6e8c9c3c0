package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"hexorders/ports"
)

// writer is the only goroutine of this process that writes to the file. It commits in groups: it takes the jobs that
// are queued at that moment, without waiting for more, runs them in one transaction, and reports the results once that
// is committed. A commit costs one flush to disk regardless of its size, so 32 clients share one flush instead of
// paying for 32. A single client waits no longer than without groups.
//
// Jobs do not affect each other. A job that must be rejected (a stale version, a lease that is held) finds that before
// it writes, and only its own caller gets the error. When a job fails after it has written, the transaction is rolled
// back and each of its jobs runs again in a transaction of its own. A savepoint around each job would work too, but
// costs two more statements for each job, and such failures are rare.
type writer struct {
	file       openFile
	pool       *sql.DB
	conn       *sql.Conn
	from       int // the schema version that the file had
	statements map[string]*sql.Stmt
	jobs       chan *job
	closing    chan struct{} // closed: takes no more jobs
	stopped    chan struct{} // closed: has run every job that it took
	once       sync.Once
	committed  func(*tx) // called after each commit
	watch      func(callers []context.Context, began time.Time, err error)
	options
}

const (
	// defaultMaxBatch and maxBatchBytes bound a transaction: the work that a failure repeats, the time that another
	// process waits for the lock, and the growth of the write-ahead log.
	defaultMaxBatch = 256
	maxBatchBytes   = 4 << 20

	defaultLockTimeout = 5 * time.Second
	lockPoll           = time.Millisecond // the interval at which a locked file is tried again
)

// job is one caller's part of a transaction.
type job struct {
	ctx     context.Context // the caller's
	size    int             // the approximate number of bytes that it writes
	apply   func(*tx) error
	claimed atomic.Bool // by the writer, which runs it, or by the caller, which gave up before that
	result  error       // of apply
	done    chan error  // has room for one, so that the writer never waits for a caller that gave up
}

// claim returns true to its first caller only.
func (j *job) claim() bool { return !j.claimed.Swap(true) }

// do runs apply in a transaction and returns once that is committed. apply may run a second time, after the effect of
// the first was rolled back.
//
// Errors: the error of apply; ports.ErrUnavailable when the commit failed or its outcome is unknown; the context's
// error when ctx ends before apply has begun. When ctx ends after that, both.
func (w *writer) do(ctx context.Context, size int, apply func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, size: size, apply: apply, done: make(chan error, 1)}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closing:
		return closedError()
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.claim() {
			return ctx.Err()
		}
		return unavailable(ctx.Err())
	case <-w.stopped:
		if j.claim() {
			return closedError() // it was queued too late
		}
		return <-j.done
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
			for first := w.nextJob(); first != nil; first = w.nextJob() {
				w.commitGroup(first)
			}
			return
		}
	}
}

// nextJob returns a queued job, or nil.
func (w *writer) nextJob() *job {
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

// commitGroup runs a job, and the jobs that arrive meanwhile, in one transaction.
func (w *writer) commitGroup(first *job) {
	group, began := []*job{first}, time.Now()
	t, err := w.begin()
	if err != nil {
		for len(group) < w.maxBatch { // the lock would fail each of them in turn
			j := w.nextJob()
			if j == nil {
				break
			}
			group = append(group, j)
		}
		w.report(group, began, err)
		return
	}
	for j, size := first, 0; j != nil; {
		if !j.run(t) {
			w.rollback()
			if len(group) == 1 { // its own failure
				w.report(group, began, nil)
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
		if j = w.nextJob(); j == nil {
			// Callers whose jobs were in the last commit may be about to queue the next. Letting them run once makes
			// groups half as large again. It does not delay: Gosched returns at once when no goroutine is ready to
			// run.
			runtime.Gosched()
			j = w.nextJob()
		}
		if j != nil {
			group = append(group, j)
		}
	}
	w.report(group, began, w.commit(t))
}

func (w *writer) commitAlone(j *job) {
	began := time.Now()
	t, err := w.begin()
	if err == nil {
		if j.run(t) {
			err = w.commit(t)
		} else {
			w.rollback()
		}
	}
	w.report([]*job{j}, began, err)
}

// run reports whether the transaction may be committed: the job has succeeded, or has written nothing.
func (j *job) run(t *tx) bool {
	t.touched = false
	j.result = j.apply(t)
	return j.result == nil || !t.touched
}

// report sends each caller the result of its job. When the commit failed every job gets that error: a result may
// depend on data that was not committed.
func (w *writer) report(group []*job, began time.Time, err error) {
	if w.watch != nil {
		callers := make([]context.Context, len(group))
		for i, j := range group {
			callers[i] = j.ctx
		}
		w.watch(callers, began, err)
	}
	for _, j := range group {
		if err != nil {
			j.result = err
		}
		j.done <- j.result
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

// stop waits until the writer has run the queued jobs and ends it.
func (w *writer) stop() {
	w.once.Do(func() { close(w.closing) })
	<-w.stopped
}

// tx is the transaction in which jobs run.
type tx struct {
	*writer
	touched  bool     // the running job has written, or an error has left the state of the transaction unknown
	inserted int64    // the rowid of the last row that was inserted
	outbox   []logged // written to the outbox, in order
	topic    []logged // written to the topic, in order
}

// exec runs one of the package's constant statements and returns how many rows it changed. Error:
// ports.ErrUnavailable.
func (t *tx) exec(query string, args ...any) (changed int64, err error) {
	statement, err := t.prepared(query)
	if err == nil {
		var result sql.Result
		if result, err = statement.Exec(args...); err == nil {
			changed, _ = result.RowsAffected() // the driver has both numbers already
			t.inserted, _ = result.LastInsertId()
		}
	}
	if err != nil {
		t.touched = true
		return 0, unavailable(err)
	}
	if changed > 0 {
		t.touched = true
	}
	return changed, nil
}

// define runs statements that make or drop tables, indexes and SQL views. Error: ports.ErrUnavailable.
func (t *tx) define(statements ...string) error {
	t.touched = true
	if _, err := t.conn.ExecContext(context.Background(), strings.Join(statements, "; ")); err != nil {
		return unavailable(err)
	}
	return nil
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

// begin takes the file's only write lock before anything is read or a sequence number is drawn.
func (w *writer) begin() (*tx, error) {
	if err := w.file.check(); err != nil {
		return nil, unavailable(err)
	}
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
	w.committed(t)
	return nil
}

// rollback ignores errors: after some errors SQLite has rolled back already, and after any other failure the next
// begin fails too and calls rollback again.
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

// retryBusy runs try again while another process holds the file's lock, for at most lockTimeout. SQLite's own
// busy_timeout polls less and less often, every 100 ms in the end: beside a process that writes all the time it finds
// no gap.
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

func openWriter(ctx context.Context, path string, o options, committed func(*tx)) (*writer, error) {
	if o.maxBatch <= 0 {
		o.maxBatch = defaultMaxBatch
	}
	if o.lockTimeout <= 0 {
		o.lockTimeout = defaultLockTimeout
	}
	// FULL flushes the log at every commit, so a reported commit survives a power cut as well as a kill. busy_timeout
	// is 0 because retryBusy waits for locks. The views' indexes change the same pages again and again: 16 MB of them stay
	// in memory, and 16 MB of log gather before they are copied into the file. A statement of many rows keeps what it
	// has changed, in case it fails, in memory and not in a temporary file.
	pool, err := connect(path, "synchronous(FULL)", "busy_timeout(0)", "cache_size(-16000)", "wal_autocheckpoint(4000)",
		"temp_store(MEMORY)")
	if err != nil {
		return nil, err
	}
	conn, from, err := o.prepareFile(ctx, pool)
	if err != nil {
		_ = pool.Close()
		return nil, err
	}
	file, err := identify(path)
	if err != nil {
		_ = conn.Close()
		_ = pool.Close()
		return nil, err
	}
	w := &writer{
		file: file, pool: pool, conn: conn, from: from, statements: map[string]*sql.Stmt{}, options: o, committed: committed,
		// The queue has room for the jobs of the next transaction.
		jobs:    make(chan *job, o.maxBatch),
		closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

// prepareFile opens the file, sets WAL mode and migrates the tables. It leaves a file of another program unchanged.
func (o options) prepareFile(ctx context.Context, pool *sql.DB) (conn *sql.Conn, from int, err error) {
	err = o.retryBusy(ctx, func() (err error) { conn, err = pool.Conn(ctx); return err }) // the pragmas need the lock
	if err != nil {
		return nil, 0, err
	}
	err = o.retryBusy(ctx, func() error { _, err := inspect(ctx, conn); return err })
	if err == nil {
		err = o.useWAL(ctx, conn)
	}
	if err == nil {
		from, err = o.migrate(ctx, conn)
	}
	if err != nil {
		_ = conn.Close()
		return nil, 0, err
	}
	return conn, from, nil
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
