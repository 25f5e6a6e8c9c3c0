//go:build cgo

package kafka

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// producer is one librdkafka producer and the goroutine that reads its delivery reports. It calls delivered exactly
// once for each delivery that send accepted, at the latest in end.
type producer struct {
	client    *kafka.Producer
	delivered func(*delivery, error) // called with the outcome, by readReports or by end
	broken    func(error)            // called when this producer can send nothing more
	read      chan struct{}          // closed when the last report has been read
	reports   atomic.Int64           // number of reports that were read

	sending sync.RWMutex // held for reading by every send: librdkafka must not be destroyed under one
	ended   bool         // guarded by sending

	mu      sync.Mutex // guards what follows
	pending map[*delivery]struct{}
	ending  bool
	drained chan struct{} // closed when ending is set and nothing is pending
}

var (
	errEnding  = errors.New("the producer is being replaced")
	errGivenUp = errors.New("given up before the broker acknowledged it, though the broker may have it")
)

func newProducer(config kafka.ConfigMap, delivered func(*delivery, error), broken func(error)) (*producer, error) {
	client, err := kafka.NewProducer(&config)
	if err != nil {
		return nil, err
	}
	p := &producer{
		client:    client,
		delivered: delivered,
		broken:    broken,
		read:      make(chan struct{}),
		pending:   make(map[*delivery]struct{}),
		drained:   make(chan struct{}),
	}
	go p.readReports()
	return p, nil
}

// send gives a delivery to librdkafka. After an error delivered is not called for it.
func (p *producer) send(d *delivery) error {
	p.sending.RLock()
	defer p.sending.RUnlock()
	if p.ended {
		return errEnding
	}
	p.mu.Lock()
	p.pending[d] = struct{}{} // before Produce: the report may come before Produce returns
	p.mu.Unlock()
	err := p.client.Produce(&d.message, nil)
	if err != nil {
		p.remove(d)
	}
	if codeOf(err) == kafka.ErrFatal { // readReports gets the reason and calls broken
		return errEnding
	}
	return err
}

// remove takes a delivery out of pending. It returns true once for each delivery: that caller reports the outcome.
func (p *producer) remove(d *delivery) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, was := p.pending[d]
	delete(p.pending, d)
	if was && p.ending && len(p.pending) == 0 {
		close(p.drained)
	}
	return was
}

// waits reports whether a delivery is pending.
func (p *producer) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending) > 0
}

func (p *producer) readReports() {
	defer close(p.read)
	for event := range p.client.Events() {
		switch event := event.(type) {
		case *kafka.Message:
			p.reports.Add(1)
			if d := event.Opaque.(*delivery); p.remove(d) {
				p.delivered(d, event.TopicPartition.Error)
			}
		case kafka.Error:
			if event.IsFatal() {
				p.broken(event)
			}
		}
	}
}

// end waits up to flush for pending deliveries, gives up the rest, and frees the producer. It returns how many it gave
// up.
//
// It does not call librdkafka's Flush: with a linger of 1 ms that gains nothing, and the Go binding's Flush leaves a
// goroutine inside the C library for a moment, in which the client must not be destroyed. It does not purge either: a
// request that is half written to a stalled connection gets no report.
func (p *producer) end(flush time.Duration) (givenUp int) {
	p.sending.Lock()
	p.ended = true
	p.sending.Unlock()

	p.mu.Lock()
	p.ending = true
	if len(p.pending) == 0 {
		close(p.drained)
	}
	p.mu.Unlock()
	timer := time.NewTimer(flush)
	defer timer.Stop()
	select {
	case <-p.drained:
	case <-timer.C:
	}

	for _, d := range p.unfinished() {
		if p.remove(d) {
			givenUp++
			p.delivered(d, errGivenUp)
		}
	}
	p.client.Close()
	<-p.read
	return givenUp
}

func (p *producer) unfinished() []*delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*delivery, 0, len(p.pending))
	for d := range p.pending {
		list = append(list, d)
	}
	return list
}

func (o Options) config(logs chan kafka.LogEvent) kafka.ConfigMap {
	return o.client(kafka.ConfigMap{
		// No acknowledged message is lost when a broker dies, and none is written twice when a connection breaks.
		"enable.idempotence": true,
		"acks":               "all",
		// No timeout: librdkafka keeps messages until the broker is back and retries them with the same sequence
		// numbers, so an outage makes no duplicates. After a timeout the caller would publish again, which duplicates
		// a message that was written but not acknowledged.
		"message.timeout.ms": 0,

		// One request at a time to each broker. With more, an error of the first makes the later ones arrive out of
		// sequence; librdkafka then starts a new epoch, and messages of other partitions whose outcome is unknown at
		// that moment are written twice (librdkafka issue 4953). A restarted broker also remembers only a producer's
		// last batch. No cost was measurable: messages that arrive meanwhile make the next batch larger.
		"max.in.flight": 1,

		"compression.type": "lz4",
		"partitioner":      "murmur2_random", // as Java clients do, so that all clients map an order to the same partition
		// Long enough to fill batches, short enough for a chain of one order's events, each of which waits for the
		// acknowledgement of the one before.
		"linger.ms": 1,

		// A producer is made only when the topic exists. A topic that is missing for 5 s was deleted; by default
		// librdkafka reports that after half a minute.
		"topic.metadata.propagation.max.ms": 5000,
		// Bounds on memory for callers that do not bound their messages in flight. Beyond them Publish waits.
		"queue.buffering.max.messages": o.Queue,
		"queue.buffering.max.kbytes":   128 << 10,

		// Reports carry only the error and our pointer. The channels are small because the defaults reserve 24 MB for
		// each producer, part of it for an interface that this package does not use.
		"go.delivery.report.fields": "none",
		"go.events.channel.size":    1000,
		"go.produce.channel.size":   0,
		"go.logs.channel.enable":    true,
		"go.logs.channel":           logs,
	})
}

// limitedTo returns the configuration for a topic whose record batches may have at most maxBytes.
func limitedTo(config kafka.ConfigMap, maxBytes int) kafka.ConfigMap {
	// The topic's limit includes the batch header. librdkafka counts without the header and with the largest overhead
	// of each record, so the broker accepts the size of everything that librdkafka accepts.
	const batchHeader = 61
	limited := maps.Clone(config)
	limited["message.max.bytes"] = min(max(maxBytes-batchHeader, 1000), 1_000_000_000) // librdkafka's own bounds
	return limited
}
