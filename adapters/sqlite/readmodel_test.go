package sqlite

import (
	"path/filepath"
	"testing"

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
			Again: func(t testing.TB, tables []ports.Table) ports.ReadModelStore {
				return NewReadModel(openAt(t, path), tables)
			},
		}
	})
}
