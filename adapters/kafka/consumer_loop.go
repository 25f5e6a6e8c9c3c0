//go:build cgo

package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

const (
	// maxBatchBytes bounds a batch of large messages. The message that exceeds it is still part of the batch.
	maxBatchBytes = 4 << 20
	// idleAfter is how long the consumer waits for a message before it delivers a batch without any.
	idleAfter = time.Second
	// pollFor bounds how long the end of a context goes unnoticed.
	pollFor = 100 * time.Millisecond
	// pollEvery is the interval between two polls while the handler runs. librdkafka serves the group in a poll.
	// Fetching is paused before the first of them.
	pollEvery = time.Second
	// checkEndsEvery is the longest interval between two looks at the ends of the partitions.
	checkEndsEvery = 5 * time.Second
	// askCommitted bounds one request for the group's offsets, and askCommittedFor all of them. While one is waited for
	// the end of the context goes unnoticed.
	askCommitted    = 500 * time.Millisecond
	askCommittedFor = 10 * time.Second
	// lingerFor is how long after a batch the next one is delivered at the earliest while messages keep coming, so that a
	// batch is worth a transaction and a fetch. For settleFor at its end the loop polls: then librdkafka fetches what has
	// come meanwhile. A batch of worthIt messages does not wait, nor does one after a batch of fewer than busyFrom.
	lingerFor = 50 * time.Millisecond
	settleFor = 6 * time.Millisecond
	worthIt   = 500
	busyFrom  = 4
)

// errStalled means that this consumer gets nothing although a broker answers and has something.
var errStalled = errors.New("the consumer gets no more records of a partition that has some")

// errTooLong is the reason why a batch is delivered again although the handler may have finished it.
var errTooLong = errors.New("the handler was still running when its partitions had to be handed over")

// consumerLoop reads with one librdkafka consumer: it gathers batches and gives them to the handler. One goroutine at a
// time uses it. librdkafka calls rebalance on that goroutine too, from within Poll and Close.
type consumerLoop struct {
	consumer   *kafka.Consumer
	admin      *topicAdmin
	topic      string
	group      string
	resume     ports.Resume
	handle     func(context.Context, ports.Batch) error
	log        *slog.Logger
	connection *connectionLog
	waitFor    time.Duration // how long the handler may take before its partitions are revoked
	stalled    time.Duration // how long a broker may report more records in a partition while none of them comes
	// done is where to go on without a group: by shard, how far consumers before this one have handled each partition.
	done     map[string]ports.Place
	identity string // of the topic: places name it

	ctx          context.Context // Subscribe's
	assigned     map[int32]*partitionState
	gathered     []ports.Delivery
	bytes        int // of the payloads in gathered
	unrecognised unrecognisedRecords
	call         *handlerCall // nil while the handler does not run
	lastCallAt   time.Time    // when the last call ended; zero before the first
	lastBatch    int          // messages of the last call
	lastCheckAt  time.Time    // when checkEnds last ran
	identifiedAt time.Time    // when the topic was last seen to be the same
	paused       bool
	closing      bool
	broken       error             // the reason why the loop ends
	warned       map[string]string // the last error logged with each message
}

// partitionState is how far the loop has read one partition.
type partitionState struct {
	shard   string
	next    int64      // the offset to read next; -1 when nothing is read, because the consumer ends
	handled int64      // the offset from which a new consumer continues; -1 when it is unknown
	end     bool       // the partition has no more records
	gap     *ports.Gap // what was missing when it was assigned; nil once the handler got it

	behindSince time.Time // since then the broker reports more records and none has come; zero when that is not so
}

// handlerCall is a running call of the handler.
type handlerCall struct {
	result chan error
	cancel context.CancelFunc
	upTo   map[int32]int64 // the next offset of each partition once the call returns nil
}

type unrecognisedRecords struct {
	count int
	first error
}

func (l *consumerLoop) run(ctx context.Context, partitions []int32) error {
	l.ctx = ctx
	if l.group == "" {
		if err := l.consumer.Assign(l.startPartitions(partitions)); err != nil {
			return l.replaceBecause(err)
		}
	} else if err := l.consumer.Subscribe(l.topic, l.rebalance); err != nil {
		return l.replaceBecause(err)
	}
	l.lastCallAt, l.lastCheckAt, l.identifiedAt = time.Now(), time.Now(), time.Now()
	for first := true; ; first = false {
		if err := l.gather(first); err != nil {
			return err
		}
		if err := l.deliver(); err != nil {
			return err
		}
	}
}

