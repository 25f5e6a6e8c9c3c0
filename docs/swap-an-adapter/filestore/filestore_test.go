package filestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hexorders/adapters/eventjson"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What every store has to promise.

func TestStore(t *testing.T) {
	porttest.Store(t, func(t testing.TB) porttest.Storage { return storageAt(t, filepath.Join(t.TempDir(), "orders.log")) })
}

func storageAt(t testing.TB, path string) porttest.Storage {
	s := open(t, path)
	return porttest.Storage{
		Orders: s, Outbox: s, Encode: eventjson.Messages,
		FailCommits: func(t testing.TB) (heal func()) {
			healthy := s.file
			swapFile(s, fullDisk{healthy})
			return func() { swapFile(s, healthy) }
		},
		Restart: func(t testing.TB) porttest.Storage {
			closeNow(t, s)
			return storageAt(t, path)
		},
	}
}

// What a store in a file has to promise besides.

// A crash can cut the file off anywhere in the line that was being written, and whoever was writing never heard that
// it was saved. So for every length there is: exactly the whole lines count, and the next line is not spoilt by the rest.
func TestACrashInMidWriteLosesOnlyWhatWasNotSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.log")
	s := open(t, path)
	o := newOrder(t, "order-1")
	save(t, s, o)
	if err := o.Pay(noon); err != nil {
		t.Fatal(err)
	}
	save(t, s, o)
	closeNow(t, s)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(whole), "\n"); lines != 2 {
		t.Fatalf("after two saves the file has %d lines, want 2", lines)
	}

	for length := range len(whole) + 1 {
		cut := filepath.Join(t.TempDir(), "cut.log")
		if err := os.WriteFile(cut, whole[:length], 0o600); err != nil {
			t.Fatal(err)
		}
		saved := strings.Count(string(whole[:length]), "\n")
		s := open(t, cut)
		wantVersion(t, s, "order-1", saved)
		next := newOrder(t, "order-2")
		save(t, s, next)
		closeNow(t, s)

		s = open(t, cut)
		wantVersion(t, s, "order-1", saved)
		wantStored(t, s, next)
		if t.Failed() {
			t.Fatalf("when the file was cut off after %d of %d bytes", length, len(whole))
		}
		closeNow(t, s)
	}
}

func TestNothingIsSavedOnABrokenDisk(t *testing.T) {
	for name, breakDisk := range map[string]func(t *testing.T, path string, healthy file) (broken file){
		"full":            func(_ *testing.T, _ string, healthy file) file { return fullDisk{healthy} },
		"failing to sync": func(_ *testing.T, _ string, healthy file) file { return unsyncedDisk{healthy} },
		"read-only": func(t *testing.T, path string, _ file) file {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "orders.log")
			s := open(t, path)
			stored, refused := newOrder(t, "order-1"), newOrder(t, "order-2")
			save(t, s, stored)

			healthy := s.file
			swapFile(s, breakDisk(t, path, healthy))
			if err := s.Save(t.Context(), refused, ports.IdempotencyKey{}); !errors.Is(err, ports.ErrUnavailable) {
				t.Errorf("Save: got error %v, want ports.ErrUnavailable", err)
			}
			if err := s.Checkpoint(t.Context(), 1, "1"); !errors.Is(err, ports.ErrUnavailable) {
				t.Errorf("Checkpoint: got error %v, want ports.ErrUnavailable", err)
			}
			wantVersion(t, s, "order-2", 0)
			swapFile(s, healthy)

			// What comes next is shorter than what the disk refused, and nothing of that may show behind it.
			if err := s.Checkpoint(t.Context(), 2, "1"); err != nil {
				t.Fatal(err)
			}
			closeNow(t, s)
			s = open(t, path)
			wantStored(t, s, stored)
			wantVersion(t, s, "order-2", 0)
			if got, err := s.Position(t.Context()); got != "1" || err != nil {
				t.Errorf("position: got %q and error %v, want 1", got, err)
			}
			save(t, s, refused)
			closeNow(t, s)
			wantStored(t, open(t, path), stored, refused)
		})
	}
}

