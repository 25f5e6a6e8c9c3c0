package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hexorders/ports"
)

// Subscriber implements ports.Subscriber and ports.Replayable: each Subscribe and Replay has its own connection. It starts
// without a server: while NATS is down, or the stream does not exist yet, it waits.
//
// A stream is one shard, so one member of a group reads at a time and the others wait for it to leave, also in
// other processes. A place is the sequence of the message before it. A message that is not an order event is skipped and
// logged.
type Subscriber struct {
	options Options
	log     *slog.Logger
}

var (
	_ ports.Subscriber = (*Subscriber)(nil)
	_ ports.Replayable = (*Subscriber)(nil)
)

const (
	// idleAfter is how long a subscriber waits for a message before it says that there is none.
	idleAfter = time.Second
	// lingerFor is how long after a batch the next one may begin while messages keep coming, so that it is worth a
	// transaction. A batch of worthIt messages does not wait, nor does one after a batch of fewer than busyFrom.
	lingerFor = 25 * time.Millisecond
	worthIt   = 500
	busyFrom  = 4
)

var (
	errNoGroup = errors.New("a subscription needs a group; Replay reads without one")
	// errReplace marks an error after which a new consumer may succeed.
	errReplace = errors.New("the consumer cannot continue")
)

// NewSubscriber makes a subscriber. An error means that the options are invalid.
func NewSubscriber(options Options) (*Subscriber, error) {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		return nil, err
	}
	return &Subscriber{options: options, log: options.Logger}, nil
}

// Subscribe implements ports.Subscriber. A nil resume means that no place is stored.
//
// A handler may take any time. Its context ends when another member has taken over, which happens only after the
// connection was lost for two thirds of Options.SessionTimeout; then its result does not count, and the member waits for
// its turn again.
func (s *Subscriber) Subscribe(ctx context.Context, group string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	if group == "" {
		return errNoGroup
	}
	c, err := connect(s.options, func(error) {})
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	defer c.close()
	for {
		t, err := c.takeTurn(ctx, group)
		if err != nil {
			return err
		}
		err = t.hold(ctx, func(ctx context.Context) error {
			return (&reader{connection: c, resume: resume, group: t.places(), handle: handle, moved: t.moved}).run(ctx)
		})
		if !errors.Is(err, errTurnLost) || ctx.Err() != nil {
			return err
		}
		s.log.Warn("another member of the group reads now; this one waits for its turn", "group", group)
	}
}

// Replay implements ports.Replayable. A nil resume means that no place is stored.
func (s *Subscriber) Replay(ctx context.Context, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	c, err := connect(s.options, func(error) {})
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	defer c.close()
	return (&reader{connection: c, resume: resume, handle: handle, moved: func(ports.Place) {}}).run(ctx)
}

// Ahead implements ports.Replayable. It counts sequences, and not every message has to be an order event.
func (s *Subscriber) Ahead(ctx context.Context, from []ports.Place) (map[string]int64, error) {
	stream, err := s.ask(ctx)
	if errors.Is(err, ErrNoStream) {
		return map[string]int64{}, nil
	}
	if err != nil {
		return nil, err
	}
	next, _, err := stream.Resume(from)
	return map[string]int64{shard: stream.End - next}, err
}

// Newest returns the place after the newest message, for a replay of what comes.
func (s *Subscriber) Newest(ctx context.Context) ([]ports.Place, error) {
	stream, err := s.ask(ctx)
	if errors.Is(err, ErrNoStream) {
		return nil, nil
	}
	return []ports.Place{stream.At(stream.End)}, err
}

// ask asks once what the stream has.
func (s *Subscriber) ask(ctx context.Context) (ports.ShardRange, error) {
	if err := ctx.Err(); err != nil {
		return ports.ShardRange{}, err
	}
	c, err := dial(s.options, nil)
	if err != nil {
		return ports.ShardRange{}, fmt.Errorf("nats: %w", err)
	}
	defer c.close()
	info, err := c.info(ctx)
	if err != nil {
		return ports.ShardRange{}, c.explain(err)
	}
	return rangeOf(info), nil
}

// reader hands one subscription's messages to its handler. When its consumer breaks it makes a new one, which goes on
// where the handler came to.
type reader struct {
	connection *connection
	resume     ports.Resume
	group      []ports.Place // where the group came to
	handle     func(context.Context, ports.Batch) error
	moved      func(ports.Place) // called with the place after what was handled

	stream  ports.ShardRange // as it was found by the consumer
	handled ports.Place      // Next is "" before the first batch
	next    int64            // the offset to go on from
	gap     *ports.Gap       // in front of the next batch
}

