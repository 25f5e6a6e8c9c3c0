package readside

import (
	"errors"
	"fmt"
	"hash/crc32"

	"hexorders/ports"
)

// Forks: an order whose last applied version comes again with another content. The store or the topic was restored from an
// older copy, and the order took another way from there. A first reader may leave this file out.

var errForked = errors.New("it came with two different contents: the store or the topic was restored from an older copy. " +
	"`hexorders views rebuild --from store` shows what the store has")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// digestOf tells the contents of two messages apart; it is never 0.
func digestOf(m ports.Message) uint32 {
	return max(1, crc32.Checksum(m.Payload, castagnoli))
}

// forks tells whether a message is the last applied version with another content.
func (o *orderState) forks(m ports.Message) bool {
	p := &o.progress
	return m.Version == p.Version && p.Digest != 0 && p.Parked == "" && digestOf(m) != p.Digest
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
