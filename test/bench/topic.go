package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// createTopic makes a topic like that of hexorders, except that the broker stamps each record with the time at which it
// was appended. So the broker itself tells how long a drain took, and no consumer has to run beside it.
func (l *lab) createTopic(ctx context.Context, name string) error {
	setting := func(value string) *string { return &value }
	_, err := l.admin.CreateTopic(ctx, 12, 1, map[string]*string{
		"cleanup.policy": setting("delete"), "retention.ms": setting("-1"), "retention.bytes": setting("-1"),
		"message.timestamp.type": setting("LogAppendTime"),
	}, name)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	// Created is not yet ready: the partitions get their leaders after the answer.
	return await(ctx, 30*time.Second, func() (bool, error) {
		ends, err := l.admin.ListEndOffsets(ctx, name)
		return err == nil && ends.Error() == nil, nil
	})
}

func (l *lab) deleteTopic(ctx context.Context, name string) {
	if _, err := l.admin.DeleteTopic(context.WithoutCancel(ctx), name); err != nil {
		l.sayf("delete topic %s: %v", name, err)
	}
}

// end is how many records a topic has.
func (l *lab) end(ctx context.Context, topic string) (records int64, err error) {
	offsets, err := l.admin.ListEndOffsets(ctx, topic)
	return sum(offsets, err)
}

// appended waits until a topic has grown by n records since it had base, and returns how many a second were appended
// from the first of them to the last. The records of the first millisecond do not count, for it is not known when the
// work on them began.
func (l *lab) appended(ctx context.Context, topic string, base int64, since time.Time, n int) (perSecond float64, err error) {
	err = await(ctx, roundTimeout, func() (bool, error) {
		end, err := l.end(ctx, topic)
		return end >= base+int64(n), err
	})
	if err != nil {
		return 0, err
	}
	firsts, err := l.admin.ListOffsetsAfterMilli(ctx, max(since.UnixMilli(), 0), topic)
	if err != nil {
		return 0, err
	}
	lasts, err := l.admin.ListMaxTimestampOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	first, last := int64(1)<<62, int64(0)
	firsts.Each(func(o kadm.ListedOffset) {
		if o.Timestamp > 0 {
			first = min(first, o.Timestamp)
		}
	})
	lasts.Each(func(o kadm.ListedOffset) { last = max(last, o.Timestamp) })
	afterFirst, err := l.admin.ListOffsetsAfterMilli(ctx, first+1, topic)
	counted, err := sum(afterFirst, err)
	if err != nil {
		return 0, err
	}
	end, err := l.end(ctx, topic)
	if err != nil {
		return 0, err
	}
	if last <= first { // all within the first millisecond, as happens only to a few
		return float64(n) / time.Millisecond.Seconds(), nil
	}
	return float64(end-counted) / (time.Duration(last-first) * time.Millisecond).Seconds(), nil
}

func sum(offsets kadm.ListedOffsets, err error) (total int64, _ error) {
	if err == nil {
		err = offsets.Error()
	}
	offsets.Each(func(o kadm.ListedOffset) { total += o.Offset })
	return total, err
}
