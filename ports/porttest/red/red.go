// Package red proves that a contract suite can fail: every suite meets fakes that make one mistake each, must go red at
// the named checks, and may have no check that no fake makes red.
package red

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Check is one promise of a contract suite: the sentence, and what proves it on a fresh fixture.
type Check[F any] struct {
	Name  string
	Prove func(testing.TB, F)
}

// Flaw is a mistake, a fixture that makes it, and the checks that have to notice.
type Flaw[F any] struct {
	Name string
	Open func() F
	Red  []string
}

// Test fails unless all checks pass on a sound fixture, each flaw makes its checks fail, and each check has a flaw.
func Test[F any](t *testing.T, checks []Check[F], flaws []Flaw[F], sound func() F) {
	t.Helper()
	byName, covered := map[string]Check[F]{}, map[string]bool{}
	for _, c := range checks {
		byName[c.Name] = c
		if failures := failuresOf(t, c, sound); len(failures) > 0 {
			t.Errorf("without a flaw, the check %q fails: %v", c.Name, failures)
		}
	}
	for _, f := range flaws {
		for _, name := range f.Red {
			covered[name] = true
		}
		t.Run(f.Name, func(t *testing.T) {
			if len(f.Red) == 0 {
				t.Error("no check is named that has to notice")
			}
			for _, name := range f.Red {
				c, ok := byName[name]
				if !ok {
					t.Errorf("there is no check %q", name)
					continue
				}
				failures := failuresOf(t, c, f.Open)
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

// failuresOf runs one check in a bubble of its own, where time passes only when everything waits. A check that waits
// half a minute for something that never comes takes no real time.
func failuresOf[F any](t *testing.T, c Check[F], open func() F) (failures []string) {
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
