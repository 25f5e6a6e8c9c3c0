// Package porttest holds every adapter to the promises that package ports makes: one suite a port, one numbered check a
// promise. An adapter's test opens itself, fresh and empty, and hands itself over:
//
//	func TestStore(t *testing.T) {
//		porttest.Store(t, func(t testing.TB) porttest.Storage { ... })
//	}
//
// The tables of checks at the head of each file are the contract to read: the sentence, and a hint that is shown when the
// check is red. Every line of them has been seen to fail, see red_test.go. A check is run alone by its number:
//
//	go test ./adapters/memory -run 'TestStore/Outbox/10'
//
// PORTTEST_PATIENCE=5s makes a check wait five seconds, and not two minutes, for something that must come.
package porttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// Storage is a store as an adapter's test opens it, fresh and empty. What has to be closed afterwards belongs into
// t.Cleanup of open. A port that is nil is not there.
type Storage struct {
	// Orders may also be a ports.IdempotencyStore, a ports.History and a ports.OrderScanner, and Outbox a ports.Trimmer,
	// and it may count what is unread. Lease may be a ports.LeaseHolder. The suites find that by type, as the service does.
	Orders  ports.OrderStore
	Outbox  ports.Outbox
	Parking ports.Parking
	Lease   ports.Lease

	// Encode makes the messages of an order's changes: eventjson.Messages. The outbox must have exactly these.
	Encode func(ctx context.Context, o *order.Order) ([]ports.Message, error)
	// FailCommits makes every commit of Save fail until heal is called: the writes happen, the commit does not.
	FailCommits func(t testing.TB) (heal func())
	// Break makes the server of the store unreachable until heal is called. Nil where there is nothing to lose.
	Break func(t testing.TB) (heal func())
	// Again opens a second handle over the same data, beside this one, as another process has it. Nil where only one
	// process can have the data.
	Again func(t testing.TB) Storage
	// Restart closes this handle and opens the data anew, as a process does that was stopped and started. Where it is nil,
	// Again has to do.
	Restart func(t testing.TB) Storage
	// Age makes all stored results older. An IdempotencyStore needs it.
	Age func(t testing.TB, by time.Duration)
}

// Store runs the suite of every port that the opened store has, or of these alone, and says which suites and checks it
// leaves out. open is called once a check, and once to see what there is.
func Store(t *testing.T, open func(t testing.TB) Storage, only ...string) {
	t.Helper()
	sample := hold(open(t))
	sample.complete(t)
	missing := map[string][]string{} // by the reason
	for _, s := range suites {
		if len(only) > 0 && !slices.Contains(only, s.name) {
			continue
		}
		if !s.has(sample) {
			missing["the store has no such port"] = append(missing["the store has no such port"], s.name)
			continue
		}
		due := number(s.all())
		for i, c := range s.more {
			if lacks := sample.lacks(c.needs); lacks != "" {
				at, why := len(s.checks)+i, "Storage."+lacks+" is nil"
				missing[why] = append(missing[why], fmt.Sprintf("%s/%02d", s.name, at+1))
				due[at].prove = nil
			}
		}
		due = slices.DeleteFunc(due, func(c numbered[storage]) bool { return c.prove == nil })
		t.Run(s.name, func(t *testing.T) { runNumbered(t, due, func(t testing.TB) storage { return hold(open(t)) }) })
	}
	for _, why := range slices.Sorted(maps.Keys(missing)) {
		t.Logf("left out, because %s: %s", why, strings.Join(missing[why], ", "))
	}
}

// suite is what a port promises.
type suite struct {
	name   string
	has    func(storage) bool
	checks []check[storage]
	more   []demanding // in the suite only if the Storage can do that
}

func (s suite) all() []check[storage] {
	all := slices.Clone(s.checks)
	for _, d := range s.more {
		all = append(all, check[storage]{d.name, d.prove, d.hint})
	}
	return all
}

// suites are those of the ports of a store, in the order in which to write one.
var suites = []suite{
	{"OrderStore", func(s storage) bool { return s.Orders != nil }, orderStoreChecks,
		slices.Concat(brokenOrderStore, orderStoreHandles)},
	{"Outbox", func(s storage) bool { return s.Outbox != nil }, outboxChecks, slices.Concat(brokenOutbox, outboxHandles)},
	{"IdempotencyStore", func(s storage) bool { return s.Idempotency != nil }, idempotencyStoreChecks,
		slices.Concat(brokenIdempotencyStore, idempotencyStoreHandles)},
	{"History", func(s storage) bool { return s.History != nil }, historyChecks, brokenHistory},
	{"OrderScanner", func(s storage) bool { return s.Scanner != nil }, orderScannerChecks, brokenOrderScanner},
	{"Trimmer", func(s storage) bool { return s.Trimmer != nil }, trimmerChecks, brokenTrimmer},
	{"Backlog", func(s storage) bool { return s.Backlog != nil }, backlogChecks, nil},
	{"Parking", func(s storage) bool { return s.Parking != nil }, parkingChecks, slices.Concat(brokenParking, parkingHandles)},
	{"Lease", func(s storage) bool { return s.Lease != nil }, leaseChecks, slices.Concat(brokenLease, leaseHandles)},
	{"LeaseHolder", func(s storage) bool { return s.Holder != nil }, leaseHolderChecks, brokenLeaseHolder},
}

// ReadModelStorage is what the ReadModelStore suite runs against: a fresh, empty read model.
type ReadModelStorage struct {
	Store ports.ReadModelStore
	// FailCommits makes every Commit fail until heal is called: the writes happen, the commit does not.
	FailCommits func(t testing.TB) (heal func())
	// Break makes the server of the store unreachable until heal is called. Nil where there is nothing to lose.
	Break func(t testing.TB) (heal func())
	// Again opens a second handle over the same data, as another process has whose program has these tables.
	Again func(t testing.TB, tables []ports.Table) ports.ReadModelStore
}

// ReadModelStore checks the promises of ports.ReadModelStore. open makes a store that has these tables. A read model may
// be kept elsewhere than the orders, so it has an opening of its own.
func ReadModelStore(t *testing.T, open func(t testing.TB, tables []ports.Table) ReadModelStorage) {
	t.Helper()
	checks := number(readModelStoreChecks)
	if last := len(checks) - 1; open(t, readModelTables).Break == nil {
		t.Log("left out: " + checks[last].title + " (ReadModelStorage.Break is nil)")
		checks = checks[:last]
	}
	runNumbered(t, checks, func(t testing.TB) ReadModelStorage { return open(t, readModelTables) })
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
func Publisher(t *testing.T, open func(t testing.TB) Broker) {
	runNumbered(t, number(publisherChecks), open)
}
