package relay

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

func messagesOf(orders []ports.ParkedOrder) (n int) {
	for _, o := range orders {
		n += o.Messages
	}
	return n
}
