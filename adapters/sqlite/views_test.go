package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestInbox(t *testing.T) {
	t.Parallel()
	porttest.Inbox(t, openReadingSide)
}

func TestOrderViews(t *testing.T) {
	t.Parallel()
	porttest.OrderViews(t, openReadingSide)
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	porttest.Generations(t, openReadingSide)
}

// What one handle on the file writes, another reads, and they do not get in each other's way.
func TestReadingSideOnTwoHandles(t *testing.T) {
	t.Parallel()
	open := func(t testing.TB) porttest.ReadingSide {
		path := filepath.Join(t.TempDir(), "orders.db")
		one, other := openAt(t, path), openAt(t, path)
		r := readingSide(one)
		r.Views, r.Generations = NewViews(other), NewViews(other)
		return r
	}
	porttest.Inbox(t, open)
	porttest.OrderViews(t, open)
	porttest.Generations(t, open)
}

func openReadingSide(t testing.TB) porttest.ReadingSide { return readingSide(openNew(t)) }

func readingSide(db *DB) porttest.ReadingSide {
	return porttest.ReadingSide{
		Inbox: NewViews(db), Views: NewViews(db), Generations: NewViews(db),
		FailCommits: func(t testing.TB) func() { return failCommits(t, db) },
		Age: func(t testing.TB, by time.Duration) {
			t.Helper()
			mustWrite(t, db, `UPDATE inbox SET received_at = strftime('%Y-%m-%dT%H:%M:%fZ', received_at, ?)`,
				fmt.Sprintf("-%d seconds", int(by.Seconds())))
		},
	}
}

func mustWrite(t testing.TB, db *DB, statement string, args ...any) {
	t.Helper()
	if err := db.writer.do(t.Context(), 0, func(tx *tx) error { _, err := tx.exec(statement, args...); return err }); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestEveryReadOfAViewUsesAnIndex(t *testing.T) {
	db := openNew(t)
	queries := map[string][]any{
		selectTimeline:       {"order-1", "0", 50},
		dropOldMessages:      {"", 4},
		selectMarks:          {"timeline", 1, "[]"},
		selectTheirSummaries: {"timeline", 1, "[]"},
		selectReceived:       {"timeline", 1, "[]", ""},
		selectHeld:           {"timeline", 1, "order-1"},
		selectParked:         {"timeline", 1},
	}
	others := len(queries)
	for _, sort := range []ports.SummarySort{ports.OldestFirst, ports.NewestFirst, ports.LastChanged, ports.LargestAmount} {
		for _, status := range []order.Status{"", order.StatusPaid} {
			q := ports.SummaryQuery{Buyer: "9999", Status: status, Sort: sort}
			cursor := viewCursor(listName(q), listingOf(q).place(ports.Summary{OrderID: "order-1"}))
			for _, q.Page.Cursor = range []string{"", cursor} {
				query, args, err := summariesQuery(q)
				if err != nil {
					t.Fatal(err)
				}
				queries[query] = args
			}
		}
	}
	if lists := len(queries) - others; lists != 16 {
		t.Errorf("there are %d queries for lists, want 16", lists)
	}
	for _, sweep := range sweeps {
		queries[sweep] = []any{1, 1000}
	}
	for query, args := range queries {
		var plan []string
		if err := db.query(t.Context(), "EXPLAIN QUERY PLAN "+query, args, func(rows *sql.Rows) error {
			var id, parent, unused int
			var step string
			err := rows.Scan(&id, &parent, &unused, &step)
			plan = append(plan, step)
			return err
		}); err != nil || len(plan) == 0 {
			t.Fatalf("%s: plan %q, error %v", query, plan, err)
		}
		for _, step := range plan {
			if strings.HasPrefix(step, "SCAN") && !strings.HasPrefix(step, "SCAN json_each") || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s\nis carried out by %q, want by an index alone", query, plan)
			}
		}
	}
}