// run returns an error that a new consumer does not mend.
func (r *reader) run(ctx context.Context) error {
	asked := false
	var places []ports.Place
	for {
		info, err := persist(ctx, r.connection, "look for the stream", func() (*jetstream.StreamInfo, error) {
			return r.connection.info(ctx)
		})
		if err != nil {
			return err
		}
		r.stream = rangeOf(info)
		if !asked {
			if places, err = r.begin(ctx); err != nil {
				return err
			}
			asked = true
		}
		if r.handled.Next != "" {
			places = []ports.Place{r.handled}
		}
		if r.next, r.gap, err = r.stream.Resume(places); err != nil {
			return err
		}
		err = r.consume(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !errors.Is(err, errReplace) {
			return err
		}
		r.connection.options.Logger.Info("a new consumer goes on reading", "stream", r.connection.options.stream(), "err", err)
	}
}

// begin asks resume for the place to go on from. Without one that is where the group came to.
func (r *reader) begin(ctx context.Context) (places []ports.Place, err error) {
	if r.resume != nil {
		if places, err = r.resume(ctx, []string{shard}); err != nil {
			return nil, fmt.Errorf("load the place to resume from: %w", err)
		}
	}
	if !slices.ContainsFunc(places, func(p ports.Place) bool { return p.Shard == shard }) {
		places = append(slices.Clone(places), r.group...)
	}
	return places, nil
}

// consume reads with one consumer until that breaks. The consumer is the server's to delete when nobody has used it for
// a while, and keeps nothing on its disk: where reading came to is known here.
func (r *reader) consume(ctx context.Context) error {
	consumer, err := persist(ctx, r.connection, "create a consumer", func() (jetstream.Consumer, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		return r.connection.js.CreateConsumer(ctx, r.connection.options.stream(), jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(r.next) + 1,
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
		})
	})
	if err != nil {
		return err
	}
	in := &intake{reader: r, consumer: consumer}
	defer in.end()
	if r.next >= r.stream.End {
		if err := r.deliver(ctx, ports.Batch{CaughtUp: []ports.Place{r.stream.At(r.next)}}); err != nil {
			return err
		}
	}
	for busy, silent := false, 0; ; {
		messages, err := in.gather(ctx, busy)
		if err != nil {
			return err
		}
		batch, err := r.batch(ctx, messages)
		if err != nil {
			return err
		}
		switch {
		case len(messages) > 0:
			silent = 0
		case len(batch.CaughtUp) > 0:
			silent = 0
		default: // something came after the wait has ended, or does not come
			if silent++; silent > 3 {
				return fmt.Errorf("%w: there are messages after sequence %d, and none comes", errReplace, r.next)
			}
			continue
		}
		if err := r.deliver(ctx, batch); err != nil {
			return err
		}
		busy = len(messages) >= busyFrom
	}
}

// deliver hands a batch to the handler, and takes note that it was handled.
func (r *reader) deliver(ctx context.Context, b ports.Batch) error {
	if r.gap != nil {
		b.Gaps, r.gap = []ports.Gap{*r.gap}, nil
	}
	if len(b.Messages)+len(b.CaughtUp)+len(b.Gaps) > 0 { // otherwise all that came was foreign
		if err := r.handle(ctx, b); err != nil {
			return err
		}
	}
	r.handled = r.stream.At(r.next)
	r.moved(r.handled)
	return nil
}

// batch makes a batch of what came, and moves next.
func (r *reader) batch(ctx context.Context, received []received) (b ports.Batch, err error) {
	last := len(received) - 1
	for _, m := range received {
		if m.missing > 0 {
			r.gap = &ports.Gap{
				Place: r.stream.At(m.sequence - 1), Reason: ports.GapDeleted,
				Detail: fmt.Sprintf("shard %q of %s: %d messages before sequence %d were deleted before they were read", shard,
					r.stream.Log, m.missing, m.sequence),
			}
		}
		r.next = m.sequence
		message, err := decode(m.Headers(), m.Data())
		if err != nil {
			r.connection.options.Logger.Error("a message of the stream is skipped", "sequence", m.sequence, "err", err)
			continue
		}
		b.Messages = append(b.Messages, ports.Delivery{Message: message, Place: r.stream.At(m.sequence)})
	}
	if last >= 0 && received[last].pending > 0 {
		return b, nil
	}
	info, err := r.connection.info(ctx)
	switch {
	case err != nil:
		return b, fmt.Errorf("%w: %w", errReplace, r.connection.explain(err))
	case rangeOf(info).Log != r.stream.Log:
		return b, fmt.Errorf("%w: the stream was deleted and made again", errReplace)
	case rangeOf(info).End < r.next:
		return b, fmt.Errorf("%w: the stream has lost its newest messages", errReplace)
	case rangeOf(info).End == r.next:
		b.CaughtUp = []ports.Place{r.stream.At(r.next)}
	}
	return b, nil
}

