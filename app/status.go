package app

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// status is what others may know of a relay while it works. The relay writes it as it goes; reading it never waits for
// the relay, which may itself be waiting for the broker.
type status struct {
	leading        atomic.Bool
	open, oldest   atomic.Int64 // oldest in Unix ms, 0 when none is open
	parkedOrders   atomic.Int64
	parkedMessages atomic.Int64

	published, redelivered, failed, refused atomic.Int64
}

// Status may be called at any time, on any goroutine.
func (r *Relay) Status() ports.RelayStatus {
	s := ports.RelayStatus{
		Leading:        r.leading.Load(),
		Open:           int(r.open.Load()),
		ParkedOrders:   int(r.parkedOrders.Load()),
		ParkedMessages: int(r.parkedMessages.Load()),
		Published:      r.published.Load(),
		Redelivered:    r.redelivered.Load(),
		Failed:         r.failed.Load(),
		Refused:        r.refused.Load(),
	}
	if oldest := r.oldest.Load(); oldest != 0 {
		s.Oldest = time.UnixMilli(oldest)
	}
	return s
}

// answered counts an answer of the broker.
func (s *status) answered(err error) {
	switch {
	case err == nil:
		s.published.Add(1)
	case errors.Is(err, ports.ErrRefused):
		s.refused.Add(1)
	case !errors.Is(err, context.Canceled): // that is the relay's own end
		s.failed.Add(1)
	}
}

func (s *status) window(f *flow) {
	s.open.Store(int64(f.accepted - f.settled))
	if first := f.first(); first != nil {
		s.oldest.Store(first.message.OccurredAt.UnixMilli())
	} else {
		s.oldest.Store(0)
	}
}

func (s *status) parked(orders []ports.ParkedOrder) {
	s.parkedOrders.Store(int64(len(orders)))
	s.parkedMessages.Store(int64(messagesOf(orders)))
}

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
