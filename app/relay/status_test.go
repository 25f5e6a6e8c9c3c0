package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"hexorders/app/relay"
	"hexorders/ports"
)

func TestTheStatusOfARelayIsWhatItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := relay.New(w.options("a"))
		wantStatus(t, "before it runs", r, ports.RelayStatus{})
		stop := w.run(r)
		defer stop()
		w.save("a", 3)
		time.Sleep(time.Second)
		want := ports.RelayStatus{Leading: true, Published: 3}
		wantStatus(t, "after three messages", r, want)

		w.broker.behave(func(ports.Message) error { return errDown })
		began := time.Now()
		w.save("b", 2)
		synctest.Wait()
		want.InFlight, want.OldestInFlightAt, want.Failed = 2, began, 1
		wantStatus(t, "after a try that failed", r, want)

		w.broker.behave(func(m ports.Message) error {
			if m.ID == "b/2" {
				return ports.ErrRefused
			}
			return nil
		})
		w.save("c", 1)
		time.Sleep(10 * time.Second)
		want = ports.RelayStatus{Leading: true, Published: 5, Failed: 1, Refused: 1, ParkedOrders: 1, ParkedMessages: 1}
		wantStatus(t, "with a parked order", r, want)

		w.broker.behave(nil)
		w.add("b")
		synctest.Wait() // until it is parked behind the other
		w.retry("b")
		time.Sleep(2 * time.Second)
		want.ParkedOrders, want.ParkedMessages, want.Redelivered, want.Published = 0, 0, 2, 7
		wantStatus(t, "when it was sent again", r, want)

		stop()
		want.Leading = false
		wantStatus(t, "after the stop", r, want)
	})
}

// A broker that takes nothing blocks the relay in the middle of its work. Status must not wait for it.
func TestTheStatusOfARelayThatIsStuckSaysSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options := w.options("a")
		options.Publisher = stuckBroker{}
		r := relay.New(options)
		stop := w.run(r)
		defer stop()
		time.Sleep(time.Second)
		began := time.Now()
		w.save("a", 1)
		time.Sleep(3 * time.Second)
		want := ports.RelayStatus{Leading: true, InFlight: 1, OldestInFlightAt: began}
		wantStatus(t, "with a broker that takes nothing", r, want)
	})
}

func TestTheStatusOfARelayThatStandsBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start(w.options("first"))
		defer stop()
		synctest.Wait()
		second := relay.New(w.options("second"))
		defer w.run(second)()
		w.save("a", 1)
		time.Sleep(time.Minute)
		wantStatus(t, "while another holds the lease", second, ports.RelayStatus{})
		stop()
		w.save("b", 1)
		time.Sleep(10 * time.Second)
		wantStatus(t, "after the other has left", second, ports.RelayStatus{Leading: true, Published: 1})
	})
}

func wantStatus(t *testing.T, when string, r *relay.Relay, want ports.RelayStatus) {
	t.Helper()
	got := r.Status()
	if !got.OldestInFlightAt.Equal(want.OldestInFlightAt) {
		t.Errorf("%s: the oldest message is from %s, want %s", when, got.OldestInFlightAt, want.OldestInFlightAt)
	}
	got.OldestInFlightAt, want.OldestInFlightAt = time.Time{}, time.Time{}
	if got != want {
		t.Errorf("%s: got %+v, want %+v", when, got, want)
	}
}
