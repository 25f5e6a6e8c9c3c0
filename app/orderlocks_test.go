package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"hexorders/ports"
)

func TestCommandsOnOneOrderTakeTurnsInTheOrderInWhichTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks orderLocks
		first := mustLock(t, &locks, "a")
		var turns []int
		var waiting sync.WaitGroup
		for n := range 10 {
			waiting.Go(func() {
				unlock := mustLock(t, &locks, "a")
				turns = append(turns, n) // without a race only if the lock excludes
				unlock()
			})
			synctest.Wait() // n is in the queue before n+1 comes
		}
		first()
		waiting.Wait()
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(turns, want) {
			t.Errorf("turns: got %v, want %v", turns, want)
		}
		nothingIsLeft(t, &locks)
	})
}

func TestCommandsOnOtherOrdersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks orderLocks
		first := mustLock(t, &locks, "a")
		second := mustLock(t, &locks, "b") // a deadlock here would end the test
		first()
		second()
		nothingIsLeft(t, &locks)
	})
}

func TestAHotOrderRefusesMoreThanMayWaitForIt(t *testing.T) {
	if maxWaiting > defaultMaxCommands/2 {
		t.Errorf("%d of %d places may be taken by those who wait for one order, want at most half", maxWaiting, defaultMaxCommands)
	}
	synctest.Test(t, func(t *testing.T) {
		var locks orderLocks
		first := mustLock(t, &locks, "hot")
		var waiting sync.WaitGroup
		for range maxWaiting {
			waiting.Go(func() { mustLock(t, &locks, "hot")() })
		}
		synctest.Wait()
		if _, err := locks.lock(t.Context(), "hot"); !errors.Is(err, ports.ErrOverloaded) {
			t.Errorf("with %d waiting: error %v, want ErrOverloaded", maxWaiting, err)
		}
		mustLock(t, &locks, "cold")()
		first()
		waiting.Wait()
		nothingIsLeft(t, &locks)
	})
}

func TestACommandWhoseContextEndsLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks orderLocks
		first := mustLock(t, &locks, "a")
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := locks.lock(ctx, "a")
			left <- err
		}()
		synctest.Wait()
		last := make(chan func(), 1)
		go func() { last <- mustLock(t, &locks, "a") }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("lock after the end of its context: got %v, want %v", err, context.Canceled)
		}
		first()
		(<-last)()
		nothingIsLeft(t, &locks)
	})
}

// When a caller gives up at the moment its turn comes, the turn must not get lost. Which of the two happens first is the
// scheduler's choice, so the test tries often.
func TestATurnThatComesTooLateGoesToTheNextCommand(t *testing.T) {
	var locks orderLocks
	for range 2000 {
		first := mustLock(t, &locks, "a")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for n := range 3 {
			all.Go(func() {
				waitUntil := t.Context()
				if n == 0 {
					waitUntil = ctx
				}
				if unlock, err := locks.lock(waitUntil, "a"); err == nil {
					unlock()
				}
			})
		}
		all.Go(cancel)
		all.Go(first)
		all.Wait()
	}
	nothingIsLeft(t, &locks)
}

func TestAnEndedContextTakesNoTurn(t *testing.T) {
	var locks orderLocks
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := locks.lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("lock with an ended context: got %v, want %v", err, context.Canceled)
	}
	nothingIsLeft(t, &locks)
}

func mustLock(t *testing.T, locks *orderLocks, id string) (unlock func()) {
	unlock, err := locks.lock(t.Context(), id)
	if err != nil {
		t.Errorf("lock %s: %v", id, err)
		return func() {}
	}
	return unlock
}

func nothingIsLeft(t *testing.T, locks *orderLocks) {
	t.Helper()
	if len(locks.queues) != 0 {
		t.Errorf("%d orders still have an entry, want none", len(locks.queues))
	}
}
