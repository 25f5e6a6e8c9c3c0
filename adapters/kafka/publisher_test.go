//go:build cgo

package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestPublisher(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	porttest.Publisher(t, func(t testing.TB) porttest.Broker {
		topic := c.newTopic(t)
		return porttest.Broker{
			Publisher: open(t, Options{Brokers: c.brokers, Topic: topic, Logger: (&journal{}).logger()}),
			Read:      func(t testing.TB, n int) []ports.Message { return c.messages(t, topic, n) },
			TooLarge:  defaultMaxMessageBytes, // of payload alone
		}
	})
}

// The same promises when it is the broker that finds a message too large, and not the client: the topic's limit is
// lowered after the publisher has asked for it.
func TestPublisherOverALimitThatWasLowered(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	porttest.Publisher(t, func(t testing.TB) porttest.Broker {
		topic := c.newTopic(t)
		p := open(t, Options{Brokers: c.brokers, Topic: topic, Logger: (&journal{}).logger()})
		waitForSession(t, p)
		c.set(t, topic, "max.message.bytes", "200000")
		return porttest.Broker{
			Publisher: p,
			Read:      func(t testing.TB, n int) []ports.Message { return c.messages(t, topic, n) },
			TooLarge:  400_000,
		}
	})
}

func TestTheBrokerRefusesABatchAndTheInnocentsArrive(t *testing.T) {
	for name, example := range map[string]struct {
		setting, value string
		spoil          func(*delivery)
		why            string
	}{
		"too large": {"max.message.bytes", "20000", func(d *delivery) { d.message.Value = random(30_000) }, "max.message.bytes"},
		"time far ahead": {"message.timestamp.after.max.ms", "3600000",
			func(d *delivery) { d.message.Timestamp = time.Now().AddDate(1, 0, 0) }, "message.timestamp"},
		"no key to compact by": {"cleanup.policy", "compact", func(d *delivery) { d.message.Key = nil }, "validation"},
	} {
		t.Run(name, func(t *testing.T) {
			c := sharedCluster(t)
			topic := c.newTopic(t)
			log := &journal{}
			p := open(t, Options{Brokers: c.brokers, Topic: topic, Partitions: 1, Logger: log.logger()})
			s := waitForSession(t, p) // it has read the topic's limit, and does not know of the change
			c.set(t, topic, example.setting, example.value)

			told := newOutcomes()
			const orders, guilty = 40, 17
			for i := range orders {
				m := event(fmt.Sprint(i), 1)
				d := p.envelope.wrap(m, told.done(m))
				if i == guilty {
					example.spoil(d)
				}
				if err := s.send(d); err != nil {
					t.Fatal(err)
				}
			}
			for id, err := range told.await(t, orders) {
				switch {
				case id != event(fmt.Sprint(guilty), 1).ID:
					if err != nil {
						t.Errorf("the collateral %s: %v", id, err)
					}
				case !errors.Is(err, ports.ErrRefused) || !strings.Contains(err.Error(), example.why):
					t.Errorf("the guilty %s: %v, want ErrRefused and why", id, err)
				}
			}
			seen := map[string]int{}
			for _, m := range c.messages(t, topic, orders-1) {
				seen[m.ID]++
			}
			for i := range orders {
				want := 1
				if i == guilty {
					want = 0
				}
				if id := event(fmt.Sprint(i), 1).ID; seen[id] != want {
					t.Errorf("message %s is in the topic %d times, want %d", id, seen[id], want)
				}
			}
			// Otherwise the test was about something else: the batch was not refused.
			if got := len(log.with("level=WARN", "one by one")); got != 1 {
				t.Errorf("the log says %d times that a batch was refused, want once: %q", got, log.with())
			}
		})
	}
}

// Some brokers name the record that spoiled a batch, and librdkafka has a code of its own for the others.
func TestAMessageThatFailedForAnotherGoesAgain(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	p := open(t, Options{Brokers: c.brokers, Topic: topic})
	s := waitForSession(t, p)
	told := newOutcomes()
	m := event("a", 1)
	s.delivered(p.envelope.wrap(m, told.done(m)), kafka.NewError(kafka.ErrInvalidDifferentRecord, "", false))
	if err := told.await(t, 1)[m.ID]; err != nil {
		t.Errorf("message %s: %v", m.ID, err)
	}
	if got := ids(c.messages(t, topic, 1)); !slices.Equal(got, []string{m.ID}) {
		t.Errorf("the topic holds %v, want %s", got, m.ID)
	}
}

