package porttest_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"hexorders/adapters/inproc"
	"hexorders/adapters/memory"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

func TestSubscriberSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.SubscriberChecks(), subscriberFlaws, func() porttest.Feed { return openFeed("") })
}

var subscriberFlaws = []flaw[porttest.Feed]{
	subscriberFlaw("starts a new group at the end",
		"a new group reads from the first message on, and goes on with what comes",
		"groups do not move each other"),
	subscriberFlaw("forgets the trace parent", "a message comes as it was published"),
	subscriberFlaw("counts offsets from 0", "a message comes as it was published"),
	subscriberFlaw("turns a batch round", "an order's messages come in order, from one partition"),
	subscriberFlaw("deals messages out to partitions", "an order's messages come in order, from one partition"),
	subscriberFlaw("drops every third message",
		"an order's messages come in order, from one partition",
		"batches hold at most MaxBatch messages, and come one at a time"),
	subscriberFlaw("makes batches larger", "batches hold at most MaxBatch messages, and come one at a time"),
	subscriberFlaw("handles two batches at once", "batches hold at most MaxBatch messages, and come one at a time"),
	subscriberFlaw("moves the group before the handler",
		"a failed batch ends Subscribe, and is delivered again with all that follows",
		"what a failed member leaves the others get"),
	subscriberFlaw("goes on after a failed batch", "a failed batch ends Subscribe, and is delivered again with all that follows"),
	subscriberFlaw("keeps no position",
		"a group goes on where it came to",
		"groups do not move each other"),
	subscriberFlaw("keeps one position for all groups", "groups do not move each other"),
	subscriberFlaw("does not ask resume",
		"a member begins where its resume says",
		"an error of resume ends Subscribe"),
	subscriberFlaw("takes the group's position before resume's", "a member begins where its resume says"),
	subscriberFlaw("passes over an error of resume", "an error of resume ends Subscribe"),
	subscriberFlaw("makes a group of those without one", "without a group everything is read, and nobody is moved"),
	subscriberFlaw("keeps the share of a member that has left", "what a member leaves the others get"),
	subscriberFlaw("never says that it has caught up",
		"an empty topic is caught up with at the beginning, and about once a second",
		"a partition is caught up with when its last message is delivered, and not before"),
	subscriberFlaw("says all the time that it has caught up",
		"an empty topic is caught up with at the beginning, and about once a second"),
	subscriberFlaw("says too early that it has caught up",
		"a partition is caught up with when its last message is delivered, and not before"),
	subscriberFlaw("says the newest message for the end", "Ends are behind the newest messages"),
	subscriberFlaw("waits on when its context has ended", "the end of its context ends Subscribe, and the handler's context"),
	subscriberFlaw("gives the handler a context of its own", "the end of its context ends Subscribe, and the handler's context"),
}

func subscriberFlaw(name string, red ...string) flaw[porttest.Feed] {
	return flaw[porttest.Feed]{name, func() porttest.Feed { return openFeed(name) }, red}
}

