//go:build !cgo

package kafka

import (
	"context"
	"errors"

	"hexorders/ports"
)

// errNoCgo is returned by every function here, in a program that was built without cgo.
var errNoCgo = errors.New("this program was built without cgo, which the Kafka client needs: " +
	"install gcc and build again with CGO_ENABLED=1, or set HEXORDERS_BROKER=inproc to run without Kafka")

// Publisher exists so that the rest of the program compiles. There is never a value of it.
type Publisher struct{}

// Subscriber exists so that the rest of the program compiles. There is never a value of it.
type Subscriber struct{}

// Supported returns an error: this program cannot use Kafka.
func Supported() error { return errNoCgo }

// NewPublisher returns an error: this program cannot use Kafka.
func NewPublisher(Options) (*Publisher, error) { return nil, errNoCgo }

// NewSubscriber returns an error: this program cannot use Kafka.
func NewSubscriber(Options) (*Subscriber, error) { return nil, errNoCgo }

// Ping returns an error: this program cannot use Kafka.
func Ping(context.Context, Options) error { return errNoCgo }

// Publish calls done with an error: this program cannot use Kafka.
func (*Publisher) Publish(_ context.Context, _ ports.Message, done func(error)) { done(errNoCgo) }

// Subscribe returns an error: this program cannot use Kafka.
func (*Subscriber) Subscribe(context.Context, string, ports.Resume, func(context.Context, ports.Batch) error) error {
	return errNoCgo
}

// Replay returns an error: this program cannot use Kafka.
func (*Subscriber) Replay(context.Context, ports.Resume, func(context.Context, ports.Batch) error) error {
	return errNoCgo
}

// Ahead returns an error: this program cannot use Kafka.
func (*Subscriber) Ahead(context.Context, []ports.Place) (map[string]int64, error) {
	return nil, errNoCgo
}

// Newest returns an error: this program cannot use Kafka.
func (*Subscriber) Newest(context.Context) ([]ports.Place, error) { return nil, errNoCgo }

// Stalls is 0.
func (*Subscriber) Stalls() int64 { return 0 }

// Close does nothing.
func (*Publisher) Close() error { return nil }
