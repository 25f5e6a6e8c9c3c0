//go:build cgo

package kafka

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// producer is one librdkafka producer with the goroutine that reads its delivery reports. It promises one thing: every
// delivery that send took is told its outcome once, at the latest by end.
type producer struct {
	client    *kafka.Producer
	delivered func(*delivery, error) // told the outcome, by the goroutine that reads reports or by end
	broken    func(error)            // told that this producer will never send anything again
	read      chan struct{}          // closed when the last report has been read

	sending sync.RWMutex // held for reading by every send: librdkafka must not be destroyed under one
	ended   bool         // guarded by sending

	mu      sync.Mutex // guards what follows
	pending map[*delivery]struct{}
	ending  bool
	drained chan struct{} // closed when it is ending and nothing is pending any more
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

// send hands a delivery to librdkafka. An error means that it was not taken, and nobody will be told.
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
		p.take(d)
	}
	if codeOf(err) == kafka.ErrFatal { // broken is told why by readReports
		return errEnding
	}
	return err
}

// take strikes a delivery off the list. Whoever gets true, and nobody else, tells its outcome.
func (p *producer) take(d *delivery) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, was := p.pending[d]
	delete(p.pending, d)
	if was && p.ending && len(p.pending) == 0 {
		close(p.drained)
	}
	return was
}

func (p *producer) readReports() {
	defer close(p.read)
	for event := range p.client.Events() {
		switch event := event.(type) {
		case *kafka.Message:
			if d := event.Opaque.(*delivery); p.take(d) {
				p.delivered(d, event.TopicPartition.Error)
			}
		case kafka.Error:
			if event.IsFatal() {
				p.broken(event)
			}
		}
	}
}

// end waits up to flush for what is pending, gives up the rest, and frees the producer. It returns how many deliveries
// were given up.
//
// It does not call librdkafka's own flush: a linger of a millisecond is over before that makes a difference, and the Go
// binding's Flush leaves a goroutine inside the C library for a moment, in which the client must not be destroyed. Nor
// does it purge and wait for the reports of that: they do not come for a request that is half written to a connection
// on which nothing moves.
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

	for _, d := range p.left() {
		if p.take(d) {
			givenUp++
			p.delivered(d, errGivenUp)
		}
	}
	p.client.Close()
	<-p.read
	return givenUp
}

func (p *producer) left() []*delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := make([]*delivery, 0, len(p.pending))
	for d := range p.pending {
		left = append(left, d)
	}
	return left
}

// codeOf is the librdkafka error code of an error, ErrNoError when it has none.
func codeOf(err error) kafka.ErrorCode {
	var kafkaErr kafka.Error
	if errors.As(err, &kafkaErr) {
		return kafkaErr.Code()
	}
	return kafka.ErrNoError
}

func (o Options) config(logs chan kafka.LogEvent) kafka.ConfigMap {
	return kafka.ConfigMap{
		"bootstrap.servers": o.Brokers,
		"client.id":         "hexorders",

		// No acknowledged message is lost when a broker dies, and none is written twice when a connection breaks.
		"enable.idempotence": true,
		"acks":               "all",
		// librdkafka keeps what it was given until the broker is back, and sends it again under the same sequence
		// numbers, so that an outage makes no duplicates. With a timeout the caller would have to publish anew,
		// and of a message that was written but not acknowledged that is a second copy.
		"message.timeout.ms": 0,

		// One request at a time to each broker. With more, an error of the first makes those behind it arrive out of
		// sequence, for which librdkafka starts a new epoch, and what other partitions had in doubt just then is
		// written twice (librdkafka issue 4953); and a broker that was restarted remembers a producer's last batch
		// only. It costs nothing that could be measured: what comes in meanwhile makes the next batch larger.
		"max.in.flight": 1,

		"compression.type": "lz4",
		"partitioner":      "murmur2_random", // what Java clients do, so that all agree where an order lives
		// Long enough to fill batches, short enough for a chain of one order's events, each of which waits for the
		// acknowledgement of the one before.
		"linger.ms": 1,

		// A topic made by accident would have the broker's default of one partition.
		"allow.auto.create.topics": false,
		// A producer is only made when the topic is there. A topic that is gone for so long was deleted; librdkafka
		// would wait for it for half a minute before it says so.
		"topic.metadata.propagation.max.ms": 5000,
		// Bounds on memory for callers that do not bound what they have in flight. Beyond them Publish waits.
		"queue.buffering.max.messages": o.Queue,
		"queue.buffering.max.kbytes":   128 << 10,

		// Back within two seconds of the broker, also when it was away for an hour; and a connection that a firewall
		// has forgotten is noticed.
		"reconnect.backoff.ms":               100,
		"reconnect.backoff.max.ms":           2000,
		"socket.keepalive.enable":            true,
		"socket.connection.setup.timeout.ms": 10_000,

		// Reports carry only the error and our own pointer. The channels are small, because the defaults reserve 24 MB
		// for each producer, and one of them for an interface that nobody uses here.
		"go.delivery.report.fields": "none",
		"go.events.channel.size":    1000,
		"go.produce.channel.size":   0,
		"go.logs.channel.enable":    true,
		"go.logs.channel":           logs,
	}
}

// limitedTo is the configuration for a topic that takes record batches of at most so many bytes.
func limitedTo(config kafka.ConfigMap, maxBytes int) kafka.ConfigMap {
	// The topic's limit is for a batch with its header. librdkafka counts without the header, and with the largest
	// possible overhead of each record, so that what passes here passes at the broker.
	const batchHeader = 61
	limited := maps.Clone(config)
	limited["message.max.bytes"] = min(max(maxBytes-batchHeader, 1000), 1_000_000_000) // librdkafka's own bounds
	return limited
}
