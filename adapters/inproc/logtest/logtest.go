// Package logtest holds every log of the in-process broker to the promises of inproc.Log, one check a promise:
//
//	func TestLog(t *testing.T) {
//		logtest.Log(t, func(t testing.TB) inproc.Log { ... })
//	}
package logtest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/ports"
)

// Log checks the promises of inproc.Log on an empty one. What another process appends is for the store's own tests: a
// suite has only one process.
func Log(t *testing.T, open func(t testing.TB) inproc.Log) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.prove(t, open(t)) })
	}
}

// check is one promise: the sentence, and what proves it on a fresh log.
type check struct {
	name  string
	prove func(t testing.TB, log inproc.Log)
}

var checks = []check{
	{"what was appended reads back as it was", readsBack},
	{"messages stand in the order they were appended", keepsOrder},
	{"a message appended again stands there again", keepsRepeats},
	{"appending nothing adds nothing", appendOfNothing},
	{"a caller may reuse the slice that it appended", keepsItsOwn},
	{"the messages of one Append stand together, and are seen all at once", appendIsOnePiece},

	{"offsets grow, and Read goes on after any of them", offsets},
	{"Read returns at most limit messages", limit},
	{"reading takes nothing away", readersShareNothing},
	{"Read waits until there is a message", readWaits},
	{"every Read that waits gets what is appended", wakesEveryone},
	{"a reader among writers gets every message once, each order's in version order", amongWriters},

	{"a log has an id that stays, and all of its messages", begins},
	{"End is 0 at first, then the offset of the newest message", end},

	{"a subscriber that never committed is at 0", firstCommitted},
	{"a subscriber is where it last committed", committed},
	{"subscribers do not move each other", subscribers},

	{"a cancelled context ends a Read that waits", cancelledWait},
	{"a cancelled context ends every call, and nothing has changed", cancelled},
}

// everything is a limit that no check reaches.
const everything = math.MaxInt32

func appendTo(t testing.TB, log inproc.Log, messages ...ports.Message) {
	t.Helper()
	if err := log.Append(bounded(t), messages); err != nil {
		t.Fatalf("Append of %d messages: %v", len(messages), err)
	}
}

func readFrom(t testing.TB, log inproc.Log, after int64, limit int) ([]ports.Message, int64) {
	t.Helper()
	messages, last, err := log.Read(bounded(t), after, limit)
	if err != nil {
		t.Fatalf("Read after offset %d: %v", after, err)
	}
	if len(messages) == 0 {
		t.Fatalf("Read after offset %d returned without a message", after)
	}
	if last <= after {
		t.Fatalf("offset of the last message read after offset %d: got %d, want a larger one", after, last)
	}
	return messages, last
}

func endOf(t testing.TB, log inproc.Log) int64 {
	t.Helper()
	end, err := log.End(bounded(t))
	if err != nil {
		t.Fatalf("End: %v", err)
	}
	return end
}

func commit(t testing.TB, log inproc.Log, subscriber string, offset int64) {
	t.Helper()
	if err := log.Commit(bounded(t), subscriber, offset); err != nil {
		t.Fatalf("Commit of %s at %d: %v", subscriber, offset, err)
	}
}

func wantCommitted(t testing.TB, log inproc.Log, subscriber string, want int64) {
	t.Helper()
	got, err := log.Committed(bounded(t), subscriber)
	if err != nil {
		t.Fatalf("Committed of %s: %v", subscriber, err)
	}
	if got != want {
		t.Errorf("offset of subscriber %q: got %d, want %d", subscriber, got, want)
	}
}

// wantLog fails unless the log holds exactly these messages, in this order. At least one: reading nothing waits.
func wantLog(t testing.TB, log inproc.Log, want ...ports.Message) {
	t.Helper()
	wantSameMessages(t, allOf(t, log), want)
}

// allOf reads from the first message to the end, however little each Read returns.
func allOf(t testing.TB, log inproc.Log) (all []ports.Message) {
	t.Helper()
	for end, last := endOf(t, log), int64(0); last < end; {
		var some []ports.Message
		some, last = readFrom(t, log, last, everything)
		all = append(all, some...)
	}
	return all
}

