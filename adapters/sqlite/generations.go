package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"hexorders/ports"
)

func (v *Views) Live(ctx context.Context, view ports.View) (ports.Generation, error) {
	g := ports.Generation{View: view}
	err := v.db.queryRow(ctx, `SELECT number FROM generations WHERE view = ? AND state = 'live'`, []any{string(view)}, &g.Number)
	if err != nil {
		return ports.Generation{}, fmt.Errorf("live generation of %s: %w", view, err)
	}
	return g, nil
}

func (v *Views) Shadow(ctx context.Context, view ports.View) (ports.Generation, error) {
	g := ports.Generation{View: view}
	err := v.sweep(ctx)
	if err == nil {
		err = v.db.writer.do(ctx, 0, func(t *tx) error {
			find := func() error {
				return t.queryRow(`SELECT number FROM generations WHERE view = ? AND state = 'shadow'`, []any{string(view)}, &g.Number)
			}
			if err := find(); !errors.Is(err, ports.ErrNotFound) {
				return err
			}
			if _, err := t.exec(`INSERT INTO generations (view, number, state)
				SELECT view, max(number) + 1, 'shadow' FROM generations WHERE view = ? GROUP BY view`, string(view)); err != nil {
				return err
			}
			return find()
		})
	}
	if err != nil {
		return ports.Generation{}, fmt.Errorf("shadow of %s: %w", view, err)
	}
	return g, nil
}

// Swap makes the shadow live in one transaction and then deletes the rows of the old generation. A failure to delete
// is not an error of Swap, because the next Shadow deletes them too.
func (v *Views) Swap(ctx context.Context, shadow ports.Generation) error {
	err := v.db.writer.do(ctx, 0, func(t *tx) error {
		var found int
		err := t.queryRow(`SELECT 1 FROM generations WHERE view = ? AND number = ? AND state = 'shadow'`,
			[]any{string(shadow.View), shadow.Number}, &found)
		if errors.Is(err, ports.ErrNotFound) {
			return ports.ErrConflict
		}
		if err == nil {
			_, err = t.exec(`UPDATE generations SET state = 'leaving' WHERE view = ? AND state = 'live'`, string(shadow.View))
		}
		if err == nil {
			_, err = t.exec(`UPDATE generations SET state = 'live' WHERE view = ? AND state = 'shadow'`, string(shadow.View))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("swap %s in: %w", shadow, err)
	}
	_ = v.sweep(ctx)
	return nil
}

func (v *Views) Discard(ctx context.Context, view ports.View) error {
	err := v.db.writer.do(ctx, 0, func(t *tx) error {
		_, err := t.exec(`UPDATE generations SET state = 'leaving' WHERE view = ? AND state = 'shadow'`, string(view))
		return err
	})
	if err == nil {
		err = v.sweep(ctx)
	}
	if err != nil {
		return fmt.Errorf("discard the shadow of %s: %w", view, err)
	}
	return nil
}

// sweeps delete some rows of a generation, one statement for each table.
var sweeps = []string{
	sweepOf("positions", "partition"), sweepOf("inbox", "message_id"), sweepOf("marks", "order_id"), sweepOf("held", "message_id"),
	sweepOf("summaries", "order_id"), sweepOf("activity", "buyer_id"), sweepOf("timeline", "order_id, version"),
}

func sweepOf(table, key string) string {
	return fmt.Sprintf(`DELETE FROM %[1]s WHERE (generation, %[2]s) IN
		(SELECT generation, %[2]s FROM %[1]s WHERE generation = ? LIMIT ?)`, table, key)
}

const (
	// sweepPage is how many rows one transaction deletes. sweepPause leaves time for other processes between two.
	sweepPage  = 1000
	sweepPause = 5 * time.Millisecond
)

// sweep deletes the rows of all generations in the state leaving.
func (v *Views) sweep(ctx context.Context) error {
	var leaving []int64
	err := v.db.query(ctx, `SELECT id FROM generations WHERE state = 'leaving'`, nil, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		leaving = append(leaving, id)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range leaving {
		for _, table := range sweeps {
			if err := v.sweepTable(ctx, table, id); err != nil {
				return err
			}
		}
		if err := v.db.writer.do(ctx, 0, func(t *tx) error {
			_, err := t.exec(`UPDATE generations SET state = 'gone' WHERE id = ?`, id)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (v *Views) sweepTable(ctx context.Context, table string, id int64) error {
	for {
		var deleted int64
		err := v.db.writer.do(ctx, 0, func(t *tx) (err error) {
			deleted, err = t.exec(table, id, sweepPage)
			return err
		})
		if err != nil || deleted < sweepPage {
			return err
		}
		if err := pause(ctx, sweepPause); err != nil {
			return err
		}
	}
}
