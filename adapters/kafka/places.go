//go:build cgo

package kafka

import (
	"fmt"
	"strconv"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// A place is a partition and the offset to read next, both as text.

func shardOf(partition int32) string { return strconv.Itoa(int(partition)) }

func placeAt(shard string, next int64) ports.Place {
	return ports.Place{Shard: shard, Next: strconv.FormatInt(next, 10)}
}

// offsetsIn parses places into the offset at which to begin, by partition.
func offsetsIn(places []ports.Place) (map[int32]kafka.Offset, error) {
	offsets := make(map[int32]kafka.Offset, len(places))
	for _, p := range places {
		partition, err := strconv.ParseInt(p.Shard, 10, 32)
		offset := int64(kafka.OffsetBeginning)
		if err == nil && p.Next != "" {
			if offset, err = strconv.ParseInt(p.Next, 10, 64); offset < 0 {
				err = strconv.ErrRange // librdkafka gives negative offsets a meaning
			}
		}
		if err != nil || partition < 0 {
			return nil, fmt.Errorf("the place %q of shard %q is of another broker, not of Kafka", p.Next, p.Shard)
		}
		offsets[int32(partition)] = kafka.Offset(offset)
	}
	return offsets, nil
}
