package postgres

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"hexorders/adapters/eventjson"
	"hexorders/adapters/inproc"
	"hexorders/adapters/inproc/logtest"
	"hexorders/core/order"
	"hexorders/ports"
	"hexorders/ports/porttest"
	"hexorders/ports/porttest/cable"
)

func TestStore(t *testing.T) { porttest.Store(t, openStorage(Options{})) }

// Without groups the promises are the same.
func TestOrderStoreOneByOne(t *testing.T) {
	porttest.Store(t, openStorage(Options{MaxBatch: 1}), "OrderStore")
}

func TestTopic(t *testing.T) {
	logtest.Log(t, func(t testing.TB) inproc.Log { return NewTopic(openNew(t)) })
}

func openStorage(o Options) func(testing.TB) porttest.Storage {
	return func(t testing.TB) porttest.Storage {
		uri, c := cabled(t, newSchema(t))
		return storageAt(t, uri, c, o)
	}
}

func storageAt(t testing.TB, uri string, c *cable.Cable, o Options) porttest.Storage {
	db := openAt(t, uri, o)
	return porttest.Storage{
		Orders: NewStore(db), Outbox: NewOutbox(db), Parking: NewParking(db), Lease: NewLease(db, "relay"), Encode: eventjson.Messages,
		FailCommits: func(t testing.TB) func() { return failCommits(t, db, "orders") },
		Break:       c.Cut,
		Again:       func(t testing.TB) porttest.Storage { return storageAt(t, uri, c, o) },
		Age:         func(t testing.TB, by time.Duration) { age(t, db, by) },
	}
}

// The order of commits holds between processes too: each save goes through another pool, and so another committer.
func TestOutboxOfSeveralProcesses(t *testing.T) {
	porttest.Store(t, func(t testing.TB) porttest.Storage {
		uri := newSchema(t)
		one := openAt(t, uri, Options{})
		s := &several{stores: []*Store{NewStore(one)}}
		for range 3 {
			s.stores = append(s.stores, NewStore(openAt(t, uri, Options{})))
		}
		return porttest.Storage{
			Orders: s, Outbox: NewOutbox(one), Encode: eventjson.Messages,
			FailCommits: func(t testing.TB) func() { return failCommits(t, one, "orders") },
		}
	}, "Outbox")
}

// several are the stores of some processes, which take turns.
type several struct {
	stores []*Store
	next   atomic.Int64
}

func (s *several) Get(ctx context.Context, id string) (*order.Order, error) {
	return s.stores[0].Get(ctx, id)
}

func (s *several) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	return s.stores[int(s.next.Add(1))%len(s.stores)].Save(ctx, o, key)
}

func age(t testing.TB, db *DB, by time.Duration) {
	t.Helper()
	execute(t, db, `UPDATE results SET stored_at = stored_at - $1 * interval '1 second'`, by.Seconds())
}

// failCommits has the server itself refuse: a constraint that is looked at as the last thing before the commit.
func failCommits(t testing.TB, db *DB, tables ...string) (heal func()) {
	t.Helper()
	execute(t, db, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'this commit fails'; END $$`)
	for _, table := range tables {
		execute(t, db, `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON `+table+`
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`)
	}
	return func() { execute(t, db, `DROP FUNCTION refuse CASCADE`) }
}

func execute(t testing.TB, db *DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.exec(context.Background(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func openNew(t testing.TB) *DB { return openAt(t, newSchema(t), Options{}) }

// openAt opens a schema of the server.
func openAt(t testing.TB, uri string, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), uri, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}
