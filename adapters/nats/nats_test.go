package nats

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// sharedServer is the address of the server that scripts/services started.
func sharedServer() string {
	return cmp.Or(os.Getenv("HEXORDERS_TEST_NATS_URL"), "nats://127.0.0.1:4222")
}

// fresh are options with a subject that nobody has used. Its stream and bucket are deleted at the end of the test.
func fresh(t testing.TB) Options {
	t.Helper()
	o := Options{
		URL: sharedServer(), Subject: fmt.Sprintf("test.%016x", rand.Uint64()), SessionTimeout: time.Minute,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}.withDefaults()
	t.Cleanup(func() {
		c := client(t, o)
		// The test's own context has ended by now. Not every test has made both.
		_ = c.js.DeleteStream(context.Background(), o.stream())
		_ = c.js.DeleteKeyValue(context.Background(), o.bucket())
		c.close()
	})
	return o
}

// client is a connection of the test's own.
func client(t testing.TB, o Options) *connection {
	t.Helper()
	c, err := dial(o, nil)
	if err != nil {
		t.Fatalf("no nats-server at %s (%v): run scripts/services up nats", o.URL, err)
	}
	t.Cleanup(c.close)
	return c
}

func newPublisher(t testing.TB, o Options) *Publisher {
	t.Helper()
	p, err := NewPublisher(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // its error is what some tests are about
	return p
}

func newSubscriber(t testing.TB, o Options) *Subscriber {
	t.Helper()
	s, err := NewSubscriber(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read waits until the stream holds n messages, and returns all that it holds. It is a reader of its own: it asks the
// server for one message after the other.
func read(t testing.TB, o Options, n int) (messages []ports.Message) {
	t.Helper()
	c := client(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		stream, err := c.js.Stream(ctx, o.stream())
		if err == nil && int(stream.CachedInfo().State.Msgs) >= n {
			state := stream.CachedInfo().State
			for sequence := max(state.FirstSeq, 1); sequence <= state.LastSeq; sequence++ {
				raw, err := stream.GetMsg(ctx, sequence)
				if err != nil {
					t.Fatalf("message %d: %v", sequence, err)
				}
				m, err := decode(raw.Header, raw.Data)
				if err != nil {
					t.Fatal(err)
				}
				messages = append(messages, m)
			}
			return messages
		}
		if ctx.Err() != nil {
			t.Fatalf("stream %s does not hold %d messages after %v (%v)", o.stream(), n, patience, err)
		}
	}
}

func TestPublisher(t *testing.T) {
	t.Parallel()
	porttest.Publisher(t, func(t testing.TB) porttest.Broker {
		o := fresh(t)
		return porttest.Broker{
			Publisher: newPublisher(t, o),
			Read:      func(t testing.TB, n int) []ports.Message { return read(t, o, n) },
			TooLarge:  1 << 20, // of payload alone
		}
	})
}

// The same promises when it is the server that finds a message too large, and not the client.
func TestPublisherOverALimitOfTheStream(t *testing.T) {
	t.Parallel()
	porttest.Publisher(t, func(t testing.TB) porttest.Broker {
		o := fresh(t)
		c := client(t, o)
		createStream(t, c, func(config *jetstream.StreamConfig) { config.MaxMsgSize = 200_000 })
		return porttest.Broker{
			Publisher: newPublisher(t, o),
			Read:      func(t testing.TB, n int) []ports.Message { return read(t, o, n) },
			TooLarge:  400_000,
		}
	})
}

// createStream makes the stream as the publisher does, with a change.
func createStream(t testing.TB, c *connection, change func(*jetstream.StreamConfig)) {
	t.Helper()
	if err := c.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := c.info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := info.Config
	change(&config)
	if err := c.js.DeleteStream(t.Context(), config.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := c.js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

func TestSubscriber(t *testing.T) {
	t.Parallel()
	porttest.Subscriber(t, feed)
}

func TestReplayable(t *testing.T) {
	t.Parallel()
	porttest.Replayable(t, feed)
}

func feed(t testing.TB) porttest.Feed {
	o := fresh(t)
	c := client(t, o)
	if err := c.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := newPublisher(t, o)
	return porttest.Feed{
		Subscriber: newSubscriber(t, o),
		Append:     func(t testing.TB, messages ...ports.Message) { t.Helper(); publish(t, p, messages...) },
		Delete: func(t testing.TB) {
			t.Helper()
			stream, err := c.js.Stream(t.Context(), o.stream())
			if err == nil {
				err = stream.Purge(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		},
	}
}

// publish sends messages and wants each to be acknowledged.
func publish(t testing.TB, p *Publisher, messages ...ports.Message) {
	t.Helper()
	var all sync.WaitGroup
	all.Add(len(messages))
	for _, m := range messages {
		p.Publish(t.Context(), m, func(err error) {
			if err != nil {
				t.Errorf("message %s: %v", m.ID, err)
			}
			all.Done()
		})
	}
	all.Wait()
}
