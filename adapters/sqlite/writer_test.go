package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	driver "modernc.org/sqlite"

	"hexorders/core/order"
	"hexorders/ports"
)

// hold keeps the writer busy with a job until release is called, so that what comes meanwhile has to wait. The job
// writes nothing.
func hold(t testing.TB, db *DB) (release func()) {
	t.Helper()
	begun, free, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) }) // a job may be run again
	go func() {
		defer close(ended)
		_ = db.writer.do(context.Background(), 0, func(*tx) error {
			begin()
			<-free
			return nil
		})
	}()
	<-begun
	return sync.OnceFunc(func() {
		close(free)
		<-ended
	})
}

// countCommits counts what SQLite commits to the file.
func countCommits(t testing.TB, db *DB) *atomic.Int64 {
	t.Helper()
	commits := &atomic.Int64{}
	err := db.writer.conn.Raw(func(conn any) error {
		conn.(driver.HookRegisterer).RegisterCommitHook(func() int32 {
			commits.Add(1)
			return 0
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return commits
}

// saving is a Save that runs aside.
type saving struct {
	order *order.Order
	err   error
	ended chan struct{}
}

func saveAside(ctx context.Context, db *DB, o *order.Order) *saving {
	s := &saving{order: o, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = NewStore(db).Save(ctx, o, ports.IdempotencyKey{})
	}()
	return s
}

// saveBehind has these orders wait, in this order, behind a writer that is held.
func saveBehind(t testing.TB, db *DB, orders ...*order.Order) (all []*saving) {
	t.Helper()
	for i, o := range orders {
		all = append(all, saveAside(t.Context(), db, o))
		waitUntil(t, "the save waits", func() bool { return len(db.writer.jobs) == i+1 })
	}
	return all
}

// waitUntil polls a condition that sends no signal.
func waitUntil(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("not so after half a minute: %s", what)
		}
		<-time.After(100 * time.Microsecond)
	}
}

func newOrders(t testing.TB, ids ...string) (orders []*order.Order) {
	t.Helper()
	for _, id := range ids {
		orders = append(orders, newOrder(t, id))
	}
	return orders
}

func TestWhatWaitsIsCommittedTogether(t *testing.T) {
	db := openNew(t)
	release := hold(t, db)
	all := saveBehind(t, db, newOrders(t, "a", "b", "c", "d", "e", "f", "g", "h")...)
	commits := countCommits(t, db)
	release()
	for _, s := range all {
		if <-s.ended; s.err != nil {
			t.Errorf("save %s: %v", s.order.ID(), s.err)
		}
		wantOrder(t, db, s.order.ID(), 1)
	}
	if got := commits.Load(); got != 1 {
		t.Errorf("8 saves that waited took %d commits, want 1", got)
	}
	wantMessages(t, db, "a/1", "b/1", "c/1", "d/1", "e/1", "f/1", "g/1", "h/1")
}

func TestAGroupIsBounded(t *testing.T) {
	lines := make([]order.Item, order.MaxItems) // almost 50 kB, in the order's row and once more in the message
	for n := range lines {
		lines[n] = order.Item{Product: fmt.Sprintf("%0*d", order.MaxIDLength, n), Amount: 1}
	}
	big := func(id string) *order.Order {
		o, err := order.New(id, "9999", lines, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	cases := []struct {
		name    string
		jobs    int
		make    func(id string) *order.Order
		options options
		commits func(int64) bool
		want    string
	}{
		{"in jobs", 4, func(id string) *order.Order { return newOrder(t, id) }, options{maxBatch: 4},
			func(n int64) bool { return n == 2 }, "2: one of three beside the job that held the writer, one of the rest"},
		{"in bytes", 120, big, options{},
			func(n int64) bool { return n > 1 && n < 20 }, "a few of some 4 MB each"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			db := openWith(t, filepath.Join(t.TempDir(), "orders.db"), c.options)
			release := hold(t, db)
			commits := countCommits(t, db)
			var all []*saving
			for n := range c.jobs {
				all = append(all, saveAside(t.Context(), db, c.make(fmt.Sprintf("order-%d", n))))
			}
			waitUntil(t, "all of them wait", func() bool { return len(db.writer.jobs) == c.jobs })
			release()
			for _, s := range all {
				if <-s.ended; s.err != nil {
					t.Errorf("save %s: %v", s.order.ID(), s.err)
				}
			}
			if got := commits.Load(); !c.commits(got) {
				t.Errorf("%d saves took %d commits, want %s", c.jobs, got, c.want)
			}
		})
	}
}

func TestABadJobDoesNotHurtItsNeighbours(t *testing.T) {
	db := openNew(t)
	// The order itself can be written, its message cannot: the job fails half-way.
	execute(t, raw(t, db.path), `CREATE TRIGGER no BEFORE INSERT ON outbox WHEN NEW.order_id LIKE 'bad%'
		BEGIN SELECT RAISE(ABORT, 'no'); END`)
	save(t, db, newOrder(t, "stale"))
	stale := newOrder(t, "stale")
	release := hold(t, db)
	all := saveBehind(t, db, append(newOrders(t, "a", "bad-1", "b"), stale, newOrder(t, "bad-2"), newOrder(t, "c"))...)
	release()
	for _, s := range all {
		<-s.ended
		switch id := s.order.ID(); {
		case id == "stale":
			if !errors.Is(s.err, ports.ErrConflict) {
				t.Errorf("save %s: got error %v, want %v", id, s.err, ports.ErrConflict)
			}
		case strings.HasPrefix(id, "bad"):
			if !errors.Is(s.err, ports.ErrUnavailable) || len(s.order.Changes()) != 1 {
				t.Errorf("save %s: got error %v and %d changes left, want %v and 1", id, s.err, len(s.order.Changes()),
					ports.ErrUnavailable)
			}
			wantNoOrder(t, db, id)
		default:
			if s.err != nil {
				t.Errorf("save %s: %v", id, s.err)
			}
			wantOrder(t, db, id, 1)
		}
	}
	wantMessages(t, db, "stale/1", "a/1", "b/1", "c/1")
}

func TestAStaleJobDoesNotBreakTheGroup(t *testing.T) {
	db := openNew(t)
	save(t, db, newOrder(t, "taken"))
	release := hold(t, db)
	all := saveBehind(t, db, newOrders(t, "a", "taken", "b", "b")...)
	commits := countCommits(t, db)
	release()
	for i, want := range []error{nil, ports.ErrConflict, nil, ports.ErrConflict} {
		if <-all[i].ended; !errors.Is(all[i].err, want) {
			t.Errorf("save %d: got error %v, want %v", i, all[i].err, want)
		}
	}
	if got := commits.Load(); got != 1 {
		t.Errorf("the group took %d commits, want 1", got)
	}
	wantMessages(t, db, "taken/1", "a/1", "b/1")
}

func TestAFailedCommitIsAnErrorForEveryoneInIt(t *testing.T) {
	db := openNew(t)
	release := hold(t, db)
	// The second is too late only because of the first, which is not committed either.
	all := saveBehind(t, db, newOrders(t, "a", "a", "b")...)
	heal := failCommits(t, db)
	release()
	for _, s := range all {
		if <-s.ended; !errors.Is(s.err, ports.ErrUnavailable) || errors.Is(s.err, ports.ErrConflict) {
			t.Errorf("save %s: got error %v, want %v", s.order.ID(), s.err, ports.ErrUnavailable)
		}
		wantNoOrder(t, db, s.order.ID())
	}
	heal()
	save(t, db, all[0].order)
	wantMessages(t, db, "a/1")
}

func TestACallerWhoLeavesBeforeItsTurnHasSavedNothing(t *testing.T) {
	db := openNew(t)
	release := hold(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	left := saveAside(ctx, db, newOrder(t, "left"))
	waitUntil(t, "the save waits", func() bool { return len(db.writer.jobs) == 1 })
	cancel()
	<-left.ended
	if !errors.Is(left.err, context.Canceled) || errors.Is(left.err, ports.ErrUnavailable) {
		t.Errorf("got error %v, want only %v: the outcome is known", left.err, context.Canceled)
	}
	release()
	save(t, db, newOrder(t, "next")) // the writer has come past the one who left
	wantNoOrder(t, db, "left")
	wantMessages(t, db, "next/1")
}

func TestACallerWhoLeavesDuringItsTurnDoesNotKnowTheOutcome(t *testing.T) {
	db := openNew(t)
	ctx, cancel := context.WithCancel(t.Context())
	begun, free, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- db.writer.do(ctx, 0, func(t *tx) error {
			close(begun)
			<-free
			_, err := t.exec(`INSERT INTO subscribers (name, position) VALUES ('one', 5)`)
			return err
		})
	}()
	<-begun
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got error %v, want %v and %v", err, context.Canceled, ports.ErrUnavailable)
	}
	close(free)
	save(t, db, newOrder(t, "next"))
	if offset, err := NewTopic(db).Committed(t.Context(), "one"); offset != 5 || err != nil {
		t.Errorf("what was begun: got %d and error %v, want it committed", offset, err)
	}
}

func TestManyCallersWhoLeaveDoNotStopTheOthers(t *testing.T) {
	db := openNew(t)
	release := hold(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	var left []*saving
	for n := range 2 * cap(db.writer.jobs) { // more than may wait
		left = append(left, saveAside(ctx, db, newOrder(t, fmt.Sprintf("left-%d", n))))
	}
	waitUntil(t, "as many wait as may", func() bool { return len(db.writer.jobs) == cap(db.writer.jobs) })
	stays := saveAside(t.Context(), db, newOrder(t, "stays"))
	cancel()
	for _, s := range left {
		if <-s.ended; !errors.Is(s.err, context.Canceled) {
			t.Errorf("got error %v, want %v", s.err, context.Canceled)
		}
	}
	release()
	if <-stays.ended; stays.err != nil {
		t.Errorf("save: %v", stays.err)
	}
	wantMessages(t, db, "stays/1")
}

func TestCloseWaitsForWhatWasAccepted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	db := openAt(t, path)
	release := hold(t, db)
	all := saveBehind(t, db, newOrders(t, "a", "b", "c", "d")...)
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	<-db.writer.closing
	select {
	case err := <-closed:
		t.Fatalf("Close returned before the saves: %v", err)
	case <-all[0].ended:
		t.Fatalf("a save returned while the writer was held: %v", all[0].err)
	case <-time.After(20 * time.Millisecond):
	}
	release()
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	again := openAt(t, path)
	for _, s := range all {
		if <-s.ended; s.err != nil {
			t.Errorf("save %s: %v", s.order.ID(), s.err)
		}
		wantOrder(t, again, s.order.ID(), 1)
	}
}

func TestCloseWaitsForMoreThanTheGroupThatIsUnderWay(t *testing.T) {
	for range 20 { // what a writer without this promise does first is chance
		db := openWith(t, filepath.Join(t.TempDir(), "orders.db"), options{maxBatch: 1})
		release := hold(t, db)
		waiting := saveBehind(t, db, newOrder(t, "order-1"))[0]
		closed := make(chan error)
		go func() { closed <- db.Close() }()
		<-db.writer.closing
		release()
		if err := <-closed; err != nil {
			t.Errorf("close: %v", err)
		}
		if <-waiting.ended; waiting.err != nil {
			t.Fatalf("save: %v", waiting.err)
		}
	}
}

func TestASaveBesideCloseIsEitherKeptOrRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	for round := range 20 {
		db := openAt(t, path)
		var all []*saving
		for n := range 16 {
			all = append(all, saveAside(t.Context(), db, newOrder(t, fmt.Sprintf("order-%d-%d", round, n))))
		}
		<-all[round%16].ended
		closeNow(t, db)
		again := openAt(t, path)
		for _, s := range all {
			switch <-s.ended; {
			case s.err == nil:
				wantOrder(t, again, s.order.ID(), 1)
			case errors.Is(s.err, ErrClosed) && errors.Is(s.err, ports.ErrUnavailable):
				wantNoOrder(t, again, s.order.ID())
			default:
				t.Errorf("save beside Close: got error %v, want none or %v", s.err, ErrClosed)
			}
		}
		closeNow(t, again)
	}
}

func TestAfterCloseEverythingIsErrClosed(t *testing.T) {
	db := openNew(t)
	save(t, db, newOrder(t, "order-1"))
	tailed, read := make(chan error), make(chan error)
	following := make(chan struct{})
	go func() {
		tailed <- NewOutbox(db).Tail(t.Context(), "", func(ports.Message, ports.Position) error {
			close(following)
			return nil
		})
	}()
	go func() {
		_, _, err := NewTopic(db).Read(t.Context(), 0, 1)
		read <- err
	}()
	<-following
	var closing sync.WaitGroup
	for range 3 { // one closes, the others wait for that
		closing.Go(func() {
			if err := db.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	closing.Wait()

	ctx, m := t.Context(), ports.Message{ID: "order-1/1", OrderID: "order-1", Version: 1}
	calls := map[string]error{"Tail": <-tailed, "Read": <-read,
		"Save": NewStore(db).Save(ctx, newOrder(t, "order-2"), ports.IdempotencyKey{})}
	_, calls["Get"] = NewStore(db).Get(ctx, "order-1")
	_, calls["Position"] = NewOutbox(db).Position(ctx)
	calls["Checkpoint"] = NewOutbox(db).Checkpoint(ctx, 1, "1")
	calls["Park"] = NewParking(db).Park(ctx, m, "too large")
	_, calls["Parked"] = NewParking(db).Parked(ctx)
	calls["Append"] = NewTopic(db).Append(ctx, []ports.Message{m})
	_, calls["Acquire"] = NewLease(db, "relay").Acquire(ctx, "one", time.Second)
	for name, err := range calls {
		if !errors.Is(err, ErrClosed) || !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("%s after Close: got error %v, want %v and %v", name, err, ErrClosed, ports.ErrUnavailable)
		}
	}
}

func TestAFullDiskIsAnErrorAndPasses(t *testing.T) {
	db := openNew(t)
	save(t, db, newOrder(t, "first"))
	limit := func(pages string) {
		if _, err := db.writer.conn.ExecContext(t.Context(), "PRAGMA max_page_count = "+pages); err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // which SQLite takes to mean: no more than there are
	saved := []string{"first"}
	for {
		id := fmt.Sprintf("order-%04d", len(saved))
		o := newOrder(t, id)
		err := NewStore(db).Save(t.Context(), o, ports.IdempotencyKey{})
		if err == nil && len(saved) < 1000 {
			saved = append(saved, id)
			continue
		}
		if !errors.Is(err, ErrDiskFull) || !errors.Is(err, ports.ErrNoRoom) || !errors.Is(err, ports.ErrUnavailable) {
			t.Fatalf("save on a full disk: got error %v, want %v, %v and %v", err, ErrDiskFull, ports.ErrNoRoom, ports.ErrUnavailable)
		}
		wantNoOrder(t, db, id)
		if err := db.TryWrite(t.Context()); !errors.Is(err, ports.ErrNoRoom) {
			t.Errorf("try to write on a full disk: got error %v, want %v", err, ports.ErrNoRoom)
		}
		limit("1000000")
		if err := db.TryWrite(t.Context()); err != nil {
			t.Errorf("try to write with room: %v", err)
		}
		save(t, db, o)
		saved = append(saved, id)
		break
	}
	var want []string
	for _, id := range saved {
		wantOrder(t, db, id, 1)
		want = append(want, id+"/1")
	}
	wantMessages(t, db, want...)
}

func TestALockThatIsNotGivenUpIsAnErrorForAllWhoWait(t *testing.T) {
	const lockTimeout = 250 * time.Millisecond
	db := openWith(t, filepath.Join(t.TempDir(), "orders.db"), options{lockTimeout: lockTimeout})
	other := raw(t, db.path)
	execute(t, other, "BEGIN IMMEDIATE")
	begun := time.Now()
	var all []*saving
	for n := range 10 {
		all = append(all, saveAside(t.Context(), db, newOrder(t, fmt.Sprintf("order-%d", n))))
	}
	for _, s := range all {
		if <-s.ended; !errors.Is(s.err, ErrLocked) || !errors.Is(s.err, ports.ErrUnavailable) {
			t.Errorf("save: got error %v, want %v and %v", s.err, ErrLocked, ports.ErrUnavailable)
		}
	}
	if took := time.Since(begun); took < lockTimeout-lockPoll || took > 6*lockTimeout {
		t.Errorf("10 saves gave up after %v, want them to wait for %v together and not each in its turn", took, lockTimeout)
	}
	if _, err := NewStore(db).Get(t.Context(), "order-1"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("a reader beside the lock: got error %v, want %v", err, ports.ErrNotFound)
	}
	execute(t, other, "COMMIT")
	for _, s := range all {
		save(t, db, s.order)
	}
}

func TestASaveWaitsForAnothersLock(t *testing.T) {
	db := openNew(t)
	other := raw(t, db.path)
	execute(t, other, "BEGIN IMMEDIATE")
	s := saveAside(t.Context(), db, newOrder(t, "order-1"))
	select {
	case <-s.ended:
		t.Fatalf("save returned beside another's lock: %v", s.err)
	case <-time.After(20 * time.Millisecond):
	}
	execute(t, other, "ROLLBACK")
	if <-s.ended; s.err != nil {
		t.Errorf("save: %v", s.err)
	}
	wantOrder(t, db, "order-1", 1)
}

func TestTheWriterGetsOutOfAForgottenTransaction(t *testing.T) {
	db := openNew(t)
	if _, err := db.writer.conn.ExecContext(t.Context(), "BEGIN"); err != nil { // as if a ROLLBACK had failed
		t.Fatal(err)
	}
	if err := NewStore(db).Save(t.Context(), newOrder(t, "one"), ports.IdempotencyKey{}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("save in a forgotten transaction: got error %v, want %v", err, ports.ErrUnavailable)
	}
	save(t, db, newOrder(t, "two"))
	wantMessages(t, db, "two/1")
}

func TestAReaderDoesNotWaitForTheWriter(t *testing.T) {
	db := openNew(t)
	save(t, db, newOrder(t, "order-1"))
	release := hold(t, db)
	defer release()
	wantOrder(t, db, "order-1", 1)
	wantMessages(t, db, "order-1/1")
}

func TestOnlyWhatWasCommittedWakesThoseWhoWait(t *testing.T) {
	db := openNew(t)
	isClosed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	_, committed := db.outbox.after(0, 1)
	save(t, db, newOrder(t, "order-1"))
	if !isClosed(committed) {
		t.Error("a commit did not ring")
	}
	_, committed = db.outbox.after(1, 1)
	if err := NewStore(db).Save(t.Context(), newOrder(t, "order-1"), ports.IdempotencyKey{}); !errors.Is(err, ports.ErrConflict) {
		t.Errorf("save of an order that is there: got error %v, want %v", err, ports.ErrConflict)
	}
	heal := failCommits(t, db)
	if err := NewStore(db).Save(t.Context(), newOrder(t, "order-2"), ports.IdempotencyKey{}); err == nil {
		t.Error("a failed commit was no error")
	}
	if isClosed(committed) {
		t.Error("what was not committed rang")
	}
	heal()
	save(t, db, newOrder(t, "order-2"))
	if !isClosed(committed) {
		t.Error("a later commit did not ring")
	}
}

func TestAnAnswerIsNotLostInAStop(t *testing.T) {
	for range 20 { // whether the caller sees the answer or the stop first is chance
		w := &writer{jobs: make(chan *job, 1), closing: make(chan struct{}), stopped: make(chan struct{})}
		ctx := &eventful{Context: t.Context(), then: func() {
			j := <-w.jobs
			if j.claim() {
				j.done <- nil
			}
			close(w.stopped)
		}}
		if err := w.do(ctx, 0, nil); err != nil {
			t.Fatalf("a job that was done: got error %v", err)
		}
	}
}

// eventful is a context in which something happens when it is asked for Done a second time: between handing over a
// job and waiting for its answer.
type eventful struct {
	context.Context
	asked int
	then  func()
}

func (e *eventful) Done() <-chan struct{} {
	if e.asked++; e.asked == 2 {
		e.then()
	}
	return e.Context.Done()
}
