package app_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hexorders/adapters/memory"
	"hexorders/app"
	"hexorders/core/order"
	"hexorders/ports"
)

// groupStore commits in groups, as the stores on disk do: a commit takes a fixed time, and a little more for each save.
type groupStore struct {
	*memory.Store
	mu      sync.Mutex
	queue   []chan struct{}
	working bool
}

func (s *groupStore) Save(ctx context.Context, o *order.Order, key ports.IdempotencyKey) error {
	committed := make(chan struct{})
	s.mu.Lock()
	s.queue = append(s.queue, committed)
	if !s.working {
		s.working = true
		go s.commit()
	}
	s.mu.Unlock()
	<-committed
	return s.Store.Save(ctx, o, key)
}

func (s *groupStore) commit() {
	for {
		s.mu.Lock()
		group := s.queue
		s.queue, s.working = nil, len(group) > 0
		s.mu.Unlock()
		if len(group) == 0 {
			return
		}
		time.Sleep(2*time.Millisecond + time.Duration(len(group))*100*time.Microsecond)
		for _, committed := range group {
			close(committed)
		}
	}
}

// crowd has clients create orders for two seconds, each the next one as soon as it has its answer, or a second after it was
// refused.
func crowd(t *testing.T, clients int) (accepted, refused int, p99 time.Duration) {
	t.Helper()
	var last atomic.Int64
	orders := app.NewOrders(&groupStore{Store: memory.NewStore()},
		app.OrdersOptions{NewID: func() string { return strconv.FormatInt(last.Add(1), 10) }})
	var mu sync.Mutex
	var took []time.Duration
	begun := time.Now()
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for time.Since(begun) < 2*time.Second {
				asked := time.Now()
				_, err := orders.Create(t.Context(), "9999", nil, ports.IdempotencyKey{})
				mu.Lock()
				switch {
				case err == nil:
					took = append(took, time.Since(asked))
				case !errors.Is(err, ports.ErrOverloaded):
					t.Errorf("create: %v", err)
				case time.Since(asked) > 0:
					t.Errorf("refused after %v, want at once", time.Since(asked))
				default:
					refused++
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(time.Second)
				}
			}
		})
	}
	running.Wait()
	slices.Sort(took)
	return len(took), refused, took[len(took)*99/100]
}

func TestUnderOverloadWhatIsAcceptedIsAsFastAsBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		best, turned, unloaded := crowd(t, 64)
		if turned > 0 {
			t.Errorf("%d commands of 64 clients are refused, want none", turned)
		}
		accepted, refused, p99 := crowd(t, 1000)
		t.Logf("64 clients: %d orders, p99 %v; 1000 clients: %d orders, p99 %v, %d refused", best, unloaded, accepted, p99, refused)
		if accepted < best*9/10 {
			t.Errorf("1000 clients: %d orders, want at least 0.9 of %d", accepted, best)
		}
		// 128 under way wait for at most two groups of 128, 64 for two of 64; without a bound it is twelve times as long.
		if p99 > 3*unloaded {
			t.Errorf("1000 clients: p99 %v, want at most three times %v", p99, unloaded)
		}
	})
}

func TestACommandThatIsRefusedForOverloadHasDoneNothingAndMayBeSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &watchedStore{Store: memory.NewStore()}
		store.saved = func() { time.Sleep(time.Second) }
		var last atomic.Int64
		orders := app.NewOrders(store, app.OrdersOptions{
			NewID: func() string { return strconv.FormatInt(last.Add(1), 10) }, Idempotency: store, MaxCommands: 1,
		})
		create := func() (*order.Order, error) { return orders.Create(t.Context(), "9999", nil, key("key", "create")) }
		go func() { _, _ = orders.Create(t.Context(), "8888", nil, ports.IdempotencyKey{}) }()
		synctest.Wait()
		if o, err := create(); !errors.Is(err, ports.ErrOverloaded) || last.Load() != 1 {
			t.Fatalf("while another command is under way: order %v, error %v, %d ids, want ErrOverloaded", o, err, last.Load())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		first, err := create()
		if err != nil {
			t.Fatalf("sent again: %v", err)
		}
		second, err := create()
		if err != nil || second.ID() != first.ID() {
			t.Errorf("sent once more: order %v, error %v, want order %s", second, err, first.ID())
		}
	})
}
