package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hexorders/app/readside"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestReadModelStore(t *testing.T) {
	t.Parallel()
	porttest.ReadModelStore(t, func(t testing.TB, tables []ports.Table) porttest.ReadModelStorage {
		db := openNew(t)
		return porttest.ReadModelStorage{
			Store:       NewReadModel(db, tables),
			FailCommits: func(t testing.TB) func() { return failCommits(t, db) },
			Again:       func(_ testing.TB, tables []ports.Table) ports.ReadModelStore { return NewReadModel(db, tables) },
		}
	})
}

// What one handle on the file writes, another reads, and they do not get in each other's way.
func TestReadModelStoreOnTwoHandles(t *testing.T) {
	t.Parallel()
	porttest.ReadModelStore(t, func(t testing.TB, tables []ports.Table) porttest.ReadModelStorage {
		path := filepath.Join(t.TempDir(), "orders.db")
		db := openAt(t, path)
		return porttest.ReadModelStorage{
			Store:       NewReadModel(db, tables),
			FailCommits: func(t testing.TB) func() { return failCommits(t, db) },
			Break:       breakFile(path),
			Again: func(t testing.TB, tables []ports.Table) ports.ReadModelStore {
				return NewReadModel(openAt(t, path), tables)
			},
		}
	})
}

func TestEveryListUsesItsIndex(t *testing.T) {
	t.Parallel()
	db := openNew(t)
	m := NewReadModel(db, readside.Tables(readside.All))
	if _, err := m.Live(t.Context()); err != nil {
		t.Fatal(err)
	}
	lists := 0
	for _, view := range m.tables {
		for i, index := range append(view.Indexes, ports.Index{}) {
			want := "PRIMARY KEY"
			if index != (ports.Index{}) {
				want = fmt.Sprintf("rm1_rows_%s_%d", view.Name, i)
			}
			for _, q := range queriesOf(view.Name, index) {
				lists++
				query, args, err := view.list(q)
				if err != nil {
					t.Fatal(err)
				}
				everyRow := q.Equal.Name == "" && q.Prefix == "" && q.Page.Cursor == "" && q.Sort == ""
				plan := planOf(t, db, query, args)
				byIndex := strings.Contains(plan, want) || everyRow && plan == "SCAN rm1_rows_"+view.Name
				if !byIndex || strings.Contains(plan, "TEMP B-TREE") {
					t.Errorf("%s\nis carried out by %q, want by %s alone", query, plan, want)
				}
				if q.Filter.Name != "" && !strings.Contains(plan, "COVERING INDEX "+want) {
					t.Errorf("%s\nis carried out by %q, want that it passes over rows in the index", query, plan)
				}
			}
		}
	}
	if lists < 6*12 {
		t.Errorf("%d lists were looked at", lists)
	}
}

// queriesOf are the lists that an index serves: with and without its filter, in both directions, from the start and from
// a cursor.
func queriesOf(view string, index ports.Index) (all []ports.Query) {
	fields := []ports.Field{{Name: index.Equal, Value: "x"}, {Name: index.Sort, Value: int64(1)}, {Name: index.Filter, Value: "y"}}
	for _, filter := range []ports.Field{{}, fields[2]} {
		for _, descending := range []bool{false, true} {
			q := ports.Query{View: view, Sort: index.Sort, Descending: descending}
			if index.Equal != "" {
				q.Equal = fields[0]
			}
			if filter.Name != "" {
				q.Filter = filter
			}
			for _, prefix := range []string{"", "order-1\x1f"} {
				if prefix == "" || index == (ports.Index{}) {
					q.Prefix = prefix
					all = append(all, q)
					after := q
					after.Page.Cursor = q.Next(ports.Row{Key: "order-1", Fields: fields})
					all = append(all, after)
				}
			}
		}
	}
	return all
}

