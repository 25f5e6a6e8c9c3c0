package porttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hexorders/ports"
)

var outboxChecks = []check[storage]{
	{"before the first checkpoint the position is empty", func(t testing.TB, s storage) {
		save(t, s, newOrder(t, orderID(1), 1))
		wantPosition(t, s, "")
	}, "no row yet is no error: the position is \"\""},
	{"the position is the last checkpoint", checkpointReadsBack,
		"Checkpoint writes the position and Position reads it: they must mean the same row"},
	{"a checkpoint of an earlier term is ErrFenced and changes nothing", earlierTermIsFenced,
		"compare the terms in the statement that writes: WHERE term <= the new one; no row changed is ports.ErrFenced"},
	{"a checkpoint of the same or a later term is taken", laterTermGoesOn,
		"a relay makes many checkpoints in one term: only a smaller term is refused"},

	{"what was committed before the first Tail is emitted", tailReplays,
		"\"\" means from the first message on, in the order of commits"},
	{"Tail follows what is committed while it runs", tailFollows,
		"at the end of the log Tail waits and reads again: it never returns nil"},
	{"a Tail resumed from any position leaves nothing out", resumeLeavesNothingOut,
		"a position stands for its message and all before it: go on with the very next one"},
	{"a Tail resumed in a quiet store repeats nothing", resumeRepeatsNothing,
		"go on after the position, not at it: > and not >="},
	{"every Tail sees the same messages", everyTailSeesTheSame,
		"reading takes nothing away: each Tail remembers for itself how far it is"},
	{"a Tail that starts among writers leaves nothing out", tailAmongWriters,
		"numbers of a sequence are drawn before the commit: a reader that has seen 12 may not have been able to see " +
			"11 yet, and goes on at 13. Draw them in the order of commits (a lock from the draw to the commit), or read " +
			"only what no open transaction can precede"},
	{"10,000 messages over 100 orders come out in version order, each once", tenThousandFromOutbox,
		"if a message is missing: numbers of a sequence are drawn before the commit, so that a later number can be " +
			"seen first"},

	{"calls of emit come one at a time", emitsDoNotOverlap,
		"call emit in one goroutine, and wait until it returns"},
	{"an error of emit ends Tail with that error", emitErrorEndsTail,
		"return the error of emit as it is, or wrapped with %w, and emit nothing more"},
	{"a cancelled context ends a Tail that waits", func(t testing.TB, s storage) {
		save(t, s, newOrder(t, orderID(1), 1))
		f := follow(t, s, "")
		f.next(t)
		f.stop(t)
		wantEndedBy(t, f, context.Canceled)
	}, "wait with select on ctx.Done() too"},
	{"a cancelled context ends a Tail that emits", cancelledWhileEmitting,
		"look at ctx.Err() before each emit"},
	{"a cancelled context ends every call", cancelledOutbox,
		"pass ctx on to every call, and return ctx.Err() as it is"},
}

func wantPosition(t testing.TB, s storage, want ports.Position) {
	t.Helper()
	got, err := s.Outbox.Position(bounded(t))
	if err != nil {
		t.Fatalf("Position: %v", err)
	}
	if got != want {
		t.Errorf("position: got %q, want %q", got, want)
	}
}

func checkpoint(t testing.TB, s storage, term int64, p ports.Position) {
	t.Helper()
	if err := s.Outbox.Checkpoint(bounded(t), term, p); err != nil {
		t.Fatalf("Checkpoint of %q in term %d: %v", p, term, err)
	}
}

// positions saves a run of n messages, in Saves of one and of several, while a Tail follows, and returns what it
// emitted.
func positions(t testing.TB, s storage, n int) []delivery {
	t.Helper()
	f := follow(t, s, "")
	defer f.stop(t)
	save(t, s, newOrder(t, orderID(1), 1))
	run := []delivery{f.next(t)} // from here on the Tail is known to follow
	for order := 2; len(run) < n; order++ {
		size := min(1+order%3, n-len(run))
		save(t, s, newOrder(t, orderID(order), size))
		run = append(run, f.take(t, size)...)
	}
	return run
}

func checkpointReadsBack(t testing.TB, s storage) {
	for _, d := range positions(t, s, 3) {
		checkpoint(t, s, 1, d.at)
		wantPosition(t, s, d.at)
	}
}

func earlierTermIsFenced(t testing.TB, s storage) {
	run := positions(t, s, 3)
	checkpoint(t, s, 7, run[1].at)
	for _, term := range []int64{6, 1, 0} {
		for _, d := range run {
			err := s.Outbox.Checkpoint(bounded(t), term, d.at)
			wantError(t, fmt.Sprintf("Checkpoint in term %d after term 7", term), err, ports.ErrFenced)
		}
	}
	wantPosition(t, s, run[1].at)
}

func laterTermGoesOn(t testing.TB, s storage) {
	run := positions(t, s, 4)
	for i, term := range []int64{3, 3, 4, 9} {
		checkpoint(t, s, term, run[i].at)
		wantPosition(t, s, run[i].at)
	}
	checkpoint(t, s, 9, run[3].at) // saying it again is no error
	wantPosition(t, s, run[3].at)
}

