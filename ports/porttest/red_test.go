package porttest_test

import (
	"testing"

	"go.uber.org/goleak"

	"hexorders/ports/porttest"
	"hexorders/ports/porttest/red"
)

// Every suite of this package is proven able to fail (package red). The fakes stand in the files beside this one.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaw is a mistake, what makes it, and the checks that have to notice.
type flaw[F any] struct {
	name string
	open func() F
	red  []string
}

func TestOrderStoreSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("OrderStore"), storeFlaws, func() porttest.Storage { return openStorage("") })
}

func TestOutboxSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("Outbox"), outboxFlaws, func() porttest.Storage { return openStorage("") })
}

func TestHistorySuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("History"), historyFlaws, func() porttest.Storage { return openStorage("") })
}

func TestOrderScannerSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("OrderScanner"), scannerFlaws, func() porttest.Storage { return openStorage("") })
}

func TestIdempotencyStoreSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("IdempotencyStore"), idempotencyFlaws, func() porttest.Storage { return openStorage("") })
}

func TestTrimmerSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("Trimmer"), trimmerFlaws, func() porttest.Storage { return openStorage("") })
}

func TestParkingSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("Parking"), parkingFlaws, soundParking)
}

func TestLeaseSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ChecksOf("Lease"), leaseFlaws, soundLease)
}

func TestPublisherSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.PublisherChecks(), publisherFlaws, soundBroker)
}

func goesRed[F any](t *testing.T, checks []red.Check[F], flaws []flaw[F], sound func() F) {
	t.Helper()
	all := make([]red.Flaw[F], len(flaws))
	for i, f := range flaws {
		all[i] = red.Flaw[F]{Name: f.name, Open: f.open, Red: f.red}
	}
	red.Test(t, checks, all, sound)
}
