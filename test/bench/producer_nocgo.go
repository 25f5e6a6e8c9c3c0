//go:build !cgo

package main

import (
	"context"
	"errors"
)

// rawProducer needs librdkafka, as adapters/kafka does.
type rawProducer struct{}

func newRawProducer(string, string) (*rawProducer, error) {
	return nil, errors.New("the benchmarks need cgo: build with CGO_ENABLED=1 and a C compiler")
}

// rawConsumer does too.
type rawConsumer struct{}

func newRawConsumer(string, string) (*rawConsumer, error) {
	return nil, errors.New("the benchmarks need cgo: build with CGO_ENABLED=1 and a C compiler")
}

func (*rawConsumer) batch(context.Context, int) ([][]byte, []string, error) { return nil, nil, nil }
func (*rawConsumer) close()                                                 {}

func (*rawProducer) produce(context.Context, *messageDocument) error { return nil }
func (*rawProducer) flush(context.Context) error                     { return nil }
func (*rawProducer) close() error                                    { return nil }