// startPartitions adds partitions to the assignment and returns the offset at which each begins.
func (l *consumerLoop) startPartitions(partitions []int32) []kafka.TopicPartition {
	states := make(map[int32]*partitionState)
	// A consumer that is closing reads nothing more, and the store behind resume may be closed already.
	if len(partitions) > 0 && !l.closing && l.ctx.Err() == nil {
		var err error
		if states, err = l.start(partitions); err != nil && l.broken == nil {
			l.broken = err
		}
	}
	list := make([]kafka.TopicPartition, len(partitions))
	for i, partition := range partitions {
		at := states[partition]
		if at == nil {
			at = &partitionState{shard: shardOf(partition), next: -1, handled: -1}
		}
		l.assigned[partition] = at
		list[i] = kafka.TopicPartition{Topic: &l.topic, Partition: partition, Offset: kafka.Offset(at.next)}
		if at.next < 0 {
			list[i].Offset = kafka.OffsetBeginning
		}
	}
	return list
}

// start returns how partitions begin: at the places of resume, and of the group where resume knows none.
func (l *consumerLoop) start(partitions []int32) (map[int32]*partitionState, error) {
	places, err := l.stored(partitions)
	if err != nil {
		return nil, err
	}
	// For a moment after a topic is created not every broker knows it.
	ranges, err := backoff.Retry(l.ctx, func() (map[int32]ports.ShardRange, error) {
		return l.admin.ranges(l.ctx, l.identity, partitions)
	}, backoff.WithMaxElapsedTime(2*requestTimeout))
	if err != nil {
		return nil, l.replaceBecause(err)
	}
	states := make(map[int32]*partitionState, len(partitions))
	for partition, topic := range ranges {
		next, gap, err := topic.Resume(places)
		if err != nil {
			return nil, fmt.Errorf("read topic %s: %w", l.topic, err)
		}
		states[partition] = &partitionState{shard: topic.Shard, next: next, handled: next, gap: gap}
		if gap != nil {
			states[partition].handled = -1 // a new consumer has to find it again
		}
	}
	return states, nil
}

// stored returns the places that resume, done and the group know.
func (l *consumerLoop) stored(partitions []int32) ([]ports.Place, error) {
	byShard, unknown := make(map[string]ports.Place), []int32(nil)
	if l.resume != nil {
		shards := make([]string, len(partitions))
		for i, partition := range partitions {
			shards[i] = shardOf(partition)
		}
		places, err := l.resume(l.ctx, shards)
		if err != nil {
			return nil, fmt.Errorf("load the places in topic %s: %w", l.topic, err)
		}
		for _, p := range places {
			byShard[p.Shard] = p
		}
	}
	maps.Copy(byShard, l.done)
	for _, partition := range partitions {
		if _, known := byShard[shardOf(partition)]; !known {
			unknown = append(unknown, partition)
		}
	}
	places := slices.Collect(maps.Values(byShard))
	if l.group == "" || len(unknown) == 0 {
		return places, nil
	}
	committed, err := l.committed(unknown)
	if err != nil {
		return nil, l.replaceBecause(fmt.Errorf("load the offsets of group %s: %w", l.group, err))
	}
	return append(places, committed...), nil
}

// committed returns the places that the group has committed. librdkafka can ask for them itself (OffsetStored), but when
// the answer is an error, such as that of a broker that shuts down, it never asks again and never reads the partition
// (librdkafka issue 5586).
func (l *consumerLoop) committed(partitions []int32) (places []ports.Place, err error) {
	asked := make([]kafka.TopicPartition, len(partitions))
	for i, partition := range partitions {
		asked[i] = kafka.TopicPartition{Topic: &l.topic, Partition: partition}
	}
	committed, err := backoff.Retry(l.ctx, func() ([]kafka.TopicPartition, error) {
		committed, err := l.consumer.Committed(asked, int(askCommitted.Milliseconds()))
		for _, p := range committed {
			err = cmp.Or(err, p.Error)
		}
		return committed, err
	}, backoff.WithMaxElapsedTime(askCommittedFor))
	for _, p := range committed {
		if p.Offset >= 0 { // negative: none was committed
			places = append(places, l.place(shardOf(p.Partition), int64(p.Offset)))
		}
	}
	return places, err
}

func (l *consumerLoop) place(shard string, next int64) ports.Place {
	return ports.ShardRange{Shard: shard, Log: l.identity}.At(next)
}

