package inproc_test

import (
	"context"
	"errors"
	"slices"
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

func feed(topic inproc.Log) porttest.Feed {
	return porttest.Feed{
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
	from := func(after int64) (got []ports.Delivery) {
		t.Helper()
		resume := func(context.Context, []int) (map[int]int64, error) { return map[int]int64{0: after}, nil }
		err := inproc.NewSubscriber(topic).Subscribe(t.Context(), "", resume, func(_ context.Context, b ports.Batch) error {
			got = b.Messages
			return enough
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		return got
	}
	for _, d := range from(0) {
		var rest []string
		for _, later := range from(d.Next) {
			rest = append(rest, later.ID)
		}
		for _, m := range all {
			if m.ID > d.ID && !slices.Contains(rest, m.ID) {
				t.Errorf("behind message %s, at %d, comes %v: %s is left out", d.ID, d.Next, rest, m.ID)
			}
		}
	}
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
