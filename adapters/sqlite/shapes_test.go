package sqlite

import (
	"errors"
	"path/filepath"
	"testing"

	"hexorders/ports"
)

// notes are rows of a view, and moreNotes those of a later version.
var (
	notes     = []ports.Table{{Name: "notes", Counters: []string{"read"}}}
	moreNotes = []ports.Table{{Name: "notes", Counters: []string{"read", "liked"}}}
)

// An upgrade of a file whose generation has no shapes loses no list, and later changes of a view are seen.
func TestAGenerationWithoutShapesGetsThoseOfTheFirstProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	db := openAt(t, path)
	row := ports.Row{Key: "a", Body: []byte(`{}`)}
	change := ports.Change{Rows: map[string]ports.RowChanges{"notes": {Put: []ports.Row{row}}}}
	if err := NewReadModel(db, notes).Commit(t.Context(), ports.Generation{Number: 1}, change); err != nil {
		t.Fatal(err)
	}
	closeNow(t, db)
	execute(t, raw(t, path), `UPDATE generations SET views = '["notes"]'; DROP VIEW rm_rows_notes;
		CREATE VIEW rm_rows_notes AS SELECT * FROM rm1_rows_notes; PRAGMA user_version = 8`)

	db = openAt(t, path)
	for range 2 {
		got, err := NewReadModel(db, notes).Row(t.Context(), "notes", "a")
		if err != nil || string(got.Body) != "{}" {
			t.Errorf("after the upgrade: got the row %q and error %v, want the one from before", got.Body, err)
		}
	}
	if _, err := NewReadModel(db, moreNotes).Row(t.Context(), "notes", "a"); !errors.Is(err, ports.ErrNotBuilt) {
		t.Errorf("a view that has changed: got error %v, want %v", err, ports.ErrNotBuilt)
	}
}

func TestAColumnThatIsNotThereIsNoOutage(t *testing.T) {
	db := openNew(t)
	if _, err := NewReadModel(db, notes).Live(t.Context()); err != nil {
		t.Fatal(err)
	}
	liked := ports.Addition{Key: "a", Add: []ports.Count{{Name: "liked", Value: 1}}}
	change := ports.Change{Rows: map[string]ports.RowChanges{"notes": {Add: []ports.Addition{liked}}}}
	err := NewReadModel(db, moreNotes).Commit(t.Context(), ports.Generation{Number: 1}, change)
	if err == nil || errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Commit to a column that is not there: got error %v, want one that is not %v", err, ports.ErrUnavailable)
	}
}
