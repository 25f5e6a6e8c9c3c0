package porttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"hexorders/ports"
)

var leaseChecks = lift(func(s storage) ports.Lease { return s.Lease }, []check[ports.Lease]{
	{"of 20 owners that ask at the same moment one gets the lease", leaseRace,
		"one statement decides: insert, or update where it is free"},
	{"while one owner holds the lease another gets ErrLeaseHeld", leaseIsHeld,
		"no row changed is ports.ErrLeaseHeld"},
	{"renewing keeps the term", leaseRenews,
		"the term grows with a new owner only"},
	{"renewing counts from now", leaseRenewsFromNow,
		"set the end to now + ttl, whatever it was before"},
	{"an expired lease goes to another owner, with a larger term, and not earlier", leaseExpires,
		"compare with the clock of the store; a new owner gets term + 1"},
	{"of 20 owners that ask for an expired lease one gets it", expiredLeaseRace,
		"look and take in one statement, as for a free one"},
	{"an owner that lost the lease gets ErrLeaseHeld, and a larger term later", leaseComesBack,
		"an owner that comes back is a new owner"},
	{"a holder that let the lease expire gets it again with no smaller term", leaseAfterOwnExpiry,
		"the row stays when the lease ends: the term must never fall"},
	{"Release gives the lease back at once", leaseReleased,
		"set the end to now, and keep the row with its term"},
	{"releasing a lease of another owner does nothing", releaseOfAnother,
		"WHERE owner = ?: no row changed is no error"},
	{"a cancelled context ends every call", cancelledLease,
		"pass ctx on to every call, and return ctx.Err() as it is"},
})

const (
	long  = time.Hour
	short = 300 * time.Millisecond
	slack = 50 * time.Millisecond // what clocks may differ by: the keeper's, and its rounding
)

func acquire(t testing.TB, l ports.Lease, owner string, ttl time.Duration) (term int64) {
	t.Helper()
	term, err := l.Acquire(bounded(t), owner, ttl)
	if err != nil {
		t.Fatalf("Acquire by %s: %v", owner, err)
	}
	return term
}

func wantHeld(t testing.TB, l ports.Lease, owner string) {
	t.Helper()
	_, err := l.Acquire(bounded(t), owner, long)
	wantError(t, "Acquire by "+owner+" of another's lease", err, ports.ErrLeaseHeld)
}

func release(t testing.TB, l ports.Lease, owner string) {
	t.Helper()
	if err := l.Release(bounded(t), owner); err != nil {
		t.Fatalf("Release by %s: %v", owner, err)
	}
}

// takeOver asks for the lease until it gets it: for things that only the passing of time brings.
func takeOver(t testing.TB, l ports.Lease, owner string) (term int64) {
	t.Helper()
	ctx := bounded(t)
	for {
		term, err := l.Acquire(ctx, owner, long)
		if err == nil {
			return term
		}
		if !errors.Is(err, ports.ErrLeaseHeld) {
			t.Fatalf("Acquire by %s: got error %v, want none or %v", owner, err, ports.ErrLeaseHeld)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s did not get an expired lease within %v", owner, patience)
		}
	}
}

// race lets 20 owners ask at the same moment and returns how many got the lease.
func race(t testing.TB, l ports.Lease) (winners int, term int64) {
	t.Helper()
	var all sync.WaitGroup
	terms, results := make([]int64, 20), make([]error, 20)
	start, ctx := make(chan struct{}), bounded(t)
	for i := range results {
		all.Go(func() {
			<-start
			terms[i], results[i] = l.Acquire(ctx, fmt.Sprintf("relay-%d", i), long)
		})
	}
	close(start)
	all.Wait()
	for i, err := range results {
		if err == nil {
			winners, term = winners+1, terms[i]
		} else {
			wantError(t, fmt.Sprintf("Acquire by relay-%d", i), err, ports.ErrLeaseHeld)
		}
	}
	return winners, term
}

func leaseRace(t testing.TB, l ports.Lease) {
	if winners, _ := race(t, l); winners != 1 {
		t.Errorf("the lease went to %d owners, want 1", winners)
	}
}

func leaseIsHeld(t testing.TB, l ports.Lease) {
	acquire(t, l, "one", long)
	wantHeld(t, l, "other")
	wantHeld(t, l, "")
	acquire(t, l, "one", long)
	wantHeld(t, l, "other")
}