func tailReplays(t testing.TB, s storage) {
	want := map[string]int{orderID(1): 1, orderID(2): 3, orderID(3): 2}
	for _, n := range []int{1, 2, 3} {
		save(t, s, newOrder(t, orderID(n), want[orderID(n)]))
	}
	f := follow(t, s, "")
	l := newLedger(t)
	for _, d := range f.take(t, 6) {
		l.add(d.Message)
	}
	l.wantAll(want)
	l.wantOnce()
}

func tailFollows(t testing.TB, s storage) {
	f := follow(t, s, "")
	for n := range 20 {
		save(t, s, newOrder(t, orderID(n), 2))
		for version := 1; version <= 2; version++ {
			if got, want := f.next(t).ID, fmt.Sprintf("%s/%d", orderID(n), version); got != want {
				t.Errorf("message: got %s, want %s", got, want)
			}
		}
	}
}

func resumeLeavesNothingOut(t testing.TB, s storage) {
	followed := positions(t, s, 12)
	replay := follow(t, s, "")
	replayed := replay.take(t, len(followed))
	replay.stop(t)
	for what, run := range map[string][]delivery{"followed": followed, "replayed": replayed} {
		for i := range run {
			due := map[string]bool{}
			for _, d := range run[i+1:] {
				due[d.ID] = true
			}
			f := follow(t, s, run[i].at)
			for len(due) > 0 {
				delete(due, f.next(t).ID) // a repeated one is allowed, a missing one fails in next
			}
			f.stop(t)
			if t.Failed() {
				t.Fatalf("resumed from position %d of a run that was %s", i, what)
			}
		}
	}
}

func resumeRepeatsNothing(t testing.TB, s storage) {
	run := positions(t, s, 12)
	for i := range run {
		f := follow(t, s, run[i].at)
		for _, want := range run[i+1:] {
			wantSameMessage(t, f.next(t).Message, want.Message)
		}
		f.stop(t)
	}
	f := follow(t, s, run[len(run)-1].at)
	save(t, s, newOrder(t, orderID(900), 1))
	if got := f.next(t); got.OrderID != orderID(900) {
		t.Errorf("after the last position: got message %s, want the one saved after it", got.ID)
	}
}

func everyTailSeesTheSame(t testing.TB, s storage) {
	one, other := follow(t, s, ""), follow(t, s, "")
	const orders = 10
	for n := range orders {
		save(t, s, newOrder(t, orderID(n), 2))
	}
	late := follow(t, s, "")
	var runs [3][]ports.Message
	for i, f := range []*follower{one, other, late} {
		for _, d := range f.take(t, 2*orders) {
			runs[i] = append(runs[i], d.Message)
		}
		// Only each order's own messages have a promised order.
		slices.SortStableFunc(runs[i], func(a, b ports.Message) int { return strings.Compare(a.OrderID, b.OrderID) })
	}
	for i, want := range runs[0] {
		wantSameMessage(t, runs[1][i], want)
		wantSameMessage(t, runs[2][i], want)
	}
}

func tailAmongWriters(t testing.TB, s storage) {
	for round := range 5 { // five Tails, so that five moments of starting are tried
		startTailAmongWriters(t, s, 100*round)
	}
}

func startTailAmongWriters(t testing.TB, s storage, firstOrder int) {
	const orders, each = 8, 12
	writers := newCrew(t)
	defer writers.end()
	begun := make(chan struct{}, orders)
	started, emitting := make(chan struct{}), make(chan struct{})
	want := map[string]int{}
	for n := range orders {
		o := newOrder(t, orderID(firstOrder+n), 1)
		want[o.ID()] = each
		writers.do(func(ctx context.Context) error {
			for {
				if err := s.Orders.Save(ctx, o, ports.IdempotencyKey{}); err != nil {
					return fmt.Errorf("Save of order %s: %w", o.ID(), err)
				}
				// Some messages are there before Tail starts, some come while it does, some after that.
				var err error
				switch o.Version() {
				case each / 3:
					begun <- struct{}{}
					err = await(ctx, started)
				case each * 2 / 3:
					err = await(ctx, emitting)
				case each:
					return nil
				}
				if err == nil {
					err = addPieces(o, 1)
				}
				if err != nil {
					return err
				}
			}
		})
	}
	for range orders {
		select {
		case <-begun:
		case <-writers.failed:
			t.FailNow() // nothing would come for Tail to emit
		}
	}
	close(started)
	f := followBeside(t, s, "", writers)
	defer f.stop(t)
	l := newLedger(t)
	for complete := 0; complete < orders; {
		d := f.next(t)
		if want[d.OrderID] == 0 {
			continue // of an earlier round
		}
		if len(l.upTo) == 0 {
			close(emitting)
		}
		before := l.upTo[d.OrderID]
		l.add(d.Message)
		if before < each && l.upTo[d.OrderID] == each {
			complete++
		}
	}
	writers.wait()
}

