//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
)

// verdict is what an error code means for one message.
type verdict int

const (
	// temporary: publishing is tried again. Codes that are not listed are temporary too, because a message that is
	// parked by mistake needs an operator, while one that is retried in vain only fills the log.
	temporary verdict = iota
	// refused: the broker will never accept this message. Brokers reject whole batches, though: see sendAlone.
	refused
	// collateral: another message of the same batch was rejected, and this one with it.
	collateral
	// stale: this producer, or its metadata of the topic, can no longer be used. A new producer can succeed.
	stale
)

var verdicts = map[kafka.ErrorCode]struct {
	verdict verdict
	why     string
}{
	kafka.ErrMsgSizeTooLarge:        {refused, "it is larger than the topic's max.message.bytes"},
	kafka.ErrInvalidMsgSize:         {refused, "the broker does not accept messages of this size"},
	kafka.ErrRecordListTooLarge:     {refused, "it is larger than the topic's segment.bytes"},
	kafka.ErrInvalidRecord:          {refused, "the broker's validation of the record failed"},
	kafka.ErrInvalidTimestamp:       {refused, "its timestamp is outside the limits of the topic's message.timestamp.*.max.ms"},
	kafka.ErrPolicyViolation:        {refused, "a policy of the broker forbids it"},
	kafka.ErrInvalidDifferentRecord: {collateral, "another record of its batch was invalid"},

	kafka.ErrInvalidProducerEpoch: {stale, "the broker has a later epoch of this producer"},
	kafka.ErrUnknownProducerID:    {stale, "the broker has forgotten this producer"},
	kafka.ErrUnknownTopic:         {stale, "the topic was deleted"},
	kafka.ErrUnknownTopicOrPart:   {stale, "the topic was deleted"},
	kafka.ErrUnknownPartition:     {stale, "the partition was deleted"},
}

func judge(err error) verdict { return verdicts[codeOf(err)].verdict }

// explain turns an error of librdkafka into the error that Publish reports.
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

// codeOf returns the librdkafka error code of an error, ErrNoError when it has none.
func codeOf(err error) kafka.ErrorCode {
	var kafkaErr kafka.Error
	if errors.As(err, &kafkaErr) {
		return kafkaErr.Code()
	}
	return kafka.ErrNoError
}
