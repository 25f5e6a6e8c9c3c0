//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

const (
	// maxBatchBytes bounds a batch of large messages. The one that goes over it is still in it.
	maxBatchBytes = 4 << 20
	// idleAfter is how long nothing comes before a batch without messages says so.
	idleAfter = time.Second
	// pollFor bounds how late the end of a context is noticed.
	pollFor = 100 * time.Millisecond
	// pollEvery is how often librdkafka is asked for news of the group while a handler is at work, and how long that may
	// be before fetching is interrupted.
	pollEvery = time.Second
)

// errTooLong is why a batch that was handled, or not, will be delivered again.
var errTooLong = errors.New("its handler was still at work when its partitions had to be given away")

// member is one consumer at work: it gathers batches and hands them over. All of it is used by one goroutine at a
// time; librdkafka calls rebalance on it too, within Poll and Close.
type member struct {
	consumer *kafka.Consumer
	admin    *topicAdmin
	topic    string
	group    string
	resume   ports.Resume
	handle   func(context.Context, ports.Batch) error
	log      *slog.Logger
	health   *health
	waitFor  time.Duration // how long a handler may take when partitions are to be given away

	ctx      context.Context // Subscribe's
	share    map[int32]*place
	gathered []ports.Delivery
	bytes    int // of the payloads in gathered
	foreign  foreignRecords
	call     *call     // of the handler; nil when it is not at work
	called   time.Time // when the last call ended; zero at the beginning
	paused   bool
	broken   error             // why it cannot go on
	said     map[string]string // what the log says, and the last error with it
}

// place is where reading stands in a partition.
type place struct {
	next    int64 // the offset to be read next; -1 when only librdkafka knows
	handled int64 // the offset to go on from should the consumer be replaced; -1 when it is not known
	end     bool  // there is nothing more
}

// call is a running call of the handler.
type call struct {
	result chan error
	cancel context.CancelFunc
	upTo   map[int32]int64 // where the partitions stand when it returns nil
}

type foreignRecords struct {
	count int
	first error
}

func (m *member) work(ctx context.Context, partitions []int32) error {
	m.ctx = ctx
	if m.group == "" {
		if err := m.consumer.Assign(m.begin(partitions)); err != nil {
			return m.replace(err)
		}
	} else if err := m.consumer.Subscribe(m.topic, m.rebalance); err != nil {
		return m.replace(err)
	}
	m.called = time.Now()
	for first := true; ; first = false {
		if err := m.gather(first); err != nil {
			return err
		}
		if err := m.deliver(); err != nil {
			return err
		}
	}
}

// begin takes partitions into the share and says where to begin with them.
func (m *member) begin(partitions []int32) []kafka.TopicPartition {
	var known map[int]int64
	// Who is leaving begins with nothing, and what resume asks may be closed already.
	if m.resume != nil && len(partitions) > 0 && m.ctx.Err() == nil {
		asked := make([]int, len(partitions))
		for i, partition := range partitions {
			asked[i] = int(partition)
		}
		var err error
		if known, err = m.resume(m.ctx, asked); err != nil && m.broken == nil {
			m.broken = fmt.Errorf("ask where to go on in topic %s: %w", m.topic, err)
		}
	}
	list := make([]kafka.TopicPartition, len(partitions))
	for i, partition := range partitions {
		list[i] = kafka.TopicPartition{Topic: &m.topic, Partition: partition}
		next, ok := known[int(partition)]
		switch {
		case ok:
			list[i].Offset = kafka.Offset(next)
		case m.group == "":
			list[i].Offset, next = kafka.OffsetBeginning, -1
		default:
			list[i].Offset, next = kafka.OffsetStored, -1
		}
		m.share[partition] = &place{next: next, handled: next}
	}
	return list
}

// gather polls until there is something to hand over: what has come, up to a batch, or that nothing has.
func (m *member) gather(first bool) error {
	for {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if m.broken != nil {
			return m.broken
		}
		if len(m.gathered) >= ports.MaxBatch || m.bytes >= maxBatchBytes {
			return nil
		}
		timeout := pollFor
		if len(m.gathered) > 0 {
			timeout = 0
		}
		event := m.consumer.Poll(int(timeout.Milliseconds()))
		if event != nil {
			m.on(event)
		}
		switch {
		case m.broken != nil:
		case event == nil && len(m.gathered) > 0:
			return nil
		case len(m.gathered) > 0:
		case first && len(m.share) > 0 && m.atEnd():
			return nil
		case time.Since(m.called) >= idleAfter:
			m.called = time.Now()
			m.foreign.report(m.log, m.topic)
			m.store(m.places()) // past records that are not ours
			m.look()
			if m.broken == nil && len(m.caughtUp()) > 0 {
				return nil
			}
		}
	}
}

