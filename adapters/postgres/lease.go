package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hexorders/ports"
)

// Lease implements ports.Lease with one row. The server's clock decides when a lease expires.
type Lease struct {
	db   *DB
	name string
}

var (
	_ ports.Lease       = (*Lease)(nil)
	_ ports.LeaseHolder = (*Lease)(nil)
)

func NewLease(db *DB, name string) *Lease { return &Lease{db: db, name: name} }

// Acquire is one statement. If two owners try at once, the second waits for the first one's row and then looks at that. A
// lease that was renewed in the far future does not hold: the clock was set back.
func (l *Lease) Acquire(ctx context.Context, owner string, ttl time.Duration) (term int64, err error) {
	err = l.db.queryRow(ctx, `INSERT INTO leases AS held (id, owner, term, renewed_at, expires_at)
		VALUES ($1, $2, 1, clock_timestamp(), clock_timestamp() + $3 * interval '1 microsecond')
		ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, renewed_at = excluded.renewed_at, expires_at = excluded.expires_at,
			term = CASE WHEN held.owner = excluded.owner THEN held.term ELSE held.term + 1 END
		WHERE held.owner = excluded.owner OR held.expires_at <= clock_timestamp()
			OR held.renewed_at - (held.expires_at - held.renewed_at) > clock_timestamp()
		RETURNING term`, []any{l.name, owner, ttl.Microseconds()}, &term)
	if errors.Is(err, ports.ErrNotFound) {
		err = ports.ErrLeaseHeld
	}
	return term, fail(ctx, fmt.Sprintf("acquire lease %q", l.name), err)
}

// Holder implements ports.LeaseHolder.
func (l *Lease) Holder(ctx context.Context) (owner string, err error) {
	err = l.db.queryRow(ctx, `SELECT owner FROM leases WHERE id = $1 AND expires_at > clock_timestamp()
		AND renewed_at - (expires_at - renewed_at) <= clock_timestamp()`, []any{l.name}, &owner)
	if errors.Is(err, ports.ErrNotFound) {
		err = nil
	}
	return owner, fail(ctx, fmt.Sprintf("read lease %q", l.name), err)
}

func (l *Lease) Release(ctx context.Context, owner string) error {
	_, err := l.db.exec(ctx, `UPDATE leases SET expires_at = renewed_at WHERE id = $1 AND owner = $2`, l.name, owner)
	return fail(ctx, fmt.Sprintf("release lease %q", l.name), err)
}