// gather polls until there is a batch to deliver: up to a full batch of messages, or none once the consumer is idle or
// at the end.
func (l *consumerLoop) gather(first bool) error {
	deliverAt := l.linger()
	for {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		if l.broken != nil {
			return l.broken
		}
		if len(l.gathered) >= ports.MaxBatch || l.bytes >= maxBatchBytes {
			return nil
		}
		if time.Since(l.lastCheckAt) >= checkEndsEvery { // one partition may be stalled while the others keep it busy
			if l.checkEnds(); l.broken != nil {
				return l.broken
			}
		}
		timeout := pollFor
		if len(l.gathered) > 0 {
			timeout = max(0, time.Until(deliverAt)+time.Millisecond-1) // rounded up, or the last millisecond would be a busy loop
		}
		event := l.consumer.Poll(int(timeout.Milliseconds()))
		if event != nil {
			l.handleEvent(event)
		}
		switch {
		case l.broken != nil:
		case event == nil && len(l.gathered) > 0 && !time.Now().Before(deliverAt):
			return nil
		case len(l.gathered) > 0:
		case first && len(l.assigned) > 0 && l.atEnd():
			return nil
		case time.Since(l.lastCallAt) >= idleAfter:
			l.lastCallAt = time.Now()
			l.unrecognised.report(l.log, l.topic)
			l.storeOffsets(l.nextOffsets()) // moves the group past unrecognised records
			l.checkEnds()
			if l.broken == nil && len(l.caughtUp()) > 0 {
				return nil
			}
		}
	}
}

// linger waits while messages keep coming, and returns when to deliver the next batch: zero when that is at once.
func (l *consumerLoop) linger() (deliverAt time.Time) {
	if l.lastBatch < busyFrom || l.lastBatch >= worthIt {
		return time.Time{}
	}
	deliverAt = time.Now().Add(lingerFor)
	wait := time.NewTimer(lingerFor - settleFor)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-l.ctx.Done():
	}
	return deliverAt
}

// handleEvent updates the loop after an event of librdkafka.
func (l *consumerLoop) handleEvent(event kafka.Event) {
	switch e := event.(type) {
	case *kafka.Message:
		l.collect(e)
	case kafka.PartitionEOF:
		l.connection.reached()
		if at := l.assigned[e.Partition]; at != nil {
			at.next, at.end, at.behindSince = int64(e.Offset), true, time.Time{}
		}
	case kafka.OffsetsCommitted:
		switch {
		case e.Error == nil, codeOf(e.Error) == kafka.ErrNoOffset:
		case judge(e.Error) == stale:
			l.broken = l.replaceBecause(e.Error)
		default:
			l.warnOnce("the group's position could not be committed; the next commit includes it", e.Error)
		}
	case kafka.Error:
		switch {
		case e.IsFatal(), e.Code() == kafka.ErrMaxPollExceeded, e.Code() == kafka.ErrAutoOffsetReset, judge(e) == stale:
			l.broken = l.replaceBecause(e)
		default:
			for _, at := range l.assigned { // only checkEnds can tell now whether there is more
				at.end = false
			}
			switch e.Code() {
			case kafka.ErrAllBrokersDown, kafka.ErrTransport, kafka.ErrTimedOut, kafka.ErrResolve: // see readLogs
			default:
				l.warnOnce("the topic could not be read; librdkafka tries again", e)
			}
		}
	}
}

func (l *consumerLoop) collect(record *kafka.Message) {
	at := l.assigned[record.TopicPartition.Partition]
	if at == nil || record.TopicPartition.Error != nil {
		return
	}
	at.next, at.end, at.behindSince = int64(record.TopicPartition.Offset)+1, false, time.Time{}
	message, err := unwrap(record)
	if err != nil {
		l.unrecognised.add(err)
		return
	}
	l.bytes += len(message.Payload)
	l.gathered = append(l.gathered, ports.Delivery{
		Message: message, Place: l.place(at.shard, at.next),
	})
}

// deliver calls the handler with the gathered batch and waits for it. Meanwhile keepAlive serves the group.
func (l *consumerLoop) deliver() error {
	if len(l.gathered) > 0 {
		l.connection.reached()
	}
	l.unrecognised.report(l.log, l.topic)
	batch := ports.Batch{Messages: l.gathered, CaughtUp: l.caughtUp(), Gaps: l.gaps()}
	l.lastBatch = len(l.gathered)
	l.gathered, l.bytes = nil, 0
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	l.call = &handlerCall{result: make(chan error, 1), cancel: cancel, upTo: l.nextOffsets()}
	result := l.call.result
	go func() { result <- l.handle(ctx, batch) }()

	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for l.call != nil {
		select {
		case err := <-result:
			l.callEnded(err)
		case <-tick.C:
			l.keepAlive()
		}
	}
	l.lastCallAt = time.Now()
	if l.paused {
		l.paused = false
		for _, at := range l.assigned { // nothing was fetched for the sake of the handler
			at.behindSince = time.Time{}
		}
		if err := l.consumer.Resume(l.partitions()); err != nil && l.broken == nil {
			l.broken = l.replaceBecause(err)
		}
	}
	return l.broken
}

