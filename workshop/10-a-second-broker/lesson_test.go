//go:build exercise

package lesson_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hexorders/adapters/nats"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

// The stream is full after ten messages, and rejects the others. An acknowledgement is worth something if it tells the two apart.
func TestAnAcknowledgement(t *testing.T) {
	b := newBroker(t, func(config *jetstream.StreamConfig) { config.MaxMsgs = 10 })
	p := b.publisher(t)
	acknowledged := 0
	for n := range 20 {
		if b.publish(t, p, message(fmt.Sprintf("order-%d", n), 100)) == nil {
			acknowledged++
		}
	}
	if has := len(b.read(t, 10)); acknowledged != has {
		t.Errorf("%d messages are acknowledged, and the stream has %d: the relay moves its checkpoint behind all of the first",
			acknowledged, has)
	}
}

// The server takes up to a megabyte. A message that is larger will never be taken, so the relay must not send it for ever.
func TestAMessageThatIsTooLarge(t *testing.T) {
	b := newBroker(t, func(*jetstream.StreamConfig) {})
	err := b.publish(t, b.publisher(t), message("order-1", 2<<20))
	if !errors.Is(err, ports.ErrRefused) {
		t.Errorf("2 MB: got error %v, want one that is ports.ErrRefused: the relay sends the message again and again, and "+
			"the order's later events wait behind it", err)
	}
}

// All promises of the port.
func TestPublisher(t *testing.T) {
	porttest.Publisher(t, func(t testing.TB) porttest.Broker {
		b := newBroker(t, func(*jetstream.StreamConfig) {})
		return porttest.Broker{Publisher: b.publisher(t), Read: b.read, TooLarge: 1 << 20}
	})
}

// broker is a stream that nobody else uses, seen through a connection of the test's own.
type broker struct {
	url, subject string
	js           jetstream.JetStream
}

func newBroker(t testing.TB, change func(*jetstream.StreamConfig)) *broker {
	t.Helper()
	b := &broker{
		url:     cmp.Or(os.Getenv("HEXORDERS_TEST_NATS_URL"), "nats://127.0.0.1:4222"),
		subject: fmt.Sprintf("lesson.%016x", rand.Uint64()),
	}
	nc, err := natsgo.Connect(b.url)
	if err != nil {
		t.Fatalf("no nats-server at %s (%v): run scripts/services up nats", b.url, err)
	}
	t.Cleanup(nc.Close)
	if b.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	config := jetstream.StreamConfig{Name: b.stream(), Subjects: []string{b.subject}, Discard: jetstream.DiscardNew}
	change(&config)
	if _, err := b.js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.js.DeleteStream(context.Background(), b.stream()) })
	return b
}

func (b *broker) stream() string { return strings.ReplaceAll(b.subject, ".", "_") }

func (b *broker) publisher(t testing.TB) *nats.Publisher {
	t.Helper()
	p, err := nats.NewPublisher(nats.Options{URL: b.url, Subject: b.subject})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// publish waits for the outcome.
func (b *broker) publish(t testing.TB, p *nats.Publisher, m ports.Message) error {
	t.Helper()
	outcome := make(chan error, 1)
	p.Publish(t.Context(), m, func(err error) { outcome <- err })
	select {
	case err := <-outcome:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("nobody has called done of %s", m.ID)
	}
	panic("unreachable")
}

func message(orderID string, size int) ports.Message {
	return ports.Message{
		ID: orderID + "/1", Type: "OrderCreated", OrderID: orderID, Version: 1,
		Payload: []byte(`"` + strings.Repeat("x", size-2) + `"`), OccurredAt: time.Now(),
	}
}

// read waits until the stream has n messages, and returns all that it has.
func (b *broker) read(t testing.TB, n int) (messages []ports.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	has := 0
	for has < n {
		stream, err := b.js.Stream(ctx, b.stream())
		if err != nil {
			t.Fatalf("the stream has %d messages, want %d: %v", has, n, err)
		}
		has = int(stream.CachedInfo().State.Msgs)
	}
	ended := errors.New("all have come")
	s, err := nats.NewSubscriber(nats.Options{URL: b.url, Subject: b.subject})
	if err == nil {
		err = s.Replay(ctx, nil, func(_ context.Context, batch ports.Batch) error {
			for _, d := range batch.Messages {
				messages = append(messages, d.Message)
			}
			if len(batch.CaughtUp) > 0 {
				return ended
			}
			return nil
		})
	}
	if !errors.Is(err, ended) {
		t.Fatal(err)
	}
	return messages
}