func planOf(t testing.TB, db *DB, query string, args []any) string {
	t.Helper()
	var plan []string
	err := db.query(t.Context(), "EXPLAIN QUERY PLAN "+query, args, func(rows *sql.Rows) error {
		var id, parent, unused int
		var step string
		err := rows.Scan(&id, &parent, &unused, &step)
		plan = append(plan, step)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.Join(plan, "; ")
}

// The next ones feed a read model by hand: message n makes order n of one buyer.

var shop = []ports.Table{
	{Name: "orders", Indexes: []ports.Index{{Equal: "buyer", Sort: "n"}}},
	{Name: "buyers", Counters: []string{"orders"}},
}

func message(n int) ports.Change {
	id, from := fmt.Sprintf("order-%06d", n), strconv.Itoa(n-1)
	if n == 1 {
		from = ""
	}
	row := ports.Row{Key: id, Fields: []ports.Field{{Name: "buyer", Value: "9999"}, {Name: "n", Value: int64(n)}}}
	return ports.Change{
		Places:   []ports.PlaceChange{{From: from, To: strconv.Itoa(n), AsOf: time.Now()}},
		Progress: []ports.ProgressChange{{Progress: ports.Progress{OrderID: id, Version: 1, Newest: 1}}},
		Rows: map[string]ports.RowChanges{
			"orders": {Insert: []ports.Row{row}},
			"buyers": {Add: []ports.Addition{{Key: "9999", Add: []ports.Count{{Name: "orders", Value: 1}}}}},
		},
	}
}

// feed commits messages from where the generation is, until all are in. It returns how many of its own commits were taken.
func feed(ctx context.Context, m *ReadModel, g ports.Generation, messages int, taken func(n int)) (mine int, err error) {
	for {
		places, err := m.Places(ctx, g)
		if err != nil {
			return mine, err
		}
		n := 0
		if len(places) > 0 {
			if n, err = strconv.Atoi(places[0].Next); err != nil {
				return mine, err
			}
		}
		if n == messages {
			return mine, nil
		}
		switch err = m.Commit(ctx, g, message(n+1)); {
		case err == nil:
			mine++
			taken(n + 1)
		case !errors.Is(err, ports.ErrConflict):
			return mine, err
		}
	}
}

// wantFed fails unless the live generation has exactly messages 1 to n, each once and whole, n being at least min.
func wantFed(t testing.TB, m *ReadModel, min int) {
	t.Helper()
	g, err := m.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	places, err := m.Places(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	place := 0
	if len(places) > 0 {
		place, _ = strconv.Atoi(places[0].Next)
	}
	buyer, err := m.Row(t.Context(), "buyers", "9999")
	rows, progress := countRows(t, m.db, `"rm_rows_orders"`), countRows(t, m.db, "rm_progress")
	if err != nil || place < min || rows != place || progress != place || buyer.Counter("orders") != int64(place) {
		t.Errorf("generation %d: place %d, %d rows, %d progress records, counter %d, error %v; want the same number, at least %d",
			g.Number, place, rows, progress, buyer.Counter("orders"), err, min)
	}
	var fault string
	err = m.db.queryRow(t.Context(), `SELECT integrity_check FROM pragma_integrity_check LIMIT 1`, nil, &fault)
	if err != nil || fault != "ok" {
		t.Errorf("SQLite complains: %q, error %v", fault, err)
	}
}

func countRows(t testing.TB, db *DB, table string) (rows int) {
	t.Helper()
	if err := db.queryRow(t.Context(), "SELECT count(*) FROM "+table, nil, &rows); err != nil {
		t.Fatalf("count %s: %v", table, err)
	}
	return rows
}

// wantTables fails unless these generations have tables, and no others.
func wantTables(t testing.TB, db *DB, want ...string) {
	t.Helper()
	var got []string
	err := db.query(t.Context(), `SELECT DISTINCT substr(name, 1, instr(name, '_') - 1) FROM sqlite_schema
		WHERE name GLOB 'rm[0-9]*' ORDER BY 1`, nil, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		got = append(got, name)
		return err
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("there are tables of the generations %v, error %v, want %v", got, err, want)
	}
}

func TestNothingStaysOfAGenerationThatHasLeft(t *testing.T) {
	t.Parallel()
	m := NewReadModel(openNew(t), shop)
	if _, err := m.Live(t.Context()); err != nil {
		t.Fatal(err)
	}
	execute(t, raw(t, m.db.path), `UPDATE sqlite_sequence SET seq = 9 WHERE name = 'generations'`) // rm1 and rm10 are two
	for range 3 {
		g, err := m.Shadow(t.Context())
		if err == nil {
			_, err = feed(t.Context(), m, g, 5, func(int) {})
		}
		if err == nil {
			err = m.Swap(t.Context(), g)
		}
		if err != nil {
			t.Fatal(err)
		}
		wantTables(t, m.db, fmt.Sprintf("rm%d", g.Number))
		wantFed(t, m, 5)
	}
	if _, err := m.Shadow(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantTables(t, m.db, "rm12", "rm13")
	if err := m.Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantTables(t, m.db, "rm12")
	if rows := countRows(t, m.db, "generations"); rows != 1 {
		t.Errorf("%d generations are known, want 1", rows)
	}
}

// While the tables of a generation are dropped nobody waits for all of them.
func TestDroppingAGenerationLeavesTimeForSaves(t *testing.T) {
	t.Parallel()
	m := NewReadModel(openNew(t), shop)
	if _, err := m.Shadow(t.Context()); err != nil {
		t.Fatal(err)
	}
	commits := countCommits(t, m.db)
	if err := m.Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, want := commits.Load(), int64(1+5+1+1); n != want { // leaving, five tables, one index, gone
		t.Errorf("to discard took %d transactions, want %d", n, want)
	}
}

// A process that was killed in the middle of a commit has made all of a change true, or nothing.
func TestWhatWasFedSurvivesAKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "orders.db")
	fed := 0
	for round := range 8 {
		c := start(t, "feed", path, "1000000")
		for range 20 {
			line, ok := c.next()
			if !ok {
				_ = c.Wait()
				t.Fatalf("the other process ended by itself: %s", c.stderr.String())
			}
			fed, _ = strconv.Atoi(line)
		}
		kill(t, c, time.Duration(round)*500*time.Microsecond)
		db := openAt(t, path)
		wantFed(t, NewReadModel(db, shop), fed)
		closeNow(t, db)
	}
	if fed < 8*20 {
		t.Errorf("after eight kills %d messages are in", fed)
	}
}

// A process that was killed while it rebuilt, swapped and dropped leaves a read model that is whole. The next rebuild
// drops what it left behind.
func TestWhatWasSwappedInSurvivesAKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "orders.db")
	left := 0
	for round := range 15 {
		c := start(t, "swap", path)
		for range 2 {
			if _, ok := c.next(); !ok {
				_ = c.Wait()
				t.Fatalf("the other process ended by itself: %s", c.stderr.String())
			}
		}
		kill(t, c, time.Duration(round)*700*time.Microsecond)
		db := openAt(t, path)
		m := NewReadModel(db, shop)
		wantFed(t, m, 5)
		live, err := m.Live(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if row, err := m.Row(t.Context(), "buyers", "generation"); err != nil || row.Counter("orders") != int64(live.Number) {
			t.Errorf("generation %d is live, and clients read %d, error %v", live.Number, row.Counter("orders"), err)
		}
		left += countRows(t, db, "generations") - 1
		if _, err := m.Shadow(t.Context()); err != nil {
			t.Errorf("the next shadow: %v", err)
		}
		if err := m.Discard(t.Context()); err != nil {
			t.Errorf("discard it: %v", err)
		}
		wantTables(t, db, fmt.Sprintf("rm%d", live.Number))
		wantFed(t, m, 5)
		closeNow(t, db)
	}
	t.Logf("fifteen kills left %d generations behind", left)
}

// kill ends a process in the middle of what it does, at another moment with each delay: there is nothing to wait for.
func kill(t *testing.T, c *child, delay time.Duration) {
	t.Helper()
	time.Sleep(delay)
	if err := c.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Fatal("the other process was not killed")
	}
}