// on takes in what librdkafka has to say.
func (m *member) on(event kafka.Event) {
	switch e := event.(type) {
	case *kafka.Message:
		m.take(e)
	case kafka.PartitionEOF:
		m.health.works()
		if at := m.share[e.Partition]; at != nil {
			at.next, at.end = int64(e.Offset), true
		}
	case kafka.OffsetsCommitted:
		switch {
		case e.Error == nil, codeOf(e.Error) == kafka.ErrNoOffset:
		case judge(e.Error) == stale:
			m.broken = m.replace(e.Error)
		default:
			m.say("the position of the group could not be committed; it will be with the next", e.Error)
		}
	case kafka.Error:
		switch {
		case e.IsFatal(), e.Code() == kafka.ErrMaxPollExceeded, judge(e) == stale:
			m.broken = m.replace(e)
		default:
			for _, at := range m.share { // whether there is more can only be asked now: see look
				at.end = false
			}
			switch e.Code() {
			case kafka.ErrAllBrokersDown, kafka.ErrTransport, kafka.ErrTimedOut, kafka.ErrResolve: // see readLogs
			default:
				m.say("reading the topic is disturbed", e)
			}
		}
	}
}

func (m *member) take(record *kafka.Message) {
	at := m.share[record.TopicPartition.Partition]
	if at == nil || record.TopicPartition.Error != nil {
		return
	}
	at.next, at.end = int64(record.TopicPartition.Offset)+1, false
	message, err := unwrap(record)
	if err != nil {
		m.foreign.add(err)
		return
	}
	m.bytes += len(message.Payload)
	m.gathered = append(m.gathered, ports.Delivery{
		Message: message, Partition: int(record.TopicPartition.Partition), Next: at.next,
	})
}

// deliver hands over what is gathered and waits for the handler. While that takes its time, news of the group still come.
func (m *member) deliver() error {
	if len(m.gathered) > 0 {
		m.health.works()
	}
	m.foreign.report(m.log, m.topic)
	batch := ports.Batch{Messages: m.gathered, CaughtUp: m.caughtUp()}
	m.gathered, m.bytes = nil, 0
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	m.call = &call{result: make(chan error, 1), cancel: cancel, upTo: m.places()}
	result := m.call.result
	go func() { result <- m.handle(ctx, batch) }()

	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for m.call != nil {
		select {
		case err := <-result:
			m.settle(err)
		case <-tick.C:
			m.keepAlive()
		}
	}
	m.called = time.Now()
	if m.paused {
		m.paused = false
		if err := m.consumer.Resume(m.partitions()); err != nil && m.broken == nil {
			m.broken = m.replace(err)
		}
	}
	return m.broken
}

// settle ends a call: what it handled is handled, or it is why the member ends.
func (m *member) settle(err error) {
	upTo := m.call.upTo
	m.call = nil
	if err != nil {
		m.broken = err
		return
	}
	for partition, next := range upTo {
		if at := m.share[partition]; at != nil {
			at.handled = next
		}
	}
	m.store(upTo)
}

// store moves the group's position. librdkafka commits it.
func (m *member) store(upTo map[int32]int64) {
	if m.group == "" {
		return
	}
	var list []kafka.TopicPartition
	for partition, next := range upTo {
		if m.share[partition] != nil {
			list = append(list, kafka.TopicPartition{Topic: &m.topic, Partition: partition, Offset: kafka.Offset(next)})
		}
	}
	if len(list) == 0 {
		return
	}
	// A partition that is lost at this very moment is somebody else's to commit.
	if _, err := m.consumer.StoreOffsets(list); err != nil && codeOf(err) != kafka.ErrState {
		m.say("the position of the group could not be stored; it will be with the next", err)
	}
}

// keepAlive polls beside the handler, so that the group sees that the member lives and it sees that the group changes.
func (m *member) keepAlive() {
	if !m.paused {
		m.paused = true
		if err := m.consumer.Pause(m.partitions()); err != nil {
			m.say("fetching could not be interrupted", err)
		}
	}
	for m.call != nil {
		event := m.consumer.Poll(0)
		if event == nil {
			return
		}
		m.on(event)
	}
}

