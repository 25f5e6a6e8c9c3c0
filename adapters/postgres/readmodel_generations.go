package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"

	"hexorders/ports"
)

// A generation's tables are made when it begins. Everything of generation 7 has a name that begins with rm7_, and the SQL
// views on the live generation have the same names with rm_.
//
// The row of a generation is its lock. A commit to it locks the row, and so do Swap and Discard, which change its state. So
// commits to one generation come one after the other: two consumers that count for the same buyers and products in
// different orders would block each other (deadlock), and a group of a thousand messages a transaction is fast enough.

func tableOf(generation int, name string) string {
	return quoted(fmt.Sprintf("rm%d_%s", generation, name))
}

func rowsOf(generation int, view string) string { return tableOf(generation, "rows_"+view) }

func rowsOfLive(view string) string { return quoted("rm_rows_" + view) }

// bookkeeping are the tables that every generation has, without its prefix.
var bookkeeping = map[string]string{
	// How far the read model is, by shard of the topic. as_of is NULL when it is unknown, gap and missing without a gap.
	"places": `shard text COLLATE "C" PRIMARY KEY, next text NOT NULL, as_of timestamptz, gap text, missing text`,
	"progress": `order_id text COLLATE "C" PRIMARY KEY, version integer NOT NULL, newest integer NOT NULL, buffered integer NOT NULL,
		parked text NOT NULL, state text NOT NULL, digest bigint NOT NULL`,
	// Buffered messages, byte for byte as they came: they need not be JSON, or even text.
	"buffered": `order_id text COLLATE "C", version integer, id text NOT NULL, type text NOT NULL, payload bytea NOT NULL,
		occurred_at timestamptz, traceparent text NOT NULL, reason text NOT NULL, since timestamptz NOT NULL DEFAULT clock_timestamp(),
		PRIMARY KEY (order_id, version)`,
}

// definition makes a generation's tables.
func (m *ReadModel) definition(generation int) (statements []string) {
	for name, columns := range bookkeeping {
		statements = append(statements, `CREATE TABLE `+tableOf(generation, name)+` (`+columns+`) WITH (fillfactor = 90)`)
	}
	for _, t := range m.tables {
		statements = append(statements, t.definition(generation)...)
	}
	return statements
}

func (t table) definition(generation int) (statements []string) {
	columns, name := `key text COLLATE "C" PRIMARY KEY, body text`, rowsOf(generation, t.Name)
	for _, field := range t.fields {
		columns += `, ` + quoted(field) + ` text COLLATE "C"`
	}
	for _, counter := range t.Counters {
		columns += `, ` + quoted(counter) + ` bigint NOT NULL DEFAULT 0`
	}
	statements = append(statements, `CREATE TABLE `+name+` (`+columns+`) WITH (fillfactor = 90)`)
	for i, index := range t.Indexes {
		var columns []string
		for _, column := range []string{index.Equal, index.Sort, "key", index.Filter} {
			if column != "" {
				columns = append(columns, quoted(column))
			}
		}
		statements = append(statements, `CREATE INDEX `+tableOf(generation, fmt.Sprintf("rows_%s_%d", t.Name, i))+
			` ON `+name+` (`+strings.Join(columns, `, `)+`)`)
	}
	return statements
}

// execAll runs statements without arguments.
func execAll(ctx context.Context, tx pgx.Tx, statements ...string) error {
	_, err := tx.Exec(ctx, strings.Join(statements, "; "))
	return err
}

// shapeColumn is a column of an SQL view on rows. It is true in each row. The name tells the shape of the rows, so that the
// query of a program whose table has another shape fails, whether rows are there or not.
func shapeColumn(shape string) string { return "shape_" + shape }

// expose points the SQL views at a generation.
func expose(ctx context.Context, tx pgx.Tx, g generation) error {
	old, err := names(ctx, tx, `SELECT viewname::text FROM pg_views WHERE schemaname = current_schema() AND viewname LIKE 'rm\_%'`)
	if err != nil {
		return err
	}
	var statements []string
	for _, name := range old {
		statements = append(statements, `DROP VIEW `+quoted(name))
	}
	for _, name := range []string{"places", "progress"} {
		statements = append(statements, `CREATE VIEW `+quoted("rm_"+name)+` AS SELECT * FROM `+tableOf(g.number, name))
	}
	for view, shape := range g.views {
		statements = append(statements, `CREATE VIEW `+rowsOfLive(view)+` AS SELECT *, true AS `+shapeColumn(shape)+
			` FROM `+rowsOf(g.number, view))
	}
	return execAll(ctx, tx, statements...)
}

