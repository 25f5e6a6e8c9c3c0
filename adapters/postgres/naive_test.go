package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/postgres/postgrestest"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

// A first store over PostgreSQL has some of five mistakes, and works for weeks. The suites must see each of them, and say
// something that helps. Here is such a store, with one mistake at a time.

const (
	gap      = "draws sequence numbers before the commit"
	plain    = "inserts without ON CONFLICT"
	binary   = "keeps payloads as jsonb"
	nameless = "returns the driver's errors"
	deaf     = "wakes Tail in its own process only"
)

func TestTheSuitesSeeEachMistakeOfANaiveStore(t *testing.T) {
	for mistake, want := range map[string]struct{ checks, says, hints string }{
		gap: {"Outbox/1[01]",
			`message order-\d+/\d+ came when order order-\d+ was at version \d+: some were left out|` +
				`order-\d+/\d+ is missing, and order-\d+/\d+, whose Save returned later, has come`,
			"numbers of a sequence are drawn before the commit"},
		plain: {"OrderStore/13",
			`duplicate key value violates unique constraint .*, want ports\.ErrConflict`, "it is ports.ErrConflict"},
		binary: {"OrderStore/19",
			`got .*\{"items": \[\{"amount": 2, "productId".*\n.*want .*\{"orderId":`, "a JSON column (jsonb) sorts keys and drops blanks"},
		nameless: {"OrderStore/26",
			`(?s)Get while the store cannot be reached: got error .*, want ports\.ErrUnavailable`, "a client gets 500 instead of 503"},
		deaf: {"Outbox/19",
			`Tail emitted nothing for 3s while a message was due: order-000002/1 is missing, and nothing came after it`,
			"Another process saves too"},
	} {
		t.Run(mistake, func(t *testing.T) {
			output := runNaive(t, mistake, want.checks)
			if !regexp.MustCompile(want.says).MatchString(output) || !strings.Contains(output, "hint: ") ||
				!strings.Contains(output, want.hints) {
				t.Errorf("a store that %s, %s:\n%s\nwant %q and a hint with %q", mistake, want.checks, output, want.says, want.hints)
			}
		})
	}
	for _, checks := range []string{"OrderStore/(13|19|26)", "Outbox/(10|11|19)"} {
		if output := runNaive(t, "", checks); !strings.Contains(output, "\nPASS\n") {
			t.Errorf("without a mistake %s are red:\n%s", checks, output)
		}
	}
}

// runNaive runs checks over the naive store in a process of its own, where they may fail.
func runNaive(t *testing.T, mistake, checks string) (output string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, "-test.v", "-test.run", "^TestNaiveStore$/"+checks)
	command.Env = append(os.Environ(), "NAIVE_STORE="+cmp.Or(mistake, "makes none"), "PORTTEST_PATIENCE=3s")
	text, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || !strings.Contains(string(text), "=== RUN   TestNaiveStore/") {
		t.Fatalf("no check was run: %v\n%s", err, text)
	}
	return string(text)
}

func TestNaiveStore(t *testing.T) {
	mistake := os.Getenv("NAIVE_STORE")
	if mistake == "" {
		return // the test above runs this one
	}
	porttest.Store(t, func(t testing.TB) porttest.Storage {
		uri, c := cabled(t, newSchema(t))
		payload := "text"
		if mistake == binary {
			payload = "jsonb"
		}
		postgrestest.Execute(t, uri, `CREATE TABLE orders (id text PRIMARY KEY, version int NOT NULL, snapshot text NOT NULL);
			CREATE TABLE outbox (seq bigserial PRIMARY KEY, id text, order_id text, version int, type text, at bigint,
				payload `+payload+`)`)
		open := func(t testing.TB) porttest.Storage {
			db, err := sql.Open("pgx", uri)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			s := &naive{db: db, mistake: mistake, saved: make(chan struct{})}
			return porttest.Storage{Orders: s, Outbox: s, Encode: eventjson.Messages, FailCommits: func(t testing.TB) func() {
				t.Fatal("none of the checks that are run here lets commits fail")
				return nil
			}}
		}
		storage := open(t)
		storage.Break, storage.Again = c.Cut, open
		return storage
	}, "OrderStore", "Outbox")
}

