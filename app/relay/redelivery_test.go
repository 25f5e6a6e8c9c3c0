package relay_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/ports"
)

func TestRelayParksAnOrderThatTheBrokerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		refuse := func(m ports.Message) error {
			if m.ID == "bad/2" {
				return fmt.Errorf("too large: %w", ports.ErrRefused)
			}
			return nil
		}
		w.broker.answer = refuse
		w.save("bad", 3)
		w.save("good", 2)
		stop := w.start(w.options("a"))
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"bad": 1, "good": 2}, 0)
		w.wantParked("bad", 2, 2)
		w.wantCheckpointAtEnd()

		// A relay that starts later knows it too.
		stop()
		stop = w.start(w.options("b"))
		defer stop()
		w.add("bad")
		w.add("good")
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"bad": 1, "good": 3}, 0)
		w.wantParked("bad", 2, 3)

		// Sent again in vain, it stays parked and says so.
		w.retry("bad")
		w.wantParked("bad", 2, 3)
		if parked, _ := w.parking.Parked(t.Context()); len(parked) == 1 && parked[0].Retry {
			t.Error("the order still waits for a retry that has failed")
		}

		// Once the cause is gone, everything goes, older messages first.
		w.broker.behave(nil)
		w.retry("bad")
		w.wantAll(map[string]int{"bad": 4, "good": 3}, 0)
		if parked, _ := w.parking.Parked(t.Context()); len(parked) != 0 {
			t.Errorf("still parked: %+v", parked)
		}
		w.add("bad")
		time.Sleep(time.Second)
		w.wantAll(map[string]int{"bad": 5, "good": 3}, 0)
		w.wantCheckpointAtEnd()
	})
}

func TestNewerMessagesWaitBehindParkedOnesThatAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(ports.Message) error { return ports.ErrRefused }
		w.save("a", 3)
		stop := w.start(w.options("a"))
		defer stop()
		time.Sleep(time.Second)
		w.wantParked("a", 1, 3)
		w.broker.mu.Lock()
		w.broker.answer, w.broker.hold = nil, func(m ports.Message) bool { return m.Version == 2 }
		w.broker.mu.Unlock()
		w.retry("a")
		w.add("a") // committed in the middle of the redelivery
		time.Sleep(time.Second)
		w.wantLog("a/1")
		w.broker.behave(nil)
		time.Sleep(time.Second)
		w.wantLog("a/1", "a/2", "a/3", "a/4")
		w.wantCheckpointAtEnd()
	})
}

func (w *world) retry(orderID string) {
	w.t.Helper()
	if err := w.parking.Retry(w.t.Context(), orderID); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
}

func (w *world) wantParked(orderID string, first, messages int) {
	w.t.Helper()
	parked, err := w.parking.Parked(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if len(parked) == 1 {
		p := parked[0]
		if p.OrderID == orderID && p.First == first && p.Messages == messages && p.Reason != "" {
			return
		}
	}
	w.t.Errorf("parked: %+v, want only order %s from version %d on, %d messages, with a reason",
		parked, orderID, first, messages)
}

// Another relay parked the order meanwhile: this one knows it from the operator's request only.
func TestANewMessageWaitsBehindAnOrderThatAnotherRelayParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.broker.answer = func(ports.Message) error { return ports.ErrRefused }
		w.save("a", 1)
		stop := w.start(w.options("first"))
		time.Sleep(time.Second)
		stop()
		w.broker.behave(nil)

		parked := hiddenParking{w.parking, &atomic.Bool{}}
		options := w.options("second")
		options.Parking = parked
		stop = w.start(options)
		defer stop()
		time.Sleep(time.Second)
		parked.seen.Store(true)
		w.broker.mu.Lock()
		w.broker.hold = func(m ports.Message) bool { return m.Version == 1 }
		w.broker.mu.Unlock()
		w.retry("a")
		w.add("a")
		time.Sleep(time.Second)
		w.broker.behave(func(m ports.Message) error {
			if m.Version == 1 {
				return ports.ErrRefused
			}
			return nil
		})
		time.Sleep(time.Second)
		w.wantLog()
		w.wantParked("a", 1, 2)
	})
}

// hiddenParking hides at first that an order is parked.
type hiddenParking struct {
	*memory.Parking
	seen *atomic.Bool
}

func (p hiddenParking) Parked(ctx context.Context) ([]ports.ParkedOrder, error) {
	if !p.seen.Load() {
		return nil, nil
	}
	return p.Parking.Parked(ctx)
}
