//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// verdict is what an error code says about one message.
type verdict int

const (
	// temporary: worth another try. So is every code that is not listed, for a message that is parked by mistake
	// needs an operator, and one that is tried in vain needs nobody until somebody reads the log.
	temporary verdict = iota
	// refused: the broker will never take this message. It judges batches, though: see tryAlone.
	refused
	// guilt by association: another message of the same batch was refused, and this one with it.
	innocent
	// stale: this producer, or what it knows of the topic, is of no use any more; a new one is.
	stale
)

var verdicts = map[kafka.ErrorCode]struct {
	verdict verdict
	why     string
}{
	kafka.ErrMsgSizeTooLarge:        {refused, "it is larger than the topic's max.message.bytes"},
	kafka.ErrInvalidMsgSize:         {refused, "the broker does not take messages of this size"},
	kafka.ErrRecordListTooLarge:     {refused, "it is larger than the topic's segment.bytes"},
	kafka.ErrInvalidRecord:          {refused, "the broker's validation of the record failed"},
	kafka.ErrInvalidTimestamp:       {refused, "its time is outside of what the topic's message.timestamp.*.max.ms allow"},
	kafka.ErrPolicyViolation:        {refused, "a policy of the broker forbids it"},
	kafka.ErrInvalidDifferentRecord: {innocent, "another record of its batch was invalid"},

	kafka.ErrInvalidProducerEpoch: {stale, "the broker has a later epoch of this producer"},
	kafka.ErrUnknownProducerID:    {stale, "the broker has forgotten this producer"},
	kafka.ErrUnknownTopic:         {stale, "the topic has gone"},
	kafka.ErrUnknownTopicOrPart:   {stale, "the topic has gone"},
	kafka.ErrUnknownPartition:     {stale, "the partition has gone"},
}

func judge(err error) verdict { return verdicts[codeOf(err)].verdict }

// explain turns an error of librdkafka into one for the caller of Publish.
func explain(err error) error {
	known := verdicts[codeOf(err)]
	switch {
	case known.verdict == refused:
		return fmt.Errorf("%w: %s (kafka: %w)", ports.ErrRefused, known.why, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), known.why == "":
		return fmt.Errorf("kafka: %w", err)
	default:
		return fmt.Errorf("kafka: %s: %w", known.why, err)
	}
}
