package readmodel_test

import (
	"testing"

	"hexorders/adapters/mongodb/mongotest"
	"hexorders/adapters/mongodb/readmodel"
	"hexorders/ports"
	"hexorders/ports/porttest"
	"hexorders/ports/porttest/cable"
)

func TestReadModelStoreContract(t *testing.T) {
	databases := mongotest.NewPool(t)
	porttest.ReadModelStore(t, func(t testing.TB, tables []ports.Table) porttest.ReadModelStorage {
		c := cable.To(t, mongotest.Server())
		db := databases.DBAt(t, c.Address())
		store := readmodel.New(db, tables, readmodel.Options{})
		if _, err := store.Live(t.Context()); err != nil { // it is the first to use the database
			t.Fatal(err)
		}
		return porttest.ReadModelStorage{
			Store:       store,
			FailCommits: func(t testing.TB) func() { return mongotest.RefuseCommits(t, db) },
			Break:       c.Cut,
			Again: func(t testing.TB, tables []ports.Table) ports.ReadModelStore {
				return readmodel.New(mongotest.Again(t, db, c.Address()), tables, readmodel.Options{})
			},
		}
	})
}
