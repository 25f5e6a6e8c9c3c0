package readside

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"hexorders/core/order"
	"hexorders/ports"
)

// Forks: an order of which a version comes again with another content. The store or the topic was restored from an older
// copy, and the order took another way from there. A first reader may leave this file out.

var errForked = errors.New("it came with two different contents: the store or the topic was restored from an older copy. " +
	"`hexorders views rebuild --from store` shows what the store has")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// digestOf tells the contents of two messages apart; it is never 0.
func digestOf(m ports.Message) uint32 {
	return max(1, crc32.Checksum(m.Payload, castagnoli))
}

// forks tells whether a message is an applied version with another content.
func (b *batch) forks(o *orderState, m ports.Message) bool {
	switch p := &o.progress; {
	case p.Parked != "" || m.Version > p.Version:
		return false
	case m.Version == p.Version:
		return p.Digest != 0 && digestOf(m) != p.Digest
	default:
		return b.contradicts(o, m)
	}
}

// contradicts tells whether the order cannot have had this message. Of versions before the last one no digest is stored, but
// an order is submitted, paid and cancelled once at most, and its state says when. Another way without such an event
// shows once it reaches the last version.
func (b *batch) contradicts(o *orderState, m ports.Message) bool {
	event, err := b.decode(m)
	if err != nil {
		return false
	}
	now, err := o.decoded()
	if err != nil {
		return false
	}
	var was time.Time
	switch event.(type) {
	case order.Submitted:
		was = now.SubmittedAt
	case order.Paid:
		was = now.PaidAt
	case order.Cancelled:
		was = now.CancelledAt
	default:
		return false
	}
	return timestamp(was) != timestamp(event.OccurredAt())
}

// fork parks the order. The other content is buffered for those who look into it.
func (b *batch) fork(o *orderState, m ports.Message) {
	err := fmt.Errorf("version %d: %w", m.Version, errForked)
	b.park(o, m, err)
	b.buffer(o, m, err.Error())
	b.forked++
}

// isForked tells whether what an order waits with is such a content. It waits with something.
func (o *orderState) isForked() bool {
	return o.waiting[0].Version <= o.progress.Version
}
