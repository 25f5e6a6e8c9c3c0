package nats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hexorders/ports"
)

// The CloudEvents binding for NATS percent-encodes values; what cannot be in a header survives all the same.
func TestHeadersSurviveWhatAHeaderCannotHold(t *testing.T) {
	m := event("заказ 100% \"1\"\r\nNats-Msg-Id: x", 1)
	encoded := codec{subject: "s", source: DefaultSource}.encode(m)
	for name, values := range encoded.Header {
		if strings.ContainsAny(values[0], " \"\r\n") || values[0] != strings.ToValidUTF8(values[0], "?") {
			t.Errorf("%s is %q", name, values[0])
		}
	}
	if got, err := decode(encoded.Header, encoded.Data); err != nil || got.ID != m.ID || got.OrderID != m.OrderID {
		t.Errorf("got %q, %q, %v; want %q, %q", got.ID, got.OrderID, err, m.ID, m.OrderID)
	}
}

func TestAMessageThatIsSentAgainIsThereOnce(t *testing.T) {
	t.Parallel()
	o := fresh(t)
	p := newPublisher(t, o)
	publish(t, p, event("a", 1), event("a", 2))
	publish(t, p, event("a", 1), event("a", 3))
	if got := ids(read(t, o, 3)); got != "a/1 a/2 a/3" {
		t.Errorf("the stream has %s, want a/1 a/2 a/3", got)
	}
}

// A stream that was deleted and made again is another log, also for a reader that was at work.
func TestAStreamThatWasMadeAgainIsAGap(t *testing.T) {
	t.Parallel()
	o := fresh(t)
	p := newPublisher(t, o)
	publish(t, p, event("a", 1), event("a", 2))
	r := replaying(t, o)
	if got := r.take(t, 2); got != "a/1 a/2" {
		t.Fatalf("got %s", got)
	}
	c := client(t, o)
	if err := c.js.DeleteStream(t.Context(), o.stream()); err != nil {
		t.Fatal(err)
	}
	p.lost() // as the next message would find out
	_, err := persist(t.Context(), c, "wait", func() (struct{}, error) {
		_, err := c.info(t.Context())
		return struct{}{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, p, event("a", 3))
	if got := r.take(t, 1); got != "gap another-topic a/3" {
		t.Errorf("got %s, want a gap and a/3", got)
	}
}

// JetStream numbers every message: one that is missing in the middle is found.
func TestAMessageThatIsMissingInTheMiddleIsAGap(t *testing.T) {
	t.Parallel()
	o := fresh(t)
	c := client(t, o)
	createStream(t, c, func(config *jetstream.StreamConfig) { config.DenyDelete = false })
	publish(t, newPublisher(t, o), event("a", 1), event("a", 2), event("a", 3))
	stream, err := c.js.Stream(t.Context(), o.stream())
	if err == nil {
		err = stream.DeleteMsg(t.Context(), 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := replaying(t, o).take(t, 2); got != "a/1 gap messages-deleted a/3" {
		t.Errorf("got %s, want a/1, a gap and a/3", got)
	}
}

// A member that died without a word leaves its turn after a session, and the place that it had stored.
func TestAMemberThatDiedIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	o := fresh(t)
	o.SessionTimeout = time.Second
	publish(t, newPublisher(t, o), event("a", 1), event("a", 2))
	c := client(t, o)
	dead, err := c.takeTurn(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.info(t.Context())
	if err == nil {
		dead.moved(rangeOf(info).At(1))
		err = dead.write(t.Context(), "the dead")
	}
	if err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	r := begin(t, func(ctx context.Context, handle func(context.Context, ports.Batch) error) error {
		return newSubscriber(t, o).Subscribe(ctx, "g", nil, handle)
	})
	if got := r.take(t, 1); got != "a/2" {
		t.Errorf("got %s, want a/2", got)
	}
	if took := time.Since(died); took < o.SessionTimeout {
		t.Errorf("another took over after %v, a session is %v", took, o.SessionTimeout)
	}
	if err := dead.write(t.Context(), "the dead"); !isOvertaken(err) {
		t.Errorf("the first member still writes the place of the group: %v", err)
	}
}

// A member that has lost its turn is told while it handles a batch, and what it did does not count.
func TestAMemberThatLostItsTurnIsStopped(t *testing.T) {
	t.Parallel()
	o := fresh(t)
	o.SessionTimeout = time.Second
	c := client(t, o)
	mine, err := c.takeTurn(t.Context(), "g")
	if err != nil {
		t.Fatal(err)
	}
	err = mine.hold(t.Context(), func(ctx context.Context) error {
		other := &turn{bucket: mine.bucket, key: mine.key}
		if _, other.revision, err = other.load(ctx); err == nil {
			err = other.replace(ctx, record{Owner: "another"})
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
			return errors.New("nobody stopped it")
		}
	})
	if !errors.Is(err, errTurnLost) {
		t.Errorf("got %v, want %v", err, errTurnLost)
	}
}

// A member that stops while it tells the others that it goes on gives its turn back all the same.
func TestAMemberThatStopsGivesItsTurnBack(t *testing.T) {
	t.Parallel()
	o := fresh(t)
	c := client(t, o)
	if err := c.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		mine, err := c.takeTurn(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		mine.session = time.Second // the first replacement is after 100 ms
		ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond+rand.N(3*time.Millisecond))
		err = mine.hold(ctx, func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		})
		stop()
		if err != nil {
			t.Fatalf("the turn was lost: %v", err)
		}
		left, _, err := mine.load(t.Context())
		if err != nil || left.Owner != "" {
			t.Fatalf("after a stop it is still the turn of %q, error %v", left.Owner, err)
		}
	}
}

func TestAStreamThatWouldLoseEventsIsRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"in memory":                func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"it deletes what was read": func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"and not \"test.":          func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, c.Subjects[0]+".more") },
	} {
		o := fresh(t)
		createStream(t, client(t, o), change)
		if _, err := Ping(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
}

// reading is a running Replay or Subscribe.
type reading struct{ words chan string }

func replaying(t *testing.T, o Options) *reading {
	return begin(t, func(ctx context.Context, handle func(context.Context, ports.Batch) error) error {
		return newSubscriber(t, o).Replay(ctx, nil, handle)
	})
}

func begin(t *testing.T, read func(context.Context, func(context.Context, ports.Batch) error) error) *reading {
	r := &reading{words: make(chan string, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = read(ctx, func(_ context.Context, b ports.Batch) error {
			for _, gap := range b.Gaps {
				r.words <- "gap " + string(gap.Reason)
			}
			for _, d := range b.Messages {
				r.words <- d.ID
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

// take waits for n messages and returns them with the gaps in front of them.
func (r *reading) take(t *testing.T, n int) string {
	t.Helper()
	var got []string
	for n > 0 {
		select {
		case word := <-r.words:
			if got = append(got, word); !strings.HasPrefix(word, "gap") {
				n--
			}
		case <-time.After(patience):
			t.Fatalf("%d messages are missing after %q", n, got)
		}
	}
	return strings.Join(got, " ")
}

// event is version n of an order.
func event(orderID string, version int) ports.Message {
	return ports.Message{
		ID: fmt.Sprintf("%s/%d", orderID, version), Type: "OrderItemAdded", OrderID: orderID, Version: version,
		Payload:    fmt.Appendf(nil, `{"orderId":%q,"version":%d}`, orderID, version),
		OccurredAt: time.Date(2025, 3, 1, 12, 0, version, 0, time.UTC),
	}
}

func ids(messages []ports.Message) string {
	var ids []string
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, " ")
}
