package inproc_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestSubscriber(t *testing.T) {
	t.Parallel()
	porttest.Subscriber(t, func(testing.TB) porttest.Feed { return feed(memory.NewTopic()) })
}

func TestReplayable(t *testing.T) {
	t.Parallel()
	porttest.Replayable(t, func(testing.TB) porttest.Feed { return feed(memory.NewTopic()) })
}

// trimmedTopic lets tests delete messages.
type trimmedTopic struct {
	inproc.Log
	deleted atomic.Int64 // up to this offset
}

func (t *trimmedTopic) Begin(ctx context.Context) (id string, before int64, err error) {
	id, before, err = t.Log.Begin(ctx)
	return id, max(before, t.deleted.Load()), err
}

func (t *trimmedTopic) Read(ctx context.Context, after int64, limit int) ([]ports.Message, int64, error) {
	return t.Log.Read(ctx, max(after, t.deleted.Load()), limit)
}

func feed(log inproc.Log) porttest.Feed {
	topic := &trimmedTopic{Log: log}
	return porttest.Feed{
		Delete: func(t testing.TB) {
			t.Helper()
			end, err := topic.End(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			topic.deleted.Store(end)
		},
		Subscriber: inproc.NewSubscriber(topic),
		Append: func(t testing.TB, messages ...ports.Message) {
			t.Helper()
			if err := topic.Append(t.Context(), messages); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// gappyTopic has offsets with gaps: tenfold those of the topic in it.
type gappyTopic struct{ inproc.Log }

func (g gappyTopic) Read(ctx context.Context, after int64, limit int) ([]ports.Message, int64, error) {
	messages, last, err := g.Log.Read(ctx, after/10, limit)
	return messages, last * 10, err
}

func (g gappyTopic) End(ctx context.Context) (int64, error) {
	end, err := g.Log.End(ctx)
	return end * 10, err
}

func TestATopicWithGapsBetweenItsOffsetsLosesNothing(t *testing.T) {
	topic := gappyTopic{memory.NewTopic()}
	var all []ports.Message
	for _, id := range []string{"1", "2", "3"} {
		all = append(all, ports.Message{ID: id})
	}
	feed(topic).Append(t, all...)
	enough := errors.New("enough")
	from := func(place ports.Place) (got []ports.Delivery) {
		t.Helper()
		resume := func(context.Context, []string) ([]ports.Place, error) { return []ports.Place{place}, nil }
		err := inproc.NewSubscriber(topic).Replay(t.Context(), resume, func(_ context.Context, b ports.Batch) error {
			got = b.Messages
			return enough
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		return got
	}
	for _, d := range from(ports.Place{}) {
		var rest []string
		for _, later := range from(d.Place) {
			rest = append(rest, later.ID)
		}
		for _, m := range all {
			if m.ID > d.ID && !slices.Contains(rest, m.ID) {
				t.Errorf("behind message %s, at %s, comes %v: %s is left out", d.ID, d.Place.Next, rest, m.ID)
			}
		}
	}
}

func TestReplayOfWhatComesBeginsAtTheNewest(t *testing.T) {
	topic := memory.NewTopic()
	s, enough := inproc.NewSubscriber(topic), errors.New("enough")
	feed(topic).Append(t, ports.Message{ID: "old"})
	newest, err := s.Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	feed(topic).Append(t, ports.Message{ID: "new"})
	err = s.Replay(t.Context(), func(context.Context, []string) ([]ports.Place, error) { return newest, nil },
		func(_ context.Context, b ports.Batch) error {
			if len(b.Messages) == 0 {
				return nil
			}
			if got := b.Messages[0].ID; got != "new" {
				t.Errorf("got message %s", got)
			}
			return enough
		})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

// Messages that a slow reader had not read yet were deleted: it hears of that with the next ones.
func TestMessagesThatAreDeletedInFrontOfAReaderAreAGap(t *testing.T) {
	topic := &trimmedTopic{Log: memory.NewTopic()}
	enough := errors.New("enough")
	feed(topic).Append(t, ports.Message{ID: "1"})
	err := inproc.NewSubscriber(topic).Replay(t.Context(), nil, func(_ context.Context, b ports.Batch) error {
		if b.Messages[0].ID == "1" {
			feed(topic.Log).Append(t, ports.Message{ID: "2"}, ports.Message{ID: "3"}, ports.Message{ID: "4"})
			topic.deleted.Store(3)
			return nil
		}
		if len(b.Messages) != 1 || len(b.Gaps) != 1 || b.Gaps[0].Reason != ports.GapDeleted ||
			!strings.Contains(b.Gaps[0].Detail, "2 messages") {
			t.Errorf("got %d messages and the gaps %+v, want one message, and two that were deleted", len(b.Messages), b.Gaps)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

func TestAheadDoesNotCountDroppedMessages(t *testing.T) {
	topic := memory.NewTopic()
	for range memory.TopicKept / 1000 * 12 / 10 {
		feed(topic).Append(t, make([]ports.Message, 1000)...)
	}
	there, _, err := topic.Read(t.Context(), 0, 10*memory.TopicKept)
	if err != nil {
		t.Fatal(err)
	}
	ahead, err := inproc.NewSubscriber(topic).Ahead(t.Context(), nil)
	if want := int64(len(there)); err != nil || ahead[""] != want {
		t.Errorf("Ahead: got %v, %v; want %d", ahead, err, want)
	}
}

func TestABatchLingersWhileMessagesKeepComingAndNeverWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := memory.NewTopic()
		ctx, cancel := context.WithCancel(t.Context())
		type call struct {
			at       time.Time
			messages int
		}
		var calls []call
		go func() {
			_ = inproc.NewSubscriber(topic).Subscribe(ctx, "view", nil, func(_ context.Context, b ports.Batch) error {
				if n := len(b.Messages); n > 0 {
					calls = append(calls, call{time.Now(), n})
				}
				return nil
			})
		}()
		publish := func(n int) { feed(topic).Append(t, make([]ports.Message, n)...) }
		for range 3 { // one order a minute
			time.Sleep(time.Minute)
			for range 2 { // two events of it, one after the other
				began := time.Now()
				publish(1)
				synctest.Wait()
				if last := calls[len(calls)-1]; last.at != began {
					t.Errorf("idle: a message is not delivered at once; the last batch came %s before it", began.Sub(last.at))
				}
			}
		}

		calls = nil
		for range 1000 { // 4,000 messages in a second
			publish(4)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		messages := 0
		for _, c := range calls {
			messages += c.messages
		}
		if messages != 4000 || len(calls) > 45 {
			t.Errorf("under load: %d messages came in %d batches, want 4000 in about 40", messages, len(calls))
		}

		calls = nil
		began := time.Now()
		publish(ports.MaxBatch + 500)
		synctest.Wait()
		if len(calls) != 2 || calls[1].at != began {
			t.Errorf("a backlog came in the batches %v, want two, both at once", calls)
		}
		cancel()
		synctest.Wait()
	})
}

func TestMembersOfAGroupWorkOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := inproc.NewSubscriber(memory.NewTopic())
		ctx, cancel := context.WithCancel(t.Context())
		var working atomic.Int32
		for range 2 {
			go func() {
				_ = topic.Subscribe(ctx, "view", nil, func(context.Context, ports.Batch) error {
					working.Add(1)
					<-ctx.Done()
					return nil
				})
			}()
		}
		time.Sleep(time.Minute) // of the bubble's clock
		if n := working.Load(); n != 1 {
			t.Errorf("%d members of a group work, want 1", n)
		}
		cancel()
		synctest.Wait()
	})
}
