package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"hexorders/ports"
)

// A generation's tables are made when it begins. Everything of generation 7 has a name that begins with rm7_, and the SQL
// views on the live generation have the same names with rm_.

func tableOf(generation int, name string) string {
	return quoted(fmt.Sprintf("rm%d_%s", generation, name))
}

func rowsOf(generation int, view string) string { return tableOf(generation, "rows_"+view) }

func rowsOfLive(view string) string { return quoted("rm_rows_" + view) }

// bookkeeping are the tables that every generation has, without its prefix.
var bookkeeping = map[string]string{
	// How far the read model is, by shard of the topic.
	"places": `shard TEXT NOT NULL PRIMARY KEY, next TEXT NOT NULL, as_of TEXT NOT NULL, -- '' when unknown
		gap TEXT, missing TEXT`, // NULL without a gap
	"progress": `order_id TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL, newest INTEGER NOT NULL, buffered INTEGER NOT NULL,
		parked TEXT NOT NULL, state TEXT NOT NULL, digest INTEGER`,
	// Buffered messages, byte for byte as they came: they need not be JSON, or even text.
	"buffered": `order_id TEXT NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, payload BLOB NOT NULL,
		occurred_at TEXT NOT NULL, traceparent TEXT NOT NULL, reason TEXT NOT NULL, since TEXT NOT NULL,
		PRIMARY KEY (order_id, version)`,
}

// definition makes a generation's tables.
func (m *ReadModel) definition(generation int) (statements []string) {
	for name, columns := range bookkeeping {
		statements = append(statements, `CREATE TABLE `+tableOf(generation, name)+` (`+columns+`) STRICT, WITHOUT ROWID`)
	}
	for _, t := range m.tables {
		statements = append(statements, t.definition(generation)...)
	}
	return statements
}

