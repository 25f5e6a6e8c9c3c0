package readmodel_test

import (
	"testing"

	"hexorders/adapters/mongodb"
	"hexorders/adapters/mongodb/mongotest"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestReadModelStoreContract(t *testing.T) {
	porttest.ReadModelStore(t, func(t testing.TB, tables []ports.Table) porttest.ReadModelStorage {
		db := mongotest.DB(t)
		store := readmodel.New(db, tables, readmodel.Options{})
		if _, err := store.Live(t.Context()); err != nil { // it is the first to use the database
			t.Fatal(err)
		}
		return porttest.ReadModelStorage{
			Store:       store,
			FailCommits: func(t testing.TB) func() { return mongotest.RefuseCommits(t, db) },
			Again: func(t testing.TB, tables []ports.Table) ports.ReadModelStore {
				again, err := mongodb.Connect(t.Context(), mongotest.URI(), db.Name(), nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = again.Client().Disconnect(t.Context()) })
				return readmodel.New(again, tables, readmodel.Options{})
			},
		}
	})
}
