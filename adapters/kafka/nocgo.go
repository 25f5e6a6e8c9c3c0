//go:build !cgo

package kafka

import (
	"context"
	"errors"

	"hexorders/ports"
)

// errNoCgo is what every function here answers in a program that was built without cgo.
var errNoCgo = errors.New("this program was built without cgo, which the Kafka client needs: " +
	"install gcc and build again with CGO_ENABLED=1, or set HEXORDERS_BROKER=inproc to run without Kafka")

// Publisher stands in for the real one, so that the rest of the program compiles. There never is one.
type Publisher struct{}

// Subscriber stands in for the real one. There never is one.
type Subscriber struct{}

// Supported says that this program cannot talk to Kafka.
func Supported() error { return errNoCgo }

// NewPublisher says that this program cannot talk to Kafka.
func NewPublisher(Options) (*Publisher, error) { return nil, errNoCgo }

// NewSubscriber says that this program cannot talk to Kafka.
func NewSubscriber(Options) (*Subscriber, error) { return nil, errNoCgo }

// Ping says that this program cannot talk to Kafka.
func Ping(context.Context, Options) error { return errNoCgo }

// Publish refuses every message.
func (*Publisher) Publish(_ context.Context, _ ports.Message, done func(error)) { done(errNoCgo) }

// Subscribe says that this program cannot talk to Kafka.
func (*Subscriber) Subscribe(context.Context, string, ports.Resume, func(context.Context, ports.Batch) error) error {
	return errNoCgo
}

// Ends says that this program cannot talk to Kafka.
func (*Subscriber) Ends(context.Context) (map[int]int64, error) { return nil, errNoCgo }

// Close has nothing to close.
func (*Publisher) Close() error { return nil }
