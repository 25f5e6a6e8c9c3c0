package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"hexorders/ports"
)

func TestWhatWasSavedSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	promised := map[string]int{}
	for round := range 5 {
		c := start(t, "save", path, fmt.Sprintf("round-%d", round))
		var said []string
		for range 100 + 37*round { // another moment each time
			line, ok := c.next()
			if !ok {
				_ = c.Wait()
				t.Fatalf("the other process ended by itself: %s", c.stderr.String())
			}
			said = append(said, line)
		}
		if err := c.Process.Kill(); err != nil { // SIGKILL
			t.Fatal(err)
		}
		said = append(said, lines(c.lines)...)
		if err := c.Wait(); err == nil {
			t.Fatal("the other process was not killed")
		}
		for _, line := range said {
			var id string
			var version int
			if _, err := fmt.Sscan(line, &id, &version); err != nil {
				t.Fatalf("the other process said %q: %v", line, err)
			}
			promised[id] = max(promised[id], version)
		}

		db := openAt(t, path)
		for id, version := range promised {
			if o, err := NewStore(db).Get(t.Context(), id); err != nil || o.Version() < version {
				t.Errorf("round %d: order %s was saved at version %d; now there is %v and error %v", round, id, version, o, err)
			}
		}
		wantAgreement(t, db)
		closeNow(t, db)
	}
	t.Logf("%d orders over 5 kills", len(promised))
}

// wantAgreement fails unless each order has just its messages, one for each version, in order, and the file is whole.
func wantAgreement(t testing.TB, db *DB) {
	t.Helper()
	for _, what := range disagreements(t, db) {
		t.Error(what)
	}
}

func disagreements(t testing.TB, db *DB) (all []string) {
	t.Helper()
	for what, query := range map[string]string{
		"orders without exactly their messages": `SELECT count(*) FROM orders AS o WHERE version <>
			(SELECT count(*) FROM outbox WHERE order_id = o.id AND version BETWEEN 1 AND o.version)`,
		"messages without their order": `SELECT count(*) FROM outbox AS m WHERE NOT EXISTS
			(SELECT 1 FROM orders WHERE id = m.order_id AND version >= m.version)`,
		"messages before an earlier one of their order": `SELECT count(*) FROM outbox AS m JOIN outbox AS later
			ON later.order_id = m.order_id AND later.version = m.version + 1 WHERE later.seq <= m.seq`,
		"complaints of SQLite": `SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'`,
	} {
		var n int
		if err := db.queryRow(t.Context(), query, nil, &n); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n > 0 {
			all = append(all, fmt.Sprintf("%s: %d, want none", what, n))
		}
	}
	return all
}

func TestADisagreementIsNoticed(t *testing.T) {
	for name, harm := range map[string]string{
		"a lost message":        "DELETE FROM outbox WHERE order_id = 'order-1' AND version = 2",
		"a lost last message":   "DELETE FROM outbox WHERE order_id = 'order-1' AND version = 3",
		"an invented message":   "INSERT INTO outbox SELECT 100, order_id, 4, type, payload, occurred_at, '' FROM outbox WHERE seq = 1",
		"a message of no order": "INSERT INTO outbox SELECT 100, 'order-9', 1, type, payload, occurred_at, '' FROM outbox WHERE seq = 1",
		"messages out of order": "UPDATE outbox SET seq = 100 WHERE order_id = 'order-1' AND version = 1",
		"a lost order":          "DELETE FROM orders WHERE id = 'order-1'",
		"an order set back":     "UPDATE orders SET version = 2 WHERE id = 'order-1'",
	} {
		db := openNew(t)
		save(t, db, newOrder(t, "order-0"))
		o := newOrder(t, "order-1")
		if err := errors.Join(o.Submit(time.Now()), o.Pay(time.Now())); err != nil {
			t.Fatal(err)
		}
		save(t, db, o)
		wantAgreement(t, db)
		execute(t, raw(t, db.path), harm)
		if len(disagreements(t, db)) == 0 {
			t.Errorf("%s was not noticed", name)
		}
	}
}