func openFeed(flaw string) porttest.Feed {
	topic := &spoiltTopic{Topic: memory.NewTopic(), flaw: flaw}
	return porttest.Feed{
		Subscriber: &subscriber{sound: inproc.NewSubscriber(topic), topic: topic, flaw: flaw},
		Append: func(t testing.TB, messages ...ports.Message) {
			if err := topic.Append(t.Context(), messages); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// spoiltTopic spoils the positions of groups.
type spoiltTopic struct {
	*memory.Topic
	flaw string
}

func (s *spoiltTopic) Committed(ctx context.Context, group string) (int64, error) {
	switch s.flaw {
	case "starts a new group at the end":
		if at, err := s.Topic.Committed(ctx, group); at > 0 || err != nil {
			return at, err
		}
		return s.End(ctx)
	case "keeps one position for all groups":
		group = "all"
	}
	return s.Topic.Committed(ctx, group)
}

func (s *spoiltTopic) Commit(ctx context.Context, group string, at int64) error {
	switch s.flaw {
	case "keeps no position":
		return nil
	case "keeps one position for all groups":
		group = "all"
	}
	return s.Topic.Commit(ctx, group, at)
}

// subscriber spoils what goes to a sound one and what comes back.
type subscriber struct {
	sound *inproc.Subscriber
	topic *spoiltTopic
	flaw  string

	mu    sync.Mutex
	stuck map[string]bool // groups with a member that has left, and keeps its share
}

func (s *subscriber) Ends(ctx context.Context) (map[int]int64, error) {
	ends, err := s.sound.Ends(ctx)
	if s.flaw == "says the newest message for the end" && ends[0] > 0 {
		ends[0]--
	}
	return ends, err
}

func (s *subscriber) Subscribe(ctx context.Context, group string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	asked := resume
	switch s.flaw {
	case "waits on when its context has ended":
		deaf, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
		defer cancel()
		ctx = deaf
	case "makes a group of those without one":
		if group == "" {
			group = "none"
		}
	case "does not ask resume":
		resume = nil
	case "takes the group's position before resume's":
		if at, _ := s.topic.Committed(ctx, group); at > 0 {
			resume = nil
		}
	case "passes over an error of resume":
		resume = func(ctx context.Context, partitions []int) (map[int]int64, error) {
			known, _ := asked(ctx, partitions)
			return known, nil
		}
	case "keeps the share of a member that has left":
		if s.waits(ctx, group) {
			return ctx.Err()
		}
		defer s.sticks(group)
	}
	var second sync.WaitGroup
	defer second.Wait()
	var held *ports.Batch
	return s.sound.Subscribe(ctx, group, resume, func(ctx context.Context, b ports.Batch) error {
		var last int64
		if len(b.Messages) > 0 {
			last = b.Messages[len(b.Messages)-1].Next
		}
		switch s.flaw {
		case "forgets the trace parent":
			for i := range b.Messages {
				b.Messages[i].TraceParent = ""
			}
		case "counts offsets from 0":
			for i := range b.Messages {
				b.Messages[i].Next--
			}
		case "turns a batch round":
			slices.Reverse(b.Messages)
		case "deals messages out to partitions":
			for i := range b.Messages {
				b.Messages[i].Partition = i % 3
			}
		case "drops every third message":
			b.Messages = slices.DeleteFunc(b.Messages, func(d ports.Delivery) bool { return d.Next%3 == 0 })
		case "makes batches larger":
			if held == nil && len(b.Messages) == ports.MaxBatch {
				held = &b
				return nil
			}
			if held != nil {
				b.Messages, held = append(held.Messages, b.Messages...), nil
			}
		case "handles two batches at once":
			if len(b.Messages) == ports.MaxBatch {
				second.Go(func() { _ = handle(ctx, b) })
				return nil
			}
		case "moves the group before the handler":
			if group != "" && last > 0 {
				_ = s.topic.Commit(ctx, group, last)
			}
		case "goes on after a failed batch":
			if err := handle(ctx, b); err != nil && ctx.Err() != nil {
				return err
			}
			return nil
		case "never says that it has caught up":
			if b.CaughtUp = nil; len(b.Messages) == 0 {
				return nil
			}
		case "says all the time that it has caught up":
			for ctx.Err() == nil && len(b.Messages) == 0 {
				time.Sleep(time.Millisecond) // or a bubble's clock would stand still
				if err := handle(ctx, b); err != nil {
					return err
				}
				if end, _ := s.topic.End(ctx); end > 0 {
					break
				}
			}
		case "says too early that it has caught up":
			b.CaughtUp = []int{0}
		case "gives the handler a context of its own":
			own, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
			defer cancel()
			return handle(own, b)
		}
		return handle(ctx, b)
	})
}

// waits tells whether a group is stuck, once ctx has ended if it is.
func (s *subscriber) waits(ctx context.Context, group string) bool {
	s.mu.Lock()
	stuck := s.stuck[group]
	s.mu.Unlock()
	if stuck {
		<-ctx.Done()
	}
	return stuck
}

func (s *subscriber) sticks(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck == nil {
		s.stuck = map[string]bool{}
	}
	s.stuck[group] = true
}
