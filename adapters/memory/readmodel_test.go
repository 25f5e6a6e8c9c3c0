package memory

import (
	"errors"
	"testing"

	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestReadModelStore(t *testing.T) {
	porttest.ReadModelStore(t, func(_ testing.TB, tables []ports.Table) porttest.ReadModelStorage {
		r := NewReadModel(tables)
		setFailure := func(err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.failCommit = err
		}
		return porttest.ReadModelStorage{
			Store: r,
			FailCommits: func(testing.TB) func() {
				setFailure(errors.New("the disk is full"))
				return func() { setFailure(nil) }
			},
			Again: func(_ testing.TB, tables []ports.Table) ports.ReadModelStore { return r.Again(tables) },
		}
	})
}
