package relay_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/ports"
)

func TestRelayPublishesWhatWasCommittedBeforeAndAfterItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.save("before", 3)
		stop := w.start(w.options("a"))
		defer stop()
		synctest.Wait()
		w.wantLog("before/1", "before/2", "before/3")
		w.save("after", 2)
		synctest.Wait()
		w.wantLog("before/1", "before/2", "before/3", "after/1", "after/2")
		time.Sleep(time.Second) // the bubble's clock: lets the checkpoint ticker tick
		w.wantCheckpointAtEnd()
	})
}

func TestRelaySendsOrdersSideBySideButOneMessageAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		want := map[string]int{}
		for i := range 20 {
			id := fmt.Sprintf("order-%d", i)
			w.save(id, 50)
			want[id] = 50
		}
		stop := w.start(w.options("a"))
		defer stop()
		synctest.Wait()
		w.wantAll(want, 0)
		if w.broker.together {
			t.Error("two messages of one order were under way at once")
		}
		if w.broker.mostOpen < 2 {
			t.Errorf("at most %d orders were under way at once, want several", w.broker.mostOpen)
		}
	})
}

func TestRelayHoldsNoMoreThanMaxInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 500 {
			w.save(fmt.Sprintf("order-%d", i), 1)
		}
		var read atomic.Int64
		options := w.options("a")
		options.MaxInFlight = 10
		options.Outbox = countingOutbox{w.outbox, &read}
		w.broker.hold = func(ports.Message) bool { return true }
		stop := w.start(options)
		defer stop()
		synctest.Wait()
		if w.broker.mostOpen != 10 {
			t.Errorf("%d messages under way, want MaxInFlight, 10", w.broker.mostOpen)
		}
		if n := read.Load(); n > 10+65 {
			t.Errorf("%d messages were read ahead of a broker that takes none", n)
		}
		w.broker.behave(nil)
		synctest.Wait()
		if n := len(w.broker.ids()); n != 500 {
			t.Errorf("%d messages arrived, want 500", n)
		}
	})
}

type countingOutbox struct {
	*memory.Outbox
	read *atomic.Int64
}

func (o countingOutbox) Tail(
	ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error,
) error {
	return o.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		o.read.Add(1)
		return emit(m, p)
	})
}

func TestRelayTriesAFailedMessageAgainWhileOtherOrdersFlowOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(m ports.Message) error {
			if m.OrderID == "unlucky" {
				return errDown
			}
			return nil
		}
		w.save("unlucky", 2)
		w.save("lucky", 2)
		stop := w.start(w.options("a"))
		defer stop()
		synctest.Wait()
		w.wantLog("lucky/1", "lucky/2")
		time.Sleep(time.Minute)
		if position, _ := w.outbox.Position(t.Context()); position != "" {
			t.Errorf("checkpoint %q stands behind a message that the broker does not have", position)
		}
		w.broker.behave(nil)
		time.Sleep(10 * time.Second)
		w.wantLog("lucky/1", "lucky/2", "unlucky/1", "unlucky/2")
		w.wantCheckpointAtEnd()
	})
}

func TestRelaySurvivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(ports.Message) error { return errDown }
		options := w.options("a")
		options.MaxInFlight = 8
		stop := w.start(options)
		defer stop()
		want := map[string]int{}
		for i := range 60 {
			id := fmt.Sprintf("order-%d", i)
			w.save(id, 3)
			want[id] = 3
			time.Sleep(time.Second)
		}
		w.wantLog()
		w.broker.behave(nil)
		time.Sleep(10 * time.Second)
		w.wantAll(want, 0)
		w.wantCheckpointAtEnd()
	})
}

// shaky wraps the ports so that every other call fails, as if the store came and went.
type shaky struct {
	*memory.Outbox
	*memory.Parking
	calls *atomic.Int64
}

func (s shaky) fails() error {
	if s.calls.Add(1)%2 == 1 {
		return ports.ErrUnavailable
	}
	return nil
}

func (s shaky) Position(ctx context.Context) (ports.Position, error) {
	if err := s.fails(); err != nil {
		return "", err
	}
	return s.Outbox.Position(ctx)
}

func (s shaky) Checkpoint(ctx context.Context, term int64, p ports.Position) error {
	if err := s.fails(); err != nil {
		return err
	}
	return s.Outbox.Checkpoint(ctx, term, p)
}

// Tail breaks after each message.
func (s shaky) Tail(ctx context.Context, after ports.Position, emit func(ports.Message, ports.Position) error) error {
	broken := errors.New("stream broken")
	return s.Outbox.Tail(ctx, after, func(m ports.Message, p ports.Position) error {
		if err := emit(m, p); err != nil {
			return err
		}
		return broken
	})
}

func (s shaky) Park(ctx context.Context, m ports.Message, reason string) error {
	if err := s.fails(); err != nil {
		return err
	}
	return s.Parking.Park(ctx, m, reason)
}

func (s shaky) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.Parking.Parked(ctx)
}

func TestRelaySurvivesAStoreThatComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(m ports.Message) error {
			if m.OrderID == "bad" {
				return ports.ErrRefused
			}
			return nil
		}
		s := shaky{w.outbox, w.parking, &atomic.Int64{}}
		options := w.options("a")
		options.Outbox, options.Parking = s, s
		w.save("good", 20)
		w.save("bad", 2)
		stop := w.start(options)
		defer stop()
		time.Sleep(time.Minute)
		w.wantAll(map[string]int{"good": 20, "bad": 0}, 0)
		w.wantParked("bad", 1, 2)
		w.wantCheckpointAtEnd()
	})
}
