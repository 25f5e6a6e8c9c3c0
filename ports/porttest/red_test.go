package porttest_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hexorders/ports/porttest"
)

// A suite is worth as much as what it fails. Here every suite meets fakes that make one mistake each, and must go red
// at the named checks; and there is no check that no fake makes red. The fakes stand in the files beside this one.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaw is a mistake, what makes it, and the checks that have to notice.
type flaw[F any] struct {
	name string
	open func() F
	red  []string
}

func TestOrderStoreSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.OrderStoreChecks(), storeFlaws, func() porttest.Storage { return openStorage("") })
}

func TestOutboxSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.OutboxChecks(), outboxFlaws, func() porttest.Storage { return openStorage("") })
}

func TestHistorySuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.HistoryChecks(), historyFlaws, func() porttest.Storage { return openStorage("") })
}

func TestIdempotencyStoreSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.IdempotencyStoreChecks(), idempotencyFlaws, func() porttest.Storage { return openStorage("") })
}

func TestTrimmerSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.TrimmerChecks(), trimmerFlaws, func() porttest.Storage { return openStorage("") })
}

func TestParkingSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ParkingChecks(), parkingFlaws, soundParking)
}

func TestLeaseSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.LeaseChecks(), leaseFlaws, soundLease)
}

func TestPublisherSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.PublisherChecks(), publisherFlaws, soundBroker)
}

func goesRed[F any](t *testing.T, checks []porttest.Check[F], flaws []flaw[F], sound func() F) {
	byName, covered := map[string]porttest.Check[F]{}, map[string]bool{}
	for _, c := range checks {
		byName[c.Name] = c
		if failures := failuresOf(t, c, sound); len(failures) > 0 {
			t.Errorf("without a flaw, the check %q fails: %v", c.Name, failures)
		}
	}
	for _, f := range flaws {
		for _, name := range f.red {
			covered[name] = true
		}
		t.Run(f.name, func(t *testing.T) {
			if len(f.red) == 0 {
				t.Error("no check is named that has to notice")
			}
			for _, name := range f.red {
				c, ok := byName[name]
				if !ok {
					t.Errorf("there is no check %q", name)
					continue
				}
				failures := failuresOf(t, c, f.open)
				if len(failures) == 0 {
					t.Errorf("the check %q does not notice", name)
					continue
				}
				t.Logf("%s: %.200s", name, failures[0])
			}
		})
	}
	for _, c := range checks {
		if !covered[c.Name] {
			t.Errorf("no flaw is there for the check %q", c.Name)
		}
	}
}

// failuresOf runs one check in a bubble of its own, where time passes only when everyone waits: whoever waits half a
// minute for something that never comes has waited no time at all.
func failuresOf[F any](t *testing.T, c porttest.Check[F], open func() F) (failures []string) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		r := &recorder{TB: t, ctx: ctx, cancel: cancel}
		var check sync.WaitGroup
		check.Go(func() {
			defer r.cleanUp()
			c.Prove(r, open())
		})
		check.Wait()
		time.Sleep(2 * time.Hour) // a bubble's clock stops when this function returns: first let stragglers end
		failures = r.failures
	})
	return failures
}

// recorder is a testing.TB that fails without failing the test around it. As the real one does, it ends the calling
// goroutine on FailNow.
type recorder struct {
	testing.TB // for its unexported method; what a check calls is overridden below
	ctx        context.Context
	cancel     context.CancelFunc

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Error(args ...any)        { r.record(fmt.Sprint(args...)) }
func (r *recorder) Fatal(args ...any)        { r.record(fmt.Sprint(args...)); r.FailNow() }

func (r *recorder) Errorf(format string, args ...any) { r.record(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); r.FailNow() }

func (r *recorder) FailNow() { runtime.Goexit() }

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) record(failure string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, failure)
}

func (r *recorder) cleanUp() {
	r.cancel()
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
}