// callEnded records the result of a call: the offsets that it handled, or the error that ends the loop.
func (l *consumerLoop) callEnded(err error) {
	upTo := l.call.upTo
	l.call = nil
	if err != nil {
		l.broken = err
		return
	}
	for partition, next := range upTo {
		if at := l.assigned[partition]; at != nil {
			at.handled, at.gap = next, nil
		}
	}
	l.storeOffsets(upTo)
}

// storeOffsets sets the group's position. librdkafka commits it.
func (l *consumerLoop) storeOffsets(upTo map[int32]int64) {
	if l.group == "" {
		return
	}
	var list []kafka.TopicPartition
	for partition, next := range upTo {
		if l.assigned[partition] != nil {
			list = append(list, kafka.TopicPartition{Topic: &l.topic, Partition: partition, Offset: kafka.Offset(next)})
		}
	}
	if len(list) == 0 {
		return
	}
	// ErrState: the partition was revoked a moment ago, and its next consumer commits it.
	if _, err := l.consumer.StoreOffsets(list); err != nil && codeOf(err) != kafka.ErrState {
		l.warnOnce("the group's position could not be stored; the next batch includes it", err)
	}
}

// keepAlive polls while the handler runs, so that this consumer stays in the group and hears of rebalances.
func (l *consumerLoop) keepAlive() {
	if !l.paused {
		l.paused = true
		if err := l.consumer.Pause(l.partitions()); err != nil {
			l.warnOnce("fetching could not be paused", err)
		}
	}
	for l.call != nil {
		event := l.consumer.Poll(0)
		if event == nil {
			return
		}
		l.handleEvent(event)
	}
}

// rebalance changes the assignment. librdkafka calls it from within Poll and Close.
func (l *consumerLoop) rebalance(_ *kafka.Consumer, event kafka.Event) error {
	switch e := event.(type) {
	case kafka.AssignedPartitions:
		list := l.startPartitions(partitionNumbers(e.Partitions))
		if err := l.consumer.IncrementalAssign(list); err != nil && l.broken == nil {
			l.broken = l.replaceBecause(err)
		}
		if l.paused {
			_ = l.consumer.Pause(list) // if that fails, gather takes what arrives
		}
		l.logPartitions("partitions were assigned to this consumer", e.Partitions)
	case kafka.RevokedPartitions:
		l.awaitHandler()
		revoked := make(map[string]bool)
		for _, partition := range partitionNumbers(e.Partitions) {
			delete(l.assigned, partition)
			revoked[shardOf(partition)] = true
		}
		l.gathered = slices.DeleteFunc(l.gathered, func(d ports.Delivery) bool { return revoked[d.Place.Shard] })
		if err := l.consumer.IncrementalUnassign(e.Partitions); err != nil && l.broken == nil {
			l.broken = l.replaceBecause(err)
		}
		l.logPartitions("partitions were revoked from this consumer", e.Partitions)
	}
	return nil
}

func (l *consumerLoop) logPartitions(message string, partitions []kafka.TopicPartition) {
	if len(partitions) > 0 {
		l.log.Info(message, "topic", l.topic, "group", l.group, "partitions", partitionNumbers(partitions))
	}
}

// awaitHandler waits for the handler before partitions are revoked, so that their next consumer continues after it.
// When the partitions are lost already, or the handler takes longer than waitFor, its result does not count.
func (l *consumerLoop) awaitHandler() {
	if l.call == nil {
		return
	}
	tooLong := time.After(l.waitFor)
	tick := time.NewTicker(pollFor)
	defer tick.Stop()
	for waits := true; waits && !l.consumer.AssignmentLost(); {
		select {
		case err := <-l.call.result:
			l.callEnded(err)
			return
		case <-tooLong:
			waits = false
		case <-tick.C:
		}
	}
	l.call.cancel()
	l.broken = l.replaceBecause(errors.Join(errTooLong, <-l.call.result))
	l.call = nil
}

