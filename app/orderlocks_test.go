package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/core/order"
)

func TestCommandsOnOneOrderTakeTurnsInTheOrderInWhichTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks orderLocks
		first := mustLock(t, &locks, "a")
		var turns []int
		var waiting sync.WaitGroup
		for n := range 10 {
			waiting.Go(func() {
				turn := mustLock(t, &locks, "a")
				turns = append(turns, n) // without a race only if the lock excludes
				turn.end(nil)
			})
			synctest.Wait() // n is in the queue before n+1 comes
		}
		first.end(nil)
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
		first.end(nil)
		second.end(nil)
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
		last := make(chan turn, 1)
		go func() { last <- mustLock(t, &locks, "a") }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("lock after the end of its context: got %v, want %v", err, context.Canceled)
		}
		first.end(nil)
		(<-last).end(nil)
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
				if turn, err := locks.lock(waitUntil, "a"); err == nil {
					turn.end(nil)
				}
			})
		}
		all.Go(cancel)
		all.Go(func() { first.end(nil) })
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

func TestACommandGetsTheOrderAsTheOneBeforeHasCommittedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locks orderLocks
		o, err := order.New("a", "buyer", []order.Item{{Product: "p", Amount: 1}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		first := mustLock(t, &locks, "a")
		if first.left != nil {
			t.Error("the first command got an order without loading it")
		}
		next := make(chan turn, 2)
		for range 2 {
			go func() { next <- mustLock(t, &locks, "a") }()
			synctest.Wait()
		}
		first.end(o)
		second := <-next
		if second.left == nil || second.left.Version != 1 {
			t.Errorf("the second command got %v, want the order at version 1", second.left)
		}
		second.end(nil) // it committed nothing, so what it got may be old by now
		if third := <-next; third.left != nil {
			t.Errorf("the third command got %v, want nothing", third.left)
		} else {
			third.end(o)
		}
		nothingIsLeft(t, &locks)
	})
}

func mustLock(t *testing.T, locks *orderLocks, id string) turn {
	turn, err := locks.lock(t.Context(), id)
	if err != nil {
		t.Errorf("lock %s: %v", id, err)
	}
	return turn
}

func nothingIsLeft(t *testing.T, locks *orderLocks) {
	t.Helper()
	if len(locks.queues) != 0 {
		t.Errorf("%d orders still have an entry, want none", len(locks.queues))
	}
}