// The names in the file are a promise to the files that are there already.
func TestAFileOfTheFirstVersionIsStillRead(t *testing.T) {
	s := open(t, fileOf(t, created, reached, paid))
	o := get(t, s, "order-1")
	if o.Buyer() != "9999" || o.Status() != order.StatusPaid || !slices.Equal(o.Items(), []order.Item{{Product: "1111", Amount: 3}}) {
		t.Errorf("order: got %+v", o.Snapshot())
	}
	want := delivery{ports.Message{
		ID: "order-1/2", Type: "OrderPaid", OrderID: "order-1", Version: 2, OccurredAt: noon, TraceParent: "00-trace-01",
		Payload: []byte(`{"orderId":"order-1","version":2,"occurredAt":"2026-03-02T12:00:00Z"}`),
	}, "2"}
	if got := tail(t, s, 2)[1]; !got.equal(want) {
		t.Errorf("message:\n got %+v\nwant %+v", got, want)
	}
	if got, err := s.Position(t.Context()); got != "1" || err != nil {
		t.Errorf("position: got %q and error %v, want 1", got, err)
	}
	if err := s.Checkpoint(t.Context(), 2, "2"); !errors.Is(err, ports.ErrFenced) {
		t.Errorf("checkpoint in term 2 after term 3: got error %v, want ports.ErrFenced", err)
	}
}

const (
	created = `{"messages":[{"ID":"order-1/1","Type":"OrderCreated","OrderID":"order-1","Version":1,` +
		`"OccurredAt":"2026-03-02T12:00:00Z","TraceParent":"","Payload":{"orderId":"order-1","version":1,` +
		`"occurredAt":"2026-03-02T12:00:00Z","buyerId":"9999","items":[{"productId":"1111","amount":3}]}}]}`
	reached = `{"checkpoint":{"position":"1","term":3}}`
	paid    = `{"messages":[{"ID":"order-1/2","Type":"OrderPaid","OrderID":"order-1","Version":2,` +
		`"OccurredAt":"2026-03-02T12:00:00Z","TraceParent":"00-trace-01","Payload":{"orderId":"order-1","version":2,` +
		`"occurredAt":"2026-03-02T12:00:00Z"}}]}`
)

// Only a crash cuts a line off. Whatever else is wrong with a file is for people to look at: guessing would lose orders.
func TestADamagedFileIsNotOpened(t *testing.T) {
	for name, lines := range map[string][]string{
		"no JSON":           {created, `{"messages":[{"ID":"order-1/2","Ty`, reached},
		"an unknown event":  {strings.Replace(created, "OrderCreated", "OrderEaten", 1)},
		"a missing message": {paid},
		"a line twice":      {created, paid, paid},
		"an unknown line":   {created, `{"parked":"order-1/1"}`},
	} {
		t.Run(name, func(t *testing.T) {
			path := fileOf(t, lines...)
			s, err := Open(path)
			if err == nil {
				closeNow(t, s)
				t.Fatal("got no error")
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder was opened as a file")
	}
}

func TestTailRefusesAPositionOfAnotherOutbox(t *testing.T) {
	s := open(t, fileOf(t, created))
	for _, position := range []ports.Position{"a resume token", "-1", "2"} {
		if err := s.Tail(t.Context(), position, func(ports.Message, ports.Position) error { return nil }); err == nil {
			t.Errorf("Tail after %q of an outbox with one message: got no error", position)
		}
	}
}

func TestACancelledTailLeavesTheRestOfTheLog(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "orders.log"))
	save(t, s, newOrder(t, "order-1"))
	save(t, s, newOrder(t, "order-2"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // only when messages are missing
	defer cancel()
	emitted := 0
	err := s.Tail(ctx, "", func(ports.Message, ports.Position) error {
		emitted++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || emitted != 1 {
		t.Errorf("cancelled at the first message of two: got %d messages and error %v, want 1 and %v", emitted, err, context.Canceled)
	}
}

func TestAClosedStoreSavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.log")
	s := open(t, path)
	closeNow(t, s)
	if err := s.Save(t.Context(), newOrder(t, "order-1"), ports.IdempotencyKey{}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Save: got error %v, want ports.ErrUnavailable", err)
	}
	wantVersion(t, open(t, path), "order-1", 0)
}

// Whoever waits behind a disk that hangs can stop waiting.
func TestACancelledContextEndsTheWaitForTheDisk(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "orders.log"))
	hanging := hangingDisk{file: s.file, reached: make(chan struct{}), repaired: make(chan struct{})}
	swapFile(s, hanging)
	saved, o := make(chan error, 1), newOrder(t, "order-1")
	go func() { saved <- s.Save(t.Context(), o, ports.IdempotencyKey{}) }()
	select {
	case <-hanging.reached:
	case err := <-saved:
		t.Fatalf("Save ended without asking the disk to sync, with error %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := s.Get(ctx, "order-1"); ended <- err }()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Get: got error %v, want %v", err, context.Canceled)
		}
	case <-time.After(10 * time.Second):
		t.Error("Get still waits")
	}

	close(hanging.repaired)
	if err := <-saved; err != nil {
		t.Errorf("Save once the disk was repaired: %v", err)
	}
}

// fullDisk has room for half of what is to be written, as it happens.
type fullDisk struct{ file }

func (d fullDisk) WriteAt(p []byte, at int64) (int, error) {
	n, err := d.file.WriteAt(p[:len(p)/2], at)
	return n, errors.Join(err, syscall.ENOSPC)
}

// unsyncedDisk takes everything and keeps nothing for sure.
type unsyncedDisk struct{ file }

func (unsyncedDisk) Sync() error { return syscall.EIO }

type hangingDisk struct {
	file
	reached, repaired chan struct{}
}

func (d hangingDisk) Sync() error {
	close(d.reached)
	<-d.repaired
	return d.file.Sync()
}

func swapFile(s *Store, f file) {
	s.turn <- struct{}{}
	s.file = f
	<-s.turn
}

var noon = time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closing again is an error, and harmless
	return s
}