func tenThousandFromOutbox(t testing.TB, s storage) {
	const orders, changes, jobsEach = 100, 10, 10
	writers := newCrew(t)
	defer writers.end()
	f := followBeside(t, s, "", writers)
	save(t, s, newOrder(t, "first", 1))
	f.next(t)

	// An order is handed out twice in a row, so that now and then two writers meet on it.
	jobs := make(chan string, orders*jobsEach)
	for range jobsEach / 2 {
		for n := range orders {
			jobs <- orderID(n)
			jobs <- orderID(n)
		}
	}
	close(jobs)
	for range 16 {
		writers.do(func(ctx context.Context) error {
			for id := range jobs {
				if err := writeChanges(ctx, s, id, changes); err != nil {
					return fmt.Errorf("order %s: %w", id, err)
				}
			}
			return nil
		})
	}

	want := map[string]int{}
	for n := range orders {
		want[orderID(n)] = changes * jobsEach
	}
	l := newLedger(t)
	for range orders * changes * jobsEach {
		l.add(f.next(t).Message)
	}
	writers.wait()
	l.wantAll(want)
	l.wantOnce()
	save(t, s, newOrder(t, "last", 1))
	if got := f.next(t).ID; got != "last/1" {
		t.Errorf("after the 10,000: got message %s, want last/1", got)
	}

	want["first"], want["last"] = 1, 1
	again, l := follow(t, s, ""), newLedger(t)
	for range 2 + orders*changes*jobsEach {
		l.add(again.next(t).Message)
	}
	l.wantAll(want)
	l.wantOnce()
}

// writeChanges makes n changes to an order in one Save, while others may do so at the same moment.
func writeChanges(ctx context.Context, s storage, id string, n int) error {
	for {
		o, err := s.Orders.Get(ctx, id)
		if errors.Is(err, ports.ErrNotFound) {
			o, err = startOrder("buyer-1", id)
		}
		if err != nil {
			return err
		}
		if err := addPieces(o, n-len(o.Changes())); err != nil {
			return err
		}
		if err := s.Orders.Save(ctx, o, ports.IdempotencyKey{}); !errors.Is(err, ports.ErrConflict) {
			return err
		}
	}
}

func emitsDoNotOverlap(t testing.TB, s storage) {
	const messages = 20
	for n := range messages / 4 {
		save(t, s, newOrder(t, orderID(n), 4))
	}
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	busy, overlap := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	emitted := 0
	err := s.Outbox.Tail(ctx, "", func(m ports.Message, _ ports.Position) error {
		select {
		case busy <- struct{}{}:
		default:
			once.Do(func() { close(overlap) })
			return nil
		}
		defer func() { <-busy }()
		if emitted++; emitted == messages {
			cancel()
			return nil
		}
		select {
		case <-overlap:
			cancel()
		case <-time.After(glance / messages):
		}
		return nil
	})
	wantError(t, "Tail", err, context.Canceled)
	select {
	case <-overlap:
		t.Error("emit was called while an earlier call had not returned")
	default:
	}
}

func emitErrorEndsTail(t testing.TB, s storage) {
	save(t, s, newOrder(t, orderID(1), 5))
	full := errors.New("the sink is full")
	for last := 1; last <= 3; last++ {
		calls, ctx := 0, bounded(t)
		ended := make(chan error, 1)
		go func() {
			ended <- s.Outbox.Tail(ctx, "", func(ports.Message, ports.Position) error {
				if calls++; calls >= last {
					return full
				}
				return nil
			})
		}()
		select {
		case err := <-ended:
			wantError(t, "Tail whose emit failed", err, full)
			if calls != last {
				t.Errorf("emit was called %d times, want none after call %d failed", calls, last)
			}
		case <-time.After(patience):
			t.Fatalf("Tail still runs after emit failed")
		}
	}
}

func wantEndedBy(t testing.TB, f *follower, want error) {
	t.Helper()
	select {
	case <-f.ended:
		wantError(t, "Tail", f.err, want)
	default:
		t.Errorf("Tail still runs, want it ended with %v", want)
	}
}

func cancelledWhileEmitting(t testing.TB, s storage) {
	for n := range 10 {
		save(t, s, newOrder(t, orderID(n), 10))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- s.Outbox.Tail(ctx, "", func(ports.Message, ports.Position) error {
			cancel()
			return nil
		})
	}()
	select {
	case err := <-ended:
		wantError(t, "Tail cancelled from within emit", err, context.Canceled)
	case <-time.After(patience):
		t.Error("Tail cancelled from within emit still runs")
	}
}

func cancelledOutbox(t testing.TB, s storage) {
	run := positions(t, s, 2)
	checkpoint(t, s, 1, run[0].at)
	wantCancelled(t, "Position", func(ctx context.Context) error { _, err := s.Outbox.Position(ctx); return err })
	wantCancelled(t, "Checkpoint", func(ctx context.Context) error { return s.Outbox.Checkpoint(ctx, 2, run[1].at) })
	wantPosition(t, s, run[0].at)
	for _, after := range []ports.Position{"", run[1].at} {
		wantCancelled(t, "Tail", func(ctx context.Context) error {
			return s.Outbox.Tail(ctx, after, func(ports.Message, ports.Position) error { return nil })
		})
	}
}
