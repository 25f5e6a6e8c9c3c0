package readside

import (
	"sync/atomic"

	"hexorders/ports"
)

// status is what others may know of an engine while it works.
type status struct {
	generation     atomic.Int64
	parkedOrders   atomic.Int64
	parkedMessages atomic.Int64

	applied, duplicates, buffered, parked, forked, foreign, conflicts, failed atomic.Int64
}

// Status may be called at any time, on any goroutine.
func (e *Engine) Status() ports.ViewsStatus {
	s := &e.status
	return ports.ViewsStatus{
		Generation:     int(s.generation.Load()),
		ParkedOrders:   int(s.parkedOrders.Load()),
		ParkedMessages: int(s.parkedMessages.Load()),
		Applied:        s.applied.Load(),
		Duplicates:     s.duplicates.Load(),
		Buffered:       s.buffered.Load(),
		Parked:         s.parked.Load(),
		Forked:         s.forked.Load(),
		Foreign:        s.foreign.Load(),
		Conflicts:      s.conflicts.Load(),
		Failed:         s.failed.Load(),
	}
}

// count adds up what a commit has done.
func (s *status) count(b *batch) {
	s.applied.Add(int64(b.applied))
	s.duplicates.Add(int64(b.duplicates))
	s.buffered.Add(int64(b.buffered))
	s.parked.Add(int64(len(b.failures)))
	s.forked.Add(int64(b.forked))
	s.foreign.Add(int64(b.foreign))
}

func (s *status) parkedNow(orders []ports.ParkedOrder) {
	messages := 0
	for _, o := range orders {
		messages += o.Messages
	}
	s.parkedOrders.Store(int64(len(orders)))
	s.parkedMessages.Store(int64(messages))
}
