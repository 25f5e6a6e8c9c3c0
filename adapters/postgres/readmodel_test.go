package postgres

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"hexorders/app/readside"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestReadModelStore(t *testing.T) {
	porttest.ReadModelStore(t, func(t testing.TB, tables []ports.Table) porttest.ReadModelStorage {
		uri, c := cabled(t, newSchema(t))
		db := openAt(t, uri, Options{})
		return porttest.ReadModelStorage{
			Store:       NewReadModel(db, tables),
			Break:       c.Cut,
			FailCommits: func(t testing.TB) func() { return failCommits(t, db, readModelTables(t, db)...) },
			Again: func(t testing.TB, tables []ports.Table) ports.ReadModelStore {
				return NewReadModel(openAt(t, uri, Options{}), tables)
			},
		}
	})
}

// readModelTables are the tables of all generations.
func readModelTables(t testing.TB, db *DB) (tables []string) {
	t.Helper()
	err := db.query(t.Context(), `SELECT quote_ident(tablename) FROM pg_tables
		WHERE schemaname = current_schema() AND tablename LIKE 'rm%'`, nil, func(rows pgx.Rows) error {
		tables = append(tables, "")
		return rows.Scan(&tables[len(tables)-1])
	})
	if err != nil || len(tables) == 0 {
		t.Fatalf("list the tables of the read model: got %d, error %v", len(tables), err)
	}
	return tables
}

func TestEveryListUsesItsIndex(t *testing.T) {
	db := openNew(t)
	m := NewReadModel(db, readside.Tables(readside.All))
	if _, err := m.Live(t.Context()); err != nil {
		t.Fatal(err)
	}
	lists := 0
	for _, view := range m.tables {
		for i, index := range append(slices.Clone(view.Indexes), ports.Index{}) {
			want := "rm1_rows_" + view.Name + "_pkey"
			if index != (ports.Index{}) {
				want = fmt.Sprintf("rm1_rows_%s_%d", view.Name, i)
			}
			for _, descending := range []bool{false, true} {
				q := ports.Query{View: view.Name, Sort: index.Sort, Descending: descending}
				if index.Equal != "" {
					q.Equal = ports.Field{Name: index.Equal, Value: "9999"}
				}
				if index.Filter != "" {
					q.Filter = ports.Field{Name: index.Filter, Value: "paid"}
				}
				lists++
				plan := planOf(t, db, view, q)
				if !strings.Contains(plan, want) || strings.Contains(plan, "Sort") {
					t.Errorf("list %+v:\n%s\nwant it to use %s and to sort nothing", q, plan, want)
				}
			}
		}
	}
	if lists < 8 {
		t.Errorf("%d lists were looked at, want all of the views", lists)
	}
}

func planOf(t *testing.T, db *DB, view table, q ports.Query) string {
	t.Helper()
	query, args, err := view.list(q)
	if err != nil {
		t.Fatal(err)
	}
	var plan []string
	err = db.query(t.Context(), "EXPLAIN "+query, args, func(rows pgx.Rows) error {
		plan = append(plan, "")
		return rows.Scan(&plan[len(plan)-1])
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}

func TestFieldsSortAsTheirValuesDo(t *testing.T) {
	numbers := []any{int64(math.MinInt64), int64(math.MinInt64 + 1), int64(-10), int64(-9), int64(-1), int64(0), int64(1), int64(9),
		int64(10), int64(1_773_468_615_123), int64(math.MaxInt64)}
	texts := []any{"", "\x1f", "-1", "0", "10", "9", "=", "a", "é", "\uFFFF", "\U0010FFFF"}
	for _, inOrder := range [][]any{numbers, texts} {
		for i, value := range inOrder {
			encoded := encodeField(value).(string)
			if got := decodeField(encoded); got != value {
				t.Errorf("%T %v comes back as %T %v", value, value, got, got)
			}
			if i > 0 && encodeField(inOrder[i-1]).(string) >= encoded {
				t.Errorf("%v sorts behind %v", inOrder[i-1], value)
			}
		}
	}
}

func TestAPrefixEndsBeforeTheNextText(t *testing.T) {
	for prefix, want := range map[string]string{
		"a": "b", "ab\x1f": "ab ", "\uD7FF": "\uE000", "a\U0010FFFF": "b", "\U0010FFFF": "", "": "",
	} {
		if got := afterPrefix(prefix); got != want {
			t.Errorf("after all that begin with %q: got %q, want %q", prefix, got, want)
		}
	}
}
