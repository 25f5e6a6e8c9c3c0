package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"hexorders/ports"
)

// Lease is a ports.Lease between the relays of one process.
type Lease struct {
	mu      sync.Mutex
	owner   string // who held it last, also once it has expired or was given back
	expires time.Time
	term    int64
}

func NewLease() *Lease { return &Lease{} }

func (l *Lease) Acquire(ctx context.Context, owner string, ttl time.Duration) (term int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("acquire lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if owner != l.owner || l.term == 0 {
		if now.Before(l.expires) {
			return 0, fmt.Errorf("lease of %s: %w", l.owner, ports.ErrLeaseHeld)
		}
		l.owner = owner
		l.term++
	}
	l.expires = now.Add(ttl)
	return l.term, nil
}

// Holder implements ports.LeaseHolder.
func (l *Lease) Holder(ctx context.Context) (owner string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.expires) {
		owner = l.owner
	}
	return owner, ctx.Err()
}

func (l *Lease) Release(ctx context.Context, owner string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("release lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if owner == l.owner {
		l.expires = time.Time{}
	}
	return nil
}