func leaseRenews(t testing.TB, l ports.Lease) {
	term := acquire(t, l, "one", long)
	for range 3 {
		if got := acquire(t, l, "one", long); got != term {
			t.Errorf("term after renewing: got %d, want %d", got, term)
		}
	}
}

func leaseRenewsFromNow(t testing.TB, l ports.Lease) {
	acquire(t, l, "one", short/10)
	longer := time.Now()
	acquire(t, l, "one", short)
	takeOver(t, l, "two")
	if held := time.Since(longer); held < short-slack {
		t.Errorf("renewed for %v, the lease was given away after %v", short, held)
	}
	acquire(t, l, "two", short) // shorter than it had: now it ends sooner
	takeOver(t, l, "three")
}

func leaseExpires(t testing.TB, l ports.Lease) {
	taken := time.Now()
	first := acquire(t, l, "one", short)
	second := takeOver(t, l, "other")
	if held := time.Since(taken); held < short-slack {
		t.Errorf("taken for %v, the lease was given away after %v", short, held)
	}
	if second <= first {
		t.Errorf("term of the second owner: got %d, want more than %d", second, first)
	}
	wantHeld(t, l, "one")
}

func expiredLeaseRace(t testing.TB, l ports.Lease) {
	first := acquire(t, l, "one", short/10)
	for deadline := time.Now().Add(patience); ; {
		winners, term := race(t, l)
		if winners > 1 {
			t.Errorf("the expired lease went to %d owners, want 1", winners)
		}
		if winners > 0 {
			if term <= first {
				t.Errorf("term of the second owner: got %d, want more than %d", term, first)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no owner got an expired lease within %v", patience)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func leaseComesBack(t testing.TB, l ports.Lease) {
	first := acquire(t, l, "one", short/10)
	second := takeOver(t, l, "two")
	wantHeld(t, l, "one")
	release(t, l, "two")
	third := acquire(t, l, "one", long)
	if !(first < second && second < third) {
		t.Errorf("terms of one, two and one again: got %d, %d, %d, want them to grow", first, second, third)
	}
}

func leaseAfterOwnExpiry(t testing.TB, l ports.Lease) {
	last := acquire(t, l, "one", time.Millisecond)
	for range 10 {
		<-time.After(3 * time.Millisecond) // long enough to expire; where it is not, this was a renewal
		term := acquire(t, l, "one", time.Millisecond)
		if term < last {
			t.Errorf("term after the holder's own lease expired: got %d, want %d or more", term, last)
		}
		last = term
	}
	if other := takeOver(t, l, "other"); other <= last {
		t.Errorf("term of the second owner: got %d, want more than %d", other, last)
	}
}

func leaseReleased(t testing.TB, l ports.Lease) {
	first := acquire(t, l, "one", long)
	release(t, l, "one")
	second := acquire(t, l, "two", long)
	if second <= first {
		t.Errorf("term of the second owner: got %d, want more than %d", second, first)
	}
	wantHeld(t, l, "one")
	release(t, l, "two")
	if again := acquire(t, l, "two", long); again < second {
		t.Errorf("term of two, again: got %d, want %d or more", again, second)
	}
}

func releaseOfAnother(t testing.TB, l ports.Lease) {
	release(t, l, "other") // no owner holds it
	first := acquire(t, l, "one", long)
	release(t, l, "other")
	wantHeld(t, l, "other")
	if got := acquire(t, l, "one", long); got != first {
		t.Errorf("term after another released: got %d, want %d", got, first)
	}
	release(t, l, "one")
	release(t, l, "one")
	acquire(t, l, "other", long)
}

func cancelledLease(t testing.TB, l ports.Lease) {
	wantCancelled(t, "Acquire", func(ctx context.Context) error { _, err := l.Acquire(ctx, "one", long); return err })
	acquire(t, l, "two", long) // the cancelled one did not get it
	wantCancelled(t, "Acquire that renews", func(ctx context.Context) error { _, err := l.Acquire(ctx, "two", long); return err })
	wantCancelled(t, "Release", func(ctx context.Context) error { return l.Release(ctx, "two") })
	wantHeld(t, l, "three")
}