func TestOldMessagesLeaveTheInboxAFewAtATime(t *testing.T) {
	db := openNew(t)
	r, g := readingSide(db), ports.Generation{View: ports.OrderTimeline, Number: 1}
	received := 0
	receive := func(n int) {
		t.Helper()
		var c ports.Change
		for range n {
			received++
			c.Received = append(c.Received, fmt.Sprintf("order-1/%d", received))
		}
		if err := r.Inbox.Commit(t.Context(), g, c); err != nil {
			t.Fatal(err)
		}
	}
	receive(10)
	r.Age(t, ports.InboxKept+time.Minute)
	for _, want := range []struct{ receive, kept int }{{1, 9}, {2, 7}, {3, 6}, {1, 7}} { // two go for each that comes
		receive(want.receive)
		if kept := countRows(t, db, "inbox"); kept != want.kept {
			t.Errorf("after %d more messages %d are kept, want %d", want.receive, kept, want.kept)
		}
	}
}

func countRows(t testing.TB, db *DB, table string) (rows int) {
	t.Helper()
	if err := db.queryRow(t.Context(), "SELECT count(*) FROM "+table, nil, &rows); err != nil {
		t.Fatalf("count %s: %v", table, err)
	}
	return rows
}

var viewTables = []string{"positions", "inbox", "marks", "held", "summaries", "activity", "timeline"}

// fill puts n rows into every table there is for a generation.
func fill(t testing.TB, v *Views, g ports.Generation, n int) {
	t.Helper()
	var c ports.Change
	for i := range n {
		id := fmt.Sprintf("order-%06d", i)
		m := ports.Message{ID: id + "/1", OrderID: id, Version: 1, OccurredAt: time.Now()}
		c.Positions = append(c.Positions, ports.PositionChange{Partition: i, To: 1})
		c.Received = append(c.Received, m.ID)
		c.Marks = append(c.Marks, ports.MarkChange{Mark: ports.Mark{OrderID: id, Version: 1}})
		c.Hold = append(c.Hold, ports.HeldMessage{Message: m})
		c.Summaries = append(c.Summaries, ports.Summary{OrderID: id, Buyer: "9999"})
		c.Activity = append(c.Activity, ports.ActivityChange{Buyer: id})
		c.Timeline = append(c.Timeline, ports.TimelineEntry{OrderID: id, Version: 1})
	}
	if err := v.Commit(t.Context(), g, c); err != nil {
		t.Fatal(err)
	}
}

func TestNothingStaysOfAGenerationThatHasLeft(t *testing.T) {
	t.Parallel()
	const rows = sweepPage + 1 // more than one step
	v := NewViews(openNew(t))
	for round := range 2 {
		g, err := v.Shadow(t.Context(), ports.OrderSummary)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, v, g, rows)
		if round == 0 {
			err = v.Discard(t.Context(), ports.OrderSummary)
		} else {
			err = v.Swap(t.Context(), g)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range viewTables {
			if got := countRows(t, v.db, table); got != round*rows {
				t.Errorf("round %d: %s has %d rows, want %d", round, table, got, round*rows)
			}
		}
	}
	g, err := v.Shadow(t.Context(), ports.OrderSummary)
	if err == nil {
		fill(t, v, g, 3)
		err = v.Swap(t.Context(), g)
	}
	for _, table := range viewTables {
		if got := countRows(t, v.db, table); err != nil || got != 3 {
			t.Errorf("%s has %d rows once the full one has left, error %v, want 3", table, got, err)
		}
	}
}

// A process that ended in the middle of deleting leaves the rest to the next one.
func TestWhatASwapLeftIsDeletedLater(t *testing.T) {
	v := NewViews(openNew(t))
	fill(t, v, ports.Generation{View: ports.OrderTimeline, Number: 1}, 5)
	mustWrite(t, v.db, `UPDATE generations SET state = 'leaving' WHERE view = 'timeline'`)
	mustWrite(t, v.db, `INSERT INTO generations (view, number, state) VALUES ('timeline', 2, 'live')`)
	if positions, err := v.Positions(t.Context(), ports.Generation{View: ports.OrderTimeline, Number: 1}); err != nil ||
		len(positions) != 0 {
		t.Errorf("positions of a generation that is leaving: %v, error %v, want none", positions, err)
	}
	if g, err := v.Shadow(t.Context(), ports.OrderTimeline); err != nil || g.Number != 3 {
		t.Errorf("the next shadow: got %s and error %v, want number 3", g, err)
	}
	for _, table := range viewTables {
		if got := countRows(t, v.db, table); got != 0 {
			t.Errorf("%s has %d rows, want none", table, got)
		}
	}
}

