package porttest

import (
	"testing"

	"hexorders/ports/porttest/red"
)

// ChecksOf are those of one of the suites that Store runs.
func ChecksOf(name string) (exported []red.Check[Storage]) {
	for _, s := range suites {
		if s.name != name {
			continue
		}
		for _, c := range s.all() {
			exported = append(exported, red.Check[Storage]{Name: c.name, Prove: func(t testing.TB, s Storage) { c.prove(t, hold(s)) }})
		}
	}
	return exported
}

func SubscriberChecks() []red.Check[Feed]  { return export(subscriberChecks) }
func ReplayableChecks() []red.Check[Feed]  { return export(replayableChecks) }
func PublisherChecks() []red.Check[Broker] { return export(publisherChecks) }

func ReadModelStoreChecks() []red.Check[ReadModelStorage] { return export(readModelStoreChecks) }

// ReadModelTables are what the suite of ReadModelStore opens a store with.
var ReadModelTables = readModelTables

func export[F any](checks []check[F]) (exported []red.Check[F]) {
	for _, c := range checks {
		exported = append(exported, red.Check[F]{Name: c.name, Prove: c.prove})
	}
	return exported
}