func wantSameMessages(t testing.TB, got, want []ports.Message) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d messages, want %d:\n got %.500v\nwant %.500v", len(got), len(want), idsOf(got), idsOf(want))
		return
	}
	for i := range want {
		wantSameMessage(t, got[i], want[i])
	}
}

func idsOf(messages []ports.Message) (ids []string) {
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return ids
}

// messages are versions from..to of an order.
func messages(orderID string, from, to int) (run []ports.Message) {
	for version := from; version <= to; version++ {
		run = append(run, message(orderID, version))
	}
	return run
}

func readsBack(t testing.TB, log inproc.Log) {
	plain, rich := message(orderID(1), 1), message("заказ-注文-🛒", 7)
	rich.Payload = []byte(`{"productId":"茶 \"grün\" <1kg> & ½ ' OR 1=1; --","amount":1}`)
	rich.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	large, ancient := message("a.b/$c", 12), message(orderID(2), math.MaxInt32)
	large.Payload = noise(1 << 20)
	ancient.OccurredAt = time.Date(1969, 12, 31, 23, 59, 59, 999_000_000, time.UTC)
	appendTo(t, log, plain, rich)
	appendTo(t, log, large)
	appendTo(t, log, ancient)
	wantLog(t, log, plain, rich, large, ancient)
}

func keepsOrder(t testing.TB, log inproc.Log) {
	var want []ports.Message
	for n := range 20 { // by neither order id nor version nor time
		batch := []ports.Message{message(orderID(20-n), 3), message(orderID(40+n), 2), message(orderID(20-n), 1)}
		appendTo(t, log, batch...)
		want = append(want, batch...)
	}
	wantLog(t, log, want...)
}

func keepsRepeats(t testing.TB, log inproc.Log) {
	one, two := message(orderID(1), 1), message(orderID(1), 2)
	appendTo(t, log, one, two)
	appendTo(t, log, one) // a relay that was killed sends again: a log says what came, and leaves the rest to readers
	appendTo(t, log, two, two)
	wantLog(t, log, one, two, one, two, two)
}

func appendOfNothing(t testing.TB, log inproc.Log) {
	appendTo(t, log)
	if end := endOf(t, log); end != 0 {
		t.Errorf("end after appending nothing to an empty log: got %d, want 0", end)
	}
	appendTo(t, log, message(orderID(1), 1))
	end := endOf(t, log)
	appendTo(t, log)
	if got := endOf(t, log); got != end {
		t.Errorf("end after appending nothing: got %d, want %d as before", got, end)
	}
	wantLog(t, log, message(orderID(1), 1))
}

func keepsItsOwn(t testing.TB, log inproc.Log) {
	batch := messages(orderID(1), 1, 3)
	appendTo(t, log, batch...)
	for i := range batch {
		batch[i] = message("reused", i+1)
	}
	read, _ := readFrom(t, log, 0, everything)
	for i := range read {
		read[i] = message("reused", i+1)
	}
	wantLog(t, log, messages(orderID(1), 1, 3)...)
}

