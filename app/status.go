package app

import (
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// projectionStatus is what others may know of a projection while it works.
type projectionStatus struct {
	generation     atomic.Int64
	asOf           atomic.Int64 // in Unix ms, 0 before the first commit
	parkedOrders   atomic.Int64
	parkedMessages atomic.Int64

	applied, repeats, held, parked, foreign, conflicts, failed atomic.Int64
}

// Status may be called at any time, on any goroutine.
func (p *Projection) Status() ports.ProjectionStatus {
	s := ports.ProjectionStatus{
		View:           p.View,
		Generation:     int(p.generation.Load()),
		ParkedOrders:   int(p.parkedOrders.Load()),
		ParkedMessages: int(p.parkedMessages.Load()),
		Applied:        p.applied.Load(),
		Repeats:        p.repeats.Load(),
		Held:           p.held.Load(),
		Parked:         p.parked.Load(),
		Foreign:        p.foreign.Load(),
		Conflicts:      p.conflicts.Load(),
		Failed:         p.failed.Load(),
	}
	if asOf := p.asOf.Load(); asOf != 0 {
		s.AsOf = time.UnixMilli(asOf)
	}
	return s
}

// count adds up what a commit has done.
func (s *projectionStatus) count(w *work, c ports.Change) {
	s.applied.Add(int64(w.applied))
	s.repeats.Add(int64(w.repeats))
	s.foreign.Add(int64(w.foreign))
	s.held.Add(int64(w.held))
	s.parked.Add(int64(len(w.failures)))
	oldest := time.Time{}
	for i, m := range c.Positions {
		if i == 0 || m.AsOf.Before(oldest) {
			oldest = m.AsOf
		}
	}
	if !oldest.IsZero() {
		s.asOf.Store(oldest.UnixMilli())
	}
}

func (s *projectionStatus) parkedNow(orders []ports.ParkedOrder) {
	s.parkedOrders.Store(int64(len(orders)))
	s.parkedMessages.Store(int64(messagesOf(orders)))
}

func messagesOf(orders []ports.ParkedOrder) (n int) {
	for _, o := range orders {
		n += o.Messages
	}
	return n
}
