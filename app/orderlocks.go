package app

import (
	"context"
	"slices"
	"sync"

	"hexorders/ports"
)

// orderLocks make the commands on one order wait for each other in this process, in the order in which they came. A hot
// order then costs waiting instead of lost races: a lost race repeats the load and the transaction, a wait costs neither.
// Between processes the order's version decides, as it does without a lock.
//
// An order that no command is working on has no entry. The zero value is ready to use.
type orderLocks struct {
	mu     sync.Mutex
	queues map[string][]chan struct{} // by order: the commands that wait while one holds the lock, oldest first
}

// lock waits until the caller is the only command on the order. The caller must call unlock. Errors: the context's, or
// ports.ErrOverloaded if maxWaiting commands wait for the order already.
func (l *orderLocks) lock(ctx context.Context, id string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	unlock = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pass(id)
	}
	l.mu.Lock()
	queue, held := l.queues[id]
	if !held {
		if l.queues == nil {
			l.queues = make(map[string][]chan struct{})
		}
		l.queues[id] = nil
		l.mu.Unlock()
		return unlock, nil
	}
	if len(queue) >= maxWaiting {
		l.mu.Unlock()
		return nil, ports.ErrOverloaded
	}
	turn := make(chan struct{}, 1) // one place, so that pass never waits for a caller that has given up
	l.queues[id] = append(queue, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return unlock, nil
	case <-ctx.Done():
		l.leave(id, turn)
		return nil, ctx.Err()
	}
}

// pass gives the lock to the next command, or drops the entry when there is none. The caller holds mu.
func (l *orderLocks) pass(id string) {
	queue := l.queues[id]
	if len(queue) == 0 {
		delete(l.queues, id)
		return
	}
	l.queues[id] = queue[1:]
	queue[0] <- struct{}{}
}

// leave takes a caller that gave up out of the queue. If its turn came at the same moment, the next caller gets it.
func (l *orderLocks) leave(id string, turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn:
		l.pass(id)
	default:
		l.queues[id] = slices.DeleteFunc(l.queues[id], func(other chan struct{}) bool { return other == turn })
	}
}
