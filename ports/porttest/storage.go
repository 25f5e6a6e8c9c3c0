package porttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"hexorders/core/order"
	"hexorders/ports"
)

// storage is a Storage in the hands of a check: with the ports that its type reveals, and with a record of what happens.
type storage struct {
	Storage
	Trimmer     ports.Trimmer
	Idempotency ports.IdempotencyStore
	History     ports.History
	Scanner     ports.OrderScanner
	Backlog     backlog
	Holder      ports.LeaseHolder
	record      *record
}

func hold(s Storage) storage { return holdWith(s, newRecord()) }

func holdWith(s Storage, r *record) storage {
	held := storage{
		Storage: s, record: r,
		Trimmer:     port[ports.Trimmer](s),
		Idempotency: port[ports.IdempotencyStore](s),
		History:     port[ports.History](s),
		Scanner:     port[ports.OrderScanner](s),
		Backlog:     port[backlog](s),
	}
	held.Holder, _ = s.Lease.(ports.LeaseHolder)
	if s.Orders != nil {
		held.Orders = recordedStore{s.Orders, r}
	}
	return held
}

// port finds an optional port in what keeps the orders or the outbox.
func port[P any](s Storage) (found P) {
	if p, ok := s.Orders.(P); ok {
		return p
	}
	found, _ = s.Outbox.(P)
	return found
}

// complete fails unless there is what the suites cannot do without.
func (s storage) complete(t testing.TB) {
	t.Helper()
	switch {
	case s.Orders != nil && s.Outbox == nil:
		t.Fatal("Storage.Outbox is missing: what Save has sent can be seen there only")
	case s.Orders != nil && s.FailCommits == nil:
		t.Fatal("Storage.FailCommits is missing: without it nothing says whether order and messages are committed together")
	case s.Orders != nil && s.Encode == nil:
		t.Fatal("Storage.Encode is missing: set it to eventjson.Messages")
	case s.Idempotency != nil && s.Age == nil:
		t.Fatal("Storage.Age is missing: without it nothing says whether old results are forgotten")
	}
}

// lacks names the field of Storage that a check needs and that is nil.
func (s storage) lacks(n need) string {
	switch {
	case n == needsBreak && s.Break == nil, n == needsAgain && s.Again == nil,
		n == needsRestart && s.Restart == nil && s.Again == nil:
		return string(n)
	}
	return ""
}

// again is a second handle over the same data.
func (s storage) again(t testing.TB) storage { return holdWith(s.Again(t), s.record) }

// restarted is the data after a restart, as well as the store can do that. The handle s must not be used any more.
func (s storage) restarted(t testing.TB) storage {
	if s.Restart == nil {
		return s.again(t)
	}
	return holdWith(s.Restart(t), s.record)
}

// messagesOf are the messages that a Save of this order has to leave in the outbox.
func (s storage) messagesOf(t testing.TB, ctx context.Context, o *order.Order) []ports.Message {
	t.Helper()
	messages, err := s.Encode(ctx, o)
	if err != nil {
		t.Fatalf("Encode of order %s: %v", o.ID(), err)
	}
	return messages
}

// record knows what Saves have committed and what Tails have emitted. A check that waits in vain can say what is missing.
type record struct {
	mu        sync.Mutex
	committed []string // ids of messages, in the order in which their Saves returned
	places    map[ports.Position]place
}

// place is a position of the outbox: behind the first n messages that a follower has emitted.
type place struct {
	of *follower
	n  int
}

func newRecord() *record { return &record{places: map[ports.Position]place{}} }

// recordedStore notes what was committed.
type recordedStore struct {
	ports.OrderStore
	record *record
}

func (s recordedStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	last := o.Version()
	first := last - len(o.Changes()) + 1
	err := s.OrderStore.Save(ctx, o, key)
	if err == nil {
		s.record.mu.Lock()
		defer s.record.mu.Unlock()
		for version := first; version <= last; version++ {
			s.record.committed = append(s.record.committed, fmt.Sprintf("%s/%d", o.ID(), version))
		}
	}
	return err
}

func (r *record) emitted(f *follower, id string, at ports.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.emitted = append(f.emitted, id)
	if _, known := r.places[at]; !known {
		r.places[at] = place{f, len(f.emitted)}
	}
}

// missing says which committed message a follower has not emitted, and what came after it.
func (r *record) missing(f *follower) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, read := map[string]bool{}, map[*follower]bool{}
	for p := (place{f, len(f.emitted)}); p.of != nil && !read[p.of]; p = r.places[p.of.after] {
		read[p.of] = true
		for _, id := range p.of.emitted[:p.n] {
			seen[id] = true
		}
	}
	var missing, later []string
	for _, id := range r.committed {
		switch {
		case !seen[id]:
			missing = append(missing, id)
		case len(missing) > 0:
			later = append(later, id)
		}
	}
	switch {
	case len(missing) == 0:
		return fmt.Sprintf("all %d messages that were committed have come", len(r.committed))
	case len(later) > 0:
		return fmt.Sprintf("%s is missing, and %s, whose Save returned later, has come; %d of %d are missing",
			missing[0], later[0], len(missing), len(r.committed))
	}
	return fmt.Sprintf("%s is missing, and nothing came after it; %d of %d are missing",
		missing[0], len(missing), len(r.committed))
}

// crew works beside a check. Of its errors only the first is reported, because it ends the others.
type crew struct {
	t      testing.TB
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup
	once   sync.Once
	failed chan struct{} // closed once one of them has failed
}

// newCrew works as long as it makes headway: it has far more time than a single call. Its user defers end, because
// goroutines must not outlive a check that fails.
func newCrew(t testing.TB) *crew {
	ctx, cancel := context.WithTimeout(t.Context(), 20*patience)
	return &crew{t: t, ctx: ctx, cancel: cancel, failed: make(chan struct{})}
}

func (c *crew) do(work func(ctx context.Context) error) {
	c.all.Go(func() {
		if err := work(c.ctx); err != nil {
			c.once.Do(func() {
				if !errors.Is(c.ctx.Err(), context.Canceled) { // else the check has ended already
					c.t.Error(err)
				}
				close(c.failed)
				c.cancel()
			})
		}
	})
}

func (c *crew) wait() { c.all.Wait() }

func (c *crew) end() {
	c.cancel()
	c.all.Wait()
}

// await waits for a signal, and returns an error when the crew has failed meanwhile.
func await(ctx context.Context, signal <-chan struct{}) error {
	select {
	case <-signal:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
