package porttest

import (
	"testing"

	"hexorders/ports"
)

// Check is a check that the tests of this package can run by themselves.
type Check[F any] struct {
	Name  string
	Prove func(testing.TB, F)
}

func OrderStoreChecks() []Check[Storage]       { return export(orderStoreChecks) }
func OutboxChecks() []Check[Storage]           { return export(outboxChecks) }
func HistoryChecks() []Check[Storage]          { return export(historyChecks) }
func IdempotencyStoreChecks() []Check[Storage] { return export(idempotencyStoreChecks) }
func TrimmerChecks() []Check[Storage]          { return export(trimmerChecks) }
func ParkingChecks() []Check[ports.Parking]    { return export(parkingChecks) }
func LeaseChecks() []Check[ports.Lease]        { return export(leaseChecks) }
func PublisherChecks() []Check[Broker]         { return export(publisherChecks) }

func InboxChecks() []Check[ReadingSide]       { return export(inboxChecks) }
func OrderViewsChecks() []Check[ReadingSide]  { return export(orderViewsChecks) }
func GenerationsChecks() []Check[ReadingSide] { return export(generationsChecks) }

func export[F any](checks []check[F]) (exported []Check[F]) {
	for _, c := range checks {
		exported = append(exported, Check[F]{c.name, c.prove})
	}
	return exported
}
