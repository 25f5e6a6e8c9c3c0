package mongotest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Pool lends databases, empties those that come back and lends them again. A suite has hundreds of checks, and to create the
// collections and indexes of a database, and to drop them, takes the server a quarter of a second.
type Pool struct {
	t testing.TB

	mu   sync.Mutex
	free []string
}

// NewPool makes one whose databases are gone when the test is over. The tests that borrow them are its subtests.
func NewPool(t testing.TB) *Pool { return &Pool{t: t} }

// DBAt is as DB, but the server is reached at another address: that of a cable to Server.
func (p *Pool) DBAt(t testing.TB, address string) *mongo.Database {
	t.Helper()
	db := connect(t, at(address), p.take())
	created, err := db.ListCollectionNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leave(t, db, func(ctx context.Context) error { return empty(ctx, db, created) })
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, db.Name())
	})
	return db
}

func (p *Pool) take() (name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		name, p.free = p.free[n-1], p.free[:n-1]
		return name
	}
	name = newName()
	p.t.Cleanup(func() {
		db := connect(p.t, URI(), name)
		leave(p.t, db, db.Drop)
	})
	return name
}

// empty deletes what is in the collections that connecting has created, and drops all others.
func empty(ctx context.Context, db *mongo.Database, created []string) error {
	names, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return err
	}
	for _, name := range names {
		if slices.Contains(created, name) {
			_, err = db.Collection(name).DeleteMany(ctx, bson.D{})
		} else {
			err = db.Collection(name).Drop(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
