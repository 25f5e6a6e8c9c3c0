package mongodb_test

import (
	"testing"

	"hexorders/adapters/mongodb"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestOrderStoreContract(t *testing.T) { porttest.OrderStore(t, openStorage) }

func TestOutboxContract(t *testing.T) { porttest.Outbox(t, openStorage) }

func TestBacklogContract(t *testing.T) { porttest.Backlog(t, openStorage) }

func TestParkingContract(t *testing.T) {
	porttest.Parking(t, func(t testing.TB) ports.Parking { return mongodb.NewParking(testDB(t)) })
}

func TestLeaseContract(t *testing.T) {
	porttest.Lease(t, func(t testing.TB) ports.Lease { return mongodb.NewLease(testDB(t), "relay") })
}

func openStorage(t testing.TB) porttest.Storage {
	db := testDB(t)
	return porttest.Storage{
		Orders: mongodb.NewStore(db, mongodb.Options{}),
		Outbox: mongodb.NewOutbox(db, mongodb.OutboxOptions{}),
		FailCommits: func(t testing.TB) func() {
			return refuseCommits(t, db)
		},
	}
}