func appendIsOnePiece(t testing.TB, log inproc.Log) {
	const writers, appends, size = 8, 10, 5
	var all sync.WaitGroup
	defer all.Wait()
	ctx := bounded(t)
	for w := range writers {
		all.Go(func() {
			for n := range appends {
				if err := log.Append(ctx, messages(orderID(w), n*size+1, (n+1)*size)); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	// The reader follows from one piece to the next, so all that it reads must be whole pieces.
	for seen, last := 0, int64(0); seen < writers*appends*size; {
		var read []ports.Message
		read, last = readFrom(t, log, last, everything)
		seen += len(read)
		if len(read)%size != 0 {
			t.Fatalf("read %d messages where each Append had %d: one was seen in part", len(read), size)
		}
		for piece := range slices.Chunk(read, size) {
			wantSameMessages(t, piece, messages(piece[0].OrderID, piece[0].Version, piece[0].Version+size-1))
		}
	}
}

func offsets(t testing.TB, log inproc.Log) {
	want := messages(orderID(1), 1, 12)
	appendTo(t, log, want[:1]...)
	appendTo(t, log, want[1:8]...)
	appendTo(t, log, want[8:]...)
	offsets := []int64{0}
	for i := range want {
		read, last := readFrom(t, log, offsets[i], 1) // which fails unless the offset grows
		wantSameMessages(t, read, want[i:i+1])
		offsets = append(offsets, last)
	}
	for i, offset := range offsets[:len(want)] {
		for n := 1; i+n <= len(want); n++ {
			read, last := readFrom(t, log, offset, n)
			wantSameMessages(t, read, want[i:i+len(read)])
			if last != offsets[i+len(read)] {
				t.Errorf("offset of the last of %d messages after %d: got %d, want %d", len(read), offset, last, offsets[i+len(read)])
			}
		}
	}
}

func limit(t testing.TB, log inproc.Log) {
	appendTo(t, log, messages(orderID(1), 1, 10)...)
	appendTo(t, log, messages(orderID(2), 1, 10)...)
	for _, limit := range []int{1, 2, 7, 19, 20, 21, everything} {
		if read, _ := readFrom(t, log, 0, limit); len(read) > limit {
			t.Errorf("Read with limit %d returned %d messages", limit, len(read))
		}
	}
}

func readersShareNothing(t testing.TB, log inproc.Log) {
	want := messages(orderID(1), 1, 6)
	appendTo(t, log, want...)
	for range 3 {
		wantLog(t, log, want...)
	}
	commit(t, log, "one", endOf(t, log))
	wantLog(t, log, want...)
}

// reading is a Read that runs aside.
type reading struct {
	messages []ports.Message
	err      error
	ended    chan struct{}
}

func readAside(ctx context.Context, log inproc.Log, after int64) *reading {
	r := &reading{ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.messages, _, r.err = log.Read(ctx, after, everything)
	}()
	return r
}

func (r *reading) wantWaiting(t testing.TB) {
	t.Helper()
	select {
	case <-r.ended:
		t.Errorf("Read where there is nothing to read returned %v and error %v, want it to wait", idsOf(r.messages), r.err)
	case <-time.After(glance):
	}
}

func (r *reading) wantEnd(t testing.TB, what string) {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(prompt):
		t.Fatalf("Read still waits %v after %s", prompt, what)
	}
}

func readWaits(t testing.TB, log inproc.Log) {
	offset := int64(0)
	for version := 1; version <= 3; version++ {
		r := readAside(bounded(t), log, offset)
		r.wantWaiting(t)
		appendTo(t, log, message(orderID(1), version))
		r.wantEnd(t, "a message was appended")
		if r.err != nil {
			t.Fatalf("Read: %v", r.err)
		}
		wantSameMessages(t, r.messages, messages(orderID(1), version, version))
		offset = endOf(t, log)
	}
}

func wakesEveryone(t testing.TB, log inproc.Log) {
	var waiting []*reading
	for range 5 {
		waiting = append(waiting, readAside(bounded(t), log, 0))
	}
	for _, r := range waiting {
		r.wantWaiting(t)
	}
	appendTo(t, log, messages(orderID(1), 1, 2)...)
	for _, r := range waiting {
		r.wantEnd(t, "a message was appended")
		if r.err != nil {
			t.Fatalf("Read: %v", r.err)
		}
		wantSameMessages(t, r.messages, messages(orderID(1), 1, 2))
	}
}

func amongWriters(t testing.TB, log inproc.Log) {
	const orders, each = 16, 50
	var writers sync.WaitGroup
	defer writers.Wait()
	ctx, want := bounded(t), map[string]int{}
	for n := range orders {
		id := orderID(n)
		want[id] = each
		writers.Go(func() {
			for version := 1; version <= each; version++ {
				if err := log.Append(ctx, messages(id, version, version)); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	l := newLedger(t)
	for seen, last := 0, int64(0); seen < orders*each; {
		var read []ports.Message
		read, last = readFrom(t, log, last, 50)
		seen += len(read)
		for _, m := range read {
			l.add(m)
		}
	}
	l.wantAll(want)
	l.wantOnce()
}

func begins(t testing.TB, log inproc.Log) {
	var id string
	for n := range 3 {
		is, before, err := log.Begin(bounded(t))
		if err != nil || is == "" || before != 0 {
			t.Fatalf("Begin of a log with %d messages: got id %q, before %d, %v; want an id, and 0", n, is, before, err)
		}
		if n > 0 && is != id {
			t.Errorf("the id of the log was %q and is %q", id, is)
		}
		id = is
		appendTo(t, log, message(orderID(1), n+1))
	}
	wantCancelled(t, "Begin", func(ctx context.Context) error { _, _, err := log.Begin(ctx); return err })
}

func end(t testing.TB, log inproc.Log) {
	if end := endOf(t, log); end != 0 {
		t.Errorf("end of an empty log: got %d, want 0", end)
	}
	for version, last := 1, int64(0); version <= 9; version += 3 {
		appendTo(t, log, messages(orderID(1), version, version+2)...)
		end := endOf(t, log)
		for read := 0; read < 3; { // a Read may return less than there is
			var some []ports.Message
			some, last = readFrom(t, log, last, everything)
			read += len(some)
		}
		if end != last {
			t.Errorf("end: got %d, want the newest message's offset %d", end, last)
		}
	}
	commit(t, log, "one", 1)
	if end, again := endOf(t, log), endOf(t, log); end != again {
		t.Errorf("end of a log at rest: got %d, then %d", end, again)
	}
}

func firstCommitted(t testing.TB, log inproc.Log) {
	wantCommitted(t, log, "one", 0)
	appendTo(t, log, messages(orderID(1), 1, 3)...)
	readFrom(t, log, 0, everything) // reading commits nothing
	wantCommitted(t, log, "one", 0)
	wantCommitted(t, log, "", 0)
}

func committed(t testing.TB, log inproc.Log) {
	appendTo(t, log, messages(orderID(1), 1, 5)...)
	end := endOf(t, log)
	for _, offset := range []int64{1, 2, end} {
		commit(t, log, "one", offset)
		wantCommitted(t, log, "one", offset)
		wantCommitted(t, log, "one", offset) // asking changes nothing
	}
	commit(t, log, "one", 3) // a subscriber may go back
	wantCommitted(t, log, "one", 3)
	commit(t, log, "one", 0)
	wantCommitted(t, log, "one", 0)
}

func subscribers(t testing.TB, log inproc.Log) {
	appendTo(t, log, messages(orderID(1), 1, 5)...)
	names := []string{"one", "ONE", "one ", "другой", "' OR 1=1; --"}
	for i, name := range names {
		commit(t, log, name, int64(i+1))
	}
	commit(t, log, "one", 5)
	wantCommitted(t, log, "one", 5)
	for i, name := range names[1:] {
		wantCommitted(t, log, name, int64(i+2))
	}
	wantCommitted(t, log, "on", 0)
}

func cancelledWait(t testing.TB, log inproc.Log) {
	appendTo(t, log, message(orderID(1), 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := readAside(ctx, log, endOf(t, log))
	r.wantWaiting(t)
	cancel()
	r.wantEnd(t, "its context was cancelled")
	wantError(t, "a Read that waited when its context was cancelled", r.err, context.Canceled)
	if len(r.messages) > 0 {
		t.Errorf("a cancelled Read returned messages %v", idsOf(r.messages))
	}

	timed, stop := context.WithTimeout(t.Context(), glance)
	defer stop()
	r = readAside(timed, log, endOf(t, log))
	r.wantEnd(t, "its context's deadline")
	wantError(t, "a Read that waited until its context's deadline", r.err, context.DeadlineExceeded)
}

func cancelled(t testing.TB, log inproc.Log) {
	appendTo(t, log, message(orderID(1), 1))
	commit(t, log, "one", 1)
	calls := map[string]func(context.Context) error{
		"Append":    func(ctx context.Context) error { return log.Append(ctx, messages(orderID(2), 1, 3)) },
		"Read":      func(ctx context.Context) error { _, _, err := log.Read(ctx, 0, everything); return err },
		"End":       func(ctx context.Context) error { _, err := log.End(ctx); return err },
		"Committed": func(ctx context.Context) error { _, err := log.Committed(ctx, "one"); return err },
		"Commit":    func(ctx context.Context) error { return log.Commit(ctx, "one", 7) },
	}
	for name, call := range calls {
		wantCancelled(t, name, call)
	}
	wantLog(t, log, message(orderID(1), 1))
	wantCommitted(t, log, "one", 1)
	if err := log.Append(bounded(t), messages(orderID(1), 2, 2)); errors.Is(err, context.Canceled) {
		t.Errorf("cancelled calls left the log unusable: %v", err)
	}
	wantLog(t, log, messages(orderID(1), 1, 2)...)
}