func names(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// add begins a generation.
func (m *ReadModel) add(ctx context.Context, tx pgx.Tx, state string) (g generation, err error) {
	g.views = m.shapes
	err = tx.QueryRow(ctx, `INSERT INTO generations (state, views) VALUES ($1, $2) RETURNING number`, state, g.views).Scan(&g.number)
	if err == nil {
		err = execAll(ctx, tx, m.definition(g.number)...)
	}
	return g, err
}

// generation is one as it is stored.
type generation struct {
	number int
	views  ports.Shapes
}

func (m *ReadModel) describe(g generation) ports.Generation {
	return ports.Generation{Number: g.number, Views: g.views.Usable(m.shapes)}
}

// find reads the generation in a state, live or shadow. Error: ports.ErrNotFound.
func find(state string, queryRow func(query string, args []any, dest ...any) error) (g generation, err error) {
	err = queryRow(`SELECT number, views FROM generations WHERE state = $1`, []any{state}, &g.number, &g.views)
	return g, err
}

func (m *ReadModel) findLive(ctx context.Context) (generation, error) {
	return find("live", func(query string, args []any, dest ...any) error { return m.db.queryRow(ctx, query, args, dest...) })
}

func findIn(ctx context.Context, tx pgx.Tx, state string) (generation, error) {
	return find(state, func(query string, args []any, dest ...any) error {
		err := tx.QueryRow(ctx, query, args...).Scan(dest...)
		if errors.Is(err, pgx.ErrNoRows) {
			return ports.ErrNotFound
		}
		return err
	})
}

// change runs a transaction that changes which generations there are. There is one such transaction at a time.
func (m *ReadModel) change(ctx context.Context, run func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.db.options.Timeout)
	defer cancel()
	return pgx.BeginTxFunc(ctx, m.db.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, lockKey(m.db.schema, "generations")); err != nil {
			return err
		}
		return run(ctx, tx)
	})
}

// begin makes the first generation, unless there is a live one. It records the shapes of one that a version made which
// recorded none.
func (m *ReadModel) begin(ctx context.Context) error {
	if m.begun.Load() {
		return nil
	}
	live, err := m.findLive(ctx)
	if errors.Is(err, ports.ErrNotFound) || err == nil && live.views.Adopt(m.shapes) {
		err = m.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
			g, err := findIn(ctx, tx, "live")
			switch {
			case errors.Is(err, ports.ErrNotFound):
				g, err = m.add(ctx, tx, "live")
			case err == nil && g.views.Adopt(m.shapes):
				_, err = tx.Exec(ctx, `UPDATE generations SET views = $2 WHERE number = $1`, g.number, g.views)
			default:
				return err
			}
			if err == nil {
				err = expose(ctx, tx, g)
			}
			return err
		})
	}
	if err == nil {
		m.begun.Store(true)
	}
	return err
}

func (m *ReadModel) Live(ctx context.Context) (g ports.Generation, err error) {
	var live generation
	if err = m.begin(ctx); err == nil {
		live, err = m.findLive(ctx)
	}
	return m.describe(live), fail(ctx, "live generation", err)
}

func (m *ReadModel) Shadow(ctx context.Context) (g ports.Generation, err error) {
	if err = m.begin(ctx); err == nil {
		err = m.sweep(ctx)
	}
	if err == nil {
		err = m.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
			found, err := findIn(ctx, tx, "shadow")
			if err == nil && !maps.Equal(found.views, m.shapes) {
				if err = leave(ctx, tx, "shadow"); err == nil {
					err = ports.ErrNotFound
				}
			}
			if errors.Is(err, ports.ErrNotFound) {
				found, err = m.add(ctx, tx, "shadow")
			}
			g = m.describe(found)
			return err
		})
	}
	if err != nil {
		return ports.Generation{}, fail(ctx, "shadow generation", err)
	}
	return g, nil
}

// Swap makes the shadow live in one transaction and then drops the tables of the old generation. A failure to drop is
// not an error of Swap, because the next Shadow drops them too.
func (m *ReadModel) Swap(ctx context.Context, shadow ports.Generation) error {
	err := m.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		found, err := findIn(ctx, tx, "shadow")
		if errors.Is(err, ports.ErrNotFound) || err == nil && found.number != shadow.Number {
			return ports.ErrConflict
		}
		if err == nil {
			err = leave(ctx, tx, "live")
		}
		if err == nil {
			err = execAll(ctx, tx, `UPDATE generations SET state = 'live' WHERE state = 'shadow'`)
		}
		if err == nil {
			err = expose(ctx, tx, found)
		}
		return err
	})
	if err != nil {
		return fail(ctx, fmt.Sprintf("swap generation %d in", shadow.Number), err)
	}
	_ = m.sweep(ctx)
	return nil
}

func (m *ReadModel) Discard(ctx context.Context) error {
	err := m.change(ctx, func(ctx context.Context, tx pgx.Tx) error { return leave(ctx, tx, "shadow") })
	if err == nil {
		err = m.sweep(ctx)
	}
	return fail(ctx, "discard the shadow generation", err)
}

func leave(ctx context.Context, tx pgx.Tx, state string) error {
	_, err := tx.Exec(ctx, `UPDATE generations SET state = 'leaving' WHERE state = $1`, state)
	return err
}

// sweep drops the tables of the generations in the state leaving. A large table is dropped as fast as a small one.
func (m *ReadModel) sweep(ctx context.Context) error {
	return m.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tables, err := names(ctx, tx, `SELECT tablename::text FROM generations JOIN pg_tables ON schemaname = current_schema()
			AND tablename LIKE 'rm' || number || '\_%' WHERE state = 'leaving'`)
		for _, name := range tables {
			if err == nil {
				err = execAll(ctx, tx, `DROP TABLE `+quoted(name))
			}
		}
		if err == nil {
			err = execAll(ctx, tx, `DELETE FROM generations WHERE state = 'leaving'`)
		}
		return err
	})
}