func (t table) definition(generation int) (statements []string) {
	columns, name := `key TEXT NOT NULL PRIMARY KEY, body TEXT`, rowsOf(generation, t.Name)
	for _, field := range t.fields {
		columns += `, ` + quoted(field) + ` ANY`
	}
	for _, counter := range t.Counters {
		columns += `, ` + quoted(counter) + ` INTEGER NOT NULL DEFAULT 0`
	}
	statements = append(statements, `CREATE TABLE `+name+` (`+columns+`) STRICT, WITHOUT ROWID`)
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

// shapeColumn is a column of an SQL view on rows. It is true in each row. The name tells the shape of the rows, so that the
// query of a program whose table has another shape fails, whether rows are there or not.
func shapeColumn(shape string) string { return "shape_" + shape }

// expose points the SQL views at a generation.
func expose(t *tx, g generation) error {
	var old string
	err := t.queryRow(`SELECT json_group_array(printf('DROP VIEW "%w"', name)) FROM sqlite_schema
		WHERE type = 'view' AND name GLOB 'rm_*'`, nil, &old)
	if err != nil {
		return err
	}
	statements := listOf(old)
	for _, name := range []string{"places", "progress"} {
		statements = append(statements, `CREATE VIEW `+quoted("rm_"+name)+` AS SELECT * FROM `+tableOf(g.number, name))
	}
	for view, shape := range g.views {
		statements = append(statements, `CREATE VIEW `+rowsOfLive(view)+` AS SELECT *, 1 AS `+shapeColumn(shape)+
			` FROM `+rowsOf(g.number, view))
	}
	return t.define(statements...)
}

// add begins a generation.
func (m *ReadModel) add(t *tx, state string) (g generation, err error) {
	g.views = m.shapes
	err = t.queryRow(`INSERT INTO generations (state, views) VALUES (?, ?) RETURNING number`, []any{state, jsonOf(g.views)}, &g.number)
	t.touched = true
	if err == nil {
		err = t.define(m.definition(g.number)...)
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
	var views string
	err = queryRow(`SELECT number, views FROM generations WHERE state = ?`, []any{state}, &g.number, &views)
	_ = json.Unmarshal([]byte(views), &g.views) // jsonOf or SQLite encoded it
	return g, err
}

func (m *ReadModel) findLive(ctx context.Context) (generation, error) {
	return find("live", func(query string, args []any, dest ...any) error { return m.db.queryRow(ctx, query, args, dest...) })
}

// begin makes the first generation, unless there is a live one. It records the shapes of one that a version made which
// recorded none.
func (m *ReadModel) begin(ctx context.Context) error {
	if m.begun.Load() {
		return nil
	}
	live, err := m.findLive(ctx)
	if errors.Is(err, ports.ErrNotFound) || err == nil && live.views.Adopt(m.shapes) {
		err = m.db.writer.do(ctx, 0, func(t *tx) error {
			g, err := find("live", t.queryRow)
			switch {
			case errors.Is(err, ports.ErrNotFound):
				g, err = m.add(t, "live")
			case err == nil && g.views.Adopt(m.shapes):
				_, err = t.exec(`UPDATE generations SET views = ? WHERE number = ?`, jsonOf(g.views), g.number)
			default:
				return err
			}
			if err == nil {
				err = expose(t, g)
			}
			return err
		})
	}
	m.begun.Store(err == nil)
	return err
}

func (m *ReadModel) Live(ctx context.Context) (g ports.Generation, err error) {
	var live generation
	if err = m.begin(ctx); err == nil {
		live, err = m.findLive(ctx)
	}
	if err != nil {
		return ports.Generation{}, fmt.Errorf("live generation: %w", err)
	}
	return m.describe(live), nil
}

func (m *ReadModel) Shadow(ctx context.Context) (g ports.Generation, err error) {
	if err = m.begin(ctx); err == nil {
		err = m.sweep(ctx)
	}
	if err == nil {
		err = m.db.writer.do(ctx, 0, func(t *tx) error {
			found, err := find("shadow", t.queryRow)
			if err == nil && !maps.Equal(found.views, m.shapes) {
				if err = leave(t, "shadow"); err == nil {
					err = ports.ErrNotFound
				}
			}
			if errors.Is(err, ports.ErrNotFound) {
				found, err = m.add(t, "shadow")
			}
			g = m.describe(found)
			return err
		})
	}
	if err != nil {
		return ports.Generation{}, fmt.Errorf("shadow generation: %w", err)
	}
	return g, nil
}

// Swap makes the shadow live in one transaction and then drops the tables of the old generation. A failure to drop is
// not an error of Swap, because the next Shadow drops them too.
func (m *ReadModel) Swap(ctx context.Context, shadow ports.Generation) error {
	err := m.db.writer.do(ctx, 0, func(t *tx) error {
		found, err := find("shadow", t.queryRow)
		if errors.Is(err, ports.ErrNotFound) || err == nil && found.number != shadow.Number {
			return ports.ErrConflict
		}
		if err == nil {
			err = leave(t, "live")
		}
		if err == nil {
			_, err = t.exec(`UPDATE generations SET state = 'live' WHERE state = 'shadow'`)
		}
		if err == nil {
			err = expose(t, found)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("swap generation %d in: %w", shadow.Number, err)
	}
	_ = m.sweep(ctx)
	return nil
}

func (m *ReadModel) Discard(ctx context.Context) error {
	err := m.db.writer.do(ctx, 0, func(t *tx) error { return leave(t, "shadow") })
	if err == nil {
		err = m.sweep(ctx)
	}
	if err != nil {
		return fmt.Errorf("discard the shadow generation: %w", err)
	}
	return nil
}

func leave(t *tx, state string) error {
	_, err := t.exec(`UPDATE generations SET state = 'leaving' WHERE state = ?`, state)
	return err
}

const (
	// sweepPause leaves time for saves, and for other processes, between two transactions that drop something.
	sweepPause = 5 * time.Millisecond

	selectDrops = `SELECT printf('DROP %s IF EXISTS "%w"', type, name) FROM generations
		JOIN sqlite_schema ON name GLOB printf('rm%d_*', number) WHERE state = 'leaving' ORDER BY type` // indexes first
	deleteDropped = `DELETE FROM generations WHERE state = 'leaving'
		AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name GLOB printf('rm%d_*', number))`
)

// sweep drops everything of the generations in the state leaving. Each index and each table goes in a transaction of its
// own, because others wait meanwhile, in proportion to its size: a save at most 70 ms with 200,000 orders.
func (m *ReadModel) sweep(ctx context.Context) error {
	var drops []string
	err := m.db.query(ctx, selectDrops, nil, func(rows *sql.Rows) error {
		drops = append(drops, "")
		return rows.Scan(&drops[len(drops)-1])
	})
	for _, drop := range drops {
		if err == nil {
			err = m.db.writer.do(ctx, 0, func(t *tx) error { return t.define(drop) })
		}
		if err == nil {
			err = pause(ctx, sweepPause)
		}
	}
	if err == nil {
		err = m.db.writer.do(ctx, 0, func(t *tx) error { _, err := t.exec(deleteDropped); return err })
	}
	return err
}

// jsonOf encodes texts, and listOf decodes a list of them.
func jsonOf[T []string | ports.Shapes](texts T) string {
	text, _ := json.Marshal(texts) // strings can always be encoded
	return string(text)
}

func listOf(text string) (list []string) {
	_ = json.Unmarshal([]byte(text), &list) // jsonOf or SQLite encoded it
	return list
}