// rebalance is called by librdkafka, within Poll and Close, when the share changes.
func (m *member) rebalance(_ *kafka.Consumer, event kafka.Event) error {
	switch e := event.(type) {
	case kafka.AssignedPartitions:
		list := m.begin(numbers(e.Partitions))
		if err := m.consumer.IncrementalAssign(list); err != nil && m.broken == nil {
			m.broken = m.replace(err)
		}
		if m.paused {
			_ = m.consumer.Pause(list) // what comes all the same is gathered
		}
		m.tell("partitions were given to this member", e.Partitions)
	case kafka.RevokedPartitions:
		m.finish()
		for _, partition := range numbers(e.Partitions) {
			delete(m.share, partition)
		}
		m.gathered = slices.DeleteFunc(m.gathered, func(d ports.Delivery) bool { return m.share[int32(d.Partition)] == nil })
		if err := m.consumer.IncrementalUnassign(e.Partitions); err != nil && m.broken == nil {
			m.broken = m.replace(err)
		}
		m.tell("partitions were taken from this member", e.Partitions)
	}
	return nil
}

func (m *member) tell(what string, partitions []kafka.TopicPartition) {
	if len(partitions) > 0 {
		m.log.Info(what, "topic", m.topic, "group", m.group, "partitions", numbers(partitions))
	}
}

// finish waits for the handler before partitions are given away, so that whoever gets them goes on behind it. When they are
// lost already, or the others would have to wait too long, what the handler comes to does not count.
func (m *member) finish() {
	if m.call == nil {
		return
	}
	tooLong := time.After(m.waitFor)
	tick := time.NewTicker(pollFor)
	defer tick.Stop()
	for waits := true; waits && !m.consumer.AssignmentLost(); {
		select {
		case err := <-m.call.result:
			m.settle(err)
			return
		case <-tooLong:
			waits = false
		case <-tick.C:
		}
	}
	m.call.cancel()
	m.broken = m.replace(errors.Join(errTooLong, <-m.call.result))
	m.call = nil
}

// look asks the broker whether there is more, or without a share whether the topic is still there.
func (m *member) look() {
	var partitions []int32
	for partition := range m.share {
		partitions = append(partitions, partition)
	}
	var ends map[int]int64
	var err error
	if len(partitions) > 0 {
		ends, err = m.admin.ends(m.ctx, partitions)
	} else {
		_, err = m.admin.describe(m.ctx) // librdkafka does not always tell that a topic has gone
	}
	if judge(err) == stale || errors.Is(err, ErrNoTopic) {
		m.broken = m.replace(err)
		return
	}
	for partition, at := range m.share {
		end, known := ends[int(partition)]
		at.end = err == nil && known && at.next >= 0 && at.next >= end
	}
	if err == nil {
		m.health.works()
	}
}

func (m *member) atEnd() bool {
	for _, at := range m.share {
		if !at.end {
			return false
		}
	}
	return true
}

func (m *member) caughtUp() (partitions []int) {
	for partition, at := range m.share {
		if at.end {
			partitions = append(partitions, int(partition))
		}
	}
	slices.Sort(partitions)
	return partitions
}

// places are the offsets up to which everything was gathered.
func (m *member) places() map[int32]int64 {
	places := make(map[int32]int64, len(m.share))
	for partition, at := range m.share {
		if at.next >= 0 {
			places[partition] = at.next
		}
	}
	return places
}

func (m *member) partitions() (list []kafka.TopicPartition) {
	for partition := range m.share {
		list = append(list, kafka.TopicPartition{Topic: &m.topic, Partition: partition})
	}
	return list
}

func numbers(list []kafka.TopicPartition) (partitions []int32) {
	for _, p := range list {
		partitions = append(partitions, p.Partition)
	}
	return partitions
}

func (m *member) replace(why error) error { return fmt.Errorf("%w: %w", errReplace, why) }

// say logs what the member can live with, once as long as it stays the same.
func (m *member) say(what string, err error) {
	if m.said[what] != err.Error() {
		if m.said == nil {
			m.said = make(map[string]string)
		}
		m.said[what] = err.Error()
		m.log.Warn(what, "topic", m.topic, "group", m.group, "err", err)
	}
}

func (f *foreignRecords) add(err error) {
	if f.count++; f.count == 1 {
		f.first = err
	}
}

func (f *foreignRecords) report(log *slog.Logger, topic string) {
	if f.count > 0 {
		log.Warn("records that are not events of ours were passed over", "topic", topic, "records", f.count, "err", f.first)
		*f = foreignRecords{}
	}
}