// Two processes and this one feed the same read model: each message takes effect once, and nobody starves.
func TestTwoProcessesFeedTheReadModel(t *testing.T) {
	t.Parallel()
	const messages = 600
	path := filepath.Join(t.TempDir(), "orders.db")
	m := NewReadModel(openAt(t, path), shop)
	g, err := m.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	others := []*child{start(t, "feed", path, strconv.Itoa(messages)), start(t, "feed", path, strconv.Itoa(messages))}
	first := make([]string, len(others))
	for i, c := range others { // all work before this one does
		line, ok := c.next()
		if !ok {
			_ = c.Wait()
			t.Fatalf("a process that feeds: %s", c.stderr.String())
		}
		first[i] = line
	}
	began, _ := strconv.Atoi(slices.Max(first))
	taken, err := feed(t.Context(), m, g, messages, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	shares := []int{taken}
	for _, c := range others {
		n := 1 + len(lines(c.lines))
		shares = append(shares, n)
		taken += n
		c.finish(t)
	}
	if taken != messages {
		t.Errorf("of %d messages %d were taken: %v", messages, taken, shares)
	}
	for _, n := range shares {
		if n < (messages-began)/50 {
			t.Errorf("the commits that were taken are shared as %v, want that none starves", shares)
		}
	}
	wantFed(t, m, messages)
}

// The first version with one read model drops the views of the version before.
func TestOldViewsAreDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	whole := migrations
	migrations = whole[:4]
	db := openAt(t, path)
	save(t, db, newOrder(t, "order-1"))
	execute(t, raw(t, path), `INSERT INTO summaries VALUES (1, 'order-1', 1, '9999', '[]', 0, 'pending', '', '', '', '', '')`)
	closeNow(t, db)
	migrations = whole
	for _, dropped := range []bool{true, false} { // once
		db = openAt(t, path)
		if got := db.DroppedViews(); got != dropped {
			t.Errorf("DroppedViews: got %t, want %t", got, dropped)
		}
		closeNow(t, db)
	}
	db = openAt(t, path)
	wantOrder(t, db, "order-1", 1)
	wantMessages(t, db, "order-1/1")
	for _, table := range []string{"positions", "inbox", "marks", "held", "summaries", "activity", "timeline"} {
		if found := countRows(t, db, "sqlite_schema WHERE tbl_name = '"+table+"'"); found != 0 {
			t.Errorf("%s is still there", table)
		}
	}
	m := NewReadModel(db, shop)
	if _, err := feed(t.Context(), m, ports.Generation{Number: 1}, 5, func(int) {}); err != nil {
		t.Fatal(err)
	}
	wantFed(t, m, 5)
	if openNew(t).DroppedViews() {
		t.Error("a new file had views of an older version")
	}
}
