// Package porttest holds every adapter to the promises that package ports makes: one suite per port, one check per
// promise. An adapter's test opens itself, fresh and empty, and hands itself over:
//
//	func TestOrderStore(t *testing.T) {
//		porttest.OrderStore(t, func(t testing.TB) porttest.Storage { ... })
//	}
//
// The tables of checks at the head of each file are the contract to read; every line of them has been seen to fail,
// see red_test.go.
package porttest

import (
	"testing"
	"time"

	"hexorders/ports"
)

// Storage is what the OrderStore, Outbox, Trimmer, IdempotencyStore, History and OrderScanner suites run against: a
// fresh, empty store with what it leaves behind. Whatever has to be closed afterwards belongs into t.Cleanup of open.
type Storage struct {
	Orders ports.OrderStore
	Outbox ports.Outbox
	// Trimmer is needed by the suite of that name only.
	Trimmer ports.Trimmer
	// FailCommits makes every commit of Save fail until heal is called: the writes happen, the commit does not.
	FailCommits func(t testing.TB) (heal func())

	// For the IdempotencyStore suite alone. Age makes all stored results older.
	Idempotency ports.IdempotencyStore
	Age         func(t testing.TB, by time.Duration)
	// For the suites of these names alone.
	History ports.History
	Scanner ports.OrderScanner
}

// OrderStore checks the promises of ports.OrderStore. open is called once per check.
func OrderStore(t *testing.T, open func(t testing.TB) Storage) { run(t, orderStoreChecks, open) }

// Outbox checks the promises of ports.Outbox, with messages that the store's Save has left behind.
func Outbox(t *testing.T, open func(t testing.TB) Storage) { run(t, outboxChecks, open) }

// IdempotencyStore checks the promises of ports.IdempotencyStore, with what the store's Save has left behind.
func IdempotencyStore(t *testing.T, open func(t testing.TB) Storage) {
	run(t, idempotencyStoreChecks, open)
}

// History checks the promises of ports.History, with what the store's Save has left behind.
func History(t *testing.T, open func(t testing.TB) Storage) { run(t, historyChecks, open) }

// OrderScanner checks the promises of ports.OrderScanner, with what the store's Save has left behind.
func OrderScanner(t *testing.T, open func(t testing.TB) Storage) { run(t, orderScannerChecks, open) }

// Trimmer checks the promises of ports.Trimmer, with messages that the store's Save has left behind.
func Trimmer(t *testing.T, open func(t testing.TB) Storage) { run(t, trimmerChecks, open) }

// Parking checks the promises of ports.Parking, on one that is empty.
func Parking(t *testing.T, open func(t testing.TB) ports.Parking) { run(t, parkingChecks, open) }

// Lease checks the promises of ports.Lease, on one that had no owner yet.
func Lease(t *testing.T, open func(t testing.TB) ports.Lease) { run(t, leaseChecks, open) }

// ReadModelStorage is what the ReadModelStore suite runs against: a fresh, empty read model.
type ReadModelStorage struct {
	Store ports.ReadModelStore
	// FailCommits makes every Commit fail until heal is called: the writes happen, the commit does not.
	FailCommits func(t testing.TB) (heal func())
	// Again opens a second handle over the same data, as another process has whose program has these tables.
	Again func(t testing.TB, tables []ports.Table) ports.ReadModelStore
}

// ReadModelStore checks the promises of ports.ReadModelStore. open makes a store that has these tables.
func ReadModelStore(t *testing.T, open func(t testing.TB, tables []ports.Table) ReadModelStorage) {
	run(t, readModelStoreChecks, func(t testing.TB) ReadModelStorage { return open(t, readModelTables) })
}

// Broker is what the Publisher suite runs against: a publisher on an empty topic and a way to read the topic back.
type Broker struct {
	Publisher ports.Publisher
	// Read waits until the topic holds at least n messages and returns all that it holds then; messages of one order
	// in the order the broker has them. It fails the test when they do not come.
	Read func(t testing.TB, n int) []ports.Message
	// TooLarge is a payload size in bytes that the broker refuses permanently.
	TooLarge int
}

// Publisher checks the promises of ports.Publisher. open's t.Cleanup closes the publisher, also when a check has
// closed it already.
func Publisher(t *testing.T, open func(t testing.TB) Broker) { run(t, publisherChecks, open) }

// check is one promise of a port: the sentence, and what proves it on a fresh fixture.
type check[F any] struct {
	name  string
	prove func(t testing.TB, fixture F)
}

func run[F any](t *testing.T, checks []check[F], open func(testing.TB) F) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.prove(t, open(t)) })
	}
}

const (
	// patience is how long a check waits for something that must come. It is long, because only a broken adapter or
	// a very busy machine ever needs it.
	patience = 2 * time.Minute
	// prompt is how soon a call must return once its context has ended: a second, and another for a busy machine.
	prompt = 2 * time.Second
	// glance is how long a check looks for something that must not happen.
	glance = 50 * time.Millisecond
)