func TestTwoProcessesWriteAtOnce(t *testing.T) {
	const orders, times = 5, 60
	path := filepath.Join(t.TempDir(), "orders.db")
	db := openAt(t, path)
	for n := range orders {
		save(t, db, newOrder(t, fmt.Sprintf("order-%d", n)))
	}

	// Meanwhile a third reads the outbox, and must see everything in order.
	ctx, cancel := context.WithCancel(t.Context())
	upTo, changes := map[string]int{}, 0
	tailed := make(chan error, 1)
	go func() {
		last := int64(0)
		tailed <- NewOutbox(db).Tail(ctx, "", func(m ports.Message, p ports.Position) error {
			seq, err := strconv.ParseInt(string(p), 10, 64)
			if err != nil || seq <= last {
				return fmt.Errorf("position %q after %d", p, last)
			}
			if m.Version != upTo[m.OrderID]+1 {
				return fmt.Errorf("message %s after version %d", m.ID, upTo[m.OrderID])
			}
			last, upTo[m.OrderID] = seq, m.Version
			if changes++; changes == orders+2*4*times {
				return errEverything
			}
			return nil
		})
	}()

	added := 0
	one, other := start(t, "add", path, strconv.Itoa(orders), strconv.Itoa(times)),
		start(t, "add", path, strconv.Itoa(orders), strconv.Itoa(times))
	for _, c := range []*child{one, other} {
		line, ok := c.next()
		if !ok {
			_ = c.Wait()
			t.Fatalf("a process that adds: %s", c.stderr.String())
		}
		n, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		added += n
		c.finish(t)
	}

	select {
	case err := <-tailed:
		if !errors.Is(err, errEverything) {
			t.Errorf("tail: %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the tail has not seen every message after half a minute")
	}
	cancel()
	pieces := 0
	for n := range orders {
		o, err := NewStore(db).Get(t.Context(), fmt.Sprintf("order-%d", n))
		if err != nil {
			t.Fatal(err)
		}
		pieces += o.Items()[0].Amount - 3
	}
	if pieces != added {
		t.Errorf("the processes added %d pieces, the orders have %d more: updates were lost", added, pieces)
	}
	wantAgreement(t, db)
}

var errEverything = errors.New("that was everything")

func TestTailSeesWhatAnotherProcessSaves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	db := openAt(t, path)
	c := start(t, "tail", path)
	for n := range 5 {
		id := fmt.Sprintf("order-%d", n)
		save(t, db, newOrder(t, id))
		saved := time.Now()
		c.wantLine(t, id+"/1")
		// The first waits for the other process to start.
		if took := time.Since(saved); n > 0 && took > 2*time.Second { // one, and another for a busy machine
			t.Errorf("message %s was seen after %v, want within a second", id, took)
		}
	}
	c.finish(t)
}

func TestReadSeesWhatAnotherProcessAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	db := openAt(t, path)
	c := start(t, "read", path)
	for version := 1; version <= 5; version++ {
		m := ports.Message{OrderID: "order-1", Version: version, Type: "OrderPaid", Payload: []byte("{}"), OccurredAt: time.Now()}
		if err := NewTopic(db).Append(t.Context(), []ports.Message{m}); err != nil {
			t.Fatal(err)
		}
		appended := time.Now()
		c.wantLine(t, fmt.Sprintf("order-1/%d", version))
		if took := time.Since(appended); version > 1 && took > 2*time.Second { // one, and another for a busy machine
			t.Errorf("message %d was seen after %v, want within a second", version, took)
		}
	}
	c.finish(t)
}

func TestAnotherProcessKeepsTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	closeNow(t, openAt(t, path))
	c := start(t, "lock", path)
	c.wantLine(t, "locked")
	if _, err := open(t.Context(), path, impatient); !errors.Is(err, ErrLocked) {
		t.Errorf("open: got error %v, want %v", err, ErrLocked)
	}
	c.finish(t)
	save(t, openAt(t, path), newOrder(t, "order-1"))
}
