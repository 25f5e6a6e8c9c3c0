package app

import (
	"context"
	"slices"
	"sync"

	"hexorders/core/order"
)

// orderLocks make the commands on one order wait for each other in this process, in the order in which they came. A hot
// order then costs waiting instead of lost races: a lost race repeats the load and the transaction, a wait costs neither.
// Between processes the order's version decides, as it does without a lock.
//
// An order that no command is working on has no entry. The zero value is ready to use.
type orderLocks struct {
	mu     sync.Mutex
	queues map[string][]chan turn // by order: the commands that wait while one has its turn, oldest first
}

// turn is the time in which a command has an order to itself.
type turn struct {
	locks *orderLocks
	id    string
	// left is the order as the command before has committed it, or nil. Another process may have changed it since.
	left *order.Snapshot
}

// lock waits for the caller's turn. The caller must end it. The error is the context's.
func (l *orderLocks) lock(ctx context.Context, id string) (turn, error) {
	if err := ctx.Err(); err != nil {
		return turn{}, err
	}
	l.mu.Lock()
	queue, busy := l.queues[id]
	if !busy {
		if l.queues == nil {
			l.queues = make(map[string][]chan turn)
		}
		l.queues[id] = nil
		l.mu.Unlock()
		return turn{locks: l, id: id}, nil
	}
	mine := make(chan turn, 1) // one place, so that the command before never waits for a caller that has given up
	l.queues[id] = append(queue, mine)
	l.mu.Unlock()
	select {
	case t := <-mine:
		return t, nil
	case <-ctx.Done():
		l.leave(id, mine)
		return turn{}, ctx.Err()
	}
}

// end gives the order to the next command, with the state that was committed in this turn, if any.
func (t turn) end(committed *order.Order) {
	t.locks.mu.Lock()
	defer t.locks.mu.Unlock()
	t.left = nil
	if committed != nil && len(t.locks.queues[t.id]) > 0 {
		snapshot := committed.Snapshot()
		t.left = &snapshot
	}
	t.pass()
}

// pass needs the mutex.
func (t turn) pass() {
	queue := t.locks.queues[t.id]
	if len(queue) == 0 {
		delete(t.locks.queues, t.id)
		return
	}
	t.locks.queues[t.id] = queue[1:]
	queue[0] <- t
}

// leave takes a caller that gave up out of the queue. If its turn came at the same moment, the next caller gets it.
func (l *orderLocks) leave(id string, mine chan turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case t := <-mine:
		t.pass()
	default:
		l.queues[id] = slices.DeleteFunc(l.queues[id], func(other chan turn) bool { return other == mine })
	}
}