type naive struct {
	porttest.Stub
	db      *sql.DB
	mistake string
	mu      sync.Mutex
	saved   chan struct{} // closed, and replaced, by each Save
}

func (s *naive) Get(ctx context.Context, id string) (*order.Order, error) {
	var snapshot string
	err := s.db.QueryRowContext(ctx, `SELECT snapshot FROM orders WHERE id = $1`, id).Scan(&snapshot)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ports.ErrNotFound
	}
	var state order.Snapshot
	if err == nil {
		err = json.Unmarshal([]byte(snapshot), &state)
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return order.Restore(state)
}

func (s *naive) Save(ctx context.Context, o *order.Order, _ ports.IdempotencyKey) error {
	if len(o.Changes()) == 0 {
		return nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return s.fail(ctx, err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if err = s.write(ctx, tx, o); err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return s.fail(ctx, err)
	}
	o.Committed()
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.saved)
	s.saved = make(chan struct{})
	return nil
}

func (s *naive) write(ctx context.Context, tx *sql.Tx, o *order.Order) error {
	messages, err := eventjson.Messages(ctx, o)
	if err != nil {
		return err
	}
	snapshot, err := json.Marshal(o.Snapshot())
	if err != nil {
		return err
	}
	if s.mistake != gap {
		if _, err := tx.ExecContext(ctx, `LOCK TABLE outbox IN EXCLUSIVE MODE`); err != nil {
			return err
		}
	}
	statement := `UPDATE orders SET version = $2, snapshot = $3 WHERE id = $1 AND version = $4`
	loaded := o.Version() - len(o.Changes())
	if loaded == 0 {
		statement = `INSERT INTO orders SELECT $1, $2, $3 WHERE $4 = 0`
		if s.mistake != plain {
			statement += ` ON CONFLICT DO NOTHING`
		}
	}
	result, err := tx.ExecContext(ctx, statement, o.ID(), o.Version(), string(snapshot), loaded)
	if err != nil {
		return err
	}
	if changed, err := result.RowsAffected(); err != nil || changed == 0 {
		return errors.Join(err, ports.ErrConflict)
	}
	for _, m := range messages {
		if _, err := tx.ExecContext(ctx, `INSERT INTO outbox (id, order_id, version, type, payload, at) VALUES ($1, $2, $3, $4, $5, $6)`,
			m.ID, m.OrderID, m.Version, m.Type, string(m.Payload), m.OccurredAt.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

func (s *naive) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	for {
		s.mu.Lock()
		saved := s.saved
		s.mu.Unlock()
		page, err := s.page(ctx, cmp.Or(string(after), "0"))
		if err != nil {
			return s.fail(ctx, err)
		}
		for _, m := range page {
			if err := emit(m.Message, ports.Position(strconv.FormatInt(m.seq, 10))); err != nil {
				return err
			}
			after = ports.Position(strconv.FormatInt(m.seq, 10))
		}
		if len(page) > 0 {
			continue
		}
		poll := time.After(20 * time.Millisecond)
		if s.mistake == deaf {
			poll = nil
		}
		select {
		case <-saved:
		case <-poll:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type sequenced struct {
	seq int64
	ports.Message
}

func (s *naive) page(ctx context.Context, after string) (page []sequenced, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT seq, id, order_id, version, type, payload::text, at FROM outbox
		WHERE seq > $1::bigint ORDER BY seq LIMIT 100`, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m sequenced
		var at int64
		if err := rows.Scan(&m.seq, &m.ID, &m.OrderID, &m.Version, &m.Type, &m.Payload, &at); err != nil {
			return nil, err
		}
		m.OccurredAt = time.UnixMilli(at)
		page = append(page, m)
	}
	return page, rows.Err()
}

func (s *naive) fail(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ports.ErrConflict), s.mistake == nameless:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
}
