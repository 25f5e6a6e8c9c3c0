package porttest_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	subscriberFlaw("turns a batch round", "an order's messages come in order, from one shard"),
	subscriberFlaw("deals messages out to shards", "an order's messages come in order, from one shard"),
	subscriberFlaw("drops every third message",
		"an order's messages come in order, from one shard",
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
	subscriberFlaw("keeps the share of a member that has left", "what a member leaves the others get"),
	subscriberFlaw("never says that it has caught up",
		"an empty topic is caught up with at the beginning, and about once a second",
		"a shard is caught up with when its last message is delivered, and not before"),
	subscriberFlaw("says all the time that it has caught up",
		"an empty topic is caught up with at the beginning, and about once a second"),
	subscriberFlaw("says too early that it has caught up",
		"a shard is caught up with when its last message is delivered, and not before"),
	subscriberFlaw("waits on when its context has ended", "the end of its context ends Subscribe, and the handler's context"),
	subscriberFlaw("gives the handler a context of its own", "the end of its context ends Subscribe, and the handler's context"),
}

func TestReplayableSuiteGoesRed(t *testing.T) {
	goesRed(t, porttest.ReplayableChecks(), replayableFlaws, func() porttest.Feed { return openFeed("") })
}

var replayableFlaws = []flaw[porttest.Feed]{
	subscriberFlaw("starts a replay at the end",
		"a replay reads from the first message on, and goes on with what comes"),
	subscriberFlaw("turns a batch round", "a replay delivers an order's messages in order, from one shard"),
	subscriberFlaw("deals messages out to shards", "a replay delivers an order's messages in order, from one shard"),
	subscriberFlaw("makes batches larger", "a replay's batches hold at most MaxBatch messages, and come one at a time"),
	subscriberFlaw("handles two batches at once", "a replay's batches hold at most MaxBatch messages, and come one at a time"),
	subscriberFlaw("makes a group of all replays", "a replay moves no group and no other replay"),
	subscriberFlaw("moves all groups by a replay", "a replay moves no group and no other replay"),
	subscriberFlaw("goes on after a failed batch", "an error of the handler ends a replay"),
	subscriberFlaw("does not ask resume",
		"a member begins where its resume says",
		"a replay begins where its resume says",
		"an error of resume ends Subscribe and Replay",
		"what no log made is no place",
		"a place of another log is a gap, and reading begins at the first message",
		"a place behind the end is a gap, and reading begins at the first message",
		"a place without a log is one of this log, if it has the shard"),
	subscriberFlaw("takes the group's position before resume's", "a member begins where its resume says"),
	subscriberFlaw("asks resume for other shards", "resume is asked for the shards that are read"),
	subscriberFlaw("takes an empty place for none", "an empty place is the first message"),
	subscriberFlaw("passes over an error of resume", "an error of resume ends Subscribe and Replay"),
	subscriberFlaw("takes no place for the beginning",
		"what no log made is no place",
		"a place of another log is a gap, and reading begins at the first message",
		"a place without a log is one of this log, if it has the shard"),
	subscriberFlaw("takes no place for the beginning when it counts", "what no log made is no place"),
	subscriberFlaw("leaves out the logs of places",
		"a place of another log is a gap, and reading begins at the first message"),
	subscriberFlaw("says nothing of gaps",
		"a place of another log is a gap, and reading begins at the first message",
		"a place behind the end is a gap, and reading begins at the first message",
		"messages that were deleted before they were read are a gap",
		"a place without a log is one of this log, if it has the shard"),
	subscriberFlaw("says of every gap that messages were deleted",
		"a place of another log is a gap, and reading begins at the first message",
		"a place behind the end is a gap, and reading begins at the first message",
		"a place without a log is one of this log, if it has the shard"),
	subscriberFlaw("says twice what is missing",
		"a place of another log is a gap, and reading begins at the first message"),
	subscriberFlaw("says later what is missing",
		"a place of another log is a gap, and reading begins at the first message"),
	subscriberFlaw("says at every beginning that messages are missing", "without such a thing there is no gap"),
	subscriberFlaw("is caught up with the beginning", "a replay says of every shard that it is caught up with"),
	subscriberFlaw("never says that it has caught up",
		"a replay is caught up with a shard when its last message is delivered, and not before",
		"a replay says of every shard that it is caught up with"),
	subscriberFlaw("says too early that it has caught up",
		"a replay is caught up with a shard when its last message is delivered, and not before"),
	subscriberFlaw("has a shard that it never catches up with", "a replay says of every shard that it is caught up with"),
	subscriberFlaw("counts what is there, not what comes after", "Ahead counts the messages after places"),
	subscriberFlaw("counts one message too few", "Ahead counts the messages after places"),
	subscriberFlaw("waits on when its context has ended",
		"the end of its context ends Replay, its handler's context, and Ahead"),
	subscriberFlaw("gives the handler a context of its own",
		"the end of its context ends Replay, its handler's context, and Ahead"),
	subscriberFlaw("counts on when its context has ended",
		"the end of its context ends Replay, its handler's context, and Ahead"),
}