func TestALimitThatWasRaisedIsNoticedWithoutARestart(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	c.createTopic(t, topic, 12, map[string]string{"max.message.bytes": "5000"})
	p := open(t, Options{Brokers: c.brokers, Topic: topic})
	large := event("a", 1)
	large.Payload = random(20_000)
	told := newOutcomes()
	p.Publish(t.Context(), large, told.done(large))
	if err := told.await(t, 1)[large.ID]; !errors.Is(err, ports.ErrRefused) {
		t.Fatalf("over the limit: %v, want %v", err, ports.ErrRefused)
	}
	c.set(t, topic, "max.message.bytes", "50000")
	publish(t, p, large, event("b", 1))
	if got := ids(c.messages(t, topic, 2)); len(got) != 2 {
		t.Errorf("the topic holds %v, want both", got)
	}
}

// Otherwise a message that is too large would end the session, with all that waits in it for the broker to come back.
func TestWhileKafkaIsAwayNoLimitWasRaised(t *testing.T) {
	closed := listen(t)
	closed.Close()
	p := open(t, Options{Brokers: closed.Addr().String(), Logger: (&journal{}).logger()})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if p.limitWasRaised(ctx, &session{maxBytes: 5000}) {
		t.Error("the limit was raised, says a broker that is not there")
	}
}

func TestAMessageTooLargeIsRefusedByTheClientBeforeItTravels(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	c.createTopic(t, topic, 12, map[string]string{"max.message.bytes": "5000"})
	log := &journal{}
	p := open(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()})
	large, small := event("a", 1), event("b", 1)
	large.Payload, small.Payload = random(5001), random(4000)
	told := newOutcomes()
	p.Publish(t.Context(), large, told.done(large))
	p.Publish(t.Context(), small, told.done(small))
	outcomes := told.await(t, 2)
	if err := outcomes[large.ID]; !errors.Is(err, ports.ErrRefused) {
		t.Errorf("5,001 bytes where 5,000 are allowed: %v, want ErrRefused", err)
	}
	if err := outcomes[small.ID]; err != nil {
		t.Errorf("4,000 bytes where 5,000 are allowed: %v", err)
	}
	if lines := log.with("one by one"); len(lines) != 0 {
		t.Errorf("the broker was asked: %q", lines)
	}
}

func TestAFatalErrorReplacesTheProducer(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	log := &journal{}
	p := open(t, Options{Brokers: c.brokers, Topic: topic, Logger: log.logger()})
	broken := waitForSession(t, p)
	publish(t, p, event("before", 1))

	told := newOutcomes()
	const messages = 1000
	for i := range messages {
		if i == messages/2 {
			if code := broken.batching.client.TestFatalError(kafka.ErrOutOfOrderSequenceNumber, "provoked"); code != kafka.ErrNoError {
				t.Fatal(code)
			}
		}
		m := event(fmt.Sprint(i), 1)
		p.Publish(t.Context(), m, told.done(m))
	}
	acknowledged := map[string]bool{}
	outcomes := told.await(t, messages)
	for i := range messages {
		id := event(fmt.Sprint(i), 1).ID
		err := outcomes[id]
		acknowledged[id] = err == nil
		if errors.Is(err, ports.ErrRefused) {
			t.Errorf("message %s: %v, want nil or an error worth another try", id, err)
		}
		if i >= messages/2 && err != nil {
			t.Errorf("message %s, published after the error: %v, want it to go through the new producer", id, err)
		}
	}
	if sessionOf(p) == broken {
		t.Error("the producer is still the same")
	}
	if got := len(log.with("level=ERROR", "replaced", "provoked")); got != 1 {
		t.Errorf("the log says it %d times, want once: %q", got, log.with())
	}
	there := map[string]bool{}
	for _, m := range c.messages(t, topic, 1) {
		there[m.ID] = true
	}
	for id := range acknowledged {
		if acknowledged[id] && !there[id] {
			t.Errorf("message %s was acknowledged and is not in the topic", id)
		}
	}
}