// Two processes and this one work through the same messages, and each takes effect once.
func TestTwoProcessesFeedAView(t *testing.T) {
	t.Parallel()
	const messages = 200
	path := filepath.Join(t.TempDir(), "orders.db")
	v := NewViews(openAt(t, path))
	one, other := start(t, "feed", path, strconv.Itoa(messages)), start(t, "feed", path, strconv.Itoa(messages))
	taken, err := feed(t.Context(), v, messages)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*child{one, other} {
		line, ok := c.next()
		if !ok {
			_ = c.Wait()
			t.Fatalf("a process that feeds: %s", c.stderr.String())
		}
		n, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		taken += n
		c.finish(t)
	}
	a, err := v.Activity(t.Context(), "9999")
	if err != nil || taken != messages || a.Pending != messages {
		t.Errorf("of %d messages %d were taken, and the view counts %d, error %v", messages, taken, a.Pending, err)
	}
	if received := countRows(t, v.db, "inbox"); received != messages {
		t.Errorf("the inbox has %d messages, want %d", received, messages)
	}
}

// feed commits messages to the view of activity, from where it stands, until all are in; it returns how many of its own
// commits were taken.
func feed(ctx context.Context, v *Views, messages int) (taken int, err error) {
	g := ports.Generation{View: ports.BuyerActivity, Number: 1}
	for {
		positions, err := v.Positions(ctx, g)
		if err != nil {
			return taken, err
		}
		next := positions[0]
		if next == int64(messages) {
			return taken, nil
		}
		err = v.Commit(ctx, g, ports.Change{
			Positions: []ports.PositionChange{{Partition: 0, From: next, To: next + 1, AsOf: time.Now()}},
			Received:  []string{fmt.Sprintf("order-1/%d", next+1)},
			Activity:  []ports.ActivityChange{{Buyer: "9999", Pending: 1, LastAt: time.Now()}},
		})
		switch {
		case err == nil:
			taken++
		case !errors.Is(err, ports.ErrConflict):
			return taken, err
		}
	}
}

// A cursor of the views is good for its own list alone, and read as it was given out.
func FuzzViewCursor(f *testing.F) {
	list := []string{"order-summary", "9999", "", "-updatedAt"}
	for _, seed := range []string{"", "x", viewCursor(list, []string{"2026", "order-1"}), viewCursor(list, nil),
		"WyJhIl0", "\xff", "bnVsbA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		place, err := parseViewCursor(text, list, 2)
		switch {
		case err != nil && (text == "" || !errors.Is(err, ports.ErrBadCursor)):
			t.Errorf("cursor %q: got error %v", text, err)
		case err == nil && text != "" && viewCursor(list, place) != text:
			t.Errorf("cursor %q is taken for %q, the cursor after %q", text, viewCursor(list, place), place)
		}
		if !utf8.ValidString(text) {
			return // no id
		}
		given := viewCursor(list, []string{"2026", text})
		if place, err := parseViewCursor(given, list, 2); err != nil || len(place) != 2 || place[1] != text {
			t.Errorf("the cursor after %q is read back as %q, %v", text, place, err)
		}
		_, err = parseViewCursor(given, []string{"order-summary", "9999", "paid", "-updatedAt"}, 2)
		if !errors.Is(err, ports.ErrBadCursor) {
			t.Errorf("in another list the cursor after %q gets error %v, want %v", text, err, ports.ErrBadCursor)
		}
	})
}
