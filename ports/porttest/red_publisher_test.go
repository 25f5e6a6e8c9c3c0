package porttest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

var publisherFlaws = []flaw[porttest.Broker]{
	publisherFlaw("forgets the trace parent", "an acknowledged message is at the broker, whole"),
	publisherFlaw("drops every third message",
		"an acknowledged message is at the broker, whole",
		"10,000 messages over 100 orders, each after the last's done, keep their order, each once"),
	publisherFlaw("reorders an order's messages",
		"10,000 messages over 100 orders, each after the last's done, keep their order, each once"),
	publisherFlaw("sends everything twice",
		"10,000 messages over 100 orders, each after the last's done, keep their order, each once"),
	publisherFlaw("never calls done",
		"10,000 messages over 100 orders, each after the last's done, keep their order, each once",
		"done is called exactly once",
		"closing again does nothing"),
	publisherFlaw("calls done twice",
		"done is called exactly once",
		"Close calls every done before it returns",
		"Publish beside Close calls done once"),
	publisherFlaw("accepts what the broker refuses",
		"a message that is too large is ErrRefused, and the messages beside it arrive",
		"a failed message stops nothing"),
	publisherFlaw("has an error of its own for what is refused",
		"a message that is too large is ErrRefused, and the messages beside it arrive"),
	publisherFlaw("refuses the message beside one too large",
		"a message that is too large is ErrRefused, and the messages beside it arrive"),
	publisherFlaw("stops at the first error", "a failed message stops nothing"),
	publisherFlaw("waits on when its context has ended", "a cancelled context ends Publish, and done is called nevertheless"),
	publisherFlaw("calls no done once its context has ended", "a cancelled context ends Publish, and done is called nevertheless"),
	publisherFlaw("returns from Close too early", "Close calls every done before it returns", "Publish beside Close calls done once"),
	publisherFlaw("takes messages after Close", "Publish after Close calls done with an error"),
	publisherFlaw("calls no done after Close",
		"Publish after Close calls done with an error",
		"Publish beside Close calls done once"),
	publisherFlaw("cannot be closed twice", "closing again does nothing"),
}

func soundBroker() porttest.Broker { return openBroker("") }

func publisherFlaw(name string, red ...string) flaw[porttest.Broker] {
	return flaw[porttest.Broker]{name, func() porttest.Broker { return openBroker(name) }, red}
}

func openBroker(flaw string) porttest.Broker {
	topic := memory.NewTopic()
	b := inproc.NewBroker(topic)
	return porttest.Broker{
		Publisher: &publisher{Broker: b, flaw: flaw, held: map[string]ports.Message{}},
		TooLarge:  inproc.MaxPayload + 1,
		Read: func(t testing.TB, n int) []ports.Message {
			t.Helper()
			var got []ports.Message
			// In a bubble a second has passed only when nothing more can come.
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			err := inproc.NewSubscriber(topic).Replay(ctx, nil, func(_ context.Context, b ports.Batch) error {
				for _, d := range b.Messages {
					got = append(got, d.Message)
				}
				return nil
			})
			if len(got) < n {
				t.Fatalf("the topic holds %d messages, want %d: %v", len(got), n, err)
			}
			return got
		},
	}
}

// publisher spoils what goes to a sound broker and what it answers.
type publisher struct {
	*inproc.Broker
	flaw string

	mu     sync.Mutex
	sent   int
	held   map[string]ports.Message // "reorders an order's messages"
	failed bool                     // "stops at the first error"
	refuse bool                     // "refuses the message beside one too large"
	closed bool
}

func (p *publisher) has(flaw string) bool { return p.flaw == flaw }

func (p *publisher) Publish(ctx context.Context, m ports.Message, done func(error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	large := len(m.Payload) > inproc.MaxPayload
	switch p.flaw {
	case "forgets the trace parent":
		m.TraceParent = ""
	case "drops every third message":
		if p.sent%3 == 0 {
			done(nil)
			return
		}
	case "reorders an order's messages":
		if before, ok := p.held[m.OrderID]; ok {
			delete(p.held, m.OrderID)
			p.Broker.Publish(ctx, m, done)
			p.Broker.Publish(ctx, before, func(error) {})
			return
		}
		p.held[m.OrderID] = m
		done(nil)
		return
	case "sends everything twice":
		p.Broker.Publish(ctx, m, func(error) {})
	case "never calls done":
		p.Broker.Publish(ctx, m, func(error) {})
		return
	case "calls done twice":
		p.Broker.Publish(ctx, m, func(err error) { done(err); done(err) })
		return
	case "accepts what the broker refuses":
		p.Broker.Publish(ctx, m, func(error) { done(nil) })
		return
	case "has an error of its own for what is refused":
		p.Broker.Publish(ctx, m, func(err error) {
			if err != nil {
				err = errors.New("broker: message size too large")
			}
			done(err)
		})
		return
	case "refuses the message beside one too large":
		if p.refuse && !large {
			p.refuse = false
			done(ports.ErrRefused)
			return
		}
		p.refuse = large
	case "stops at the first error":
		if p.failed {
			done(errors.New("the publisher has stopped"))
			return
		}
		p.Broker.Publish(ctx, m, func(err error) { p.failed = err != nil; done(err) })
		return
	case "waits on when its context has ended":
		if ctx.Err() != nil {
			<-time.After(time.Hour)
		}
	case "calls no done once its context has ended":
		if ctx.Err() != nil {
			return
		}
	case "returns from Close too early":
		time.AfterFunc(time.Second, func() { p.Broker.Publish(ctx, m, done) })
		return
	case "calls no done after Close":
		if p.closed {
			return
		}
	}
	p.Broker.Publish(ctx, m, done)
}

func (p *publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed && p.has("cannot be closed twice") {
		return errors.New("use of closed producer")
	}
	p.closed = true
	if p.has("takes messages after Close") {
		return nil
	}
	return p.Broker.Close()
}
