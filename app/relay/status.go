package relay

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"hexorders/ports"
)

// status is what Status returns, as atomic numbers. The relay writes them as it works; reading them never waits for the
// relay, which may itself be waiting for the broker.
type status struct {
	leading          atomic.Bool
	inFlight         atomic.Int64
	oldestInFlightAt atomic.Int64 // in Unix ms, 0 when none is in flight
	parkedOrders     atomic.Int64
	parkedMessages   atomic.Int64

	published, redelivered, failed, refused atomic.Int64
}

// Status may be called at any time, on any goroutine.
func (r *Relay) Status() ports.RelayStatus {
	s := &r.status
	now := ports.RelayStatus{
		Leading:        s.leading.Load(),
		InFlight:       int(s.inFlight.Load()),
		ParkedOrders:   int(s.parkedOrders.Load()),
		ParkedMessages: int(s.parkedMessages.Load()),
		Published:      s.published.Load(),
		Redelivered:    s.redelivered.Load(),
		Failed:         s.failed.Load(),
		Refused:        s.refused.Load(),
	}
	if oldest := s.oldestInFlightAt.Load(); oldest != 0 {
		now.OldestInFlightAt = time.UnixMilli(oldest)
	}
	return now
}

// countAnswer counts an answer of the broker.
func (s *status) countAnswer(err error) {
	switch {
	case err == nil:
		s.published.Add(1)
	case errors.Is(err, ports.ErrRefused):
		s.refused.Add(1)
	case !errors.Is(err, context.Canceled): // that is the relay's own end
		s.failed.Add(1)
	}
}

func (s *status) reportInFlight(f *inflight) {
	s.inFlight.Store(int64(f.len()))
	if oldest := f.oldest(); oldest != nil {
		s.oldestInFlightAt.Store(oldest.message.OccurredAt.UnixMilli())
	} else {
		s.oldestInFlightAt.Store(0)
	}
}

func (s *status) reportParked(orders []ports.ParkedOrder) {
	messages := 0
	for _, o := range orders {
		messages += o.Messages
	}
	s.parkedOrders.Store(int64(len(orders)))
	s.parkedMessages.Store(int64(messages))
}