func closeNow(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func fileOf(t testing.TB, lines ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "orders.log")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newOrder(t testing.TB, id string) *order.Order {
	t.Helper()
	o, err := order.New(id, "9999", []order.Item{{Product: "1111", Amount: 3}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func save(t testing.TB, s *Store, o *order.Order) {
	t.Helper()
	if err := s.Save(t.Context(), o, ports.IdempotencyKey{}); err != nil {
		t.Fatalf("Save of %s: %v", o.ID(), err)
	}
}

func get(t testing.TB, s *Store, id string) *order.Order {
	t.Helper()
	o, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get of %s: %v", id, err)
	}
	return o
}

func wantStored(t testing.TB, s *Store, orders ...*order.Order) {
	t.Helper()
	for _, want := range orders {
		got := get(t, s, want.ID())
		if got.Version() != want.Version() || got.Status() != want.Status() || !slices.Equal(got.Items(), want.Items()) {
			t.Errorf("stored order:\n got %+v\nwant %+v", got.Snapshot(), want.Snapshot())
		}
	}
}

// wantVersion takes version 0 to mean that there is no such order.
func wantVersion(t testing.TB, s *Store, id string, version int) {
	t.Helper()
	o, err := s.Get(t.Context(), id)
	switch {
	case version == 0 && !errors.Is(err, ports.ErrNotFound):
		t.Errorf("Get of %s: got error %v, want ports.ErrNotFound", id, err)
	case version > 0 && err != nil:
		t.Errorf("Get of %s: %v", id, err)
	case version > 0 && o.Version() != version:
		t.Errorf("version of %s: got %d, want %d", id, o.Version(), version)
	}
}

type delivery struct {
	ports.Message
	position ports.Position
}

func (d delivery) equal(other delivery) bool {
	a, b := d.Message, other.Message
	return d.position == other.position && a.ID == b.ID && a.Type == b.Type && a.OrderID == b.OrderID && a.Version == b.Version &&
		string(a.Payload) == string(b.Payload) && a.OccurredAt.Equal(b.OccurredAt) && a.TraceParent == b.TraceParent
}

// tail returns the first n messages of the outbox.
func tail(t testing.TB, s *Store, n int) (messages []delivery) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // only when messages are missing
	defer cancel()
	enough := errors.New("enough")
	err := s.Tail(ctx, "", func(m ports.Message, p ports.Position) error {
		if messages = append(messages, delivery{m, p}); len(messages) == n {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("Tail ended after %d messages of %d: %v", len(messages), n, err)
	}
	return messages
}