// received is a message with what the server says of it.
type received struct {
	jetstream.Msg
	sequence int64
	pending  uint64 // how many came after it, when it was sent
	missing  int64  // how many sequences before it are not in the stream
}

// intake gets the messages of one consumer, request after request. Messages of a request arrive while earlier ones are
// handled.
type intake struct {
	reader   *reader
	consumer jetstream.Consumer
	fetch    jetstream.MessageBatch // nil when a new request is due
	cancel   context.CancelFunc     // of the request
	used     bool                   // it has brought a message
	sent     uint64                 // the number of the last message that the consumer has sent
	after    int64                  // its sequence
	held     *received              // the first of the next batch
}

func (in *intake) end() {
	if in.cancel != nil {
		in.cancel()
	}
	in.fetch, in.cancel = nil, nil
}

// gather waits for messages, for idleAfter at most, and returns what has come, at most MaxBatch. It ends before a message
// in front of which others are missing.
func (in *intake) gather(ctx context.Context, linger bool) (messages []received, err error) {
	if in.held != nil {
		messages, in.held = append(messages, *in.held), nil
	}
	if linger {
		in.linger(ctx)
	}
	for len(messages) < ports.MaxBatch {
		m, err := in.next(ctx, len(messages) == 0)
		switch {
		case err != nil:
			return nil, err
		case m == nil:
			return messages, nil
		case m.missing > 0 && len(messages) > 0:
			in.held = m
			return messages, nil
		}
		messages = append(messages, *m)
	}
	return messages, nil
}

// linger waits for lingerFor, unless there is enough for a batch already.
func (in *intake) linger(ctx context.Context) {
	if in.fetch != nil && len(in.fetch.Messages()) >= worthIt {
		return
	}
	wait := time.NewTimer(lingerFor)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// next returns the next message, nil when there is none: at once, or with wait when a request has ended without one.
func (in *intake) next(ctx context.Context, wait bool) (*received, error) {
	for {
		if in.fetch == nil {
			if !wait {
				return nil, nil
			}
			if err := in.request(ctx); err != nil {
				return nil, err
			}
		}
		var m jetstream.Msg
		if wait {
			m = <-in.fetch.Messages() // which is closed when the request or ctx ends
		} else {
			select {
			case m = <-in.fetch.Messages():
			default:
				return nil, nil
			}
		}
		if m != nil {
			in.used = true
			return in.check(m)
		}
		err, used := in.fetch.Error(), in.used
		in.end()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return nil, fmt.Errorf("%w: %w", errReplace, in.reader.connection.explain(err))
		}
		if !used {
			return nil, nil
		}
	}
}

func (in *intake) request(ctx context.Context) error {
	requested, cancel := context.WithTimeout(ctx, idleAfter+idleAfter/10) // the client waits a little longer than the server
	fetch, err := in.consumer.Fetch(ports.MaxBatch, jetstream.FetchContext(requested))
	if err != nil {
		cancel()
		return fmt.Errorf("%w: %w", errReplace, in.reader.connection.explain(err))
	}
	in.fetch, in.cancel, in.used = fetch, cancel, false
	return nil
}

// check finds out whether messages are missing before this one: the server sends each once, and what a broken connection
// has swallowed only a new consumer gets again.
func (in *intake) check(m jetstream.Msg) (*received, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errReplace, err)
	}
	if meta.Sequence.Consumer != in.sent+1 {
		return nil, fmt.Errorf("%w: message %d of the consumer comes after message %d", errReplace, meta.Sequence.Consumer, in.sent)
	}
	if in.sent == 0 {
		in.after = in.reader.next
	}
	sequence := int64(meta.Sequence.Stream)
	r := &received{Msg: m, sequence: sequence, pending: meta.NumPending, missing: sequence - in.after - 1}
	in.sent, in.after = meta.Sequence.Consumer, sequence
	return r, nil
}