func TestTheSecondProducerMayBreakToo(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	p := open(t, Options{Brokers: c.brokers, Topic: topic, Partitions: 1})
	broken := waitForSession(t, p)
	c.set(t, topic, "max.message.bytes", "20000")
	large := event("large", 1)
	large.Payload = random(30_000)
	told := newOutcomes()
	p.Publish(t.Context(), large, told.done(large))
	if err := told.await(t, 1)[large.ID]; !errors.Is(err, ports.ErrRefused) {
		t.Fatalf("a message too large: %v, want ErrRefused", err)
	}
	if code := broken.alone.client.TestFatalError(kafka.ErrOutOfOrderSequenceNumber, "provoked"); code != kafka.ErrNoError {
		t.Fatal(code)
	}
	waitForSessionAfter(t, p, broken)
	publish(t, p, event("small", 1))
}

func TestPublishWaitsWhileTheQueueIsFull(t *testing.T) {
	c := sharedCluster(t)
	topic := c.newTopic(t)
	var messages []ports.Message
	for i := range 500 {
		messages = append(messages, event(fmt.Sprint(i), 1))
	}
	publish(t, open(t, Options{Brokers: c.brokers, Topic: topic, Queue: 3}), messages...)
	if got := len(c.messages(t, topic, len(messages))); got != len(messages) {
		t.Errorf("the topic holds %d messages, want %d", got, len(messages))
	}
}

func TestWithoutABrokerPublishWaitsAsLongAsItsContextAndCloseIsQuick(t *testing.T) {
	closed := listen(t)
	closed.Close()
	log := &journal{}
	p := open(t, Options{Brokers: closed.Addr().String(), Topic: "any", Logger: log.logger()})

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	told := newOutcomes()
	given, waiting := event("given a moment", 1), event("waiting", 1)
	p.Publish(ctx, given, told.done(given))
	if err := told.await(t, 1)[given.ID]; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ports.ErrRefused) {
		t.Errorf("the context ended: %v, want its error", err)
	}

	watched := &watched{Context: t.Context(), waiting: make(chan struct{})}
	go p.Publish(watched, waiting, told.done(waiting))
	<-watched.waiting
	start := time.Now()
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v, though librdkafka was given nothing", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	if told.count() != 2 {
		t.Error("the waiting message was told nothing before Close returned")
	}
	if err := told.await(t, 2)[waiting.ID]; !errors.Is(err, errClosed) {
		t.Errorf("the publisher was closed: %v, want %v", err, errClosed)
	}
	if got := len(log.with("level=WARN", "cannot be reached")); got != 1 {
		t.Errorf("the log says %d times that Kafka cannot be reached, want once: %q", got, log.with())
	}
}

func TestCloseWaitsForADoneThatIsStillRunning(t *testing.T) {
	closed := listen(t)
	closed.Close()
	p := open(t, Options{Brokers: closed.Addr().String(), Topic: "any", Logger: (&journal{}).logger()})
	running, end := make(chan struct{}), make(chan struct{})
	ctx := &watched{Context: t.Context(), waiting: make(chan struct{})}
	go p.Publish(ctx, event("a", 1), func(error) {
		close(running)
		<-end
	})
	<-ctx.waiting
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		p.Close()
	}()
	<-running
	select {
	case <-returned:
		t.Error("Close returned while a done was running")
	case <-time.After(100 * time.Millisecond):
	}
	close(end)
	<-returned
}

// watched is a context that reports when a goroutine begins to wait for its end.
type watched struct {
	context.Context
	waiting chan struct{}
	once    sync.Once
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waiting) })
	return w.Context.Done()
}