// checkEnds asks the broker which partitions have more records. Without an assignment it asks whether the topic still
// exists. A partition that stays behind for stalledAfter, while its broker answers, ends the loop: a new consumer
// fetches from it again.
func (l *consumerLoop) checkEnds() {
	l.lastCheckAt = time.Now()
	var partitions []int32
	for partition := range l.assigned {
		partitions = append(partitions, partition)
	}
	var ends map[int32]int64
	var err error
	if len(partitions) > 0 {
		ends, err = l.admin.offsets(l.ctx, partitions, kafka.LatestOffsetSpec)
	}
	if err == nil && (len(partitions) == 0 || time.Since(l.identifiedAt) >= checkEndsEvery) {
		err = l.identify()
	}
	switch {
	case judge(err) == stale, errors.Is(err, ErrNoTopic):
		l.broken = l.replaceBecause(err)
		return
	case l.admin.isCutOff(l.ctx, err):
		l.broken = l.replaceBecause(fmt.Errorf("%w: %w", errCutOff, err))
		return
	}
	for partition, at := range l.assigned {
		end, found := ends[partition]
		answered := err == nil && found
		at.end = answered && at.next >= 0 && at.next >= end
		switch {
		case !answered || at.end:
			at.behindSince = time.Time{}
		case at.behindSince.IsZero():
			at.behindSince = time.Now()
		case time.Since(at.behindSince) >= l.stalled:
			l.broken = l.replaceBecause(fmt.Errorf("%w: partition %d, at offset %d of %d for %s", errStalled, partition,
				at.next, end, time.Since(at.behindSince).Round(time.Millisecond)))
		}
	}
	if err == nil {
		l.connection.reached()
	}
}

// identify finds out whether the topic is still the same. librdkafka does not always report one that was deleted.
func (l *consumerLoop) identify() error {
	topic, err := l.admin.describe(l.ctx)
	if is := logOf(topic); err == nil && is != l.identity {
		return fmt.Errorf("%w: it is %s now", ErrNoTopic, is)
	}
	l.identifiedAt = time.Now()
	return err
}

func (l *consumerLoop) atEnd() bool {
	for _, at := range l.assigned {
		if !at.end {
			return false
		}
	}
	return true
}

func (l *consumerLoop) caughtUp() (places []ports.Place) {
	for _, at := range l.assigned {
		if at.end {
			places = append(places, l.place(at.shard, at.next))
		}
	}
	return places
}

func (l *consumerLoop) gaps() (gaps []ports.Gap) {
	for _, at := range l.assigned {
		if at.gap != nil {
			gaps = append(gaps, *at.gap)
		}
	}
	return gaps
}

// handled returns the place up to which each partition was handled, by shard.
func (l *consumerLoop) handled() map[string]ports.Place {
	places := make(map[string]ports.Place, len(l.assigned))
	for _, at := range l.assigned {
		if at.handled >= 0 {
			places[at.shard] = l.place(at.shard, at.handled)
		}
	}
	return places
}

// nextOffsets returns the offset up to which each partition was gathered.
func (l *consumerLoop) nextOffsets() map[int32]int64 {
	offsets := make(map[int32]int64, len(l.assigned))
	for partition, at := range l.assigned {
		if at.next >= 0 {
			offsets[partition] = at.next
		}
	}
	return offsets
}

func (l *consumerLoop) partitions() (list []kafka.TopicPartition) {
	for partition := range l.assigned {
		list = append(list, kafka.TopicPartition{Topic: &l.topic, Partition: partition})
	}
	return list
}

func partitionNumbers(list []kafka.TopicPartition) (partitions []int32) {
	for _, p := range list {
		partitions = append(partitions, p.Partition)
	}
	return partitions
}

func (l *consumerLoop) replaceBecause(err error) error { return fmt.Errorf("%w: %w", errReplace, err) }

// warnOnce logs an error that does not end the loop, once until the error changes.
func (l *consumerLoop) warnOnce(message string, err error) {
	if l.warned[message] != err.Error() {
		if l.warned == nil {
			l.warned = make(map[string]string)
		}
		l.warned[message] = err.Error()
		l.log.Warn(message, "topic", l.topic, "group", l.group, "err", err)
	}
}

func (f *unrecognisedRecords) add(err error) {
	if f.count++; f.count == 1 {
		f.first = err
	}
}

func (f *unrecognisedRecords) report(log *slog.Logger, topic string) {
	if f.count > 0 {
		log.Warn("records that are not order events were skipped", "topic", topic, "records", f.count, "err", f.first)
		*f = unrecognisedRecords{}
	}
}
