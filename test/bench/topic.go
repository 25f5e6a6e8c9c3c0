package main

import (
	"context"
	"fmt"
	"sort"
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

// begun is how many records of a drain are not timed: those that were read while the producer was still connecting, and
// are appended all at once. It is a little more than what a relay has under way at a time.
const begun = 5000

// appended waits until a topic has grown by n records since it had base, and returns how many a second were appended
// from then on when begun of them were there. Of a drain that is hardly longer than that only the first millisecond is
// left out. ended is when the last of them was.
func (l *lab) appended(ctx context.Context, topic string, base int64, since time.Time, n int) (perSecond float64,
	ended time.Time, err error) {
	var end int64
	err = await(ctx, roundTimeout, func() (bool, error) {
		end, err = l.end(ctx, topic)
		return end >= base+int64(n), err
	})
	if err != nil {
		return 0, ended, err
	}
	firsts, err := l.admin.ListOffsetsAfterMilli(ctx, max(since.UnixMilli(), 0), topic)
	if err != nil {
		return 0, ended, err
	}
	lasts, err := l.admin.ListMaxTimestampOffsets(ctx, topic)
	if err != nil {
		return 0, ended, err
	}
	first, last := int64(1)<<62, int64(0)
	firsts.Each(func(o kadm.ListedOffset) {
		if o.Timestamp > 0 {
			first = min(first, o.Timestamp)
		}
	})
	lasts.Each(func(o kadm.ListedOffset) { last = max(last, o.Timestamp) })
	ended = time.UnixMilli(last)
	if last <= first { // all within the first millisecond, as happens only to a few
		return float64(n) / time.Millisecond.Seconds(), ended, nil
	}
	skip := base + 1
	if n >= 2*begun {
		skip = base + begun
	}
	// The first millisecond at whose end that many are there.
	var counted int64
	after := sort.Search(int(last-first), func(ms int) bool {
		if err != nil {
			return true
		}
		var offsets kadm.ListedOffsets
		offsets, err = l.admin.ListOffsetsAfterMilli(ctx, first+int64(ms)+1, topic)
		var total int64
		if total, err = sum(offsets, err); total >= skip {
			counted = total
		}
		return total >= skip
	})
	if err != nil {
		return 0, ended, err
	}
	return float64(end-counted) / (time.Duration(last-first-int64(after)) * time.Millisecond).Seconds(), ended, nil
}

func sum(offsets kadm.ListedOffsets, err error) (total int64, _ error) {
	if err == nil {
		err = offsets.Error()
	}
	offsets.Each(func(o kadm.ListedOffset) { total += o.Offset })
	return total, err
}
