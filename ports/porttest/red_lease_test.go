package porttest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"hexorders/adapters/memory"
	"hexorders/ports"
	"hexorders/ports/porttest"
)

var leaseFlaws = []flaw[porttest.Storage]{
	leaseFlaw("lets two hold it",
		"of 20 owners that ask at the same moment one gets the lease",
		"while one owner holds the lease another gets ErrLeaseHeld"),
	leaseFlaw("has an error of its own when it is held", "while one owner holds the lease another gets ErrLeaseHeld"),
	leaseFlaw("grows its term on renewal",
		"renewing keeps the term",
		"releasing a lease of another owner does nothing"),
	leaseFlaw("does not renew", "renewing counts from now"),
	leaseFlaw("never expires",
		"an expired lease goes to another owner, with a larger term, and not earlier",
		"of 20 owners that ask for an expired lease one gets it",
		"a holder that let the lease expire gets it again with no smaller term",
		"renewing counts from now"),
	leaseFlaw("expires too soon",
		"an expired lease goes to another owner, with a larger term, and not earlier",
		"renewing counts from now"),
	leaseFlaw("never grows its term",
		"an expired lease goes to another owner, with a larger term, and not earlier",
		"an owner that lost the lease gets ErrLeaseHeld, and a larger term later",
		"Release gives the lease back at once"),
	leaseFlaw("gives an expired lease to two", "of 20 owners that ask for an expired lease one gets it"),
	leaseFlaw("gives the lease back to the owner that lost it", "an owner that lost the lease gets ErrLeaseHeld, and a larger term later"),
	leaseFlaw("starts its terms again when an owner comes back", "a holder that let the lease expire gets it again with no smaller term"),
	leaseFlaw("starts its terms again when it is released", "Release gives the lease back at once"),
	leaseFlaw("keeps what is released", "Release gives the lease back at once"),
	leaseFlaw("lets anyone release it", "releasing a lease of another owner does nothing"),
	leaseFlaw("has the driver's error while it is away", "while the store cannot be reached, every call is ErrUnavailable"),
	leaseFlaw("gives each handle a lease of its own", "two handles share the lease"),
	leaseFlaw("starts its terms again when it stops", "after a restart the lease is held, and its term is not used again"),
	leaseFlaw("ignores a cancelled context", "a cancelled context ends every call"),
}

func soundLease() porttest.Storage { return openLease("") }

func leaseFlaw(name string, red ...string) flaw[porttest.Storage] {
	return flaw[porttest.Storage]{name, func() porttest.Storage { return openLease(name) }, red}
}

func openLease(flaw string) porttest.Storage {
	l := &lease{Lease: memory.NewLease(), flaw: flaw}
	storage := porttest.Storage{Lease: l, Break: l.breakDown(flaw)}
	storage.Again = func(testing.TB) porttest.Storage {
		if l.has("gives each handle a lease of its own") {
			return openLease(flaw)
		}
		return storage
	}
	storage.Restart = func(testing.TB) porttest.Storage {
		if l.has("starts its terms again when it stops") {
			l.Lease = memory.NewLease()
		}
		return storage
	}
	return storage
}

// lease spoils what is asked of a sound one and what it answers.
type lease struct {
	ports.Lease
	outage
	flaw string

	mu     sync.Mutex
	owners []string // everyone who got it, in turn
	last   int64
	grants int64
}

func (l *lease) has(flaw string) bool { return l.flaw == flaw }

func (l *lease) context(ctx context.Context) context.Context {
	if l.has("ignores a cancelled context") {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func (l *lease) Acquire(ctx context.Context, owner string, ttl time.Duration) (int64, error) {
	if err := l.reach(); err != nil {
		return 0, err
	}
	ctx = l.context(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	holder := ""
	if len(l.owners) > 0 {
		holder = l.owners[len(l.owners)-1]
	}
	switch l.flaw {
	case "never expires":
		ttl = 1000 * time.Hour
	case "expires too soon":
		ttl /= 2
	case "does not renew":
		if owner == holder {
			return l.last, nil
		}
	}
	term, err := l.Lease.Acquire(ctx, owner, ttl)
	if errors.Is(err, ports.ErrLeaseHeld) {
		switch {
		case l.has("lets two hold it"),
			l.has("gives an expired lease to two") && len(l.owners) == 2,
			l.has("gives the lease back to the owner that lost it") && l.owners[0] == owner:
			term, err = l.last+1, nil
		case l.has("has an error of its own when it is held"):
			err = errors.New("duplicate key")
		}
	}
	if err != nil {
		return 0, err
	}
	if owner != holder {
		l.owners = append(l.owners, owner)
	}
	l.last = term
	l.grants++
	switch l.flaw {
	case "never grows its term":
		term = 1
	case "grows its term on renewal":
		term = l.grants
	case "starts its terms again when an owner comes back":
		term = 100 - l.grants
	}
	return term, nil
}

func (l *lease) Release(ctx context.Context, owner string) error {
	if err := l.reach(); err != nil {
		return err
	}
	ctx = l.context(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.flaw {
	case "keeps what is released":
		return nil
	case "starts its terms again when it is released":
		l.Lease = memory.NewLease()
		return nil
	case "lets anyone release it":
		for _, other := range l.owners {
			if err := l.Lease.Release(ctx, other); err != nil {
				return err
			}
		}
	}
	return l.Lease.Release(ctx, owner)
}
