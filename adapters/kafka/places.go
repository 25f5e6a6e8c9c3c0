//go:build cgo

package kafka

import (
	"context"
	"strconv"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// A shard is a partition, and the offset of a place is the one to read next.

func shardOf(partition int32) string { return strconv.Itoa(int(partition)) }

// logOf identifies a topic. Kafka gives each a random id, also to one that is created again under the same name.
func logOf(topic kafka.TopicDescription) string {
	return "kafka/" + topic.Name + "/" + topic.TopicID.String()
}

// ranges returns what the broker has of each partition.
func (a *topicAdmin) ranges(ctx context.Context, log string, partitions []int32) (map[int32]ports.ShardRange, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	first, err := a.offsets(ctx, partitions, kafka.EarliestOffsetSpec)
	if err != nil {
		return nil, err
	}
	ends, err := a.offsets(ctx, partitions, kafka.LatestOffsetSpec)
	ranges := make(map[int32]ports.ShardRange, len(ends))
	for partition, end := range ends {
		ranges[partition] = ports.ShardRange{Shard: shardOf(partition), Log: log, First: first[partition], End: end}
	}
	return ranges, err
}
