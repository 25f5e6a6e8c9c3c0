package porttest

import (
	"hexorders/ports"
	"hexorders/ports/porttest/red"
)

func OrderStoreChecks() []red.Check[Storage]       { return export(orderStoreChecks) }
func OutboxChecks() []red.Check[Storage]           { return export(outboxChecks) }
func HistoryChecks() []red.Check[Storage]          { return export(historyChecks) }
func OrderScannerChecks() []red.Check[Storage]     { return export(orderScannerChecks) }
func IdempotencyStoreChecks() []red.Check[Storage] { return export(idempotencyStoreChecks) }
func TrimmerChecks() []red.Check[Storage]          { return export(trimmerChecks) }
func ParkingChecks() []red.Check[ports.Parking]    { return export(parkingChecks) }
func BacklogChecks() []red.Check[Storage]          { return export(backlogChecks) }
func SubscriberChecks() []red.Check[Feed]          { return export(subscriberChecks) }
func ReplayableChecks() []red.Check[Feed]          { return export(replayableChecks) }
func LeaseChecks() []red.Check[ports.Lease]        { return export(leaseChecks) }
func PublisherChecks() []red.Check[Broker]         { return export(publisherChecks) }

func ReadModelStoreChecks() []red.Check[ReadModelStorage] { return export(readModelStoreChecks) }

// ReadModelTables are what the suite of ReadModelStore opens a store with.
var ReadModelTables = readModelTables

func export[F any](checks []check[F]) (exported []red.Check[F]) {
	for _, c := range checks {
		exported = append(exported, red.Check[F]{Name: c.name, Prove: c.prove})
	}
	return exported
}