// A broker that hangs, or a network that swallows what is sent. The mock cluster of librdkafka can be told to answer
// late; it is not Kafka enough to be asked about topics, so this is about the session alone.
func TestASessionEndsInTimeWhenTheBrokerHangs(t *testing.T) {
	mock, err := kafka.NewMockCluster(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mock.Close)
	options := Options{Brokers: mock.BootstrapServers(), Logger: (&journal{}).logger()}.withDefaults()
	if err := mock.CreateTopic(options.Topic, options.Partitions, 1); err != nil {
		t.Fatal(err)
	}
	logs := make(chan kafka.LogEvent, 1000) // more than there are lines
	s, err := newSession(options.config(logs), defaultMaxMessageBytes, options, &connectionLog{options: options})
	if err != nil {
		t.Fatal(err)
	}
	told := newOutcomes()
	e := envelope{topic: options.Topic}
	send := func(m ports.Message) {
		t.Helper()
		if err := s.send(e.wrap(m, told.done(m))); err != nil {
			t.Fatal(err)
		}
	}
	send(event("answered", 1))
	if err := told.await(t, 1)["answered/1"]; err != nil {
		t.Fatal(err)
	}
	if err := mock.SetRoundtripDuration(1, time.Minute); err != nil {
		t.Fatal(err)
	}
	const messages = 500
	for i := range messages {
		send(event(fmt.Sprint(i), 1))
	}

	start := time.Now()
	givenUp := s.end(300 * time.Millisecond)
	if took := time.Since(start); took < 300*time.Millisecond || took > 5*time.Second {
		t.Errorf("end took %v, want a little more than the 300ms it was given", took)
	}
	if givenUp != messages {
		t.Errorf("end gave up %d messages, want %d", givenUp, messages)
	}
	if told.count() != 1+messages {
		t.Errorf("%d of %d messages were told an outcome before end returned", told.count()-1, messages)
	}
	for id, err := range told.await(t, 1+messages) {
		if id != "answered/1" && (err == nil || errors.Is(err, ports.ErrRefused)) {
			t.Errorf("message %s: %v, want an error worth another try", id, err)
		}
	}
}

// What librdkafka never reports is told all the same: end has a list of its own.
func TestWhatLibrdkafkaHoldsBackIsToldByEnd(t *testing.T) {
	closed := listen(t)
	closed.Close()
	told := newOutcomes()
	outcome := func(d *delivery, err error) { d.done(err) }
	p, err := newProducer(Options{Brokers: closed.Addr().String()}.withDefaults().config(make(chan kafka.LogEvent,
		100)), outcome, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	m := event("a", 1)
	p.pending[&delivery{done: told.done(m)}] = struct{}{}
	if got := p.end(0); got != 1 {
		t.Errorf("end gave up %d messages, want 1", got)
	}
	if err := told.await(t, 1)[m.ID]; !errors.Is(err, errGivenUp) {
		t.Errorf("the message was told %v, want %v", err, errGivenUp)
	}
	if err := p.send(&delivery{}); !errors.Is(err, errEnding) {
		t.Errorf("send after end: %v, want %v", err, errEnding)
	}
}

// What these settings prevent takes several brokers, or a broker with other settings, or luck, to be seen.
func TestTheProducerNeitherLosesNorRepeatsNorMakesTopics(t *testing.T) {
	config := Options{}.withDefaults().config(nil)
	for name, want := range map[string]any{
		"enable.idempotence":       true,
		"acks":                     "all",
		"message.timeout.ms":       0,
		"max.in.flight":            1,
		"allow.auto.create.topics": false,
	} {
		if got := config[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestErrorsAreJudgedByWhatTheySayAboutTheMessage(t *testing.T) {
	for code, known := range verdicts {
		err := explain(kafka.NewError(code, "", false))
		if got, want := errors.Is(err, ports.ErrRefused), known.verdict == refused; got != want {
			t.Errorf("%v: ErrRefused is %v, want %v", code, got, want)
		}
		if known.why == "" || !strings.Contains(err.Error(), known.why) {
			t.Errorf("%v: the error %q does not say why", code, err)
		}
	}
	for _, code := range []kafka.ErrorCode{
		kafka.ErrTransport, kafka.ErrMsgTimedOut, kafka.ErrNotEnoughReplicas, kafka.ErrTopicAuthorizationFailed,
		kafka.ErrPurgeQueue, kafka.ErrPurgeInflight, kafka.ErrKafkaStorageError,
	} {
		if err := kafka.NewError(code, "", false); judge(err) != temporary || errors.Is(explain(err), ports.ErrRefused) {
			t.Errorf("%v is judged as %v (%v), want worth another try", code, judge(err), explain(err))
		}
	}
}

func TestWithoutCgoThePackageCompilesAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	if os.Getenv("CGO_ENABLED") == "0" {
		t.Fatal("this file is not part of a build without cgo")
	}
	command := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run=TestWithoutCgo", "-v", ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "--- PASS: TestWithoutCgo") {
		t.Errorf("%v\n%s", err, output)
	}
}