func subscriberFlaw(name string, red ...string) flaw[porttest.Feed] {
	return flaw[porttest.Feed]{name, func() porttest.Feed { return openFeed(name) }, red}
}

func openFeed(flaw string) porttest.Feed {
	topic := &spoiltTopic{Topic: memory.NewTopic(), flaw: flaw}
	return porttest.Feed{
		Delete:     topic.delete,
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
	flaw    string
	deleted atomic.Int64 // up to this offset
}

func (s *spoiltTopic) delete(t testing.TB) {
	end, err := s.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.deleted.Store(end)
}

func (s *spoiltTopic) Begin(ctx context.Context) (id string, before int64, err error) {
	id, before, err = s.Topic.Begin(ctx)
	return id, max(before, s.deleted.Load()), err
}

func (s *spoiltTopic) Read(ctx context.Context, after int64, limit int) ([]ports.Message, int64, error) {
	return s.Topic.Read(ctx, max(after, s.deleted.Load()), limit)
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
	case "moves all groups by a replay":
		own, err := s.Topic.Committed(ctx, group)
		moved, _ := s.Topic.Committed(ctx, "all")
		return max(own, moved), err
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

func (s *subscriber) Ahead(ctx context.Context, from []ports.Place) (map[string]int64, error) {
	switch s.flaw {
	case "counts what is there, not what comes after":
		from = nil
	case "takes no place for the beginning when it counts":
		from = withoutForeign(from)
	case "counts on when its context has ended":
		ctx = context.WithoutCancel(ctx)
	}
	ahead, err := s.sound.Ahead(ctx, from)
	switch {
	case err != nil:
	case s.flaw == "counts one message too few":
		ahead[""]--
	case s.flaw == "has a shard that it never catches up with":
		ahead["another"] = 0
	}
	return ahead, err
}

func withoutForeign(places []ports.Place) []ports.Place {
	return slices.DeleteFunc(slices.Clone(places), func(p ports.Place) bool { return p.Shard != "" })
}

// spoiltResume is resume as this subscriber asks it.
func (s *subscriber) spoiltResume(resume ports.Resume) ports.Resume {
	change := func(change func([]ports.Place) []ports.Place) ports.Resume {
		return func(ctx context.Context, shards []string) ([]ports.Place, error) {
			places, err := resume(ctx, shards)
			return change(places), err
		}
	}
	switch s.flaw {
	case "does not ask resume":
		return nil
	case "passes over an error of resume":
		return func(ctx context.Context, shards []string) ([]ports.Place, error) {
			places, _ := resume(ctx, shards)
			return places, nil
		}
	case "asks resume for other shards":
		return func(ctx context.Context, _ []string) ([]ports.Place, error) { return resume(ctx, []string{"other"}) }
	case "takes an empty place for none":
		return change(func(places []ports.Place) []ports.Place {
			return slices.DeleteFunc(slices.Clone(places), func(p ports.Place) bool { return p.Next == "" })
		})
	case "takes no place for the beginning":
		return change(withoutForeign)
	case "leaves out the logs of places":
		return change(func(places []ports.Place) []ports.Place {
			places = slices.Clone(places)
			for i := range places {
				places[i].Next, _, _ = strings.Cut(places[i].Next, "@")
			}
			return places
		})
	}
	return resume
}

func (s *subscriber) Subscribe(ctx context.Context, group string, resume ports.Resume,
	handle func(context.Context, ports.Batch) error) error {
	switch s.flaw {
	case "takes the group's position before resume's":
		if at, _ := s.topic.Committed(ctx, group); at > 0 {
			resume = nil
		}
	case "keeps the share of a member that has left":
		if s.waits(ctx, group) {
			return ctx.Err()
		}
		defer s.sticks(group)
	}
	return s.read(ctx, group, handle, func(ctx context.Context, handle func(context.Context, ports.Batch) error) error {
		return s.sound.Subscribe(ctx, group, s.spoiltResume(resume), handle)
	})
}

func (s *subscriber) Replay(ctx context.Context, resume ports.Resume, handle func(context.Context, ports.Batch) error) error {
	resume = s.spoiltResume(resume)
	return s.read(ctx, "", handle, func(ctx context.Context, handle func(context.Context, ports.Batch) error) error {
		switch s.flaw {
		case "makes a group of all replays":
			return s.sound.Subscribe(ctx, "replays", resume, handle)
		case "starts a replay at the end":
			places, err := s.sound.Newest(ctx)
			if err != nil {
				return err
			}
			resume = func(context.Context, []string) ([]ports.Place, error) { return places, nil }
		}
		return s.sound.Replay(ctx, resume, handle)
	})
}

// read spoils what a sound reading delivers.
func (s *subscriber) read(ctx context.Context, group string, handle func(context.Context, ports.Batch) error,
	sound func(context.Context, func(context.Context, ports.Batch) error) error) error {
	if s.flaw == "waits on when its context has ended" {
		deaf, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
		defer cancel()
		ctx = deaf
	}
	var second sync.WaitGroup
	defer second.Wait()
	var held *ports.Batch
	return sound(ctx, func(ctx context.Context, b ports.Batch) error {
		var last int64
		if len(b.Messages) > 0 {
			last = offset(b.Messages[len(b.Messages)-1])
		}
		switch s.flaw {
		case "forgets the trace parent":
			for i := range b.Messages {
				b.Messages[i].TraceParent = ""
			}
		case "turns a batch round":
			slices.Reverse(b.Messages)
		case "deals messages out to shards":
			for i := range b.Messages {
				b.Messages[i].Place.Shard = strconv.Itoa(i % 3)
			}
		case "drops every third message":
			b.Messages = slices.DeleteFunc(b.Messages, func(d ports.Delivery) bool { return offset(d)%3 == 0 })
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
		case "moves all groups by a replay":
			if group == "" && last > 0 {
				_ = s.topic.Commit(ctx, "all", last)
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
			b.CaughtUp = []ports.Place{{}}
		case "is caught up with the beginning":
			for i := range b.CaughtUp {
				b.CaughtUp[i].Next = ""
			}
		case "says nothing of gaps":
			b.Gaps = nil
		case "says of every gap that messages were deleted":
			for i := range b.Gaps {
				b.Gaps[i].Reason = ports.GapDeleted
			}
		case "says twice what is missing":
			if err := handle(ctx, ports.Batch{Gaps: b.Gaps}); err != nil {
				return err
			}
		case "says later what is missing":
			later := b.Gaps
			if b.Gaps = nil; len(later) > 0 {
				if err := handle(ctx, b); err != nil {
					return err
				}
				b = ports.Batch{Gaps: later}
			}
		case "says at every beginning that messages are missing":
			if len(b.Messages) > 0 {
				b.Gaps = []ports.Gap{{Place: b.Messages[0].Place, Reason: ports.GapLost, Detail: "some"}}
			}
		case "gives the handler a context of its own":
			own, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
			defer cancel()
			return handle(own, b)
		}
		return handle(ctx, b)
	})
}

// offset is the place of a message in the sound topic.
func offset(d ports.Delivery) int64 {
	number, _, _ := strings.Cut(d.Place.Next, "@")
	next, _ := strconv.ParseInt(number, 10, 64)
	return next
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
